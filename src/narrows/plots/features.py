"""What components do to the features of a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from narrows.plots.style import (
    PALETTE,
    around,
    colour_bar,
    component_names,
    panels,
    sheet,
    styled,
    tidy,
)

if TYPE_CHECKING:
    import matplotlib.figure

MAX_LINES = len(PALETTE)
MAX_MAPS = 9


@styled
def responses(
    decoded: Float[np.ndarray, "component step feature"],
    values: Float[np.ndarray, "component step"],
    names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    *,
    circular: Sequence[int] = (),
    label: str = "decoded value",
    fig: "matplotlib.figure.FigureBase | None" = None,
) -> "matplotlib.figure.FigureBase":
    """Draw how features answer when one component runs and the others stay put.

    Use it for tables, whose features have no order among themselves; features should share a
    unit, such as their standard deviations. It shows the 10 features that move most along any
    component, in the same colours for all components.

    Parameters
    ----------
    decoded : array of shape (component, step, feature)
        Decoded rows.
    values : array of shape (component, step)
        The component's value at each step.
    names : sequence of str, default=None
        Names of the components; "component 1", ... if not given.
    feature_names : sequence of str, default=None
        Names of the features; "column 0", ... if not given.
    circular : sequence of int, default=()
        Which components are angles.
    label : str, default="decoded value"
        What is drawn upwards.
    fig : matplotlib Figure or SubFigure, default=None
        Where to draw; a new figure if not given.

    Returns
    -------
    matplotlib Figure
        Where it was drawn; one axes a component.

    Raises
    ------
    ValueError
        If the number of names is wrong.

    See Also
    --------
    narrows.plots.traversal : The same for images and curves.

    Examples
    --------
    >>> decoded = np.random.default_rng(0).normal(size=(2, 7, 4))
    >>> values = np.tile(np.linspace(-2, 2, 7), (2, 1))
    >>> len(responses(decoded, values, feature_names=["a", "b", "c", "d"]).axes)
    2
    """
    names = component_names(names, len(decoded))
    features = _feature_names(feature_names, decoded.shape[2])
    shown = _most_moved(decoded.reshape(-1, *decoded.shape[-2:]), MAX_LINES)
    rows, columns = panels(len(decoded))
    fig = sheet(fig, 2.9 * columns + 1.6, 2.5 * rows + 0.2)
    first: Any = None
    for k, name in enumerate(names):
        ax = tidy(fig.add_subplot(rows, columns, k + 1, sharey=first))
        first = first or ax
        for colour, j in zip(PALETTE, shown, strict=False):
            ax.plot(values[k], decoded[k, :, j], color=colour, label=features[j])
        ax.set_xlabel(name)
        ax.tick_params(labelleft=k % columns == 0)
        ax.margins(x=0.02)
        if k in circular:
            around(ax.xaxis)
    fig.supylabel(label, fontsize=9.5)
    handles, texts = first.get_legend_handles_labels()
    fig.legend(handles, texts, loc="outside right upper")
    return fig


@styled
def feature_maps(
    decoded: Float[np.ndarray, "first second feature"],
    first: Float[np.ndarray, "first"],
    second: Float[np.ndarray, "second"],
    names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    *,
    circular: Sequence[int] = (),
    label: str = "decoded value",
    fig: "matplotlib.figure.FigureBase | None" = None,
) -> "matplotlib.figure.FigureBase":
    """Draw each feature over the plane of two components.

    Use it for tables; features should share a unit, such as their standard deviations. It
    shows the 9 features that vary most over the plane, on one colour scale around 0.

    Parameters
    ----------
    decoded : array of shape (first, second, feature)
        Decoded rows: `decoded[i, j]` at `first[i]`, `second[j]`.
    first, second : array of shape (first,) and (second,)
        Values of the two components, increasing.
    names : sequence of two str, default=None
        Names of the two components; "component 1" and "component 2" if not given.
    feature_names : sequence of str, default=None
        Names of the features; "column 0", ... if not given.
    circular : sequence of int, default=()
        Which of the two components, 0 or 1, are angles.
    label : str, default="decoded value"
        What the colours are.
    fig : matplotlib Figure or SubFigure, default=None
        Where to draw; a new figure if not given.

    Returns
    -------
    matplotlib Figure
        Where it was drawn; one axes a feature, one for the colour scale.

    Raises
    ------
    ValueError
        If the number of names is wrong.

    See Also
    --------
    narrows.plots.decoded_grid : The same for images and curves.

    Examples
    --------
    >>> side = np.linspace(-2, 2, 5)
    >>> len(feature_maps(np.zeros((5, 5, 4)), side, side).axes)
    5
    """
    names = component_names(names, 2)
    features = _feature_names(feature_names, decoded.shape[2])
    shown = _most_moved(decoded.reshape(1, -1, decoded.shape[-1]), MAX_MAPS)
    rows, columns = panels(len(shown))
    fig = sheet(fig, 2.3 * columns + 1.0, 2.15 * rows + 0.4)
    grid = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    axes = grid[: len(shown)]
    for unused in grid[len(shown) :]:
        unused.remove()
    for lowest in axes[-columns:]:
        lowest.tick_params(labelbottom=True)
    largest = float(np.nanmax(np.abs(decoded[..., shown]), initial=0.0)) or 1.0
    style: Any = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, "origin": "lower"}
    style |= {"aspect": "auto", "interpolation": "bilinear"}
    extent = (first[0], first[-1], second[0], second[-1])
    for ax, j in zip(axes, shown, strict=True):
        picture = tidy(ax, grid=False).imshow(decoded[..., j].T, extent=extent, **style)
        ax.set_title(features[j])
        ax.tick_params(labelsize=7.5)
        for k in circular:
            around((ax.xaxis, ax.yaxis)[k])
    fig.supxlabel(names[0], fontsize=9.5)
    fig.supylabel(names[1], fontsize=9.5)
    colour_bar(fig, picture, axes.tolist(), label)
    return fig


def _feature_names(names: Sequence[str] | None, n: int) -> list[str]:
    if names is None:
        return [f"column {j}" for j in range(n)]
    if len(names) != n:
        raise ValueError(f"feature_names is {list(names)}. Pass {n} names.")
    return list(names)


def _most_moved(decoded: np.ndarray, n: int) -> list[int]:
    """Return, in their own order, the features of largest range along any leading index."""
    moved = np.ptp(decoded, axis=1).max(axis=0)
    return sorted(np.argsort(-moved, kind="stable")[:n].tolist())
