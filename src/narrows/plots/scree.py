"""How much each component explains, and how many are enough."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from narrows.plots.style import INK, MARKERS, MUTED, PALETTE, canvas, component_axis, styled

if TYPE_CHECKING:
    import matplotlib.axes

LABEL = "fraction of variance explained"
LINE: Any = {
    "markeredgecolor": "white",
    "markeredgewidth": 0.7,
    "markersize": 6.5,
    "elinewidth": 1.1,
    "capsize": 3,
    "capthick": 1.1,
    "zorder": 3,
}


@styled
def scree(
    fve: Float[np.ndarray, "component"],
    fve_spread: Float[np.ndarray, "component"] | None = None,
    reference: Float[np.ndarray, "component"] | None = None,
    reference_label: str = "PCA",
    elbow: int | None = None,
    ax: "matplotlib.axes.Axes | None" = None,
) -> "matplotlib.axes.Axes":
    """Draw what 1..K components explain together, and what each adds.

    Use it to choose a number of components. Increments may be negative and are shown as they
    are.

    Parameters
    ----------
    fve : array of shape (component,)
        Fraction of variance explained by the first 1..K components.
    fve_spread : array of shape (component,), default=None
        Half length of the error bars, for instance the standard deviation over restarts.
    reference : array of shape (component,), default=None
        The same fraction for another method.
    reference_label : str, default="PCA"
        Name of that method.
    elbow : int, default=None
        Number of components to point at, from 1 to K.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if not given.

    Returns
    -------
    matplotlib Axes
        Where it was drawn.

    See Also
    --------
    narrows.metrics.elbow : Proposes the elbow.

    Examples
    --------
    >>> ax = scree(np.array([0.5, 0.7, 0.8]), reference=np.array([0.3, 0.5, 0.6]), elbow=2)
    >>> ax.get_xlabel()
    'number of components'
    """
    ax = canvas(ax)
    k = np.arange(1, len(fve) + 1)
    _line(ax, k, fve, fve_spread, PALETTE[0], "o", "cumulative")
    if reference is not None:
        ax.plot(k, reference, "--o", color=MUTED, markersize=3.5, label=reference_label)
    ax.bar(k, np.diff(fve, prepend=0.0), 0.62, color=PALETTE[0], alpha=0.3, label="increment")
    if elbow is not None:
        _point_at(ax, elbow, float(fve[elbow - 1]))
    _finish(ax, k)
    ax.axhline(0.0, color=MUTED, linewidth=0.7, zorder=1)
    return ax


@styled
def comparison(
    curves: Mapping[str, Float[np.ndarray, "n"]],
    n_components: Int[np.ndarray, "n"],
    spread: Mapping[str, Float[np.ndarray, "n"]] | None = None,
    ax: "matplotlib.axes.Axes | None" = None,
    *,
    label: str = LABEL,
) -> "matplotlib.axes.Axes":
    """Draw the held-out FVE of several models, or another figure, against their components.

    Use it to compare models at equal dimension, on the same split. More than ten curves repeat
    their colours.

    Parameters
    ----------
    curves : mapping of str to array of shape (n,)
        Fraction of variance explained of each model, or what `label` says; NaN where one was not
        fitted.
    n_components : array of shape (n,)
        Numbers of components, in increasing order.
    spread : mapping of str to array of shape (n,), default=None
        Half length of the error bars of some or all models.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if not given.
    label : str
        What the curves are, if not the FVE.

    Returns
    -------
    matplotlib Axes
        Where it was drawn.

    Examples
    --------
    >>> curves = {"PCA": np.array([0.3, 0.5]), "HierarchicalAutoencoder": np.array([0.5, 0.7])}
    >>> len(comparison(curves, np.array([1, 2])).get_legend().get_texts())
    2
    """
    ax = canvas(ax)
    for i, (name, fve) in enumerate(curves.items()):
        bars = (spread or {}).get(name)
        style = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
        _line(ax, n_components, fve, bars, *style, name)
    _finish(ax, n_components, label)
    return ax


def _line(
    ax: "matplotlib.axes.Axes",
    k: np.ndarray,
    fve: np.ndarray,
    spread: np.ndarray | None,
    colour: str,
    marker: str,
    label: str,
) -> None:
    bars = ax.errorbar(k, fve, spread, color=colour, marker=marker, **LINE)
    bars.lines[0].set_label(label)


def _point_at(ax: "matplotlib.axes.Axes", k: int, fve: float) -> None:
    ax.annotate(
        f"elbow: {k}",
        (k, fve),
        xytext=(0, 20),
        textcoords="offset points",
        ha="center",
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.8, "shrinkB": 5},
        zorder=6,
    )


def _finish(ax: "matplotlib.axes.Axes", k: np.ndarray, label: str = LABEL) -> None:
    component_axis(ax, k.tolist())
    ax.set_ylim(top=max(1.0, ax.get_ylim()[1]))
    if ax.get_ylim()[0] > 0:
        ax.set_ylim(bottom=0)
    ax.set(xlabel="number of components", ylabel=label)
    ax.legend(loc="best")
