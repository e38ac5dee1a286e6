"""Help pages: usage, description, options under headings, examples; made for 80 columns."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from typer.core import TyperCommand

WIDTH = 100  # columns at most, for readable lines
LEFT = 30  # columns of an option; beside a longer one nothing stands

Entry = tuple[str, str, str]  # what one writes, what it does, what it is by default


class Command(TyperCommand):
    """A command whose docstring is its help: first what it does, last Examples."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        text, examples = described(self.callback)
        panels: dict[str, list[Entry]] = {}
        for param in self.get_params(ctx):
            panels.setdefault(_heading(param), []).append(entry(param))
        arguments = [name for name, *_ in panels.get("Arguments", ())]
        usage = " ".join([ctx.command_path, *arguments, "[OPTIONS]"])
        formatter.write(page(usage, text, panels, examples))


def described(command: Callable[..., Any] | None) -> tuple[str, str]:
    """Return the docstring of a command without its Examples, and these."""
    doc = inspect.cleandoc(getattr(command, "__doc__", None) or "")
    text, _, examples = doc.partition("\n\nExamples\n--------\n")
    return text, examples


def page(usage: str, text: str, panels: dict[str, list[Entry]], examples: str = "") -> str:
    """Return a help page as wide as the terminal, coloured if there is one."""
    from rich.console import Console
    from rich.text import Text

    shown = Console(highlight=False)
    shown.width = min(shown.width, WIDTH)
    names = [name for entries in panels.values() for name, *_ in entries]
    left = max((len(name) for name in names if len(name) <= LEFT), default=LEFT)
    with shown.capture() as captured:
        shown.print(Text(usage), style="bold")
        for paragraph in text.split("\n\n"):
            shown.print("\n" + " ".join(paragraph.split()), markup=False)
        for heading, entries in panels.items():
            shown.print(f"\n[bold]{heading}[/]")
            shown.print(*_rows(entries, left), sep="\n")
        if examples:
            shown.print("\n[bold]Examples[/]")
            for line in examples.splitlines():
                style = "cyan" if line.startswith("$") else "dim"
                shown.print(Text("  " + line, style=style), soft_wrap=True)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _rows(entries: Iterable[Entry], width: int) -> Iterable[Any]:
    """Yield an entry as two columns, or below each other where the first is long."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    for name, text, default in entries:
        option, space, metavar = name.rpartition(" ") if " " in name else (name, "", "")
        left = Text.assemble((option, "cyan"), space, (metavar, "yellow"))
        right = Text.assemble(text, (f" [{default}]" if default else "", "dim"))
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=width, no_wrap=True)
        row.add_column()
        if len(name) > width:
            yield Padding(left, (0, 0, 0, 2))
            left = Text()
        row.add_row(left, right)
        yield Padding(row, (0, 0, 0, 2))


def _heading(param: Any) -> str:
    if param.param_type_name == "argument":
        return "Arguments"
    return getattr(param, "rich_help_panel", None) or "Options"


def entry(param: Any) -> Entry:
    """Return how an argument or option is written, what it does, and its default."""
    names = ", ".join(sorted(param.opts, key=len))
    metavar = "" if getattr(param, "is_flag", False) else param.metavar or ""
    name = metavar if param.param_type_name == "argument" else f"{names} {metavar}".strip()
    shown = getattr(param, "show_default", False)
    default = shown if isinstance(shown, str) else ""
    if shown is True and param.default not in (None, False):
        default = str(param.default)
    return name, param.help or "", "required" if param.required else default
