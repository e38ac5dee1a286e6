"""Drawn samples beside data."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from narrows.plots.events import MAX_BARS, Shape, draw_event
from narrows.plots.style import NEUTRAL, PALETTE, sheet, styled

if TYPE_CHECKING:
    import matplotlib.figure


@styled
def samples(
    real: Float[np.ndarray, "row *event"],
    drawn: Float[np.ndarray, "other *event"],
    *,
    n_events: int = 8,
    event_shape: Shape = None,
    feature_names: Sequence[str] | None = None,
    fig: "matplotlib.figure.FigureBase | None" = None,
) -> "matplotlib.figure.FigureBase":
    """Draw samples of a model below rows of the data: the first of each, on one scale.

    Parameters
    ----------
    real, drawn : array of shape (row, *event)
        Rows of the data and of the model, in the same units.
    n_events : int, default=8
        How many of each to draw, at most.
    event_shape : sequence of int, default=None
        Shape of an event, if events are flattened.
    feature_names : sequence of str, default=None
        Names of up to 12 values.
    fig : matplotlib Figure or SubFigure, default=None
        Where to draw; a new figure if not given.

    Returns
    -------
    matplotlib Figure
        Where it was drawn.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 30))
    >>> len(samples(x, -x, n_events=3).axes)
    6
    """
    n = max(1, min(n_events, len(real), len(drawn)))
    shown = np.stack([real[:n], drawn[:n]])
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    limits = (low, high if high > low else low + 1.0)
    images = len(event_shape or shown.shape[2:]) > 1
    named = feature_names is not None and shown[0, 0].size <= MAX_BARS
    fig = sheet(fig, 1.1 * n + 0.6 if images else 1.9 * n + 0.6, 2.6 if images else 3.6)
    axes = fig.subplots(2, n, squeeze=False, sharey=not images)
    sides = zip(axes, shown, ("data", "drawn"), (NEUTRAL, PALETTE[0]), strict=True)
    for line, events, name, colour in sides:
        below = feature_names if named and name == "drawn" else None
        for ax, event in zip(line, events, strict=True):
            draw_event(
                event,
                ax,
                event_shape=event_shape,
                limits=limits,
                feature_names=below,
                colour=colour,
            )
        line[0].set_ylabel(name)
    return fig
