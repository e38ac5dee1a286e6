"""Curves of anomaly scores against references and brute force."""

import dataclasses
import re

import numpy as np
import pytest
from scipy.stats import binom, binomtest
from sklearn import metrics

from narrows.metrics import (
    clopper_pearson,
    precision_recall,
    roc,
    significance_improvement,
)

CURVES = (roc, precision_recall, significance_improvement)
each_curve = pytest.mark.parametrize("curve", CURVES)


def sentence(text: str) -> str:
    """Return a pattern of the whole message."""
    return f"^{re.escape(text)}$"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.fixture(params=[None, 0], ids=["distinct", "tied"])
def scored(request, rng):
    """Kinds of rows and their scores, all distinct or with many ties."""
    y = rng.permutation(np.repeat([0, 1], [150, 40]))
    score = rng.normal(size=190) + 1.2 * y
    return y, score if request.param is None else np.round(score, request.param)


# Intervals


@pytest.mark.parametrize("confidence", [0.6827, 0.95])
def test_intervals_are_scipys(confidence):
    pairs = [(k, n) for n in (1, 2, 10, 400) for k in {0, 1, n // 3, n - 1, n}]
    low, high = clopper_pearson(*np.array(pairs).T, confidence)
    for i, (k, n) in enumerate(pairs):
        expected = binomtest(k, n).proportion_ci(confidence, "exact")
        assert (low[i], high[i]) == pytest.approx(tuple(expected), abs=1e-12)


def test_intervals_cover_at_least_the_confidence():
    k, p = np.arange(21), np.linspace(0.001, 0.999, 101)[:, None]
    low, high = clopper_pearson(k, 20, 0.9)
    covered = ((low <= p) & (p <= high)) * binom.pmf(k, 20, p)
    assert 0.9 <= covered.sum(axis=1).min() < 0.95


def test_intervals_of_nothing_and_broadcast():
    assert np.ravel(clopper_pearson(0, 0)).tolist() == [0, 1]
    low, high = clopper_pearson(np.arange(3)[:, None], np.array([5, 9]))
    assert low.shape == high.shape == (3, 2)
    assert low[2, 1] == clopper_pearson(2, 9)[0]


def test_interval_errors():
    message = "successes is 6 of 5 trials. Pass counts from 0 to the number of trials."
    with pytest.raises(ValueError, match=sentence(message)):
        clopper_pearson(np.array([1, 6]), 5)
    message = "confidence is 95. Write a number above 0 and below 1."
    with pytest.raises(ValueError, match=sentence(message)):
        clopper_pearson(1, 5, 95)


# ROC


def test_roc_is_scikit_learns(scored):
    y, score = scored
    found = roc(y, score)
    background, signal, thresholds = metrics.roc_curve(y, score, drop_intermediate=False)
    np.testing.assert_allclose(found.background.value, background)
    np.testing.assert_allclose(found.signal.value, signal)
    np.testing.assert_allclose(found.thresholds, thresholds)
    assert found.auc == pytest.approx(metrics.roc_auc_score(y, score), abs=1e-12)
    assert (found.n_signal, found.n_background) == (40, 150)


def test_efficiencies_are_counts_with_intervals(scored):
    y, score = scored
    found = roc(y, score, confidence=0.9)
    at = len(found.thresholds) // 3
    for kind, efficiency in ((1, found.signal), (0, found.background)):
        passed = int((score[y == kind] >= found.thresholds[at]).sum())
        expected = binomtest(passed, int((y == kind).sum())).proportion_ci(0.9, "exact")
        assert (efficiency.low[at], efficiency.high[at]) == pytest.approx(tuple(expected))
        assert efficiency.value[0] == efficiency.low[0] == 0
        assert efficiency.value[-1] == efficiency.high[-1] == 1


def test_error_of_the_area_is_delongs_by_brute_force(scored):
    y, score = scored
    signal, background = score[y == 1][:, None], score[y == 0]
    wins = (signal > background) + 0.5 * (signal == background)
    variance = wins.mean(1).var(ddof=1) / len(signal) + wins.mean(0).var(ddof=1) / len(background)
    assert roc(y, score).auc_error == pytest.approx(np.sqrt(variance), rel=1e-12)


def test_error_of_the_area_is_the_spread_of_repetitions(rng):
    y = np.repeat([0, 1], [60, 40])
    found = [roc(y, rng.normal(size=100) + y) for _ in range(400)]
    spread = np.std([f.auc for f in found])
    assert np.sqrt(np.mean([f.auc_error**2 for f in found])) == pytest.approx(spread, rel=0.08)


def test_areas_at_the_ends(rng):
    y = np.repeat([0, 1], 20)
    assert (roc(y, y.astype(float)).auc, roc(y, y.astype(float)).auc_error) == (1, 0)
    assert roc(y, -y.astype(float)).auc == 0
    assert (roc(y, np.ones(40)).auc, roc(y, np.ones(40)).auc_error) == (0.5, 0)
    assert np.isnan(roc(np.array([0, 0, 1]), np.arange(3.0)).auc_error)


@each_curve
def test_curves_follow_the_order_of_scores_alone(curve, scored):
    y, score = scored
    before, after = curve(y, score), curve(y.astype(bool), np.exp(score).astype(np.float32))
    first, second = (
        c.signal if curve is not precision_recall else c.recall for c in (before, after)
    )
    np.testing.assert_allclose(second.value, first.value)
    np.testing.assert_allclose(second.low, first.low)


@each_curve
@pytest.mark.parametrize(
    "kind", [list, *(np.dtype(name).type for name in ("uint8", "int8", "bool", "float16"))]
)
def test_scores_are_numbers_of_any_kind(curve, kind, rng):
    y = rng.permutation(np.repeat([0, 1], [30, 10]))
    score = rng.integers(0, 2 if kind is np.bool_ else 5, 40)
    found = curve(y.tolist(), score.tolist() if kind is list else score.astype(kind))
    expected = curve(y, score.astype(float))
    np.testing.assert_array_equal(found.thresholds, expected.thresholds)
    assert found.thresholds.dtype == np.float64
    for field in dataclasses.fields(found):
        own, other = getattr(found, field.name), getattr(expected, field.name)
        assert np.array_equal(*(getattr(part, "value", part) for part in (own, other)))


# Precision and recall


def test_precision_recall_is_scikit_learns(scored):
    y, score = scored
    found = precision_recall(y, score)
    precision, recall, thresholds = metrics.precision_recall_curve(y, score)
    np.testing.assert_allclose(found.thresholds[::-1], thresholds)
    np.testing.assert_allclose(found.precision.value[::-1], precision[:-1])
    np.testing.assert_allclose(found.recall.value[::-1], recall[:-1])
    expected = metrics.average_precision_score(y, score)
    assert found.average_precision == pytest.approx(expected, abs=1e-12)
    assert found.prevalence == found.precision.value[-1] == 40 / 190


def test_precision_is_counted_among_the_rows_selected(scored):
    y, score = scored
    found = precision_recall(y, score, confidence=0.8)
    at = len(found.thresholds) // 4
    selected = y[score >= found.thresholds[at]]
    expected = binomtest(int(selected.sum()), len(selected)).proportion_ci(0.8, "exact")
    assert (found.precision.low[at], found.precision.high[at]) == pytest.approx(tuple(expected))


# Significance improvement


def test_significance_improves_by_a_ratio_of_efficiencies(scored):
    y, score = scored
    found = significance_improvement(y, score)
    some = found.background.value > 0
    expected = found.signal.value[some] / np.sqrt(found.background.value[some])
    np.testing.assert_allclose(found.value[some], expected)
    assert np.isnan(found.value[~some]).all()
    assert np.isinf(found.high[~some]).all()
    assert found.value[-1] == 1
    assert (found.low[some] <= expected).all()
    assert (expected <= found.high[some]).all()
    assert np.isfinite(found.low).all()


def test_the_maximum_is_taken_where_enough_rows_pass(rng):
    y = np.repeat([0, 1], [2000, 200])
    score = rng.normal(size=2200) + 3 * y
    found = significance_improvement(y, score, max_relative_error=0.1)
    passed = np.round(found.background.value * 2000)
    enough = passed >= 1 / (0.1**2 + 1 / 2000)
    assert np.array_equal(found.counted, enough)
    assert found.maximum == found.value[enough].max()
    assert found.maximum == found.value[found.best] < np.nanmax(found.value)
    strict = significance_improvement(y, score, max_relative_error=1e-9)
    assert (strict.maximum, strict.best) == (1, len(strict.thresholds) - 1)


def test_the_interval_covers_the_quotient(rng):
    """At one threshold, of 500 repetitions at least the confidence holds the true ratio."""
    inside = 0
    y = np.repeat([0, 1], [400, 50])
    for _ in range(500):
        score = (rng.random(450) < np.where(y, 0.6, 0.05)).astype(float)
        found = significance_improvement(y, score, confidence=0.8)
        inside += found.low[0] <= 0.6 / np.sqrt(0.05) <= found.high[0]
    assert inside / 500 >= 0.8


# Errors


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([-1, 1, 1], "y holds [-1, 1]. Write 1 for an anomaly, 0 for a normal row."),
        ([1, 1, 1], "y holds [1] alone. Pass both anomalies and normal rows."),
        ([0, 1], "y has 2 rows, score has 3. Pass one score a row."),
    ],
)
@each_curve
def test_label_errors(curve, y, message):
    with pytest.raises(ValueError, match=sentence(message)):
        curve(np.array(y), np.arange(3.0))


@each_curve
def test_score_errors(curve):
    y = np.array([0, 1, 1])
    message = "score holds 1 values that are not finite. Pass finite scores."
    with pytest.raises(ValueError, match=sentence(message)):
        curve(y, np.array([0, np.nan, 1]))
    message = "confidence is 1.0. Write a number above 0 and below 1."
    with pytest.raises(ValueError, match=sentence(message)):
        curve(y, np.arange(3.0), 1.0)


def test_relative_error_must_be_positive():
    message = "max_relative_error is 0. Write a number above 0."
    with pytest.raises(ValueError, match=sentence(message)):
        significance_improvement(np.array([0, 1]), np.arange(2.0), max_relative_error=0)
