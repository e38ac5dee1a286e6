"""How curves of anomaly scores are drawn."""

from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from narrows.metrics import precision_recall, roc, significance_improvement
from narrows.plots import (
    detection,
    plot_precision_recall,
    plot_roc,
    plot_significance_improvement,
)

CURVES = (roc, precision_recall, significance_improvement)
PLOTS = (plot_roc, plot_precision_recall, plot_significance_improvement)
each_plot = pytest.mark.parametrize(("curve", "plot"), zip(CURVES, PLOTS, strict=True))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.fixture(params=[None, 0], ids=["distinct", "tied"])
def scored(request, rng):
    """Kinds of rows and their scores, all distinct or with many ties."""
    y = rng.permutation(np.repeat([0, 1], [150, 40]))
    score = rng.normal(size=190) + 1.2 * y
    return y, score if request.param is None else np.round(score, request.param)


def settings() -> dict[str, Any]:
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


def names(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


@each_plot
def test_one_curve_or_several_on_axes_given_or_new(curve, plot, scored):
    found, before = curve(*scored), settings()
    ax, other = Figure().subplots(1, 2)
    assert plot(found, ax) is ax
    assert not other.has_data()
    lone = plot(found)
    several = plot({"first": found, "second": found})
    assert len(several.collections + several.patches) == 2 * len(lone.collections + lone.patches)
    assert [name.split(", ")[0] for name in names(several)] == ["first", "second", "chance"]
    assert names(several)[0] == f"first, {names(lone)[0]}"
    for drawn in (ax, lone, several):
        drawn.figure.savefig(BytesIO(), format="png")
        assert np.isfinite([drawn.get_xlim(), drawn.get_ylim()]).all()
    assert settings() == before


def test_roc_is_drawn_with_a_band_around_it(scored):
    found = roc(*scored)
    ax = plot_roc(found)
    line, (band,) = ax.lines[0], ax.patches
    np.testing.assert_array_equal(line.get_xdata(), found.background.value)
    np.testing.assert_array_equal(line.get_ydata(), found.signal.value)
    assert names(ax)[0] == f"area {found.auc:.3f} ± {found.auc_error:.3f}"
    curve = np.column_stack([found.background.value, found.signal.value])
    inside = curve[((curve > 0) & (curve < 1)).all(axis=1)]
    assert len(inside)
    assert band.get_path().contains_points(inside).all()
    corners = band.get_xy().tolist()
    at = len(found.thresholds) // 2
    assert [found.background.low[at], found.signal.high[at]] in corners
    assert [found.background.high[at], found.signal.low[at]] in corners


def test_logarithmic_roc_starts_at_one_row(scored):
    ax = plot_roc(roc(*scored), log=True)
    assert ax.get_xscale() == "log"
    assert ax.get_xlim() == (1 / 150, 1)
    assert ax.lines[0].get_xdata().min() == 1 / 150


def test_precision_is_drawn_in_steps_from_no_recall(scored):
    found = precision_recall(*scored)
    line, chance = plot_precision_recall(found).lines
    assert line.get_drawstyle() == "steps-pre"
    assert line.get_xdata().tolist() == [0, *found.recall.value]
    widths = np.diff(line.get_xdata())
    assert widths @ line.get_ydata()[1:] == pytest.approx(found.average_precision)
    assert chance.get_ydata() == [found.prevalence] * 2


def test_significance_is_drawn_where_it_counts(scored):
    found = significance_improvement(*scored, max_relative_error=0.3)
    line, best, chance = plot_significance_improvement(found).lines
    np.testing.assert_array_equal(line.get_ydata(), found.value[found.counted])
    assert best.get_xydata().tolist() == [[found.signal.value[found.best], found.maximum]]
    np.testing.assert_allclose(chance.get_ydata() ** 2, chance.get_xdata())


def test_long_curves_are_thinned_but_keep_their_start(rng):
    y = np.arange(100_000) % 2
    found = roc(y, rng.normal(size=100_000) + y)
    drawn = plot_roc(found).lines[0].get_xydata()
    assert len(drawn) <= detection.MAX_POINTS
    whole = np.column_stack([found.background.value, found.signal.value])
    assert drawn[:10].tolist() == whole[:10].tolist()
    assert drawn[-1].tolist() == [1, 1]
    on_grid = np.interp(found.background.value, *drawn.T)
    assert np.abs(on_grid - found.signal.value).max() < 0.01
