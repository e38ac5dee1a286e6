"""The command line: ``narrows fit``, ``narrows compare``, ...

A command is a function in the module of its name; its signature makes its arguments, its
docstring its help. Modules of commands import what is heavy only when they run.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from narrows import __version__
from narrows._errors import ProcessError, nearest
from narrows.cli import _help, _show

COMMANDS = (
    "demo",
    "fit",
    "transform",
    "reconstruct",
    "sample",
    "interpolate",
    "score",
    "compare",
    "report",
    "export",
    "info",
)
EXAMPLES = """\
$ narrows demo
$ narrows fit table.csv --n-components 5 --test-fraction 0.2 -o model.safetensors
$ narrows transform model.safetensors table.csv -o codes.csv
$ narrows fit --help"""

INTERRUPTED = 130
MISTAKE = 2
# Base of all that typer raises for a mistake, in whatever package its version keeps it.
_UsageError: Any = typer.BadParameter.__mro__[1]
_Mistake: Any = (ValueError, TypeError, OSError, ImportError, ArithmeticError, MemoryError)
_Mistake += (ProcessError,)


class Commands(TyperGroup):
    """The commands, each imported when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command with all its options."""
        if cmd_name not in COMMANDS:
            return None
        function = _function(cmd_name)
        kinds = [each.kind for each in inspect.signature(function).parameters.values()]
        from narrows.cli._settings import with_settings, with_words

        has_settings = inspect.Parameter.VAR_KEYWORD in kinds
        function = (with_settings if has_settings else with_words)(function)
        single = typer.Typer(add_completion=False)
        single.command(cmd_name, cls=_help.Command)(function)
        return typer.main.get_command(single)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and its arguments, or say which name is close."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = nearest(args[0], COMMANDS) or f" Commands are: {', '.join(COMMANDS)}."
            raise ValueError(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        commands = [(name, _help.described(_function(name))[0]) for name in COMMANDS]
        panels = {"Commands": [(name, text.split("\n\n")[0], "") for name, text in commands]}
        panels["Options"] = [_help.entry(param) for param in self.get_params(ctx)]
        formatter.write(_help.page("narrows COMMAND", self.help or "", panels, EXAMPLES))

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> Any:
        """Run a command; exit with 0, with 2 after a mistake, with 130 after Ctrl-C."""
        written = list(sys.argv[1:] if args is None else args) or ["--help"]
        run = partial(super().main, written, "narrows", standalone_mode=False)
        with _show.notices_as_lines():
            sys.exit(_code(run))


def _function(name: str) -> Callable[..., None]:
    return getattr(importlib.import_module(f"narrows.cli.{name}"), name)


def _code(run: Callable[[], Any]) -> int:
    try:
        code = run() or 0
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (_UsageError, *_Mistake) as error:
        if os.environ.get("NARROWS_DEBUG"):
            raise
        _show.error(" ".join(_sentence(error).split()))
        return MISTAKE
    if code == INTERRUPTED:
        _show.error("Interrupted.")
    return code


def _sentence(error: Exception) -> str:
    """Return what a user did wrong, and what to write instead."""
    if isinstance(error, _UsageError):
        return _usage(error)
    if isinstance(error, OSError) and error.strerror:
        where = f" '{error.filename}'" if error.filename else ""
        return f"{error.strerror}:{where}." if where else f"{error.strerror}."
    if isinstance(error, MemoryError):
        return "The data do not fit in memory."
    return str(error) or type(error).__name__


def _usage(error: Any) -> str:
    path = error.ctx.command_path if error.ctx else "narrows"
    if not hasattr(error, "possibilities"):
        return f"{error.format_message().rstrip('.')}. See {path} --help."
    name, own = error.option_name, _options(error.ctx.command, error.ctx)
    fit = Commands().get_command(error.ctx, "fit")
    if error.ctx.info_name != "fit" and name in _options(fit, error.ctx):
        return f"There is no option {name!r} of {path}. It is one of narrows fit, for a new model."
    return f"There is no option {name!r}.{nearest(name, own) or f' See {path} --help.'}"


def _options(command: Any, ctx: Any) -> list[str]:
    return [name for param in command.get_params(ctx) for name in param.opts]


app = typer.Typer(cls=Commands, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def _narrows(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Find how many numbers describe a data set, which matter most, and how much each explains."""
    if version:
        print(f"narrows {__version__}")


def main() -> None:
    """Run the command line."""
    app(prog_name="narrows")
