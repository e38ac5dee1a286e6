"""Where the samples lie in the space of the code."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from narrows.plots.style import (
    NEUTRAL,
    PALETTE,
    around,
    colour_bar,
    component_names,
    gradient,
    sheet,
    styled,
    tidy,
)

if TYPE_CHECKING:
    import matplotlib.figure

MAX_COMPONENTS = 5
MAX_POINTS = 2000
ANY = "all samples"
OTHER = "other"
PALE = "#cfd6db"

Grid = dict[tuple[int, int], Any]
Groups = dict[str, tuple[np.ndarray, str]]


@styled
def code_scatter(
    codes: Float[np.ndarray, "row component"],
    labels: Shaped[np.ndarray, "row"] | None = None,
    circular: Sequence[int] = (),
    names: Sequence[str] | None = None,
    fig: "matplotlib.figure.FigureBase | None" = None,
) -> "matplotlib.figure.FigureBase":
    """Draw every pair of components as a scatter plot, and each one's histogram.

    Use it to see clusters, curved dependence and collapsed components. It shows the first 5
    components and at most 2000 rows, drawn with a fixed seed.

    Parameters
    ----------
    codes : array of shape (row, component)
        Codes; angles in radians.
    labels : array of shape (row,), default=None
        Colours: one for each of up to 10 distinct labels, a colour scale for more distinct
        numbers; of more than 10 names the 9 most frequent and "other".
    circular : sequence of int, default=()
        Which components are angles; they are drawn from -π to π.
    names : sequence of str, default=None
        Names of all components; "component 1", ... if not given.
    fig : matplotlib Figure or SubFigure, default=None
        Where to draw; a new figure if not given.

    Returns
    -------
    matplotlib Figure
        Where it was drawn; K (K + 1) / 2 axes, the lower triangle.

    Raises
    ------
    ValueError
        If the number of names is wrong.

    Examples
    --------
    >>> codes = np.random.default_rng(0).normal(size=(50, 3))
    >>> len(code_scatter(codes, labels=np.arange(50) % 2).axes)
    6
    """
    names = component_names(names, codes.shape[1])
    chosen = np.random.default_rng(0).permutation(len(codes))[:MAX_POINTS]
    shown = codes[chosen, :MAX_COMPONENTS]
    angles = [k for k in circular if k < shown.shape[1]]
    shown[:, angles] = np.angle(np.exp(1j * shown[:, angles]))
    side = 1.2 + 1.55 * max(shown.shape[1], 2)
    fig = sheet(fig, side + 0.4, side)
    grid = _triangle(fig, shown.shape[1])
    _fill(fig, grid, shown, None if labels is None else np.asarray(labels)[chosen])
    _label(grid, names)
    for k in angles:
        _wrap(grid, k)
    return fig


def _triangle(fig: "matplotlib.figure.FigureBase", n: int) -> Grid:
    """Return the axes at and below the diagonal, by row and column; columns share their x."""
    cells = fig.add_gridspec(n, n)
    grid: Grid = {}
    for column in range(n):
        for row in range(n - 1, column - 1, -1):
            below = grid.get((n - 1, column))
            left = grid.get((row, 0)) if row != column else None
            grid[row, column] = tidy(fig.add_subplot(cells[row, column], sharex=below, sharey=left))
    return grid


def _fill(
    fig: "matplotlib.figure.FigureBase", grid: Grid, codes: np.ndarray, labels: np.ndarray | None
) -> None:
    if labels is not None and len(np.unique(labels)) > len(PALETTE) and labels.dtype.kind in "iuf":
        scale = gradient(labels)
        _draw(grid, codes, {ANY: (np.ones(len(codes), dtype=bool), NEUTRAL)}, scale.to_rgba(labels))
        if len(grid) > 1:
            colour_bar(fig, scale, list(grid.values()), "label")
        return
    groups = _groups(labels, len(codes))
    colours = np.empty(len(codes), dtype="U7")
    for members, colour in groups.values():
        colours[members] = colour
    _draw(grid, codes, groups, colours)
    if labels is not None:
        _legend(fig, grid)


def _draw(grid: Grid, codes: np.ndarray, groups: Groups, colours: np.ndarray) -> None:
    """Draw histograms, of two groups one over the other, of more stacked; and points in order."""
    style: Any = {"s": 16 if len(codes) < 300 else 9, "alpha": 0.7, "linewidths": 0}
    for (row, column), ax in grid.items():
        if row == column:
            parts = [codes[members, row] for members, _ in groups.values()]
            fills = [colour for _, colour in groups.values()]
            if len(groups) == 2:  # to be compared, as codes are with a prior
                look: Any = {"histtype": "stepfilled", "alpha": 0.5}
            else:
                look = {"stacked": True}
            ax.hist(parts, bins=30, color=fills, label=list(groups), **look)
        else:
            ax.scatter(codes[:, column], codes[:, row], c=colours, rasterized=True, **style)


def _groups(labels: np.ndarray | None, n_rows: int) -> Groups:
    """Return the members and the colour of each group of rows, by name."""
    if labels is None:
        return {ANY: (np.ones(n_rows, dtype=bool), PALETTE[0])}
    kinds, member, counts = np.unique(labels, return_inverse=True, return_counts=True)
    n_shown = len(kinds) if len(kinds) <= len(PALETTE) else len(PALETTE) - 1
    shown = np.sort(np.argsort(-counts, kind="stable")[:n_shown])
    groups = {str(kinds[k]): (member == k, PALETTE[i]) for i, k in enumerate(shown)}
    if len(shown) < len(kinds):
        groups[OTHER] = (~np.isin(member, shown), PALE)
    return groups


def _legend(fig: "matplotlib.figure.FigureBase", grid: Grid) -> None:
    """Put the names into the empty upper triangle, or beside a lone histogram."""
    handles, names = grid[0, 0].get_legend_handles_labels()
    ncols = 2 if len(names) > 6 and len(grid) > 3 else 1
    place: Any = "upper right" if len(grid) > 1 else "outside right upper"
    fig.legend(handles, names, loc=place, handlelength=1.0, ncols=ncols)


def _label(grid: Grid, names: Sequence[str]) -> None:
    """Name the outer axes; hide what inner axes would repeat."""
    last = max(grid)[0]
    for (row, column), ax in grid.items():
        inner = row < last
        ax.tick_params(labelbottom=not inner, labelleft=column == 0 and row != 0)
        ax.set_xlabel("" if inner else names[column])
        ax.set_ylabel(names[row] if column == 0 and row != 0 else "")
        if row == column:
            ax.tick_params(left=False)
            ax.spines["left"].set_visible(False)
            ax.grid(False)


def _wrap(grid: Grid, component: int) -> None:
    """Draw one component's axes from -π to π."""
    for row, column in grid:
        ax = grid[row, column]
        if column == component:
            ax.set_xlim(-np.pi, np.pi)
            around(ax.xaxis)
        elif row == component:
            ax.set_ylim(-np.pi, np.pi)
            around(ax.yaxis)
