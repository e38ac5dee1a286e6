"""What the commands print: results on stdout, everything else on stderr, one line each."""

import json
import logging
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

BAR = 20  # cells of a bar that stands for 1


@cache
def console(*, stderr: bool = False) -> "Console":
    """Return where to print; colours and bars only where a person is looking."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def line(text: str) -> None:
    """Print a line that may hold rich's markup, and is never wrapped."""
    console().print(text, soft_wrap=True)


def command(text: str) -> None:
    """Print a command to copy, indented."""
    console().print(f"  {text}", style="cyan", markup=False, soft_wrap=True)


def path(name: str) -> str:
    """Return the markup of a file's name, whatever brackets it has."""
    from rich.markup import escape

    return f"[bold]{escape(name)}[/]"


def error(message: str) -> None:
    """Print what went wrong as one line on stderr."""
    _say("[bold red]narrows:[/]", message)


def warning(message: str) -> None:
    """Print what a user should know as one line on stderr."""
    _say("[yellow]narrows: warning:[/]", message)


def _say(who: str, message: str) -> None:
    shown = console(stderr=True)
    shown.print(who, end=" ")
    shown.print(message, markup=False, soft_wrap=True)


def as_json(result: Any) -> None:
    """Print a result for a program to read."""
    print(json.dumps(_plain(result), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """Return lists, dicts and finite numbers; NaN and infinity, which JSON lacks, are null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """Send what libraries print, progress bars for instance, to stderr."""
    with redirect_stdout(sys.stderr):
        yield


class _Lines(logging.Handler):
    """Prints what the package logs for its user as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        console(stderr=True).print(f"narrows: {record.getMessage()}", soft_wrap=True, markup=False)


@contextmanager
def notices_as_lines() -> Iterator[None]:
    """Print warnings to the user, each once, and what is logged, as lines on stderr.

    Warnings to programmers are hidden.
    """
    seen, log, lines = set(), logging.getLogger("narrows"), _Lines(logging.INFO)

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in seen:
            seen.add(text)
            warning(text)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        before = log.level
        log.setLevel(logging.INFO)
        log.addHandler(lines)
        try:
            yield
        finally:
            log.removeHandler(lines)
            log.setLevel(before)


def progress(steps: range) -> Iterator[int]:
    """Yield steps, with a bar on stderr where a person is watching."""
    if not interactive():
        yield from steps
        return
    from rich.progress import track

    yield from track(steps, description="", console=console(stderr=True), transient=True)


def interactive() -> bool:
    """Return whether a person is watching stderr."""
    return sys.stderr.isatty()


# Tables


def table(*columns: str) -> "Table":
    """Return an empty table whose columns, but for the first, are numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, header_style="bold", collapse_padding=True)
    made.show_edge = made.pad_edge = False
    for k, column in enumerate(columns):
        made.add_column(column, justify="right" if k else "left", no_wrap=True)
    return made


def fve_table(
    fve: Sequence[float],
    n_components: int,
    *,
    label: str,
    spread: Sequence[float] | None = None,
    reference: Sequence[float] | None = None,
) -> "Table":
    """Return a table of explained variance: one row per component, PCA beside it if given.

    Parameters
    ----------
    fve : sequence of float
        Of the first 1..K components; one number if nothing ranks them.
    n_components : int
        K.
    label : str
        Which rows it was measured on.
    spread : sequence of float, optional
        Standard deviation over restarts.
    reference : sequence of float, optional
        PCA's, for 1..K components.
    """
    ranked = len(fve) == n_components
    levels = range(n_components) if ranked else [n_components - 1]
    columns = {"component" if ranked else "components": [str(k + 1) for k in levels]}
    widths = [""] * len(fve) if spread is None else [f" ± {width:.3f}" for width in spread]
    columns[f"{label} FVE".strip()] = [number(a) + b for a, b in zip(fve, widths, strict=True)]
    if ranked:
        before = (0.0, *fve[:-1])
        columns["increment"] = [number(a - b) for a, b in zip(fve, before, strict=True)]
    marks = [None if reference is None else reference[k] for k in levels]
    if reference is not None:
        columns["PCA"] = [number(reference[k]) for k in levels]
    made = table(*columns)
    made.add_column("" if reference is None else "┿ PCA", no_wrap=True)
    bars = [bar(value, mark) for value, mark in zip(fve, marks, strict=True)]
    for cells in zip(*columns.values(), bars, strict=True):
        made.add_row(*cells)
    return made


def facts(facts: dict[str, str], style: str = "dim") -> None:
    """Print names and values below each other."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2))
    made.add_column(style=style, no_wrap=True)
    made.add_column()
    for name, value in facts.items():
        made.add_row(Text(f"  {name}"), Text(value))
    console().print(made)


def number(value: float) -> str:
    """Return a fraction with three decimals; a dash if there is none."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def bar(value: float, reference: float | None = None) -> str:
    """Return a bar of a fraction, with a mark at a reference."""
    cells = ["━"] * _cells(value) + [" "] * (BAR - _cells(value))
    left, mark, right = "".join(cells), "", ""
    if reference is not None and reference > 0:
        at = max(_cells(reference), 1)
        left, mark = "".join(cells[: at - 1]), "┿" if cells[at - 1] == "━" else "│"
        right = "".join(cells[at:])
    return f"[cyan]{left}[/][yellow]{mark}[/][cyan]{right.rstrip()}[/]"


def _cells(value: float) -> int:
    return round(BAR * min(max(value, 0.0), 1.0))
