"""What a page is made of: sections of tiles, text, tables, figures and code."""

import base64
import html
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

MAX_SVG = 250_000
MAX_PNG = 400_000
MAX_NAME = 28


class Html(str):
    """Text that is HTML already, and that the template does not escape."""

    def __html__(self) -> str:
        return self


@dataclass(frozen=True)
class Text:
    """A paragraph; a note is set apart."""

    text: str
    note: bool = False
    kind: str = "text"


@dataclass(frozen=True)
class Tiles:
    """Figures at a glance: value and what it is."""

    tiles: Sequence[tuple[str, str]]
    kind: str = "tiles"


@dataclass(frozen=True)
class Bar:
    """A cell with a bar behind its text, as long as a share from 0 to 1."""

    text: str
    share: float


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head; the first column names the row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Bar]]
    caption: str
    marked: int | None = None
    summary: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Figure:
    """A picture, its natural width in CSS pixels, and how it is defined."""

    picture: Html
    width: int
    caption: str
    kind: str = "figure"


@dataclass(frozen=True)
class Code:
    """Lines of code."""

    text: str
    kind: str = "code"


Block = Text | Tiles | Table | Figure | Code


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own."""

    name: str
    title: str
    blocks: Sequence[Block]


# Numbers and names


def number(value: float, digits: int = 4) -> str:
    """Return a number to some digits; a dash if there is none."""
    return f"{value:.{digits}g}".replace("-", "−") if np.isfinite(value) else "–"


def words(cell: object) -> bool:
    """Tell a cell of words, which stands at the left, from one of numbers.

    Examples
    --------
    >>> [words(cell) for cell in ("0.5 where it cannot tell", "yes", "1.2e−05", "8 × 8")]
    [True, True, False, False]
    """
    return isinstance(cell, str) and sum(map(str.isalpha, cell)) > 1


def share(value: float) -> str:
    """Return a fraction to three decimals; a dash if there is none."""
    text = f"{value:.3f}".replace("-0.000", "0.000").replace("-", "−")
    return text if np.isfinite(value) else "–"


def bar(value: float, spread: float | None = None) -> Bar:
    """Return a fraction, with its spread if there is one, as a cell with a bar."""
    text = share(value) + ("" if spread is None else f" ± {share(spread)}")
    return Bar(text, float(np.clip(value, 0, 1)) if np.isfinite(value) else 0.0)


def drawable(name: str, length: int = MAX_NAME) -> str:
    """Return a user's name as matplotlib may draw it: short, one line, without formulas."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    short = line if len(line) <= length else f"{line[: length - 1]}…"
    visible = f"\N{ZERO WIDTH SPACE}{short}" if short.startswith("_") else short
    return visible.replace("$", r"\$")


# Figures


def figure(drawn: Any, name: str, alt: str, caption: str) -> Figure:
    """Embed a matplotlib figure or axes: as SVG with its text, or where that is heavy as PNG."""
    canvas = drawn if hasattr(drawn, "savefig") else drawn.figure
    width = round(96 * canvas.get_figwidth())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        canvas.get_layout_engine().execute(canvas)  # once, not for every file
        canvas.set_layout_engine("none")
        return Figure(_svg(canvas, name, alt) or _png(canvas, alt), width, caption)


def _svg(canvas: Any, name: str, alt: str) -> Html | None:
    import matplotlib

    file = BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        canvas.savefig(file, format="svg", dpi=144, metadata={"Date": None})
    text = file.getvalue().decode()
    if len(text) > MAX_SVG:
        return None
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    label = f'<svg role="img" aria-label="{html.escape(alt)}" '
    return Html(label + text.removeprefix("<svg ").rstrip())


def _png(canvas: Any, alt: str) -> Html:
    for dpi in (144, 96, 60):
        file = BytesIO()
        canvas.savefig(file, format="png", dpi=dpi)
        if file.tell() < MAX_PNG:
            break
    data = base64.b64encode(file.getvalue()).decode()
    return Html(f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">')
