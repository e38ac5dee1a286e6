"""Square tables of numbers between components or restarts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from narrows.plots.style import GRID, INK, Limits, bare, canvas, colour_bar, component_names, styled

if TYPE_CHECKING:
    import matplotlib.axes

MAX_ANNOTATED = 12


@styled
def matrix(
    values: Float[np.ndarray, "n n"],
    labels: Sequence[str] | None = None,
    ax: "matplotlib.axes.Axes | None" = None,
    *,
    limits: Limits | None = None,
    label: str = "",
) -> "matplotlib.axes.Axes":
    """Draw a square matrix as an annotated heat map.

    Use it for the agreement between restarts or the dependence between components. Colours run
    from white, both ways where values may be negative. Above 12 rows the numbers would not fit
    and are left out.

    Parameters
    ----------
    values : array of shape (n, n)
        What to draw; what is not finite stays grey and unmarked.
    labels : sequence of str, default=None
        Names of the n rows and columns; "component 1", ... if not given.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if not given.
    limits : (float, float), default=None
        Values of the ends of the colour scale; from the values if not given. A negative lower
        end selects the diverging scale.
    label : str, default=""
        What the numbers are, written beside the colour scale.

    Returns
    -------
    matplotlib Axes
        Where it was drawn.

    Raises
    ------
    ValueError
        If the number of labels is wrong.

    Examples
    --------
    >>> len(matrix(np.eye(3), label="rank correlation").texts)
    9
    """
    names = component_names(labels, len(values))
    size = 2.2 + 0.55 * min(len(values), MAX_ANNOTATED)
    ax = bare(canvas(ax, size + 0.9, size))
    low, high = _limits(values) if limits is None else limits
    colours = "RdBu_r" if low < 0 else "Blues"
    ax.set_facecolor(GRID)
    shown = np.ma.masked_invalid(values)
    picture = ax.imshow(shown, cmap=colours, vmin=low, vmax=high)
    ticks = range(len(values))
    ax.set_xticks(ticks, names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(ticks, names)
    ax.tick_params(length=0)
    ax.grid(False)
    if len(values) <= MAX_ANNOTATED:
        _annotate(ax, values, (low, high))
    colour_bar(ax.figure, picture, ax, label)
    return ax


def _limits(values: np.ndarray) -> Limits:
    finite = values[np.isfinite(values)]
    largest = float(np.abs(finite).max(initial=0.0)) or 1.0
    return (-largest if (finite < 0).any() else 0.0), largest


def _annotate(ax: "matplotlib.axes.Axes", values: np.ndarray, limits: Limits) -> None:
    """Write each number, white on dark cells."""
    low, high = limits
    middle, half = ((low + high) / 2, (high - low) / 2) if low < 0 else (low, high - low)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            dark = abs(value - middle) > 0.6 * half
            colour = "white" if dark else INK
            text = f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
            ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=8.5)
