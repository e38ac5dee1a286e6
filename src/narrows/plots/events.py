"""Samples as what they are: images, curves or a few numbers."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from narrows.plots.style import (
    GRID,
    IMAGE_COLOURS,
    MUTED,
    NEUTRAL,
    PALETTE,
    Limits,
    bare,
    colour_bar,
    component_names,
    gradient,
    panels,
    sheet,
    styled,
    tidy,
)

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

MAX_BARS = 12
Shape = Sequence[int] | None


@styled
def draw_event(
    event: Float[np.ndarray, "*event"],
    ax: "matplotlib.axes.Axes",
    *,
    event_shape: Shape = None,
    limits: Limits | None = None,
    feature_names: Sequence[str] | None = None,
    colour: str = PALETTE[0],
) -> "matplotlib.axes.Axes":
    """Draw one sample as an image, a curve or bars.

    Two axes are an image; three an image with its channels first (three are red, green and
    blue, any other number is averaged, as are all further leading axes); one axis is a curve,
    or bars up to 12 values. A flattened image is a curve unless `event_shape` says otherwise.

    Parameters
    ----------
    event : array of shape (*event,)
        One sample; what is NaN stays blank.
    ax : matplotlib Axes
        Where to draw.
    event_shape : sequence of int, default=None
        Shape of the event, if `event` is flattened.
    limits : (float, float), default=None
        Ends of the colour scale, or of the y axis; from the values if not given.
    feature_names : sequence of str, default=None
        Names under the bars.
    colour : str, default="#3f90da"
        Colour of curve or bars.

    Returns
    -------
    matplotlib Axes
        Where it was drawn.

    Raises
    ------
    ValueError
        If `event_shape` does not hold as many values as the event.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = draw_event(np.arange(64.0), Figure().subplots(), event_shape=(8, 8))
    >>> len(ax.images)
    1
    """
    event = _unflatten(event, event_shape, n_leading=0)
    if event.ndim > 1:
        low, high = _range(event) if limits is None else limits
        bare(ax).imshow(_as_image(event, (low, high)), cmap=IMAGE_COLOURS, vmin=low, vmax=high)
        return ax
    tidy(ax)
    if len(event) > MAX_BARS:
        ax.plot(event, color=colour, linewidth=1.3)
        ax.margins(x=0)
    else:
        ax.bar(np.arange(len(event)), event, 0.7, color=colour)
        _name_features(ax, len(event), feature_names)
    ax.set_ylim(limits)
    return ax


@styled
def traversal(
    decoded: Float[np.ndarray, "component step *event"],
    values: Float[np.ndarray, "component step"],
    names: Sequence[str] | None = None,
    event_shape: Shape = None,
    *,
    limits: Limits | None = None,
    feature_names: Sequence[str] | None = None,
    fig: "matplotlib.figure.FigureBase | None" = None,
) -> "matplotlib.figure.FigureBase":
    """Draw what changes along each component while the others stay put.

    Images make a grid, one row a component; curves and short events lie over each other, one
    axes a component, coloured by the component's value.

    Parameters
    ----------
    decoded : array of shape (component, step, *event)
        Decoded events.
    values : array of shape (component, step)
        The component's value at each step.
    names : sequence of str, default=None
        Names of the components; "component 1", ... if not given.
    event_shape : sequence of int, default=None
        Shape of an event, if events are flattened.
    limits : (float, float), default=None
        Ends of the colour scale, or of the y axis; from the values if not given.
    feature_names : sequence of str, default=None
        Names of up to 12 values.
    fig : matplotlib Figure or SubFigure, default=None
        Where to draw; a new figure if not given.

    Returns
    -------
    matplotlib Figure
        Where it was drawn.

    Raises
    ------
    ValueError
        If `event_shape` does not hold as many values as an event, or the number of names is
        wrong.

    Examples
    --------
    >>> decoded = np.zeros((2, 5, 64))
    >>> values = np.tile(np.linspace(-2, 2, 5), (2, 1))
    >>> len(traversal(decoded, values, event_shape=(8, 8)).axes)
    10
    """
    decoded = _unflatten(decoded, event_shape, n_leading=2)
    names = component_names(names, len(decoded))
    limits = _range(decoded) if limits is None else limits
    if decoded.ndim > 3:
        return _traverse_images(decoded, values, names, limits, fig)
    return _traverse_curves(decoded, values, names, limits, feature_names, fig)


@styled
def decoded_grid(
    decoded: Float[np.ndarray, "first second *event"],
    first: Float[np.ndarray, "first"],
    second: Float[np.ndarray, "second"],
    names: Sequence[str] | None = None,
    event_shape: Shape = None,
    *,
    limits: Limits | None = None,
    fig: "matplotlib.figure.FigureBase | None" = None,
) -> "matplotlib.figure.FigureBase":
    """Draw what every point of a plane of two components decodes to.

    One tile a point: images, or curves over their zero on a common scale. The first component
    runs to the right, the second upwards.

    Parameters
    ----------
    decoded : array of shape (first, second, *event)
        Decoded events: `decoded[i, j]` at `first[i]`, `second[j]`.
    first, second : array of shape (first,) and (second,)
        Values of the two components, increasing.
    names : sequence of two str, default=None
        Names of the two components; "component 1" and "component 2" if not given.
    event_shape : sequence of int, default=None
        Shape of an event, if events are flattened.
    limits : (float, float), default=None
        Ends of the colour scale, or of the y axes; from the values if not given.
    fig : matplotlib Figure or SubFigure, default=None
        Where to draw; a new figure if not given.

    Returns
    -------
    matplotlib Figure
        Where it was drawn.

    Raises
    ------
    ValueError
        If `event_shape` does not hold as many values as an event, or the number of names is
        wrong.

    Examples
    --------
    >>> side = np.linspace(-2, 2, 5)
    >>> len(decoded_grid(np.zeros((5, 5, 8, 8)), side, side).axes)
    1
    """
    decoded = _unflatten(decoded, event_shape, n_leading=2)
    names = component_names(names, 2)
    limits = _range(decoded) if limits is None else limits
    fig = sheet(fig, 5.6, 5.6)
    ax = bare(fig.subplots())
    extent = (-0.5, len(first) - 0.5, -0.5, len(second) - 0.5)
    if decoded.ndim > 3:
        _mosaic(ax, decoded, limits, extent)
    else:
        _multiples(ax, decoded, limits)
    ax.axis(extent)
    _tile_ticks(ax.set_xticks, first)
    _tile_ticks(ax.set_yticks, second)
    ax.tick_params(which="both", length=0)
    ax.set(xlabel=names[0], ylabel=names[1])
    return fig


@styled
def reconstructions(
    original: Float[np.ndarray, "row *event"],
    reconstructed: Float[np.ndarray, "row *event"],
    error: Float[np.ndarray, "row"],
    *,
    n_events: int = 5,
    event_shape: Shape = None,
    feature_names: Sequence[str] | None = None,
    fig: "matplotlib.figure.FigureBase | None" = None,
) -> "matplotlib.figure.FigureBase":
    """Draw the samples that are reconstructed best and worst, with their errors.

    Images stand above their reconstructions, all on one scale; curves and short events lie over
    each other, the best on a scale of their own.

    Parameters
    ----------
    original, reconstructed : array of shape (row, *event)
        Samples and their reconstructions, in the same units.
    error : array of shape (row,)
        Error of each sample, smaller is better.
    n_events : int, default=5
        How many of each kind to draw, at least 1; at most half of the rows are drawn.
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

    Raises
    ------
    ValueError
        If `event_shape` does not hold as many values as an event.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 30))
    >>> len(reconstructions(x, 0.9 * x, (x**2).sum(axis=1), n_events=3).axes)
    6
    """
    pairs = _unflatten(np.stack([original, reconstructed], axis=1), event_shape, n_leading=2)
    n = max(1, min(n_events, len(error) // 2))
    order = np.argsort(error)
    chosen = {"reconstructed best": order[:n], "reconstructed worst": order[::-1][:n]}
    limits = _range(pairs[np.concatenate(list(chosen.values()))])
    images = pairs.ndim > 3
    fig = sheet(fig, *((1.1 * 2 * n + 0.6, 3.0) if images else (1.9 * n + 0.6, 4.7)))
    bars = pairs.shape[-1] <= MAX_BARS
    heights = (1.0, 1.7) if bars and feature_names else (1.0, 1.0)  # names below the second only
    parts: Any = fig.subfigures(1, 2) if images else fig.subfigures(2, 1, height_ratios=heights)
    for part, (title, rows) in zip(parts, chosen.items(), strict=True):
        part.suptitle(title)
        if images:
            _pair_images(part, pairs[rows], error[rows], limits)
        else:
            _pair_curves(part, pairs[rows], error[rows], feature_names)
    if not images:
        _name_pair(fig)
    if heights[1] > 1:
        for ax in parts[0].axes:
            ax.tick_params(labelbottom=False)
    return fig


def _unflatten(events: np.ndarray, event_shape: Shape, n_leading: int) -> np.ndarray:
    """Give events their shape back, behind `n_leading` axes."""
    if event_shape is None:
        return events
    leading, event = events.shape[:n_leading], events.shape[n_leading:]
    if np.prod(event) != np.prod(event_shape):
        raise ValueError(
            f"event_shape is {tuple(event_shape)}, an event holds {np.prod(event)} values. "
            "Pass a shape of as many values."
        )
    return events.reshape(*leading, *event_shape)


def _range(values: np.ndarray) -> Limits:
    """Return the least and the greatest finite value, not equal."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return low, high if high > low else low + 1.0


def _margin(limits: Limits) -> Limits:
    pad = 0.05 * (limits[1] - limits[0])
    return limits[0] - pad, limits[1] + pad


def _as_image(event: np.ndarray, limits: Limits) -> np.ndarray:
    """Return (height, width), or (height, width, 3) from 0 to 1 for three channels."""
    if event.ndim == 3 and len(event) == 3:
        low, high = limits
        return np.asarray(np.clip((np.moveaxis(event, 0, -1) - low) / (high - low), 0, 1))
    leading = tuple(range(event.ndim - 2))
    return event.mean(axis=leading) if leading else event


def _name_features(ax: "matplotlib.axes.Axes", n: int, names: Sequence[str] | None) -> None:
    ax.grid(False, axis="x")
    ax.axhline(0.0, color=MUTED, linewidth=0.7)
    if names is None:
        ax.set_xticks(range(n), [str(i) for i in range(n)])
    else:
        ax.set_xticks(range(n), names, rotation=40, ha="right", rotation_mode="anchor")


def _short(values: np.ndarray) -> list[str]:
    """Return numbers to two digits, and whole ones without an exponent."""
    formats = [".0f" if 10 <= abs(value) < 1e5 else ".2g" for value in values]
    return [f"{v + 0.0:{form}}".replace("-", "−") for v, form in zip(values, formats, strict=True)]


def _traverse_images(
    decoded: np.ndarray,
    values: np.ndarray,
    names: Sequence[str],
    limits: Limits,
    fig: "matplotlib.figure.FigureBase | None",
) -> "matplotlib.figure.FigureBase":
    n, steps = decoded.shape[:2]
    fig = sheet(fig, 0.95 * steps + 0.7, 1.15 * n + 0.1)
    axes = fig.subplots(n, steps, squeeze=False)
    for (k, step), ax in np.ndenumerate(axes):
        draw_event(decoded[k, step], ax, limits=limits)
        ax.set_title(_short(values[k, step : step + 1])[0], fontsize=8, color=MUTED, pad=2)
    for ax, name in zip(axes[:, 0], names, strict=True):
        ax.set_ylabel(name)
    return fig


def _traverse_curves(
    decoded: np.ndarray,
    values: np.ndarray,
    names: Sequence[str],
    limits: Limits,
    feature_names: Sequence[str] | None,
    fig: "matplotlib.figure.FigureBase | None",
) -> "matplotlib.figure.FigureBase":
    n = len(decoded)
    rows, columns = panels(n)
    fig = sheet(fig, 3.4 * columns, 2.5 * rows + 0.2)
    for k in range(n):
        ax = tidy(fig.add_subplot(rows, columns, k + 1))
        _overlay(ax, decoded[k], values[k], feature_names)
        ax.set_title(names[k])
        ax.set_ylim(_margin(limits))
    return fig


def _overlay(
    ax: "matplotlib.axes.Axes",
    curves: np.ndarray,
    values: np.ndarray,
    feature_names: Sequence[str] | None,
) -> None:
    """Draw curves coloured by `values`, with their colour scale."""
    scale = gradient(values)
    few = curves.shape[1] <= MAX_BARS
    dots: Any = {"marker": "o", "markersize": 3.5} if few else {}
    for curve, value in zip(curves, values, strict=True):
        ax.plot(curve, color=scale.to_rgba(value), linewidth=1.2, **dots)
    if few:
        _name_features(ax, curves.shape[1], feature_names)
    colour_bar(ax.figure, scale, ax)


def _mosaic(
    ax: "matplotlib.axes.Axes",
    decoded: np.ndarray,
    limits: Limits,
    extent: tuple[float, float, float, float],
) -> None:
    """Draw images side by side; tile (i, j) is one unit wide and high."""
    columns = [
        np.concatenate([_as_image(event, limits) for event in column[::-1]], axis=0)
        for column in decoded
    ]
    picture = np.concatenate(columns, axis=1)
    height, width = picture.shape[0] / decoded.shape[1], picture.shape[1] / decoded.shape[0]
    style: Any = {"cmap": IMAGE_COLOURS, "vmin": limits[0], "vmax": limits[1]}
    ax.imshow(picture, extent=extent, aspect=height / width, **style)
    ax.grid(True, which="minor", color="white", linewidth=2.0)


def _tile_ticks(set_ticks: Callable[..., Any], values: np.ndarray) -> None:
    """Name at most eight tiles; minor ticks are their borders."""
    shown = np.arange(0, len(values), -(-len(values) // 8))
    set_ticks(shown, _short(values[shown]))
    set_ticks(np.arange(1, len(values)) - 0.5, minor=True)


def _multiples(ax: "matplotlib.axes.Axes", decoded: np.ndarray, limits: Limits) -> None:
    """Draw curves side by side over their zero; tile (i, j) is one unit wide and high."""
    low, high = _margin(limits)
    x = np.linspace(-0.43, 0.43, decoded.shape[-1])
    y = (np.clip(decoded, low, high) - low) / (high - low) - 0.5
    zero = (np.clip(0.0, low, high) - low) / (high - low) - 0.5
    few: Any = {"marker": "o", "markersize": 2} if len(x) <= MAX_BARS else {}
    for i, j in np.ndindex(decoded.shape[:2]):
        ax.plot(i + x[[0, -1]], [j + zero, j + zero], color=MUTED, linewidth=0.6)
        ax.plot(i + x, j + y[i, j], color=PALETTE[0], linewidth=1.2, **few)
    ax.grid(True, which="minor", color=GRID, linewidth=0.8)


def _pair_images(
    fig: "matplotlib.figure.FigureBase", pairs: np.ndarray, error: np.ndarray, limits: Limits
) -> None:
    axes = fig.subplots(2, len(pairs), squeeze=False)
    for (row, column), ax in np.ndenumerate(axes):
        draw_event(pairs[column, row], ax, limits=limits)
    for ax, text in zip(axes[0], _short(error), strict=True):
        ax.set_title(f"error {text}", fontsize=8, color=MUTED, pad=2)
    for ax, text in zip(axes[:, 0], ("original", "reconstructed"), strict=True):
        ax.set_ylabel(text, fontsize=8.5)


def _pair_curves(
    fig: "matplotlib.figure.FigureBase",
    pairs: np.ndarray,
    error: np.ndarray,
    feature_names: Sequence[str] | None,
) -> None:
    limits = _margin(_range(pairs))
    axes = fig.subplots(1, len(pairs), sharey=True, squeeze=False)[0]
    marker = "_" if pairs.shape[-1] <= MAX_BARS else ""
    for ax, (original, reconstructed), text in zip(axes, pairs, _short(error), strict=True):
        draw_event(original, ax, colour=NEUTRAL, feature_names=feature_names)
        style: Any = {"color": PALETTE[0], "linewidth": 1.1, "markersize": 10}
        ax.plot(reconstructed, marker or "-", markeredgewidth=2, **style)
        ax.set_title(f"error {text}", fontsize=8, color=MUTED, pad=2)
        ax.set_ylim(limits)


def _name_pair(fig: "matplotlib.figure.FigureBase") -> None:
    from matplotlib.patches import Patch

    colours = {"original": NEUTRAL, "reconstructed": PALETTE[0]}
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    fig.legend(handles=handles, loc="outside lower center", ncols=2)
