"""The outlier detector: scores, thresholds, robust training, contributions."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from helpers import quick, table
from narrows import (
    Autoencoder,
    DenoisingAutoencoder,
    OutlierDetector,
    SparseAutoencoder,
    Training,
    VariationalAutoencoder,
)
from narrows.data.source import source
from narrows.estimators import _rows, _trimming
from narrows.estimators._trimming import typical_rows
from narrows.estimators.outliers import SCORES, _Gaussian

FAST = {"hidden_layer_sizes": (8,), "max_epochs": 4, "random_state": 0}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def strange(n_rows=400, n_strange=20, seed=0):
    """Rows near a plane, the first of which are not."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(n_rows, 6))
    X[:n_strange] = 1.5 * rng.normal(size=(n_strange, 6))
    return X, np.arange(n_rows) < n_strange


def detector(**settings):
    inner = Autoencoder(2, **{**quick(max_epochs=20), "n_init": 2})
    return OutlierDetector(inner, **settings)


@parametrize_with_checks(
    [
        OutlierDetector(
            DenoisingAutoencoder(1, **FAST, training=Training(precision="float64")),
            score="combined",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*features are constant", "ignore:n_components=.* exceeds")
def test_sklearn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else one check is skipped
    check(estimator)


@pytest.mark.parametrize("score", ["combined", "reconstruction", "latent"])
def test_strange_rows_are_found(score):
    X, labels = strange()
    found = detector(score=score).fit(X)
    assert roc_auc_score(labels, -found.score_samples(X)) > (0.5 if score == "latent" else 0.95)


def test_the_default_finds_strange_rows():
    X, labels = strange(200)
    found = OutlierDetector(contamination=0.1, random_state=0).fit(X)
    assert roc_auc_score(labels, -found.score_samples(X)) > 0.97
    assert found.autoencoder_.n_components == 6
    assert (found.predict(X) == -1).sum() == 20


# Scores


def test_scores_are_what_they_say():
    X, _ = strange()
    one = detector(score="reconstruction", trim=0).fit(X)
    error = np.mean([-restart.score_samples(X) for restart in one.autoencoder_.restarts_], axis=0)
    np.testing.assert_allclose(-one.score_samples(X), error, rtol=1e-5)

    latent = detector(score="latent", trim=0).fit(X)
    expected = []
    for restart in latent.autoencoder_.restarts_:
        codes = restart.transform(X).astype(float)
        covariance = np.cov(codes.T, bias=True)
        covariance += 0.01 * np.trace(covariance) / 2 * np.eye(2)
        centred = codes - codes.mean(0)
        distance = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(covariance), centred)
        expected.append(distance / np.median(distance))
    np.testing.assert_allclose(-latent.score_samples(X), np.mean(expected, axis=0), rtol=1e-4)

    both = detector(score="combined", trim=0).fit(X)
    errors = [-restart.score_samples(X) for restart in one.autoencoder_.restarts_]
    relative = [error / np.median(error) for error in errors]
    expected = (np.mean(relative, axis=0) + np.mean(expected, axis=0)) / 2
    np.testing.assert_allclose(-both.score_samples(X), expected, rtol=1e-3)


def test_bounded_data_are_scored_above_their_entropy(rng):
    X = rng.uniform(size=(100, 4))
    inner = Autoencoder(1, **quick(likelihood="bernoulli"))
    found = OutlierDetector(inner, score="reconstruction", trim=0).fit(X)
    means = found.autoencoder_.reconstruct(X)
    excess = stats.entropy([X, 1 - X], [means, 1 - means]).sum(1)
    np.testing.assert_allclose(-found.score_samples(X), excess, rtol=1e-3, atol=1e-4)


def test_scores_that_are_not_finite_set_no_threshold(rng):
    X = rng.normal(size=(200, 3))
    score = np.where(np.arange(200) == 7, np.inf, rng.normal(size=200))
    found = detector(score=lambda model, rows: score, contamination=0.004, trim=0).fit(X)
    assert np.isfinite(found.offset_)
    assert found.predict(X)[7] == -1


def test_codes_that_are_mostly_alike_are_scored(rng):
    """A median of 0 is no measure of what is typical."""
    X = np.zeros((200, 3))
    X[:20] = rng.normal(size=(20, 3))
    found = OutlierDetector(Autoencoder(1, **quick()), score="combined", trim=0).fit(X)
    assert np.isfinite(found.score_samples(X)).all()
    assert -found.score_samples(X).min() < 1e6


def test_a_function_and_the_joint_density_are_scores_too():
    X, _ = strange()
    sparse = SparseAutoencoder(8, **quick(hidden_layer_sizes=()))
    joint = OutlierDetector(sparse, score="joint", trim=0).fit(X)
    np.testing.assert_array_equal(joint.score_samples(X), joint.autoencoder_.joint_score_samples(X))
    own = detector(score=lambda model, rows: -model.score_samples(rows), trim=0).fit(X)
    assert own.offset_ == np.quantile(own.score_samples(X), 0.1, method="higher")


def test_the_distance_of_codes_is_invariant_to_their_scale(rng):
    codes, turn = rng.normal(size=(50, 3)), np.diag([2.0, 2.0, 2.0])
    one, other = _Gaussian(codes), _Gaussian(codes @ turn + 7)
    np.testing.assert_allclose(one.distance(codes), other.distance(codes @ turn + 7))


# Thresholds and training


@pytest.mark.parametrize("contamination", [0.02, 0.3])
def test_contamination_is_the_share_that_is_called(contamination):
    X, _ = strange()
    found = detector(contamination=contamination).fit(X)
    assert (found.predict(X) == -1).mean() == pytest.approx(contamination, abs=1 / len(X))
    np.testing.assert_array_equal(found.predict(X) == -1, found.decision_function(X) < 0)


def test_a_rate_is_kept_with_the_confidence_promised():
    """Of many thresholds for normal rows, at most 5 % let more through than they may."""
    rng, rate, n = np.random.default_rng(0), 0.1, 120
    calm = OutlierDetector(score=lambda model, rows: rows, max_false_positive_rate=rate)
    found = np.array([1 - stats.norm.cdf(calm._threshold(rng.normal(size=n))) for _ in range(2000)])
    assert 0.01 < (found > rate).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
    assert found.mean() > rate / 3


def test_rows_that_set_the_threshold_are_not_trained_on():
    X, _ = strange()
    found = detector(max_false_positive_rate=0.2, trim=0, random_state=0).fit(X)
    assert len(found.kept_) == 300
    again = clone(found).fit(X)
    assert again.offset_ == found.offset_


@pytest.mark.parametrize("trim_by", ["linear", "autoencoder"])
def test_robust_training_leaves_the_strangest_out(trim_by):
    X, labels = strange()
    robust = detector(trim=0.2, trim_by=trim_by, n_refits=2).fit(X)
    plain = detector(trim=0).fit(X)
    assert len(robust.kept_) == 320
    assert labels[robust.kept_].mean() < 0.2 * labels.mean()
    assert len(plain.kept_) == 400


def test_the_first_of_several_fits_is_the_plain_one():
    """A share of all rows left out in n steps: the last learns from what the others found."""
    X, _ = strange()
    plain = detector(trim=0).fit(X)
    nearest = np.sort(np.argsort(-plain.score_samples(X), kind="stable")[:300])
    robust = detector(trim=0.25, trim_by="autoencoder", n_refits=1).fit(X)
    np.testing.assert_array_equal(robust.kept_, nearest)


def test_rows_on_a_curve_are_left_out_by_the_autoencoder_alone(rng):
    """Anomalies inside an arc lie near its mean: a linear autoencoder keeps them."""
    angle = rng.uniform(-2, 2, size=400)
    X = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.02 * rng.normal(size=(400, 2))
    X[:10] = X.mean(0) + rng.uniform(-0.4, 0.4, size=(10, 2))
    assert (typical_rows(source(X), 0.9) < 10).sum() == 10
    inner = Autoencoder(1, **quick(hidden_layer_sizes=(32, 32), max_epochs=30))
    curved = OutlierDetector(inner, trim=0.1, trim_by="autoencoder", n_refits=1).fit(X)
    assert (curved.kept_ < 10).sum() <= 5


@pytest.mark.parametrize("shape", [(6,), (3, 2)])
def test_typical_rows_do_not_depend_on_units(shape):
    X, labels = strange()
    scale, offset = 10.0 ** np.arange(-3, 3), 1e3 * 10.0 ** np.arange(-3, 3)
    found = typical_rows(source(X.reshape(-1, *shape)), 0.8)
    assert len(found) == 320
    assert not labels[found].any()
    again = typical_rows(source((X * scale + offset).reshape(-1, *shape)), 0.8)
    np.testing.assert_array_equal(found, again)


def test_one_typical_fit_is_that_of_the_whole_covariance(monkeypatch):
    """After one round the rows kept are the nearest by the shrunk correlation of all rows."""
    monkeypatch.setattr(_trimming, "_ROUNDS", 1)
    monkeypatch.setattr(_trimming, "_DESCENT", 1)
    monkeypatch.setattr(_rows, "CHUNK", 70)
    X, _ = strange()
    floor = 1e-3 * (stats.iqr(X, axis=0) / 1.349) ** 2
    z = (X - X.mean(0)) / np.sqrt(X.var(0) + floor)
    inverse = np.linalg.inv(0.9 * z.T @ z / len(z) + 0.1 * np.eye(6))
    distance = np.einsum("ij,jk,ik->i", z, inverse, z)
    np.testing.assert_array_equal(typical_rows(source(X), 0.5), np.sort(distance.argsort()[:200]))


def test_wide_rows_are_trimmed_by_products_of_rows(rng):
    """Woodbury's identity: the distances are the same, and so are the rows."""
    X = rng.normal(size=(40, 7)) * rng.exponential(size=(40, 1))
    X[3, 2] = np.nan
    X = (X - np.nanmean(X, 0)) / np.nanstd(X, 0)
    blocks, kept = lambda: iter([X[:30], X[30:]]), np.arange(40) % 3 > 0
    mean, distance = _trimming._in_features(blocks, kept, np.full(7, 0.1))
    other = _trimming._in_rows(lambda: iter([X]), kept, np.full(7, 0.1))
    np.testing.assert_allclose(other[0], mean, atol=1e-12)
    np.testing.assert_allclose(other[1], distance, rtol=1e-9)
    wide = rng.normal(size=(30, 400))
    wide[:4] *= 5
    np.testing.assert_array_equal(typical_rows(source(wide), 26 / 30), np.arange(4, 30))


@pytest.mark.parametrize("size", [1e5, 1e12, 1e30])
def test_a_gross_value_does_not_hide_others(size, rng):
    X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(500, 6))
    X[:50, 1] += 8 * X[:, 1].std()
    X[60, 1] = size
    assert not np.isin([*range(50), 60], typical_rows(source(X), 0.8)).any()


def test_missing_and_constant_values_count_as_typical(rng):
    X = rng.normal(size=(100, 3))
    X[:, 2] = 4.0
    X[:10, 0] = np.nan
    X[10:20, 0] = 50.0
    kept = typical_rows(source(X), 0.85)
    assert not np.isin(np.arange(10, 20), kept).any()
    assert np.isin(np.arange(10), kept).sum() >= 8


# Why a row is strange


def test_contributions_point_at_the_value_that_is_wrong():
    X, _ = strange(400, 0)
    for score in SCORES[:3]:
        found = detector(score=score, trim=0).fit(X)
        row = X[:1].copy()
        row[0, 4] += 5 * X[:, 4].std()
        added = found.contributions(row)
        assert added.shape == (1, 6)
        if score != "latent":
            assert added[0].argmax() == 4
        if score == "reconstruction":
            np.testing.assert_allclose(added.sum(1), -found.score_samples(row), rtol=1e-5)


@pytest.mark.parametrize(("score", "term"), [("bound", "total"), ("divergence", "divergence")])
def test_scores_of_a_distribution_are_terms_of_its_bound(score, term):
    X = table()
    detector = OutlierDetector(VariationalAutoencoder(2, **quick()), score=score, trim=0).fit(X)
    found = getattr(detector.autoencoder_.elbo(X), term)
    sign = 1 if score == "bound" else -1
    np.testing.assert_allclose(detector.score_samples(X), sign * found, rtol=1e-6)
    strange = X[:5] + 100
    assert (detector.predict(strange) == -1).all()


@pytest.mark.parametrize("score", SCORES[:3])
@pytest.mark.parametrize("likelihood", ["poisson", "categorical"])
def test_contributions_of_counts_and_shares(score, likelihood):
    X = pd.DataFrame(table(likelihood)).add_prefix("x")
    inner = Autoencoder(2, **quick(likelihood=likelihood))
    found = OutlierDetector(inner, score=score, trim=0).fit(X)
    assert np.isfinite(found.contributions(X[:3])).all()


@pytest.mark.parametrize("score", SCORES[:3])
def test_sequences_are_taken_as_they_are(score, rng):
    X = [rng.normal(size=(n, 2)).cumsum(0) for n in rng.integers(3, 6, 80)]
    inner = Autoencoder(2, architecture="recurrent", **quick(hidden_layer_sizes=(4,)))
    found = OutlierDetector(inner, score=score).fit(X)
    assert found.score_samples(X[:7]).shape == (7,)
    added = found.contributions(X[:7])
    assert added.shape == (7, 5, 2)
    assert not np.any(added[0, len(X[0]) :])
    short = [x[:3] for x in X[:2]]
    assert found.contributions(short).shape == (2, 5, 2)


def test_images_are_taken_as_they_are(rng):
    X = rng.normal(size=(80, 4, 3))
    found = detector().fit(X)
    assert found.score_samples(X).shape == (80,)
    assert found.contributions(X[:2]).shape == (2, 4, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"score": "recon"},
            "score='recon' is not known. Did you mean 'reconstruction'? Known "
            "are: reconstruction, latent, combined, joint, bound, divergence.",
        ),
        (
            {"trim_by": "lnear"},
            "trim_by='lnear' is not known. Did you mean 'linear'? Known are: linear, autoencoder.",
        ),
        (
            {"score": "bound"},
            "score='bound' reads a code that is a distribution. Write "
            "OutlierDetector(VariationalAutoencoder(5), score='bound').",
        ),
        (
            {"score": "joint"},
            "score='joint' reads the Laplace prior of a sparse code. Write "
            "OutlierDetector(SparseAutoencoder(64), score='joint').",
        ),
        ({"contamination": 0.7}, "contamination=0.7 must be in (0, 0.5]. Write 0.1."),
        ({"contamination": "auto"}, "contamination='auto' must be in (0, 0.5]. Write 0.1."),
        (
            {"max_false_positive_rate": 0},
            "max_false_positive_rate=0 must be in (0, 1). Write 0.01.",
        ),
        (
            {"max_false_positive_rate": 0.01},
            "max_false_positive_rate=0.01 takes at least 1195 rows "
            "to be sure of, but X has 200. Pass more rows, or write a higher rate.",
        ),
        ({"trim": 1.0}, "trim=1.0 must be in [0, 1). Write 0 to keep all rows."),
        (
            {"n_refits": 0},
            "n_refits=0 must be a whole number, at least 1. Write trim=0 for a single fit.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        detector(**settings).fit(table())


def test_other_estimators_are_refused():
    with pytest.raises(TypeError, match=r"is not an autoencoder of this package. Write Outlier"):
        OutlierDetector(3).fit(table())
