"""Metrics against analytic cases and reference implementations, and what must not change them."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import spearmanr, vonmises
from sklearn.feature_selection import mutual_info_regression
from sklearn.metrics import r2_score

from narrows.metrics import (
    ExplainedVariance,
    agreement,
    agreement_matrix,
    circular_correlation,
    dependence,
    elbow,
    fraction_of_variance_explained,
    rank_correlation,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


# Fraction of variance explained


@pytest.fixture
def rows(rng):
    """Targets, reconstructions at three levels, the training mean and weights."""
    target = rng.normal(size=(60, 4)) * [1, 10, 0.1, 3] + 5
    levels = target + rng.normal(size=(3, 60, 4))
    return target, levels, rng.normal(size=4) + 5, rng.uniform(0.1, 3, size=60)


def test_fve_is_r2_of_the_rows_own_mean(rows):
    target, levels, _, weight = rows
    mean = np.average(target, axis=0, weights=weight)
    # scikit-learn's aggregate weighs features by their variance: sums over all entries.
    expected = [
        r2_score(target, q, sample_weight=weight, multioutput="variance_weighted") for q in levels
    ]
    found = fraction_of_variance_explained(target, levels, mean, weight)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_fve_of_missing_entries(rows, rng):
    target, levels, mean, weight = rows
    gaps = rng.random(target.shape) < 0.3
    holed = np.where(gaps, np.nan, target)
    observed = weight[:, None] * ~gaps
    residual = (observed * (target - levels) ** 2).sum(axis=(1, 2))
    expected = 1 - residual / (observed * (target - mean) ** 2).sum()
    for prediction in (levels, levels + 1e6 * gaps):
        found = fraction_of_variance_explained(holed, prediction, mean, weight)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_fve_does_not_depend_on_batches(rows):
    target, levels, mean, weight = rows
    whole = fraction_of_variance_explained(target, levels, mean, weight)
    parts = []
    for part in (slice(0, 7), slice(7, 8), slice(8, 60)):
        batch = ExplainedVariance(mean).update(target[part], levels[:, part], weight[part])
        parts.append(batch)
    merged = ExplainedVariance(mean).merge(parts[2]).merge(parts[0]).merge(parts[1])
    np.testing.assert_allclose(merged.compute(), whole, rtol=1e-12)


def test_fve_weight_three_is_three_copies(rows):
    target, levels, mean, _ = rows
    weight = np.arange(60) % 4
    copies = np.repeat(np.arange(60), weight)
    weighted = fraction_of_variance_explained(target, levels, mean, weight.astype(float))
    copied = fraction_of_variance_explained(target[copies], levels[:, copies], mean)
    np.testing.assert_allclose(weighted, copied, rtol=1e-12)


def test_fve_is_invariant_to_units_and_rotation(rows):
    target, levels, mean, _ = rows
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    before = fraction_of_variance_explained(target, levels, mean)
    moved = [2.5 * (x @ turn) - 3 for x in (target, levels, mean)]
    np.testing.assert_allclose(fraction_of_variance_explained(*moved), before, rtol=1e-10)


def test_fve_of_float32_far_from_zero(rng):
    target = (1e6 + rng.normal(size=(100, 3))).astype(np.float32)
    mean = target.mean(axis=0, dtype=np.float64)
    found = fraction_of_variance_explained(target, mean + 0.5 * (target - mean), mean)
    np.testing.assert_allclose(found, 0.75, rtol=1e-12)


def test_fve_where_nothing_varies_or_nothing_is_observed():
    constant, mean = np.ones((5, 2)), np.ones(2)
    levels = np.stack([constant, constant + 1])
    assert fraction_of_variance_explained(constant, levels, mean).tolist() == [1.0, 0.0]
    assert np.isnan(fraction_of_variance_explained(constant * np.nan, constant, mean))
    assert np.isnan(fraction_of_variance_explained(constant, constant * np.nan, mean * 2))


def test_fve_refuses_what_does_not_belong_together():
    stream = ExplainedVariance(np.zeros(3))
    with pytest.raises(ValueError, match=r"target has shape \(5, 2\), mean has shape \(3,\)"):
        stream.update(np.zeros((5, 2)), np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"other\.mean differs from mean"):
        stream.merge(ExplainedVariance(np.ones(3)))


# Elbow


@pytest.mark.parametrize("n", [3, 4, 7, 12])
def test_elbow_finds_every_exact_kink(n):
    k = np.arange(1, n + 1)
    for knee in range(1, n):
        curve = np.minimum(k, knee) * 0.07 + np.maximum(k - knee, 0) * 0.01
        assert elbow(curve) == knee


def test_elbow_survives_noise(rng):
    k = np.arange(1, 13)
    curve = np.minimum(k, 4) * 0.2 + np.maximum(k - 4, 0) * 0.01
    assert all(elbow(curve + 0.01 * rng.normal(size=12)) == 4 for _ in range(20))


@pytest.mark.parametrize(
    "curve", [[0.4], [0.4, 0.5], [0.2, 0.4, 0.6, 0.8], [0.0, 0.1, 0.3, 0.9], [0.0, 0.0, 0.0]]
)
def test_elbow_is_the_end_where_there_is_none(curve):
    assert elbow(np.array(curve)) == len(curve)


@pytest.mark.parametrize("curve", [[], [0.1, np.nan, 0.3]])
def test_elbow_refuses_what_is_not_a_curve(curve):
    with pytest.raises(ValueError, match=r"Write finite numbers, one per number of components\.$"):
        elbow(np.array(curve, dtype=float))


# Correlation


def test_rank_correlation_is_spearmans(rng):
    a, b = rng.integers(0, 9, size=(2, 80)).astype(float)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
    assert rank_correlation(np.exp(a), b**3) == pytest.approx(rank_correlation(a, b))
    assert rank_correlation(a, -np.exp(a), absolute=True) == pytest.approx(1)
    assert rank_correlation(a, np.ones(80)) == 0


def test_circular_correlation_is_fisher_and_lees_over_pairs(rng):
    a = rng.uniform(0, 2 * np.pi, size=70)
    b = np.mod(a + 0.8 * rng.normal(size=70), 2 * np.pi)
    u, v = (2 * np.pi / 70 * np.argsort(np.argsort(x)) for x in (a, b))
    first, second = (np.sin(np.subtract.outer(w, w)) for w in (u, v))
    expected = (first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum())
    assert circular_correlation(a, b) == pytest.approx(expected, abs=1e-12)


def stretch(angle):
    """A smooth map of the circle onto itself."""
    return angle + 0.6 * np.sin(angle) + 0.2 * np.cos(2 * angle)


def test_circular_correlation_ignores_rotation_reflection_and_stretching(rng):
    a = rng.vonmises(0, 0.5, size=400)
    b = a + 0.5 * rng.normal(size=400)
    value = circular_correlation(a, b)
    assert circular_correlation(a + 2, stretch(b) - 40) == pytest.approx(value)
    assert circular_correlation(-a, b) == pytest.approx(-value)
    assert circular_correlation(-a, b, absolute=True) == pytest.approx(value)
    assert circular_correlation(a, stretch(a) + 1) == pytest.approx(1)


def test_circular_correlation_of_uniform_angles(rng):
    a, other = rng.uniform(-np.pi, np.pi, size=(2, 20_000))
    noise = 0.7
    found = circular_correlation(a, a + noise * rng.normal(size=len(a)))
    assert found == pytest.approx(np.exp(-(noise**2)), abs=0.01)
    assert circular_correlation(a, other) == pytest.approx(0, abs=0.01)
    assert circular_correlation(a, 2 * a) == pytest.approx(0, abs=0.01)
    assert circular_correlation(a, np.ones_like(a)) == pytest.approx(0)


# Agreement


def test_agreement_is_the_mean_over_pairs(rng):
    shared = rng.normal(size=(200, 3))
    codes = shared + [0.01, 0.5, 100] * rng.normal(size=(4, 200, 3))
    found = agreement(codes)
    pairs = [(r, s) for r in range(4) for s in range(r)]
    for k in range(3):
        each = [abs(spearmanr(codes[r, :, k], codes[s, :, k]).statistic) for r, s in pairs]
        assert found[k] == pytest.approx(np.mean(each))
    assert found[0] > 0.99
    assert found[2] < 0.2


def test_agreement_ignores_what_a_restart_may_choose(rng):
    u, angle = rng.normal(size=300), rng.uniform(0, 2 * np.pi, size=300)
    restarts = [(u, angle), (-np.exp(u), -stretch(angle) + 3), (u**3, np.mod(angle + 9, 2 * np.pi))]
    codes = np.stack([np.column_stack(columns) for columns in restarts])
    np.testing.assert_allclose(agreement(codes, circular=(1,)), 1)
    matrix = agreement_matrix(codes, circular=(1,))
    np.testing.assert_allclose(matrix, np.swapaxes(matrix, 0, 1))
    assert agreement(codes)[1] < 0.9


def test_agreement_errors():
    with pytest.raises(ValueError, match="codes holds 1 restart, agreement compares at least 2"):
        agreement(np.zeros((1, 5, 2)))
    with pytest.raises(ValueError, match=r"circular names \[2\], codes has 2 components"):
        agreement(np.zeros((2, 5, 2)), circular=(2,))
    with pytest.raises(ValueError, match="codes holds 10 values that are not finite"):
        agreement(np.stack([np.zeros((5, 2)), np.full((5, 2), np.nan)]))


# Dependence


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.9])
def test_dependence_of_a_gaussian_pair(rng, rho):
    codes = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=2000)
    found = dependence(codes)
    assert found.mutual_information[0, 1] == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.06)
    expected = 6 / np.pi * np.arcsin(rho / 2)
    assert found.rank_correlation[0, 1] == pytest.approx(expected, abs=0.06)
    reference = mutual_info_regression(codes[:, :1], codes[:, 1], random_state=0)[0]
    assert found.mutual_information[0, 1] == pytest.approx(reference, abs=0.06)


@pytest.mark.parametrize("kappa", [0.0, 1.0, 10.0])
def test_dependence_of_two_angles(rng, kappa):
    angle = rng.uniform(0, 2 * np.pi, size=2000)
    codes = np.column_stack([angle, angle + rng.vonmises(0, kappa, size=2000)])
    entropy = vonmises.entropy(kappa) if kappa else np.log(2 * np.pi)
    found = dependence(codes, circular=(0, 1)).mutual_information[0, 1]
    assert found == pytest.approx(np.log(2 * np.pi) - entropy, abs=0.06)


def test_dependence_of_an_angle_and_a_number(rng):
    rho = 0.8
    normal, number = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=2000).T
    angle = 2 * np.pi * ndtr(normal)
    found = dependence(np.column_stack([angle, number]), circular=(0,))
    assert found.mutual_information[0, 1] == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.06)
    turn = 2 * np.pi / 2000 * (1 + np.argsort(np.argsort(angle)))
    design = np.column_stack([np.cos(turn), np.sin(turn), np.ones(2000)])
    ranks = np.argsort(np.argsort(number)).astype(float)
    fitted = design @ np.linalg.lstsq(design, ranks)[0]
    assert found.rank_correlation[0, 1] ** 2 == pytest.approx(r2_score(ranks, fitted))


def test_dependence_is_invariant(rng):
    u = rng.normal(size=(500, 2))
    codes = np.column_stack([u[:, 0], u @ [1, 1], rng.vonmises(u[:, 0], 2)])
    moved = np.column_stack([np.exp(codes[:, 0]), codes[:, 1] ** 3, 5 - codes[:, 2]])
    before, after = dependence(codes, (2,)), dependence(moved, (2,))
    np.testing.assert_allclose(after.rank_correlation, before.rank_correlation, atol=1e-12)
    np.testing.assert_allclose(after.mutual_information, before.mutual_information, atol=1e-9)
    for values in (before.rank_correlation, before.mutual_information):
        np.testing.assert_allclose(values, values.T, atol=1e-12)


def test_dependence_of_repeated_values(rng):
    kinds = rng.integers(0, 3, size=2000).astype(float)
    sparse = np.maximum(rng.normal(size=2000), 0)
    found = dependence(np.column_stack([kinds, kinds, sparse, np.ones(2000)])).mutual_information
    assert found[0, 1] == pytest.approx(np.log(3), abs=0.01)
    assert found[0, 2] == pytest.approx(0, abs=0.03)
    np.testing.assert_allclose(found[3, :3], 0, atol=1e-9)
    assert np.isnan(np.diag(found)).all()


def test_dependence_thins_without_touching_the_global_generator(rng):
    codes = rng.normal(size=(2500, 2))
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = dependence(codes), dependence(codes)
    assert np.array_equal(first.mutual_information, second.mutual_information, equal_nan=True)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    with pytest.raises(ValueError, match=r"codes has 4 rows\. Pass at least 5 rows\."):
        dependence(codes[:4])
