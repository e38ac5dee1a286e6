"""Every figure on random data: what is on it, that it can be drawn, that nothing leaks."""

import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from narrows.plots import (
    code_scatter,
    comparison,
    decoded_grid,
    draw_event,
    feature_maps,
    matrix,
    reconstructions,
    responses,
    samples,
    scree,
    training_curves,
    traversal,
)
from narrows.plots.style import PALETTE

RNG = np.random.default_rng(3)
FVE = np.array([0.4, 0.7, 0.65, 0.8])
STEPS = np.tile(np.linspace(-2, 2, 5), (3, 1))
SIDE = np.linspace(-1, 1, 4)


def random(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


ON_AXES: dict[str, Callable[..., Any]] = {
    "training": lambda ax: training_curves(random(20, 3), random(20, 3), 7, ax=ax),
    "scree": lambda ax: scree(FVE, FVE * 0.1, FVE - 0.2, elbow=2, ax=ax),
    "comparison": lambda ax: comparison({"a": FVE, "b": FVE / 2}, np.arange(1, 5), ax=ax),
    "matrix": lambda ax: matrix(random(4, 4), ax=ax),
}
ON_FIGURES: dict[str, Callable[..., Any]] = {
    "scatter": lambda fig: code_scatter(random(50, 3), np.arange(50) % 3, (1,), fig=fig),
    "scatter scale": lambda fig: code_scatter(random(50, 2), random(50), fig=fig),
    "traversed images": lambda fig: traversal(random(3, 5, 64), STEPS, None, (8, 8), fig=fig),
    "traversed curves": lambda fig: traversal(random(3, 5, 64), STEPS, fig=fig),
    "mosaic": lambda fig: decoded_grid(random(4, 4, 3, 6, 8), SIDE, SIDE, fig=fig),
    "multiples": lambda fig: decoded_grid(random(4, 4, 9), SIDE, SIDE, fig=fig),
    "responses": lambda fig: responses(random(3, 5, 9), STEPS, fig=fig),
    "maps": lambda fig: feature_maps(random(4, 4, 9), SIDE, SIDE, circular=(1,), fig=fig),
    "image pairs": lambda fig: reconstructions(
        random(9, 6, 6), random(9, 6, 6), random(9), fig=fig
    ),
    "drawn images": lambda fig: samples(random(9, 64), random(9, 64), event_shape=(8, 8), fig=fig),
    "drawn rows": lambda fig: samples(random(9, 5), random(9, 5), fig=fig),
    "bar pairs": lambda fig: reconstructions(random(9, 5), random(9, 5), random(9), fig=fig),
}


def rendered(figure: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def settings() -> dict[str, Any]:
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


@pytest.mark.parametrize("name", [*ON_AXES, *ON_FIGURES])
def test_every_figure_is_drawn_and_leaks_nothing(name):
    before = settings()
    drawn = (ON_AXES | ON_FIGURES)[name](None)
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    assert rendered(figure).startswith(b"\x89PNG")
    for ax in figure.axes:
        assert np.isfinite([ax.get_xlim(), ax.get_ylim()]).all()
    assert settings() == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize("name", ON_AXES)
def test_draws_on_the_axes_given(name):
    ax, other = Figure().subplots(1, 2)
    assert ON_AXES[name](ax) is ax
    assert ax.has_data()
    assert not other.has_data()


@pytest.mark.parametrize("name", ON_FIGURES)
def test_draws_on_the_part_of_a_figure_given(name):
    whole = Figure(figsize=(14, 7), layout="constrained")
    left, right = whole.subfigures(1, 2)
    assert ON_FIGURES[name](left) is left
    assert len(left.get_children()) > 1
    assert not right.axes
    rendered(whole)


# Curves


def test_training_curves_mark_the_weights_kept():
    loss = np.array([[3.0, 2.0], [1.0, 2.5], [2.0, np.nan]])
    ax = training_curves(loss + 1, loss, best_epoch=np.array([1, 0]))
    assert len(ax.lines) == 4
    assert ax.collections[0].get_offsets().tolist() == [[2, 1], [1, 2]]
    one = training_curves(loss + 1, loss, best_epoch=1)
    assert one.collections[0].get_offsets().tolist() == [[2, 1]]
    assert len(training_curves(loss).lines) == 2
    started = training_curves(loss[1:], loss, best_epoch=np.array([0, 0]))
    assert [line.get_xdata().tolist() for line in started.lines[::2]] == [[1, 2], [0, 1, 2]]
    assert started.collections[0].get_offsets()[:, 0].tolist() == [0, 0]


def test_training_curves_are_logarithmic_only_where_that_helps():
    falling = np.geomspace(100, 1, 20)[:, None]
    assert training_curves(falling).get_yscale() == "log"
    assert training_curves(falling - 50).get_yscale() == "linear"
    assert training_curves(1 + falling / 100).get_yscale() == "linear"


def test_scree_shows_increments_as_they_are():
    ax = scree(FVE, FVE * 0.1, FVE - 0.2, reference_label="linear", elbow=2)
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(heights, [0.4, 0.3, -0.05, 0.15])
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["cumulative", "linear", "increment"]
    assert [text.get_text() for text in ax.texts] == ["elbow: 2"]
    assert ax.get_ylim()[0] < -0.05


def test_comparison_draws_a_line_for_each_model():
    curves = {f"model {i}": FVE - i / 20 for i in range(12)}
    ax = comparison(curves, np.array([1, 2, 4, 8]), {"model 0": FVE * 0.1})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(curves)
    assert ax.get_xlim()[1] > 8


# Codes


@pytest.mark.parametrize(("n_components", "n_axes"), [(1, 1), (2, 3), (5, 15), (7, 15)])
def test_code_scatter_is_a_triangle(n_components, n_axes):
    axes = code_scatter(random(30, n_components)).axes
    assert len(axes) == n_axes
    n_points = [len(ax.collections[0].get_offsets()) for ax in axes if ax.collections]
    assert n_points == [30] * (n_axes - min(n_components, 5))


def test_code_scatter_colours_by_label():
    codes, labels = random(60, 2), np.array(["b", "a", "c"])[np.arange(60) % 3]
    figure = code_scatter(codes, labels)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    points = next(ax.collections[0] for ax in figure.axes if ax.collections)
    colours = {
        tuple(at): to_hex(c)
        for at, c in zip(points.get_offsets(), points.get_facecolors(), strict=True)
    }
    assert colours[tuple(codes[0])] == PALETTE[1]
    assert colours[tuple(codes[1])] == PALETTE[0]
    many = code_scatter(codes, np.arange(60).astype(str)).legends[0].get_texts()
    assert [text.get_text() for text in many][-1] == "other"
    assert len(many) == 10


def test_code_scatter_thins_and_wraps():
    codes = random(2100, 2) * 50
    original = codes.copy()
    ax = next(ax for ax in code_scatter(codes, circular=(0,)).axes if ax.collections)
    points = ax.collections[0].get_offsets()
    assert len(points) == 2000
    assert np.abs(points[:, 0]).max() <= np.pi
    assert ax.get_xlim() == pytest.approx((-np.pi, np.pi))
    assert np.array_equal(codes, original)
    with pytest.raises(ValueError, match=r"names is \['a'\]. Pass 2 names\."):
        code_scatter(codes, names=["a"])


# Events


@pytest.mark.parametrize(
    ("shape", "event_shape", "kind"),
    [
        ((8, 8), None, "image"),
        ((64,), (8, 8), "image"),
        ((3, 8, 9), None, "image"),
        ((5, 8, 9), None, "image"),
        ((2, 3, 4, 8, 9), None, "image"),
        ((64,), None, "curve"),
        ((13,), None, "curve"),
        ((12,), None, "bars"),
        ((1,), None, "bars"),
    ],
)
def test_an_event_is_drawn_as_what_it_is(shape, event_shape, kind):
    ax = draw_event(random(*shape), Figure().subplots(), event_shape=event_shape)
    drawn = {"image": len(ax.images), "bars": len(ax.patches)}
    assert drawn.get(kind, len(ax.lines)) == (shape[0] if kind == "bars" else 1)
    assert sum(map(bool, drawn.values())) == (kind != "curve")


def test_colour_channels_come_first():
    event = np.zeros((3, 4, 5))
    event[0, 1, 2] = 1
    picture = draw_event(event, Figure().subplots()).images[0].get_array()
    assert picture.shape == (4, 5, 3)
    assert picture[1, 2].tolist() == [1, 0, 0]


def test_event_shape_must_fit():
    message = r"event_shape is \(8, 9\), an event holds 64 values"
    with pytest.raises(ValueError, match=message):
        draw_event(random(64), Figure().subplots(), event_shape=(8, 9))
    with pytest.raises(ValueError, match=message):
        traversal(random(3, 5, 64), STEPS, event_shape=(8, 9))


def test_colours_and_axes_end_where_told():
    images = traversal(random(2, 5, 8, 8), STEPS[:2], limits=(-1, 3)).axes
    assert {ax.images[0].get_clim() for ax in images} == {(-1, 3)}
    curves = traversal(random(2, 5, 20), STEPS[:2], limits=(-10, 10)).axes
    assert curves[0].get_ylim() == pytest.approx((-11, 11))
    plane = decoded_grid(random(4, 4, 8, 8), SIDE, SIDE, limits=(-1, 3)).axes[0]
    assert plane.images[0].get_clim() == (-1, 3)


def test_traversal_grids_images_and_overlays_curves():
    images = traversal(random(3, 5, 8, 8), STEPS).axes
    assert len(images) == 15
    assert [ax.get_ylabel() for ax in images[::5]] == [f"component {k}" for k in (1, 2, 3)]
    assert len({ax.images[0].get_clim() for ax in images}) == 1
    curves = traversal(random(3, 5, 20), STEPS, names=["a", "b", "c"]).axes
    panels = {ax.get_title(): len(ax.lines) for ax in curves if ax.get_title()}
    assert panels == {"a": 5, "b": 5, "c": 5}
    named = traversal(random(1, 5, 2), STEPS[:1], feature_names=["mass", "spin"]).axes[0]
    assert [text.get_text() for text in named.get_xticklabels()] == ["mass", "spin"]


def test_decoded_grid_runs_right_and_up():
    first, second = np.array([0.0, 1.0, 2.0]), np.array([5.0, 6.0])
    decoded = np.zeros((3, 2, 4, 7))
    decoded[2, 1] = 1
    figure = decoded_grid(decoded, first, second)
    picture = figure.axes[0].images[0].get_array()
    assert picture.shape == (8, 21)
    assert picture[:4, 14:].min() == 1
    assert picture.sum() == 28
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["5", "6"]
    (ax,) = decoded_grid(decoded.reshape(3, 2, 28), first, second).axes
    tops = [line.get_ydata().max() % 1 for line in ax.lines[1::2]]
    assert np.argmax(np.abs(np.subtract(tops, tops[0]))) == 5
    assert ax.lines[-1].get_xdata().mean() == pytest.approx(2)
    assert ax.get_xlim() == (-0.5, 2.5)


def test_features_that_move_most_are_shown():
    decoded = np.zeros((2, 5, 12))
    decoded[0] = np.linspace(0, 1, 5)[:, None] * np.arange(12)
    names = [f"f{j}" for j in range(12)]
    figure = responses(decoded, STEPS[:2], feature_names=names, circular=(1,))
    assert [ax.get_xlabel() for ax in figure.axes] == ["component 1", "component 2"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names[2:]
    assert figure.axes[1].get_xticks().tolist() == pytest.approx([-np.pi, 0, np.pi])
    maps = feature_maps(np.stack([decoded[0]] * 4), SIDE, STEPS[0], feature_names=names)
    titles = [ax.get_title() for ax in maps.axes if ax.images]
    assert titles == names[3:]
    assert {ax.images[0].get_clim() for ax in maps.axes if ax.images} == {(-11, 11)}
    with pytest.raises(ValueError, match=r"Pass 12 names\."):
        responses(decoded, STEPS[:2], feature_names=["a"])


def test_reconstructions_shows_best_and_worst():
    original = np.arange(8.0)[:, None] * np.ones(20)
    figure = reconstructions(original, original, np.arange(8.0) * 2, n_events=3)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == [f"error {value}" for value in (0, 2, 4, 14, 12, 10)]
    assert [ax.lines[0].get_ydata()[0] for ax in figure.axes] == [0, 1, 2, 7, 6, 5]
    images = reconstructions(original, original, np.arange(8.0), event_shape=(4, 5))
    assert len(images.axes) == 16
    assert len(reconstructions(original[:1], original[:1], np.zeros(1)).axes) == 2


# Tables


def test_matrix_annotates_and_scales():
    values = np.array([[np.nan, -0.001], [0.5, 1.0]])
    ax = matrix(values, labels=["a", "b"], label="nats")
    assert [text.get_text() for text in ax.texts] == ["0.00", "0.50", "1.00"]
    assert ax.images[0].get_clim() == (-1, 1)
    assert matrix(np.abs(values)).images[0].get_clim() == (0, 1)
    assert matrix(values, limits=(-2, 2)).images[0].get_clim() == (-2, 2)
    assert not matrix(random(13, 13)).texts
    with pytest.raises(ValueError, match=r"Pass 2 names\."):
        matrix(values, labels=["a"])
