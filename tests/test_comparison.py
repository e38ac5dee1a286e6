"""The comparison with linear methods: their formulas, equal rows, equal space."""

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA, FactorAnalysis, KernelPCA

from narrows import Autoencoder, Bernoulli, HierarchicalAutoencoder, Plain
from narrows.data.split import split_rows
from narrows.metrics import fraction_of_variance_explained, trustworthiness, tsne_divergence
from narrows.report import Comparison, compare, pca_fve
from narrows.report.baselines import BASELINES, MAPS, METRICS

QUICK = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def X() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(80, 4)) @ rng.normal(size=(4, 6)) + 0.3 * rng.normal(size=(80, 6)) + 5


def parts(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first split that `compare` draws."""
    rng = np.random.default_rng([0, 0])
    train, test = split_rows(len(X), 0.2, "random", rng=rng)
    return X[train], X[test]


def standardised(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    train, test = parts(X)
    return tuple((rows - train.mean(0)) / train.std(0) for rows in (train, test))


# Linear methods


@pytest.mark.parametrize("k", [1, 3, 5])
def test_probabilistic_pca_decodes_its_posterior_mean(X: np.ndarray, k: int) -> None:
    train, test = parts(X)
    fitted = PCA(k).fit(train)
    noise, V = fitted.noise_variance_, fitted.components_.T
    W = V * np.sqrt(fitted.explained_variance_ - noise)
    posterior = np.linalg.solve(W.T @ W + noise * np.eye(k), W.T @ (test - train.mean(0)).T).T
    (found,) = BASELINES["probabilistic PCA"](train, test, [k], 0)
    np.testing.assert_allclose(found.rows, posterior @ W.T + train.mean(0), rtol=1e-10)
    np.testing.assert_allclose(found.codes, posterior, rtol=1e-10)


def test_factor_analysis_decodes_its_posterior_mean(X: np.ndarray) -> None:
    train, test = parts(X)
    fitted = FactorAnalysis(2, random_state=0).fit(train)
    W, precision = fitted.components_.T, 1 / fitted.noise_variance_
    hidden = np.eye(2) + (W.T * precision) @ W
    posterior = np.linalg.solve(hidden, (W.T * precision) @ (test - train.mean(0)).T).T
    (found,) = BASELINES["factor analysis"](train, test, [2], 0)
    np.testing.assert_allclose(found.rows, posterior @ W.T + train.mean(0), rtol=1e-8)
    np.testing.assert_allclose(found.codes, posterior, rtol=1e-8)


@pytest.mark.parametrize("scale", ["standard", "none"])
def test_pca_explains_what_sklearn_reconstructs(X: np.ndarray, scale: str) -> None:
    train, test = standardised(X) if scale == "standard" else parts(X)
    expected = []
    for k in range(1, 7):
        fitted = PCA(k).fit(train)
        rebuilt = fitted.inverse_transform(fitted.transform(test))
        expected.append(1 - ((test - rebuilt) ** 2).sum() / ((test - train.mean(0)) ** 2).sum())
    np.testing.assert_allclose(pca_fve(*parts(X), 6, scale), expected, rtol=1e-9)


def test_kernel_pca_rebuilds_a_curve_that_pca_cannot() -> None:
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, size=(300, 1))
    curve = np.hstack([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)])
    found = compare(curve, (), (2,), baselines=["PCA", "kernel PCA"]).fve
    assert found["PCA"][0, 0] < 0.7
    assert found["kernel PCA"][0, 0] > 0.9


def test_kernel_pca_is_that_of_sklearn_with_the_best_settings(X: np.ndarray) -> None:
    train, test = standardised(X)
    (found,) = BASELINES["kernel PCA"](train, test, [3], 0)
    width = train.var(axis=0).sum()
    each = [
        KernelPCA(3, kernel="rbf", gamma=gamma / width, eigen_solver="dense").fit(train)
        for gamma in (0.1, 0.3, 1.0)
    ]
    shares = [abs(one.transform(test)) for one in each]
    assert any(np.allclose(share, abs(found.codes), atol=1e-6) for share in shares)


def test_kernel_pca_takes_the_rows_in_chunks(
    X: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = standardised(X)
    (whole,) = BASELINES["kernel PCA"](train, test, [3], 0)
    sizes: list[int] = []
    transform = KernelPCA.transform
    monkeypatch.setattr(
        KernelPCA, "transform", lambda self, rows: sizes.append(len(rows)) or transform(self, rows)
    )
    monkeypatch.setattr("narrows.report.baselines.CHUNK", 7)
    (found,) = BASELINES["kernel PCA"](train, test, [3], 0)
    assert sizes[-3:] == [7, 7, 2]
    np.testing.assert_allclose(found.codes, whole.codes, rtol=1e-9)
    np.testing.assert_allclose(found.rows, whole.rows, rtol=1e-9)


# Neighbours


def test_metrics_are_those_of_the_codes(X: np.ndarray) -> None:
    train, test = standardised(X)
    models = {"ranked": HierarchicalAutoencoder(**QUICK), "plain": Autoencoder(**QUICK)}
    names = ["trustworthiness", "t-SNE divergence"]
    found = compare(X, models, (1, 3), baselines=["PCA"], metrics=names)
    codes = PCA(3).fit(train).transform(test)
    ranked = HierarchicalAutoencoder(3, **QUICK).fit(parts(X)[0]).transform(parts(X)[1])
    plain = [Autoencoder(k, **QUICK).fit(parts(X)[0]).transform(parts(X)[1]) for k in (1, 3)]
    expected = {
        "PCA": [codes[:, :1], codes],
        "ranked": [ranked[:, :1], ranked],
        "plain": plain,
    }
    for label, each in expected.items():
        trust = [trustworthiness(test, Z.astype(float)) for Z in each]
        np.testing.assert_allclose(found.metrics["trustworthiness"][label][0], trust, atol=1e-6)
        divergence = [tsne_divergence(test, Z.astype(float), 5.0, rescale=True) for Z in each]
        np.testing.assert_allclose(
            found.metrics["t-SNE divergence"][label][0], divergence, rtol=1e-3
        )


def test_angles_are_compared_as_points_on_a_circle() -> None:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, size=(200, 1))
    X = np.hstack([np.cos(angle), np.sin(angle)])
    model = Autoencoder(circular=[0], **QUICK | {"hidden_layer_sizes": ()})
    found = compare(X, {"circle": model}, 1, metrics=["continuity", "trustworthiness"])
    assert found.metrics["continuity"]["circle"][0, 0] > 0.99
    assert found.metrics["trustworthiness"]["circle"][0, 0] > 0.99
    assert found.metrics["continuity"]["PCA"][0, 0] < 0.99


def test_tsne_keeps_neighbours_and_explains_nothing(X: np.ndarray) -> None:
    found = compare(X, (), (2, 4), baselines=["t-SNE", "PCA"], metrics=[*METRICS])
    assert list(found.fve) == ["PCA"]
    assert set(found.metrics) == set(METRICS)
    trust = found.metrics["trustworthiness"]
    assert {label: each.shape for label, each in trust.items()} == {"t-SNE": (1, 2), "PCA": (1, 2)}
    alone = compare(X, (), 2, baselines=["t-SNE"], metrics=["continuity"], n_splits=2)
    assert alone.n_splits == 2
    assert alone.to_dict()["fve"] == {}
    assert len(alone.to_dict()["metrics"]["continuity"]["standard_error"]["t-SNE"]) == 2
    assert alone.plot(metric="continuity").get_ylabel() == "continuity"


def test_umap_learns_from_the_training_rows(X: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map of the same interface stands in, since the package is not always there."""

    class FirstColumns:
        def __init__(self, n_components: int, random_state: int, n_jobs: int) -> None:
            self.n_components = n_components

        def fit(self, rows: np.ndarray) -> "FirstColumns":
            self.n_rows = len(rows)
            return self

        def transform(self, rows: np.ndarray) -> np.ndarray:
            assert (self.n_rows, len(rows)) == (64, 16)
            return rows[:, : self.n_components]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FirstColumns))
    found = compare(X, (), (2, 6), baselines=["UMAP"], metrics=["trustworthiness"])
    assert found.metrics["trustworthiness"]["UMAP"][0, 1] == 1.0
    assert found.metrics["trustworthiness"]["UMAP"][0, 0] < 1.0


def test_umap_says_what_to_install(X: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError) as caught:
        compare(X, (), 2, baselines=["UMAP"], metrics=["continuity"])
    assert str(caught.value) == (
        "The baseline 'UMAP' needs the package umap-learn. Write: pip install narrows[umap]"
    )


def test_neighbours_of_many_rows_are_compared_on_some(
    X: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("narrows.report.comparison.MAX_COMPARED", 15)
    few = compare(X, (), 1, baselines=["PCA"], metrics=["trustworthiness"], n_splits=2)
    monkeypatch.undo()
    all_rows = compare(X, (), 1, baselines=["PCA"], metrics=["trustworthiness"], n_splits=2)
    np.testing.assert_array_equal(few.fve["PCA"], all_rows.fve["PCA"])
    assert (
        few.metrics["trustworthiness"]["PCA"] != all_rows.metrics["trustworthiness"]["PCA"]
    ).all()


def test_a_constant_code_has_no_scale(X: np.ndarray) -> None:
    model = Autoencoder(code=Plain(torch.zeros_like), **QUICK)
    found = compare(X, {"dead": model}, 2, baselines=["PCA"], metrics=[*METRICS])
    divergence = found.metrics["t-SNE divergence"]
    assert np.isnan(divergence["dead"]).all()
    assert np.isfinite(divergence["PCA"]).all()
    assert np.isfinite(found.metrics["trustworthiness"]["dead"]).all()


@pytest.mark.parametrize(
    ("n_rows", "message"),
    [
        (
            50,
            "metrics compare the neighbours of at least 11 held-out rows, but a split holds out "
            "10 of 50. Write test_fraction=0.22, or metrics=().",
        ),
        (
            8,
            "metrics compare the neighbours of at least 11 held-out rows, but a split holds out "
            "2 of 8. Write metrics=().",
        ),
    ],
)
def test_neighbours_of_too_few_rows_are_refused_before_any_fit(
    X: np.ndarray, n_rows: int, message: str
) -> None:
    fits: list[object] = []
    for metric in METRICS:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            compare(X[:n_rows], metrics=[metric], on_fit=lambda *fit: fits.append(fit))
    assert not fits
    enough = compare(X[:50], (), 1, baselines=["PCA"], metrics=[*METRICS], test_fraction=0.22)
    assert enough.n_test == 11
    assert all(np.isfinite(values["PCA"]).all() for values in enough.metrics.values())


# More of linear methods


@pytest.mark.parametrize("name", [name for name in BASELINES if name not in MAPS])
def test_more_components_than_features_are_no_mistake(X: np.ndarray, name: str) -> None:
    fve = compare(X, {}, (6, 9), baselines=[name]).fve[name][0]
    if name == "factor analysis":
        assert np.isnan(fve).all()
        return
    assert fve[0] == pytest.approx(fve[1], abs=0.1 if name == "kernel PCA" else 1e-6)
    assert fve[1] > 0.8


def test_missing_entries_are_means_to_linear_methods(X: np.ndarray) -> None:
    holes = X.copy()
    holes[::7, 2] = np.nan
    model = HierarchicalAutoencoder(**QUICK, missing="ignore")
    found = compare(holes, model, 2)
    assert all(np.isfinite(fve).all() and (fve > 0.2).all() for fve in found.fve.values())


# Models


def test_a_model_is_measured_as_by_hand(X: np.ndarray) -> None:
    train, test = parts(X)
    expected = HierarchicalAutoencoder(3, **QUICK).fit(train).fve(test)
    found = compare(X, {"mine": HierarchicalAutoencoder(**QUICK)}, 3, baselines=())
    np.testing.assert_allclose(found.fve["mine"][0], expected, rtol=1e-6)
    assert (found.n_train, found.n_test) == (64, 16)


def test_ranked_models_are_fitted_once_and_others_for_each_number(X: np.ndarray) -> None:
    fits = []
    models = [HierarchicalAutoencoder(**QUICK), Autoencoder(**QUICK)]
    found = compare(
        X, models, (1, 3), baselines=(), n_splits=2, on_fit=lambda *fit: fits.append(fit)
    )
    ranked, plain = "HierarchicalAutoencoder (collective)", "Autoencoder"
    one = [(ranked, 3), (plain, 3), (plain, 1)]
    assert fits == [(*fit, split) for split in range(2) for fit in one]
    assert {name: fve.shape for name, fve in found.fve.items()} == {ranked: (2, 2), plain: (2, 2)}


def test_models_start_from_pca_and_so_stand_in_its_space(X: np.ndarray) -> None:
    """Linear models meet PCA to within their training, under either scale."""
    for scale in ("standard", "none"):
        settings = {"hidden_layer_sizes": (), "max_epochs": 1, "scale": scale}
        found = compare(X, HierarchicalAutoencoder(**settings), 3)
        ours = found.fve["HierarchicalAutoencoder (collective)"]
        np.testing.assert_allclose(ours, found.fve["PCA"], atol=0.02)


def test_other_likelihoods_are_measured_by_squared_error() -> None:
    X = (np.random.default_rng(0).random((60, 4)) < [0.1, 0.3, 0.5, 0.7]).astype(float)
    train, test = parts(X)
    for likelihood in ("bernoulli", Bernoulli()):
        model = HierarchicalAutoencoder(2, likelihood=likelihood, **QUICK)
        levels = model.fit(train)
        rebuilt = np.stack([levels.reconstruct(test, k).astype(float) for k in (1, 2)])
        expected = fraction_of_variance_explained(test, rebuilt, train.mean(0))
        found = compare(X, {"counts": model}, 2, baselines=["PCA"])
        np.testing.assert_allclose(found.fve["counts"][0], expected, rtol=1e-5)


def test_sequences_of_any_length_are_compared() -> None:
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(60, 1, 1))
    lengths = rng.integers(4, 8, 60)
    X = [
        np.sin(c + np.arange(n)[:, None] + [0.0, 0.5])
        for c, n in zip(causes[:, 0], lengths, strict=True)
    ]
    model = Autoencoder(architecture="recurrent", max_epochs=2, random_state=0)
    found = compare(X, {"recurrent": model}, 2, metrics=["trustworthiness"])
    train, test = (
        [X[i] for i in part]
        for part in split_rows(60, 0.2, "random", rng=np.random.default_rng([0, 0]))
    )
    fitted = Autoencoder(2, architecture="recurrent", max_epochs=2, random_state=0).fit(train)
    np.testing.assert_allclose(found.fve["recurrent"][0, 1], fitted.fve(test)[0], rtol=1e-5)
    assert (found.fve["PCA"] > 0.3).all()


def test_groups_stay_together_and_reach_the_models(X: np.ndarray) -> None:
    from narrows import Training

    model = HierarchicalAutoencoder(**QUICK, training=Training(split="groups"))
    groups = np.repeat(np.arange(8), 10)
    found = compare(X, model, 1, split="groups", groups=groups, test_fraction=0.25)
    assert (found.n_train, found.n_test) == (60, 20)


# Results


def test_errors_are_of_the_mean_over_splits(X: np.ndarray) -> None:
    found = compare(X, (), 2, baselines=["PCA"], n_splits=4)
    fve = found.fve["PCA"]
    assert len(np.unique(fve[:, 0])) == 4
    np.testing.assert_allclose(found.mean["PCA"], fve.mean(0))
    np.testing.assert_allclose(found.standard_error["PCA"], fve.std(0, ddof=1) / 2)
    assert np.isnan(compare(X, (), 2, baselines=["PCA"]).standard_error["PCA"]).all()


def test_results_are_json_and_a_figure() -> None:
    fve = {"PCA": np.array([[0.3, 0.5], [0.5, 0.7]]), "ours": np.array([[0.6, 0.7], [0.6, 0.9]])}
    found = Comparison(np.array([1, 2]), fve, 80, 20)
    assert json.loads(json.dumps(found.to_dict())) == {
        "n_components": [1, 2],
        "n_train": 80,
        "n_test": 20,
        "n_splits": 2,
        "fve": {"PCA": [0.4, 0.6], "ours": [0.6, pytest.approx(0.8)]},
        "standard_error": {"PCA": pytest.approx([0.1, 0.1]), "ours": pytest.approx([0.0, 0.1])},
        "metrics": {},
    }
    texts = [text.get_text() for text in found.plot().get_legend().get_texts()]
    assert texts == ["PCA", "ours"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"models": "Autoencodr"},
            "There is no model 'Autoencodr'. Did you mean 'Autoencoder'? "
            "Known are: Autoencoder, HierarchicalAutoencoder, SparseAutoencoder, "
            "ContractiveAutoencoder, DenoisingAutoencoder, StackedAutoencoder, "
            "VariationalAutoencoder, AdversarialAutoencoder.",
        ),
        (
            {"models": [PCA()]},
            "models has PCA(), which is no autoencoder. Write a name such as 'Autoencoder', or "
            "an estimator.",
        ),
        (
            {"models": ["Autoencoder", Autoencoder()]},
            "models has 'Autoencoder' more than once. Write a mapping of labels to models.",
        ),
        (
            {"models": [Autoencoder(scale="none"), HierarchicalAutoencoder()]},
            "The models measure their errors in different spaces: Autoencoder 'none', "
            "HierarchicalAutoencoder (collective) 'standard'. Give all models the same scale.",
        ),
        (
            {"baselines": ["pca"]},
            "There is no baseline 'pca'. Known are: PCA, probabilistic PCA, factor analysis, "
            "kernel PCA, t-SNE, UMAP.",
        ),
        (
            {"metrics": ["trust"]},
            "There is no metric 'trust'. Did you mean 'trustworthiness'? Known are: "
            "trustworthiness, continuity, neighbour overlap, t-SNE divergence.",
        ),
        (
            {"baselines": ["PCA", "t-SNE", "UMAP"]},
            "t-SNE and UMAP cannot rebuild rows, so only neighbours can be compared. "
            "Write metrics=('trustworthiness', 'continuity').",
        ),
        (
            {"n_components": 0},
            "n_components=0 must be at least 1. Write 5 for 1 to 5, or (1, 2, 5).",
        ),
        ({"test_fraction": 1.0}, "test_fraction=1.0 must be between 0 and 1. Write 0.2."),
        ({"n_splits": 0}, "n_splits=0 must be at least 1. Write 5 for standard errors."),
        (
            {"models": (), "baselines": ()},
            "models and baselines are both empty. Write models='Autoencoder', say.",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes_say_what_to_write(
    X: np.ndarray, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        compare(X, **arguments)
    assert str(caught.value) == message
