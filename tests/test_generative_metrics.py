"""Figures of generated rows against brute force, exact constructions and the level of tests."""

import re

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from scipy.stats import binom, mannwhitneyu, norm, ortho_group, wasserstein_distance
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from narrows.metrics import (
    frechet_distance,
    generative_precision_recall,
    mmd,
    roc,
    two_sample_auc,
    wasserstein_per_feature,
)

LDA = LinearDiscriminantAnalysis()


class Means(ClassifierMixin, BaseEstimator):
    """Scores along the line between the means: quick."""

    def fit(self, X, y):
        self.direction_ = X[y == 1].mean(axis=0) - X[y == 0].mean(axis=0)
        return self

    def decision_function(self, X):
        return X @ self.direction_


def sentence(text: str) -> str:
    """Return a pattern of the whole message."""
    return f"^{re.escape(text)}$"


def figures(real, generated, n_neighbors=5):
    found = generative_precision_recall(real, generated, n_neighbors)
    return found.precision, found.recall, found.density, found.coverage


def brute_figures(real, generated, k):
    """Return all four from full matrices of distances, row by row."""

    def radii(rows):
        return [np.sort(np.delete(cdist(rows, rows)[i], i))[k - 1] for i in range(len(rows))]

    between = cdist(real, generated)
    in_real = between <= np.array(radii(real))[:, None]
    in_generated = between <= np.array(radii(generated))
    return (
        np.mean([column.any() for column in in_real.T]),
        np.mean([row.any() for row in in_generated]),
        in_real.sum() / (k * len(generated)),
        np.mean([row.any() for row in in_real]),
    )


def with_moments(rng, n, mean, covariance):
    """Return rows whose sample mean and covariance are exactly these."""
    rows = rng.normal(size=(n, len(mean)))
    rows -= rows.mean(axis=0)
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(rows.T, ddof=1)))
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return rows @ whitening.T @ root + mean


def covariance(rng, n_features):
    root = rng.normal(size=(n_features, 2 * n_features))
    return root @ root.T / n_features


def brute_mmd(real, generated, sigma):
    def mean(first, second, same):
        pairs = [
            np.exp(-((x - y) @ (x - y)) / (2 * sigma**2))
            for i, x in enumerate(first)
            for j, y in enumerate(second)
            if not (same and i == j)
        ]
        return np.mean(pairs)

    within = mean(real, real, True) + mean(generated, generated, True)
    return within - 2 * mean(real, generated, False)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def sets(rng):
    """Real rows, and fewer generated ones that differ a little."""
    return rng.normal(size=(60, 4)), 1.3 * rng.normal(size=(45, 4)) + 0.4


# Precision, recall, density, coverage


@pytest.mark.parametrize("n_neighbors", [1, 3, 44])
@pytest.mark.parametrize("decimals", [None, 0], ids=["distinct", "tied"])
def test_precision_and_recall_are_brute_force(sets, n_neighbors, decimals):
    real, generated = sets if decimals is None else (np.round(rows, decimals) for rows in sets)
    expected = brute_figures(real, generated, n_neighbors)
    assert figures(real, generated, n_neighbors) == pytest.approx(expected, rel=1e-14)


def test_precision_and_recall_do_not_depend_on_blocks(rng):
    real, generated = rng.normal(size=(700, 2)), rng.normal(size=(500, 2))
    whole = figures(real, generated)
    with config_context(working_memory=0.1):
        assert figures(real, generated) == whole


@pytest.mark.parametrize("copies", [1, 7])
def test_the_same_rows_are_precise_and_complete(rng, copies):
    real = np.repeat(rng.normal(size=(30, 3)), copies, axis=0)
    precision, recall, density, coverage = figures(real, rng.permutation(real))
    assert (precision, recall, coverage) == (1, 1, 1)
    # Every ball holds its row and k others, or its row's copies alone.
    assert density == (6 / 5 if copies == 1 else 7 / 5)


def test_disjoint_sets_have_nothing_in_common(rng):
    real = rng.uniform(size=(50, 3))
    assert figures(real, real + 100) == (0, 0, 0, 0)


def test_half_the_modes_are_half_the_recall_and_the_coverage(rng):
    modes = 100 * np.eye(4)
    real = np.vstack([mode + rng.uniform(size=(25, 4)) for mode in modes])
    found = figures(real, np.concatenate([real[:50], real[:50]]))
    assert found[0] == 1
    assert found[1] == found[3] == 0.5
    # The generated half, once each, lies in k + 1 balls of n rows on average.
    assert figures(real, real[:50], 5)[2] == pytest.approx(6 / 5)


def test_added_noise_costs_precision_alone(rng):
    real = rng.uniform(size=(80, 2))
    found = figures(real, np.vstack([real, real + 50]))
    assert found == (0.5, 1, 0.6, 1)


def test_a_stray_real_row_widens_precision_and_not_density(rng):
    real, generated = rng.uniform(size=(100, 2)), rng.uniform((3, 0), (4, 1), size=(100, 2))
    stray = np.vstack([real, [[6.0, 0.5]]])
    assert figures(real, generated)[0] == 0
    precision, _, density, coverage = figures(stray, generated)
    assert precision == 1
    assert density == 1 / 5
    assert coverage == 1 / 101


def test_expected_density_and_coverage_of_one_distribution(rng):
    n, m, k, repeats = 40, 30, 5, 150
    found = np.array(
        [figures(rng.normal(size=(n, 2)), rng.normal(size=(m, 2)), k) for _ in range(repeats)]
    )
    mean, error = found.mean(axis=0), found.std(axis=0) / np.sqrt(repeats)
    j = np.arange(1, k + 1)
    coverage = 1 - np.prod((n - j) / (n + m - j))
    assert abs(mean[2] - 1) < 4 * error[2]
    assert abs(mean[3] - coverage) < 4 * error[3]


# Fréchet distance


def test_frechet_distance_of_exact_moments(rng):
    mean, other_mean = rng.normal(size=(2, 5))
    s, t = covariance(rng, 5), covariance(rng, 5)
    real, generated = with_moments(rng, 40, mean, s), with_moments(rng, 25, other_mean, t)
    root = sqrtm(s)
    expected = np.sum((mean - other_mean) ** 2) + np.trace(s + t - 2 * sqrtm(root @ t @ root))
    assert frechet_distance(real, generated) == pytest.approx(expected.real, rel=1e-10)
    assert frechet_distance(generated, real) == pytest.approx(expected.real, rel=1e-10)


def test_frechet_distance_of_independent_features(rng):
    widths, others = np.array([1.0, 2.0, 0.0, 0.0]), np.array([3.0, 0.0, 0.5, 0.0])
    real = with_moments(rng, 30, np.zeros(4), np.diag(widths**2))
    generated = with_moments(rng, 20, np.ones(4), np.diag(others**2))
    expected = 4 + np.sum((widths - others) ** 2)
    assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(3, 4), (2, 30), (30, 30)])
def test_frechet_distance_of_singular_covariances(rng, n, m):
    real, generated = rng.normal(size=(n, 12)), rng.normal(size=(m, 12))
    x, y = (r - r.mean(axis=0) for r in (real / np.sqrt(n - 1), generated / np.sqrt(m - 1)))
    shift = real.mean(axis=0) - generated.mean(axis=0)
    # The trace of the root of a product is the nuclear norm of the rows' scalar products.
    expected = shift @ shift + np.sum(x**2) + np.sum(y**2) - 2 * np.linalg.norm(x @ y.T, "nuc")
    assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(100, 3), (4, 20), (30, 1)])
def test_frechet_distance_of_the_same_rows_is_nought(rng, shape):
    real = rng.normal(size=shape) * 7 + 1e6
    assert frechet_distance(real, real) == 0
    assert frechet_distance(real, real[::-1]) == 0
    assert frechet_distance(real, rng.permutation(real)) == 0


def test_frechet_distance_of_constant_rows():
    assert frechet_distance(np.ones((5, 2)), np.ones((3, 2))) == 0
    assert frechet_distance(np.ones((5, 2)), np.zeros((3, 2))) == 2


def test_small_frechet_distances_keep_their_digits(rng):
    real = rng.normal(size=(50, 3))
    real -= real.mean(axis=0)
    expected = 1e-14 * real.var(axis=0, ddof=1).sum()
    assert frechet_distance(real, real * (1 + 1e-7)) == pytest.approx(expected, rel=1e-6)


# Wasserstein distances


def test_wasserstein_distance_of_a_shift(rng):
    real = rng.normal(size=(50, 3)) * [1.0, 10.0, 0.01]
    shift = np.array([0.5, -3.0, 0.02])
    np.testing.assert_allclose(
        wasserstein_per_feature(real, real[::-1] + shift), np.abs(shift) / real.std(axis=0)
    )
    np.testing.assert_allclose(
        wasserstein_per_feature(real, real[::-1] + shift, scaled=False), np.abs(shift)
    )


def test_wasserstein_distance_is_that_of_sorted_rows(rng):
    real, generated = rng.normal(size=(2, 40, 3, 2))
    expected = np.abs(np.sort(real, axis=0) - np.sort(generated, axis=0)).mean(axis=0)
    found = wasserstein_per_feature(real, generated, scaled=False)
    assert found.shape == (3, 2)
    np.testing.assert_allclose(found, expected)
    assert (wasserstein_per_feature(real, rng.permutation(real)) == 0).all()


def test_constant_features_keep_their_unit(rng):
    real = np.column_stack([np.full(10, 0.1), np.arange(10.0)])
    generated = np.column_stack([np.full(5, 3.1), np.full(5, 4.5)])
    assert wasserstein_per_feature(real, generated) == pytest.approx([3.0, 2.5 / real[:, 1].std()])


def test_weights_count_copies(sets, rng):
    real, generated = sets
    weight, other = rng.integers(0, 4, len(real)), rng.integers(1, 3, len(generated))
    copies, other_copies = np.repeat(real, weight, axis=0), np.repeat(generated, other, axis=0)
    found = wasserstein_per_feature(real, generated, real_weight=weight, generated_weight=other)
    np.testing.assert_allclose(found, wasserstein_per_feature(copies, other_copies))
    expected = wasserstein_distance(copies[:, 2], other_copies[:, 2]) / copies[:, 2].std()
    assert found[2] == pytest.approx(expected)


def test_a_feature_constant_where_weights_are_keeps_its_unit():
    found = wasserstein_per_feature([[1.0], [1.0], [9.0]], [[3.0]], real_weight=[1, 2, 0])
    assert found == pytest.approx([2.0])


# Classifier


def test_separable_sets_are_told_apart(rng):
    real, generated = rng.uniform(size=(2, 100, 2))
    found = two_sample_auc(real, generated + 2)
    assert (found.auc, found.auc_error) == (1, 0)
    assert found.folds.tolist() == [1, 1]
    z = 0.5 / np.sqrt(101 / (12 * 50 * 50))  # 50 rows against 50, in order
    assert found.p_value == pytest.approx(norm.sf(z), rel=1e-9)


def test_interleaved_sets_are_not_told_apart():
    line = np.arange(400.0)[:, None]
    found = two_sample_auc(
        line[::2], line[1::2], DecisionTreeClassifier(max_depth=3, random_state=0)
    )
    assert abs(found.auc - 0.5) < 3 * found.auc_error < 0.15
    assert found.p_value > 0.05


@pytest.mark.parametrize("n_folds", [2, 3])
@pytest.mark.parametrize("classifier", [LDA, KNeighborsClassifier(5)], ids=["scores", "tied"])
def test_areas_are_those_of_held_out_rows(sets, n_folds, classifier):
    """A fold's z is that of scipy's Mann-Whitney test."""
    real, generated = sets
    X, y = np.vstack(sets), np.repeat([0, 1], [len(real), len(generated)])
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=4)
    areas, errors, z = [], [], []
    for train, test in folds.split(X, y):
        fitted = classifier.fit(X[train], y[train])
        score = fitted.predict_proba(X[test])[:, 1]
        found = roc(y[test], score)
        areas.append(found.auc)
        errors.append(found.auc_error)
        greater = mannwhitneyu(
            score[y[test] == 1],
            score[y[test] == 0],
            alternative="greater",
            method="asymptotic",
            use_continuity=False,
        )
        z.append(norm.isf(greater.pvalue))
    found = two_sample_auc(real, generated, classifier, n_folds=n_folds, random_state=4)
    assert found.folds == pytest.approx(areas)
    assert found.auc == pytest.approx(np.mean(areas))
    assert found.auc_error == pytest.approx(np.mean(errors))
    assert found.p_value == pytest.approx(norm.sf(np.mean(z)))


@pytest.mark.parametrize("n", [4, 5, 15, 30, 100])
def test_few_rows_are_told_apart(rng, n):
    real, generated = rng.uniform(size=(2, n, 3))
    assert two_sample_auc(real, generated + 2).auc == 1
    assert two_sample_auc(real, np.vstack([generated + 2] * 5)).auc == 1
    alike = [two_sample_auc(*rng.uniform(size=(2, n, 3))).auc for _ in range(20)]
    assert abs(np.mean(alike) - 0.5) < 4 * np.std(alike) / np.sqrt(20)


def test_a_classifier_that_knows_nothing_has_half_the_area(rng):
    real, generated = rng.normal(size=(2, 10, 2))
    found = two_sample_auc(real, generated, DummyClassifier())
    assert (found.auc, found.p_value) == (0.5, 0.5)


def test_level_of_the_classifiers_test(rng):
    """Folds learn from each other: taken as independent, they would reject twice as often."""
    n = 300
    p = np.array([two_sample_auc(*rng.normal(size=(2, 40, 4)), Means()).p_value for _ in range(n)])
    for level in (0.05, 0.2):
        assert binom.ppf(1e-4, n, level / 4) < (p <= level).sum() < binom.ppf(0.9999, n, level)
    assert abs(np.median(p) - 0.5) < 4 * 0.5 / np.sqrt(n)


def test_power_of_the_classifiers_test(rng):
    sets = rng.normal([[[0]], [[0.7]]], size=(20, 2, 100, 2))
    p = [two_sample_auc(*pair, Means()).p_value for pair in sets]
    assert np.max(p) < 0.01


# Maximum mean discrepancy


@pytest.mark.parametrize("bandwidth", [0.3, 2.0, 40.0])
def test_discrepancy_is_brute_force(sets, bandwidth):
    real, generated = sets[0][:12], sets[1][:9]
    expected = brute_mmd(real, generated, bandwidth)
    found = mmd(real, generated, bandwidth, n_permutations=1)
    assert found.value == pytest.approx(expected, abs=1e-13)
    assert found.bandwidth == bandwidth


def test_bandwidth_is_the_median_distance(sets):
    rows = np.vstack(sets)
    distances = [np.linalg.norm(rows[i] - rows[j]) for i in range(len(rows)) for j in range(i)]
    assert mmd(*sets).bandwidth == pytest.approx(np.median(distances))


def test_wide_kernels_compare_means(sets):
    """As the bandwidth grows the kernel is linear in the squared distance."""
    real, generated = sets
    shift = real.mean(axis=0) - generated.mean(axis=0)
    bias = np.trace(np.cov(real.T)) / len(real) + np.trace(np.cov(generated.T)) / len(generated)
    expected = shift @ shift - bias
    assert mmd(real, generated, 1e6).value * 1e12 == pytest.approx(expected, rel=1e-6)


def test_narrow_kernels_see_nothing(sets):
    found = mmd(*sets, 1e-6)
    assert (found.value, found.p_value) == (0, 1)


def test_p_value_is_that_of_all_divisions(rng):
    """Of 3 against 3 rows there are 20 divisions, 10 values."""
    real, generated = rng.normal([[[0]], [[1]]], size=(2, 3, 2))
    rows, sigma = np.vstack([real, generated]), 1.0
    masks = [[int(b) for b in f"{i:06b}"] for i in range(64) if i.bit_count() == 3]
    masks = np.array(masks, dtype=bool)
    values = np.array([brute_mmd(rows[mask], rows[~mask], sigma) for mask in masks])
    expected = np.mean(values >= brute_mmd(real, generated, sigma) - 1e-12)
    n = 4000
    found = mmd(real, generated, sigma, n_permutations=n).p_value
    assert abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / n) + 1 / n


def test_level_of_the_permutation_test(rng):
    """With 19 divisions p is uniform over 1/20, ..., 20/20."""
    n = 600
    p = np.array(
        [
            mmd(*rng.normal(size=(2, 12, 2)), n_permutations=19, random_state=i).p_value
            for i in range(n)
        ]
    )
    counts = np.bincount(np.round(20 * p).astype(int), minlength=21)
    assert counts[0] == 0
    assert np.sum((counts[1:] - n / 20) ** 2 / (n / 20)) < 50  # chi squared of 19: p = 1e-4
    assert binom.ppf(1e-4, n, 0.05) < counts[1] < binom.ppf(0.9999, n, 0.05)


def test_discrepancy_is_unbiased(rng):
    found = [mmd(*rng.normal(size=(2, 10, 2)), 1.0, n_permutations=1).value for _ in range(300)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(300)


def test_least_p_value_and_seed(rng):
    real, generated = rng.normal(size=(2, 50, 2))
    assert mmd(real, generated + 5, n_permutations=99).p_value == 0.01
    assert mmd(real, generated, random_state=1) == mmd(real, generated, random_state=1)


# All of them

FIGURES = {
    "neighbours": lambda real, generated: figures(real, generated),
    "frechet": frechet_distance,
    "wasserstein": lambda real, generated: wasserstein_per_feature(real, generated, False),
    "classifier": lambda real, generated: two_sample_auc(real, generated, LDA).auc,
    "mmd": lambda real, generated: mmd(real, generated, n_permutations=1).value,
}
each_figure = pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)


@each_figure
def test_a_common_shift_changes_nothing(sets, figure):
    real, generated = sets
    shift = np.array([3.0, -20.0, 0.1, 5.0])
    np.testing.assert_allclose(figure(real + shift, generated + shift), figure(real, generated))


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "wasserstein"])
def test_a_rotation_changes_nothing(sets, name):
    real, generated = sets
    rotation = ortho_group.rvs(4, random_state=0)
    expected = FIGURES[name](real, generated)
    np.testing.assert_allclose(FIGURES[name](real @ rotation, generated @ rotation), expected)


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "classifier"])
def test_the_order_of_rows_changes_nothing(sets, rng, name):
    real, generated = sets
    expected = FIGURES[name](real, generated)
    shuffled = FIGURES[name](rng.permutation(real), rng.permutation(generated))
    np.testing.assert_allclose(shuffled, expected)


@each_figure
def test_events_of_any_shape_are_flattened(sets, figure):
    shaped = [rows.reshape(-1, 2, 2) for rows in sets]
    np.testing.assert_array_equal(np.ravel(figure(*shaped)), figure(*sets))


@each_figure
def test_whole_numbers_and_lists_are_rows(rng, figure):
    real, generated = rng.integers(0, 9, size=(2, 30, 3))
    expected = figure(real.astype(float), generated.astype(float))
    np.testing.assert_array_equal(figure(real.tolist(), generated.astype(np.uint8)), expected)


@each_figure
def test_rows_that_do_not_belong_together(figure):
    rows = np.zeros((20, 3))
    message = (
        "rows of real have shape (3,), those of generated (2,). Pass both with the same features."
    )
    with pytest.raises(ValueError, match=sentence(message)):
        figure(rows, rows[:, :2])
    holed = rows.copy()
    holed[2, 1], holed[4, 0] = np.nan, np.inf
    message = "generated holds 2 values that are not finite. Pass finite generated."
    with pytest.raises(ValueError, match=sentence(message)):
        figure(rows, holed)
    message = (
        "real has shape (20,). "
        "Pass an array of shape (row, feature), real[:, None] for a single feature."
    )
    with pytest.raises(ValueError, match=sentence(message)):
        figure(rows[:, 0], rows)
    message = (
        "generated has shape (20, 0). "
        "Pass an array of shape (row, feature), generated[:, None] for a single feature."
    )
    with pytest.raises(ValueError, match=sentence(message)):
        figure(rows, rows[:, :0])


@each_figure
def test_empty_sets(figure):
    least = 2 if figure in (FIGURES["frechet"], FIGURES["mmd"]) else 1
    message = f"real has 0 rows. Pass at least {least}."
    with pytest.raises(ValueError, match=sentence(message)):
        figure(np.zeros((0, 3)), np.zeros((20, 3)))


@pytest.mark.parametrize("name", ["frechet", "mmd"])
def test_single_rows_have_no_spread(name):
    message = "generated has 1 rows. Pass at least 2."
    with pytest.raises(ValueError, match=sentence(message)):
        FIGURES[name](np.zeros((5, 3)), np.zeros((1, 3)))


def test_errors_of_neighbours():
    rows = np.zeros((6, 2))
    message = "n_neighbors is 5, real has 6 rows and generated 5. Write a whole number from 1 to 4."
    with pytest.raises(ValueError, match=sentence(message)):
        generative_precision_recall(rows, rows[:5])
    message = "n_neighbors is 0, real has 6 rows and generated 1. Pass more rows."
    with pytest.raises(ValueError, match=sentence(message)):
        generative_precision_recall(rows, rows[:1], 0)


def test_errors_of_weights():
    rows = np.zeros((6, 2))
    message = "real_weight has shape (5,), real has 6 rows. Pass one weight a row."
    with pytest.raises(ValueError, match=sentence(message)):
        wasserstein_per_feature(rows, rows, real_weight=np.ones(5))
    message = "generated_weight runs from -1.0 to 4.0. Pass finite weights of 0 or more, not all 0."
    with pytest.raises(ValueError, match=sentence(message)):
        wasserstein_per_feature(rows, rows, generated_weight=np.arange(-1, 5))
    message = "real_weight runs from 0.0 to 0.0. Pass finite weights of 0 or more, not all 0."
    with pytest.raises(ValueError, match=sentence(message)):
        wasserstein_per_feature(rows, rows, real_weight=np.zeros(6))


def test_errors_of_the_classifier():
    rows = np.zeros((6, 2))
    message = "n_folds is 4, real has 6 rows and generated 6. Write a whole number from 2 to 3."
    with pytest.raises(ValueError, match=sentence(message)):
        two_sample_auc(rows, rows, n_folds=4)
    message = "n_folds is 2, real has 6 rows and generated 3. Pass at least 4 rows of each."
    with pytest.raises(ValueError, match=sentence(message)):
        two_sample_auc(rows, rows[:3])
    message = (
        "classifier is LinearRegression(). "
        "Pass a classifier with decision_function or predict_proba."
    )
    with pytest.raises(ValueError, match=sentence(message)):
        two_sample_auc(rows, rows, LinearRegression())


def test_errors_of_the_discrepancy():
    rows = np.zeros((6, 2))
    message = (
        "the median distance between rows is 0, so that it is no bandwidth. "
        "Write bandwidth=1.0, or another number in the unit of the rows."
    )
    with pytest.raises(ValueError, match=sentence(message)):
        mmd(rows, rows)
    assert mmd(rows, rows, 1.0).value == 0
    message = "bandwidth is -1.0. Write a finite number above 0."
    with pytest.raises(ValueError, match=sentence(message)):
        mmd(rows, rows, -1.0)
    message = "n_permutations is 0. Write 1 or more."
    with pytest.raises(ValueError, match=sentence(message)):
        mmd(rows, rows, n_permutations=0)
