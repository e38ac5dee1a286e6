"""How well scores tell anomalies from normal rows."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from narrows.metrics import ROC, PrecisionRecall, SignificanceImprovement
from narrows.plots.style import MUTED, PALETTE, canvas, styled

if TYPE_CHECKING:
    import matplotlib.axes

MAX_POINTS = 1000
BAND: Any = {"alpha": 0.18, "linewidth": 0, "zorder": 2}
CHANCE: Any = {"color": MUTED, "linestyle": (0, (4, 3)), "linewidth": 1.0, "zorder": 1}
ABOVE: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1.01), "borderaxespad": 0}

R = TypeVar("R")


@styled
def plot_roc(
    curves: ROC | Mapping[str, ROC],
    ax: "matplotlib.axes.Axes | None" = None,
    *,
    log: bool = False,
) -> "matplotlib.axes.Axes":
    """Draw receiver operating characteristics with their intervals.

    Use it to compare scores. Each band joins the corners of the boxes that both intervals span
    at each threshold. More than ten curves repeat their colours.

    Parameters
    ----------
    curves : ROC or mapping of str to ROC
        One curve, or several by name.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if not given.
    log : bool, default=False
        Draw the background efficiency on a logarithmic axis, from one normal row on: for rare
        anomalies.

    Returns
    -------
    matplotlib Axes
        Where it was drawn.

    See Also
    --------
    narrows.metrics.roc : Computes the curve.

    Examples
    --------
    >>> from narrows.metrics import roc
    >>> y = np.repeat([0, 1], 50)
    >>> ax = plot_roc({"distance": roc(y, np.arange(100.0) % 60)})
    >>> ax.get_legend().get_texts()[0].get_text()
    'distance, area 0.520 ± 0.059'
    """
    ax = canvas(ax, 4.9, 4.4)
    floor = min(0.5, *(1 / c.n_background for _, c, _ in _named(curves))) if log else 0.0
    for name, curve, colour in _named(curves):
        shown = _thinned(len(curve.thresholds))
        signal, background = curve.signal[shown], curve.background[shown]
        label = f"area {curve.auc:.3f} ± {curve.auc_error:.3f}"
        across = np.concatenate([[0], background.low, [1], background.high[::-1]])
        up = np.concatenate([[0], signal.high, [1], signal.low[::-1]])
        ax.fill(across.clip(floor), up, color=colour, **BAND)
        ax.plot(
            background.value.clip(floor),
            signal.value,
            color=colour,
            label=f"{name}, {label}" if name else label,
        )
    chance = np.geomspace(floor, 1, 200) if log else np.array([0.0, 1.0])
    ax.plot(chance, chance, label="chance", **CHANCE)
    ax.set(xlabel="background efficiency", ylabel="signal efficiency", ylim=(0, 1.01))
    if log:
        ax.set_xscale("log")
    ax.set_xlim(floor, 1)
    ax.legend(loc="upper left" if log else "lower right")
    return ax


@styled
def plot_precision_recall(
    curves: PrecisionRecall | Mapping[str, PrecisionRecall],
    ax: "matplotlib.axes.Axes | None" = None,
) -> "matplotlib.axes.Axes":
    """Draw precision against recall, with the intervals of the precision.

    Use it to compare scores on the same rows. More than ten curves repeat their colours.

    Parameters
    ----------
    curves : PrecisionRecall or mapping of str to PrecisionRecall
        One curve, or several by name.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if not given.

    Returns
    -------
    matplotlib Axes
        Where it was drawn.

    See Also
    --------
    narrows.metrics.precision_recall : Computes the curve.

    Examples
    --------
    >>> from narrows.metrics import precision_recall
    >>> ax = plot_precision_recall(precision_recall(np.arange(9) % 2, np.arange(9.0)))
    >>> ax.get_ylabel()
    'precision'
    """
    ax = canvas(ax, 4.9, 4.8)
    for name, curve, colour in _named(curves):
        shown = np.append(0, _thinned(len(curve.thresholds)))
        recall, precision = curve.recall.value[shown], curve.precision[shown]
        recall[0] = 0.0
        label = f"average precision {curve.average_precision:.2f}"
        ax.fill_between(recall, precision.low, precision.high, color=colour, step="pre", **BAND)
        ax.plot(
            recall,
            precision.value,
            color=colour,
            drawstyle="steps-pre",
            label=f"{name}, {label}" if name else label,
        )
    for i, share in enumerate(sorted({curve.prevalence for _, curve, _ in _named(curves)})):
        ax.axhline(share, label="_chance" if i else "chance", **CHANCE)
    ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.01))
    ax.legend(**ABOVE)
    return ax


@styled
def plot_significance_improvement(
    curves: SignificanceImprovement | Mapping[str, SignificanceImprovement],
    ax: "matplotlib.axes.Axes | None" = None,
) -> "matplotlib.axes.Axes":
    """Draw the significance improvement against the signal efficiency, with its intervals.

    Use it to choose a cut. Where too few normal rows pass for the relative error asked for, the
    curve is left out; a dot marks the maximum of the rest. More than ten curves repeat their
    colours.

    Parameters
    ----------
    curves : SignificanceImprovement or mapping of str to SignificanceImprovement
        One curve, or several by name.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if not given.

    Returns
    -------
    matplotlib Axes
        Where it was drawn.

    See Also
    --------
    narrows.metrics.significance_improvement : Computes the curve.

    Examples
    --------
    >>> from narrows.metrics import significance_improvement
    >>> y = np.repeat([0, 1], 100)
    >>> ax = plot_significance_improvement(significance_improvement(y, np.arange(200.0) % 150))
    >>> ax.get_xlabel()
    'signal efficiency'
    """
    ax = canvas(ax, 5.6, 4.4)
    for name, curve, colour in _named(curves):
        counted = np.flatnonzero(curve.counted)
        shown = counted[_thinned(len(counted))]
        drawn = replace(
            curve,
            thresholds=curve.thresholds[shown],
            signal=curve.signal[shown],
            background=curve.background[shown],
        )
        across, label = drawn.signal.value, f"maximum {curve.maximum:.2f}"
        ax.fill_between(across, drawn.low, drawn.high, color=colour, **BAND)
        ax.plot(across, drawn.value, color=colour, label=f"{name}, {label}" if name else label)
        at = curve.signal.value[curve.best], curve.maximum
        ax.plot(*at, "o", color=colour, markersize=6, markeredgecolor="white")
    chance = np.linspace(0, 1, 200)
    ax.plot(chance, np.sqrt(chance), label="chance", **CHANCE)
    ax.set(xlabel="signal efficiency", ylabel="significance improvement", xlim=(0, 1))
    ax.set_ylim(bottom=0)
    ax.legend(**ABOVE)
    return ax


def _named(curves: R | Mapping[str, R]) -> Iterator[tuple[str, R, str]]:
    """Yield name, curve and colour; a lone curve has no name."""
    named = curves if isinstance(curves, Mapping) else {"": curves}
    for i, (name, curve) in enumerate(named.items()):
        yield name, curve, PALETTE[i % len(PALETTE)]


def _thinned(n: int) -> np.ndarray:
    """Return which of n points to draw: all of few, of many more at the start and both ends."""
    if n <= MAX_POINTS:
        return np.arange(n)
    even, early = np.linspace(0, n - 1, MAX_POINTS // 2), np.geomspace(1, n, MAX_POINTS // 2) - 1
    return np.unique(np.concatenate([even, early]).astype(int))
