"""Quality of a code, against reference implementations, brute force and analytic cases."""

import re

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import softmax, xlogy
from scipy.stats import entropy
from sklearn import manifold
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.metrics import adjusted_rand_score, mutual_info_score, normalized_mutual_info_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from narrows.metrics import (
    active_units,
    clustering_agreement,
    continuity,
    dci,
    label_efficiency,
    mutual_information_gap,
    neighbour_overlap,
    neighbours,
    round_trip,
    separated_attribute_predictability,
    trustworthiness,
    tsne_divergence,
)

NEIGHBOURHOOD = (trustworthiness, continuity, neighbour_overlap, tsne_divergence)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def mapped(rng):
    """Rows and a poor map of them."""
    X = rng.normal(size=(150, 6))
    return X, X[:, :2] + 0.3 * rng.normal(size=(150, 2))


def turned(rng, n):
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def sentence(text: str) -> str:
    """Return a pattern of the whole message."""
    return f"^{re.escape(text)}$"


# Neighbourhoods


@pytest.mark.parametrize("n_neighbors", [1, 5, 40, 74])
def test_trustworthiness_is_scikit_learns(mapped, n_neighbors):
    X, Z = mapped
    expected = manifold.trustworthiness(X, Z, n_neighbors=n_neighbors)
    assert trustworthiness(X, Z, n_neighbors) == pytest.approx(expected, abs=1e-12)
    expected = manifold.trustworthiness(Z, X, n_neighbors=n_neighbors)
    assert continuity(X, Z, n_neighbors) == pytest.approx(expected, abs=1e-12)


def test_continuity_counts_what_leaves_each_neighbourhood(mapped):
    X, Z = mapped
    near_x, near_z = (np.linalg.norm(A[:, None] - A, axis=-1).argsort() for A in (X, Z))
    lost, k, n = 0, 7, len(X)
    for i in range(n):
        ranks = {j: rank for rank, j in enumerate(near_z[i])}
        left = set(near_x[i][1 : k + 1]) - set(near_z[i][1 : k + 1])
        lost += sum(ranks[j] - k for j in left)
    expected = 1 - 2 * lost / (n * k * (2 * n - 3 * k - 1))
    assert continuity(X, Z, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_neighbors", [1, 9, 148])
def test_overlap_counts_shared_neighbours(mapped, n_neighbors):
    sets = [
        NearestNeighbors(n_neighbors=n_neighbors).fit(A).kneighbors(return_distance=False)
        for A in mapped
    ]
    shared = [len(set(a) & set(b)) for a, b in zip(*sets, strict=True)]
    expected = np.mean(shared) / n_neighbors
    assert neighbour_overlap(*mapped, n_neighbors) == pytest.approx(expected, abs=1e-12)


def test_a_code_that_knows_nothing_keeps_neighbours_by_chance(rng):
    X, Z = rng.normal(size=(2, 600, 3))
    assert trustworthiness(X, Z) == pytest.approx(0.5, abs=0.03)
    assert continuity(X, Z) == pytest.approx(0.5, abs=0.03)
    assert neighbour_overlap(X, Z, 60) == pytest.approx(60 / 599, abs=0.01)


@pytest.mark.parametrize("metric", NEIGHBOURHOOD[:3])
def test_neighbourhoods_follow_neither_scale_nor_rotation(metric, mapped, rng):
    X, Z = mapped
    assert metric(X, X, 9) == 1
    moved = 1e-3 * (X @ turned(rng, 6)) + 5, 40 * (Z @ turned(rng, 2)) - 7
    assert metric(*moved, 9) == pytest.approx(metric(X, Z, 9), abs=1e-12)


def reference_divergence(X, Z, perplexity):
    """The criterion by its formula, all distances at once, one root for each row."""
    squared = [((A[:, None] - A) ** 2).sum(-1) for A in (X, Z)]
    n, freedom = len(X), max(Z.shape[1] - 1, 1)
    conditional = np.zeros((n, n))
    for i in range(n):
        others = np.arange(n) != i

        def row(log_precision, d=squared[0][i, others]):
            return softmax(-np.exp(log_precision) * d)

        nearest = np.isclose(squared[0][i, others], squared[0][i, others].min(), atol=1e-12)
        if nearest.sum() >= perplexity:
            conditional[i, others] = nearest / nearest.sum()
            continue
        root = brentq(lambda x: np.exp(entropy(row(x))) - perplexity, -20, 20, xtol=1e-13)
        conditional[i, others] = row(root)
    p = (conditional + conditional.T) / (2 * n)
    q = (1 + squared[1] / freedom) ** (-(freedom + 1) / 2)
    np.fill_diagonal(q, 0)
    return (xlogy(p, p) - xlogy(p, q / q.sum())).sum()


@pytest.mark.parametrize("n_components", [1, 2, 4])
@pytest.mark.parametrize("perplexity", [2.5, 50.0])
def test_tsne_divergence_is_its_formula(rng, n_components, perplexity):
    X, Z = rng.normal(size=(60, 6)), 3 * rng.normal(size=(60, n_components))
    expected = reference_divergence(X, Z, perplexity)
    assert tsne_divergence(X, Z, perplexity) == pytest.approx(expected, rel=1e-8)


def test_tsne_divergence_is_scikit_learns(mapped):
    X, Z = mapped
    tsne = manifold.TSNE(method="exact", perplexity=15, random_state=0, max_iter=600)
    embedded = tsne.fit_transform(X)
    assert tsne_divergence(X, embedded, 15) == pytest.approx(tsne.kl_divergence_, rel=1e-3)
    # What minimises the criterion has the right scale and beats any other map.
    best = tsne_divergence(X, embedded, 15, rescale=True)
    assert tsne.kl_divergence_ * 0.98 < best <= tsne.kl_divergence_
    assert best < tsne_divergence(X, Z, 15, rescale=True)


def test_tsne_divergence_rescales(mapped):
    X, Z = mapped
    best = tsne_divergence(X, Z, 20, rescale=True)
    assert tsne_divergence(X, 1e-4 * Z, 20, rescale=True) == pytest.approx(best, rel=1e-9)
    scanned = [tsne_divergence(X, scale * Z, 20) for scale in np.geomspace(0.1, 100, 31)]
    assert min(scanned) * 0.99 < best <= min(scanned)


def test_tsne_divergence_of_repeated_rows(rng):
    X = np.repeat(np.eye(4), 20, axis=0)
    near, far = np.repeat(10 * np.eye(4), 20, axis=0), rng.permutation(np.repeat(np.eye(4), 20, 0))
    assert np.isfinite(tsne_divergence(X, near, 5))
    assert tsne_divergence(X, near, 5) < tsne_divergence(X, far, 5)


@pytest.mark.parametrize("perplexity", [5.0, 15.0])
def test_tsne_divergence_where_more_rows_repeat_than_the_perplexity(rng, perplexity):
    """Tables of yes and no: rows repeat, and many others are the nearest alike."""
    X = (rng.random((300, 4)) < 0.4) * [0.3, 1.7, 0.9, 1.1]
    for Z in (X @ rng.normal(size=(4, 2)), X):
        expected = reference_divergence(X, Z, perplexity)
        assert tsne_divergence(X, Z, perplexity) == pytest.approx(expected, rel=1e-6)


def test_equal_rows_are_no_distance_apart(rng):
    X = np.repeat(rng.normal(size=(30, 7)) + 1e3, 4, axis=0)
    squared = neighbours._distances(X, slice(0, 120))
    exact = ((X[:, None] - X) ** 2).sum(-1)
    np.fill_diagonal(exact, np.inf)
    np.testing.assert_array_equal(squared == 0, exact == 0)
    np.testing.assert_allclose(squared, exact, rtol=1e-10)


@pytest.mark.parametrize("metric", NEIGHBOURHOOD)
def test_blocks_change_nothing(metric, mapped, monkeypatch):
    whole = metric(*mapped, 12)
    monkeypatch.setattr(neighbours, "MAX_ENTRIES", 7 * 150)
    assert metric(*mapped, 12) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("metric", NEIGHBOURHOOD)
def test_neighbourhood_errors(metric, mapped):
    X, Z = mapped
    message = "X has 150 rows, Z has 149. Pass Z with the codes of the rows of X."
    with pytest.raises(ValueError, match=sentence(message)):
        metric(X, Z[1:])
    holed = np.where(np.arange(2) == 1, np.nan, Z)
    message = "Z holds 150 values that are not finite. Pass finite Z."
    with pytest.raises(ValueError, match=sentence(message)):
        metric(X, holed)


@pytest.mark.parametrize(
    ("metric", "wrong", "most"),
    [(trustworthiness, 75, 74), (continuity, 75, 74), (neighbour_overlap, 149, 148)],
)
def test_neighbourhood_sizes(metric, wrong, most, mapped):
    for size in (wrong, 0):
        message = f"n_neighbors is {size}, X has 150 rows. Write a whole number from 1 to {most}."
        with pytest.raises(ValueError, match=sentence(message)):
            metric(*mapped, size)
    message = "n_neighbors is 1, X has 2 rows. Pass more rows."
    with pytest.raises(ValueError, match=sentence(message)):
        metric(np.eye(2), np.eye(2), 1)


def test_perplexity_errors(mapped):
    message = "perplexity is 149, X has 150 rows. Write a number above 1 and below 149."
    with pytest.raises(ValueError, match=sentence(message)):
        tsne_divergence(*mapped, 149)
    message = "Z is constant and has no scale. Write rescale=False."
    with pytest.raises(ValueError, match=sentence(message)):
        tsne_divergence(mapped[0], np.ones((150, 2)), rescale=True)


# Disentanglement


@pytest.fixture
def classes(rng):
    return rng.integers(0, 3, size=(600, 2))


@pytest.fixture
def numbers(rng):
    return rng.uniform(-1, 1, size=(600, 2))


def test_each_component_tells_one_factor(classes, numbers):
    codes = 1 - 3.0 * classes[:, ::-1]
    assert mutual_information_gap(codes, classes) == pytest.approx(1, abs=0.01)
    assert separated_attribute_predictability(codes, classes) == pytest.approx(2 / 3, abs=0.06)
    for importance in ("gradient_boosting", "lasso"):
        found = dci(codes, classes, importance)
        assert min(found.disentanglement, found.completeness) > 0.98
        assert found.informativeness == pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(found.importance, [[0, 1], [1, 0]], atol=0.01)
    assert mutual_information_gap(numbers**3, numbers) > 0.85
    assert separated_attribute_predictability(2 * numbers, numbers) == pytest.approx(1, abs=0.02)


def test_components_that_mix_tell_no_factor_apart(classes, numbers):
    """A sum and a difference tell both factors alike, by symmetry, and together tell them all."""
    for factors in (classes, numbers):
        codes = factors @ np.array([[1.0, 1.0], [1.0, -1.0]])
        assert mutual_information_gap(codes, factors) < 0.06
        assert separated_attribute_predictability(codes, factors) < 0.1
        found = dci(codes, factors)
        assert max(found.disentanglement, found.completeness) < 0.05
        assert found.informativeness > 0.9
    found = dci(codes, numbers, "lasso")
    assert max(found.disentanglement, found.completeness) < 0.01
    assert found.informativeness > 0.999


def test_independent_components_tell_nothing(classes, numbers, rng):
    for factors in (classes, numbers):
        codes = rng.normal(size=factors.shape)
        assert mutual_information_gap(codes, factors) < 0.03
        assert separated_attribute_predictability(codes, factors) < 0.06
        found = dci(codes, factors)
        assert found.informativeness < 0.05
        assert max(found.disentanglement, found.completeness) < 0.05
    nothing = dci(np.zeros((600, 2)), numbers, "lasso")
    assert nothing.disentanglement == nothing.completeness == 0


def test_a_component_that_tells_two_factors(rng):
    """Gaps do not see it; disentanglement does: entropies of (1/2, 1/2, 0), (0, 0, 1)."""
    factors = rng.integers(0, 2, size=(1000, 3))
    codes = np.column_stack([factors[:, 0] + 2.0 * factors[:, 1], factors[:, 2]])
    assert mutual_information_gap(codes, factors) > 0.97
    found = dci(codes, factors)
    shared = 1 - np.log(2) / np.log(3)
    assert found.disentanglement == pytest.approx(2 / 3 * shared + 1 / 3, abs=0.02)
    assert found.completeness > 0.98


def test_the_gap_is_in_units_of_the_factors_entropy(rng):
    """A binary symmetric channel tells ln 2 - H(flip) of ln 2."""
    factor = rng.integers(0, 2, size=(50_000, 1))
    flipped = factor ^ (rng.random(factor.shape) < 0.1)
    codes = np.hstack([flipped, rng.integers(0, 2, size=factor.shape)]).astype(float)
    expected = 1 - entropy([0.1, 0.9]) / np.log(2)
    assert mutual_information_gap(codes, factor) == pytest.approx(expected, abs=0.01)
    # Alone, a component stands against nothing.
    alone = mutual_info_score(flipped[:, 0], factor[:, 0]) / entropy(np.bincount(factor[:, 0]))
    assert mutual_information_gap(codes[:, :1], factor) == pytest.approx(alone)


def test_the_gap_ignores_monotone_changes_of_scale(numbers, rng):
    codes = numbers + 0.3 * rng.normal(size=numbers.shape)
    before = mutual_information_gap(codes, numbers)
    assert mutual_information_gap(-np.exp(codes), numbers**3) == pytest.approx(before)
    assert mutual_information_gap(codes, numbers, n_bins=4) > before + 0.05


def test_sap_of_numbers_is_squared_correlation(numbers, rng):
    codes = np.column_stack([numbers @ rng.normal(size=(2, 4)), np.ones(600)])
    squared = np.zeros((5, 2))
    squared[:4] = np.corrcoef(codes[:, :4].T, numbers.T)[:4, 4:] ** 2
    squared.sort(axis=0)
    expected = (squared[-1] - squared[-2]).mean()
    assert separated_attribute_predictability(codes, numbers) == pytest.approx(expected)


def test_sap_of_classes_is_an_accuracy_of_thresholds(rng):
    """Two normal classes at distance 2: the best threshold is right with probability Φ(1)."""
    factor = rng.integers(0, 2, size=(20_000, 1))
    codes = np.hstack([2 * factor, 0 * factor]) + rng.normal(size=(20_000, 2))
    found = separated_attribute_predictability(codes, factor)
    assert found == pytest.approx(0.8413 - 0.5, abs=0.02)


def test_lasso_importances_are_its_coefficients(numbers, rng):
    codes = numbers @ np.array([[2.0, 0, 1], [0, 1, 1]])
    found = dci(codes, numbers, "lasso").importance
    np.testing.assert_allclose(found.sum(axis=0), 1)
    inputs = StandardScaler().fit_transform(codes)
    for j, factor in enumerate(StandardScaler().fit_transform(numbers).T):
        coefficients = np.abs(Lasso(alpha=1e-3).fit(inputs, factor).coef_)
        np.testing.assert_allclose(found[:, j], coefficients / coefficients.sum(), atol=0.05)


def test_classes_may_be_names(classes):
    names = np.array(["red", "green", "blue"])[classes]
    codes = classes.astype(float)
    assert mutual_information_gap(codes, names) == mutual_information_gap(codes, classes)
    assert separated_attribute_predictability(codes, names) > 0.5
    assert dci(codes[:300], names[:300]).disentanglement > 0.98
    message = (
        'factors has type <U5, a lasso predicts numbers. Write importance="gradient_boosting".'
    )
    with pytest.raises(ValueError, match=sentence(message)):
        dci(codes, names, "lasso")


@pytest.mark.parametrize(
    "metric", [mutual_information_gap, dci, separated_attribute_predictability]
)
def test_disentanglement_errors(metric, numbers):
    message = "codes has 600 rows, factors has 599. Pass factors of the same rows."
    with pytest.raises(ValueError, match=sentence(message)):
        metric(numbers, numbers[1:])
    message = "factors [1] are constant. Pass factors that vary."
    with pytest.raises(ValueError, match=sentence(message)):
        metric(numbers, numbers * [1, 0])
    message = "codes holds 600 values that are not finite. Pass finite codes."
    with pytest.raises(ValueError, match=sentence(message)):
        metric(numbers * [1, np.inf], numbers)


def test_disentanglement_settings(numbers):
    with pytest.raises(ValueError, match=sentence("n_bins is 1. Write 2 or more.")):
        mutual_information_gap(numbers, numbers, n_bins=1)
    message = (
        "a factor of type int64 has 600 classes in 600 rows, the rarest in 1. "
        "Write factors.astype(float) if they are numbers, or more rows of each class."
    )
    for metric in (dci, separated_attribute_predictability):
        with pytest.raises(ValueError, match=sentence(message)):
            metric(numbers, np.arange(600)[:, None])


# Units


def test_active_units_vary(rng):
    codes = rng.normal(size=(5000, 4)) * [1, 0.11, 0.09, 0] + 7
    assert active_units(codes).tolist() == [True, True, False, False]
    assert active_units(codes, threshold=0.5).sum() == 1
    assert active_units(codes, threshold=0.0).tolist() == [True, True, True, False]


def test_active_angles_may_cross_the_cut(rng):
    """Near π an angle that hardly moves jumps from -π to π; spread evenly it has no direction."""
    narrow = np.angle(np.exp(1j * (np.pi + 0.09 * rng.normal(size=5000))))
    codes = np.column_stack([narrow, rng.uniform(-np.pi, np.pi, 5000), narrow])
    assert active_units(codes, circular=(0, 1)).tolist() == [False, True, True]
    assert active_units(codes, 1.9, circular=(0, 1)).tolist() == [False, True, True]


def test_active_units_errors(rng):
    codes = rng.normal(size=(5, 2))
    with pytest.raises(
        ValueError, match=sentence("threshold is -1. Write a variance of 0 or more.")
    ):
        active_units(codes, -1)
    message = "circular names [2], codes has 2 components. Write numbers from 0 to 1."
    with pytest.raises(ValueError, match=sentence(message)):
        active_units(codes, circular=(2,))
    message = "codes holds 10 values that are not finite. Pass finite codes."
    with pytest.raises(ValueError, match=sentence(message)):
        active_units(codes * np.nan)


# Round trip


class Turn:
    """A model whose decoder and encoder are inverse up to a shift and noise."""

    def __init__(self, shift, noise):
        self.shift, self.noise = np.asarray(shift), noise

    def inverse_transform(self, Z):
        return np.hstack([Z, Z**2])

    def transform(self, X):
        return X[:, : X.shape[1] // 2] + self.shift + self.noise


def test_round_trip_of_noise_and_shift(rng):
    """A shift by s costs s² / variance of R² and none of the correlation; noise costs both."""
    Z = rng.normal(size=(20_000, 3))
    noise = rng.normal(size=Z.shape) * [0, 0, 0.5]
    found = round_trip(Turn([0, 0.5, 0], noise), Z)
    np.testing.assert_allclose(found.r2, [1, 0.75, 0.75], atol=0.02)
    expected = 6 / np.pi * np.arcsin(1 / np.sqrt(1.25) / 2)
    np.testing.assert_allclose(found.correlation, [1, 1, expected], atol=0.01)
    np.testing.assert_allclose(found.codes, Z + np.array([0, 0.5, 0]) + noise)


def test_round_trip_of_angles(rng):
    """An angle that comes back on another branch has come back; half a turn off is opposite."""
    Z = rng.uniform(-np.pi, np.pi, size=(20_000, 3))
    noise = rng.normal(size=Z.shape) * [0, 0, 0.4]
    model = Turn([2 * np.pi, np.pi, 0], noise)
    found = round_trip(model, Z, circular=(0, 1, 2))
    # R² is the mean cosine of the error, in units of the circle's.
    np.testing.assert_allclose(found.r2, [1, -1, np.exp(-0.08)], atol=0.02)
    np.testing.assert_allclose(found.correlation, [1, 1, np.exp(-0.16)], atol=0.02)
    assert round_trip(model, Z).r2[0] < -5


def test_round_trip_of_two_callables(rng):
    Z, model = rng.normal(size=(50, 2)), Turn([0, 1], 0.1)
    found, expected = (
        round_trip((model.inverse_transform, model.transform), Z),
        round_trip(model, Z),
    )
    assert np.array_equal(found.r2, expected.r2)
    constant = round_trip((np.copy, lambda X: X + np.arange(2.0)), np.ones((9, 2)))
    assert constant.r2.tolist() == [1, 0]


def test_round_trip_errors():
    Z = np.zeros((5, 2))
    message = (
        "Z has shape (5, 2) and comes back with shape (5, 1). "
        "Pass codes as the model's transform returns them."
    )
    with pytest.raises(ValueError, match=sentence(message)):
        round_trip((np.copy, lambda X: X[:, :1]), Z)
    message = (
        "model is 3. Pass a fitted model with inverse_transform and transform, or (decode, encode)."
    )
    with pytest.raises(ValueError, match=sentence(message)):
        round_trip(3, Z)
    message = "what comes back holds 10 values that are not finite. Pass finite codes."
    with pytest.raises(ValueError, match=sentence(message)):
        round_trip((np.copy, lambda X: X * np.nan), Z)


# Use


@pytest.fixture
def labelled(rng):
    """Codes that tell two classes, hidden among features that do not, and the classes."""
    y = rng.integers(0, 2, size=400)
    codes = np.column_stack([2.0 * y, y]) + rng.normal(size=(400, 2))
    return codes, np.hstack([codes, rng.normal(size=(400, 60))]), y


def test_label_efficiency_is_a_classifier_on_the_same_draws(labelled):
    codes, raw, y = labelled
    found = label_efficiency(codes, raw, y, (20, 200), n_draws=5, random_state=3)
    splits = StratifiedShuffleSplit(5, train_size=200, test_size=0.25, random_state=3)
    for side, X in ((found.codes, codes), (found.raw, raw)):
        expected = []
        for train, test in splits.split(X, y):
            scale = StandardScaler().fit(X[train])
            model = LogisticRegression().fit(scale.transform(X[train]), y[train])
            expected.append(model.score(scale.transform(X[test]), y[test]))
        np.testing.assert_allclose(side.values[1], expected)
        assert side.mean[1] == pytest.approx(np.mean(expected))
        assert side.standard_error[1] == pytest.approx(np.std(expected, ddof=1) / np.sqrt(5))
    assert found.n_labels.tolist() == [20, 200]
    assert found.gain.mean[0] > found.gain.mean[1] > 0
    assert found.gain.mean[0] > 3 * found.gain.standard_error[0]


def test_label_efficiency_of_another_classifier(labelled):
    codes, raw, y = labelled
    nearest = KNeighborsClassifier(1)
    found = label_efficiency(codes, codes * [1, -5], y, (50,), classifier=nearest, n_draws=3)
    assert np.array_equal(found.codes.values, found.raw.values)  # standardised
    logistic = label_efficiency(codes, raw, y, (50,), n_draws=3)
    assert found.codes.mean < logistic.codes.mean
    assert not hasattr(nearest, "classes_")


def test_label_efficiency_of_codes_that_know_nothing(labelled, rng):
    _, raw, y = labelled
    found = label_efficiency(rng.normal(size=(400, 2)), raw, y, (200,))
    assert found.codes.mean[0] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"n_labels": (50, 301)},
            "n_labels is (50, 301), y has 400 rows of 2 classes. Write numbers from 2 to 300.",
        ),
        (
            {"n_labels": ()},
            "n_labels is (), y has 400 rows of 2 classes. Write numbers from 2 to 300.",
        ),
        ({"n_draws": 1}, "n_draws is 1. Write 2 or more, for a standard error."),
        (
            {"test_size": 1.0},
            "test_size is 1.0, y has 400 rows of 2 classes. Write a share from 0.005 to below 1.",
        ),
    ],
)
def test_label_efficiency_settings(labelled, settings, message):
    with pytest.raises(ValueError, match=sentence(message)):
        label_efficiency(*labelled, **settings)


def test_label_efficiency_errors(labelled):
    codes, raw, y = labelled
    message = "codes has 400 rows, raw 400 and y 399. Pass all three of the same rows."
    with pytest.raises(ValueError, match=sentence(message)):
        label_efficiency(codes, raw, y[1:])
    message = "y has 1 classes, the rarest in 400 rows. Pass at least 2 classes of at least 2 rows."
    with pytest.raises(ValueError, match=sentence(message)):
        label_efficiency(codes, raw, np.zeros(400))


def test_clustering_agreement(rng):
    y = np.array(["a", "b", "c"])[np.arange(300) % 3]
    codes = 8 * np.eye(3)[np.arange(300) % 3] + rng.normal(size=(300, 3))
    found = clustering_agreement(codes, y)
    assert found.adjusted_rand_index == found.normalised_mutual_information == 1
    four = clustering_agreement(codes, y, 4)
    assert len(np.unique(four.clusters)) == 4
    assert four.adjusted_rand_index == adjusted_rand_score(y, four.clusters) < 1
    expected = normalized_mutual_info_score(y, four.clusters)
    assert four.normalised_mutual_information == expected
    blind = clustering_agreement(rng.normal(size=(300, 3)), y)
    assert blind.adjusted_rand_index == pytest.approx(0, abs=0.03)


def test_clustering_errors(rng):
    codes = rng.normal(size=(5, 2))
    message = "codes has 5 rows, y has 4. Pass one label for each code."
    with pytest.raises(ValueError, match=sentence(message)):
        clustering_agreement(codes, np.arange(4))
    message = "n_clusters is 6, codes has 5 rows. Write a whole number from 1 to 5."
    with pytest.raises(ValueError, match=sentence(message)):
        clustering_agreement(codes, np.arange(5), 6)
