"""Missing entries filled: exact where the data allow it, and never what was observed."""

import re

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from helpers import quick, table
from narrows import Autoencoder, DenoisingAutoencoder, Recurrent, Training

X = table()
EXACT = {"hidden_layer_sizes": (), "missing": "ignore", "max_epochs": 1, "learning_rate": 1e-12}
DOUBLE = Training(precision="float64")


def plane(n_rows=60, n_values=8, rank=2, seed=0):
    rng = np.random.default_rng(seed)
    return 5 + rng.normal(size=(n_rows, rank)) @ rng.normal(size=(rank, n_values))


def with_holes(rows, share=0.2, seed=1):
    return np.where(np.random.default_rng(seed).random(rows.shape) < share, np.nan, rows)


def with_a_hole(rows):
    """Every second row misses one entry."""
    flat = rows.reshape(len(rows), -1).copy()
    for k in range(0, len(flat), 2):
        flat[k, k // 2 % flat.shape[1]] = np.nan
    return flat.reshape(rows.shape)


def test_entries_of_a_plane_come_back():
    rows = plane()
    model = Autoencoder(2, training=DOUBLE, **EXACT).fit(rows)
    filled = model.impute(with_holes(rows), max_iter=20_000, tol=1e-12)
    np.testing.assert_allclose(filled, rows, rtol=1e-6)


def test_a_linear_model_fits_the_observed_entries_by_least_squares():
    rows = plane() + np.random.default_rng(2).normal(scale=0.3, size=(60, 8))
    model = Autoencoder(2, scale="global", training=DOUBLE, **EXACT).fit(rows)
    holes = with_holes(rows)
    filled = model.impute(holes, max_iter=20_000, tol=1e-12)
    centre = model.inverse_transform(np.zeros((1, 2)))[0]
    axes = (model.inverse_transform(np.eye(2)) - centre).T
    for row, found in zip(holes, filled, strict=True):
        seen = ~np.isnan(row)
        code = np.linalg.lstsq(axes[seen], (row - centre)[seen], rcond=None)[0]
        np.testing.assert_allclose(found[~seen], (centre + axes @ code)[~seen], rtol=1e-6)


def test_the_first_round_is_the_reconstruction():
    model = DenoisingAutoencoder(missing="ignore", **quick()).fit(X)
    holes = with_holes(X)
    with pytest.warns(
        ConvergenceWarning, match="^Missing entries of .* rows still move, by up to .* scaled units"
    ):
        once = model.impute(holes, max_iter=1)
    missing = np.isnan(holes)
    np.testing.assert_allclose(once[missing], model.reconstruct(holes)[missing], rtol=1e-5)


@pytest.mark.parametrize("likelihood", ["gaussian", "poisson", "student_t"])
def test_filled_entries_are_their_own_reconstruction(likelihood):
    rows = table(likelihood)
    model = Autoencoder(missing="ignore", likelihood=likelihood, **quick(precision="float64")).fit(
        rows
    )
    holes = with_a_hole(rows)
    filled = model.impute(holes, tol=1e-9)
    missing = np.isnan(holes)
    np.testing.assert_allclose(model.reconstruct(filled)[missing], filled[missing], rtol=1e-6)


@pytest.mark.parametrize("number", [np.float64, np.float32])
def test_observed_entries_do_not_change(number):
    rows = (1e3 + X).astype(number)
    model = Autoencoder(missing="ignore", **quick()).fit(rows)
    holes = with_a_hole(rows).astype(number)
    filled = model.impute(holes)
    seen = ~np.isnan(holes)
    assert np.array_equal(filled[seen], holes[seen])
    assert np.isfinite(filled).all()
    assert filled.dtype == number
    assert np.isnan(holes).any()
    whole = model.impute(rows)
    assert np.array_equal(whole, rows)
    assert whole is not rows


def test_rows_are_filled_apart_from_one_another():
    model = Autoencoder(missing="ignore", **quick()).fit(X)
    holes = with_a_hole(X)
    np.testing.assert_allclose(model.impute(holes)[:7], model.impute(holes[:7]), rtol=1e-4)


def test_fits_to_what_was_filled_restore_more():
    rows = plane(n_rows=100)
    holes = with_holes(rows, share=0.1)
    settings = quick(hidden_layer_sizes=(), max_epochs=60, validation_fraction=0)
    model = Autoencoder(2, missing="ignore", **settings).fit(holes)
    errors = []
    for _ in range(4):
        filled = model.impute(holes)
        errors.append(((filled - rows) ** 2).mean())
        model.fit(filled, target=holes)
    assert errors[-1] < 0.1 * errors[0], errors


def test_padding_of_sequences_stays():
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(n, 2)) for n in (5, 3, 4, 5, 2, 5)]
    network = Recurrent(hidden_size=4)
    model = Autoencoder(1, architecture=network, missing="ignore", max_epochs=2, random_state=0)
    model.fit(rows)
    holes = [row.copy() for row in rows]
    holes[1][1, 0] = holes[3][0, 1] = np.nan
    filled = model.impute(holes)
    assert [row.shape for row in filled] == [row.shape for row in rows]
    for row, found in zip(holes, filled, strict=True):
        assert np.isfinite(found).all()
        assert np.array_equal(found[~np.isnan(row)], row[~np.isnan(row)])


def test_images_keep_their_shape():
    images = table(n_values=12).reshape(-1, 3, 4)
    model = Autoencoder(missing="ignore", **quick()).fit(images)
    assert model.impute(with_a_hole(images)).shape == images.shape


MISTAKES = {
    "rounds": (
        {"max_iter": 0},
        "max_iter=0 must be at least 1 and tol=1e-05 at least 0. Write max_iter=1000, tol=1e-5.",
    ),
    "tolerance": (
        {"tol": -1},
        "max_iter=1000 must be at least 1 and tol=-1 at least 0. Write max_iter=1000, tol=1e-5.",
    ),
}


@pytest.mark.parametrize(("settings", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_bad_settings(settings, sentence):
    model = Autoencoder(missing="ignore", **quick()).fit(X)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        model.impute(X, **settings)


def test_a_target_of_another_shape_fills_nothing():
    model = Autoencoder(missing="ignore", **quick()).fit(X, target=X[:, :2])
    sentence = (
        "impute fills rows of shape (6,) by reconstructions of them, but the model was fitted on "
        "a target of shape (2,). Fit without target=."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        model.impute(X)


def test_missing_entries_must_be_allowed():
    model = Autoencoder(**quick()).fit(X)
    with pytest.raises(ValueError, match=r"^X has missing entries \(NaN\)"):
        model.impute(with_holes(X))
