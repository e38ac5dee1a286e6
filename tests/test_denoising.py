"""Denoising: corruptions as defined, what they teach, and what follows from it."""

import re

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm

import narrows
from helpers import circle, quick, table
from narrows import Autoencoder, DenoisingAutoencoder, Masking
from narrows.corruption import Clean
from narrows.parts import PARTS, load

CORRUPTIONS = [name for name in PARTS["corruption"] if name != "none"]
X = table()


def corrupted(name, x, seed=0, n_restarts=1, **settings):
    part = load(PARTS["corruption"][name])(**settings)
    drawn = [torch.Generator().manual_seed(seed + r) for r in range(n_restarts)]
    return part(x.expand(n_restarts, *x.shape), drawn)


ROWS = torch.linspace(-1, 1, 3000).reshape(500, 6)


def test_gaussian_noise_has_its_width():
    noise = (corrupted("gaussian", ROWS, strength=0.7)[0][0] - ROWS).flatten().double().numpy()
    assert abs(noise.mean()) < 4 * 0.7 / len(noise) ** 0.5
    assert noise.std() == pytest.approx(0.7, rel=4 / (2 * len(noise)) ** 0.5)
    assert norm(0, 0.7).cdf(noise).std() == pytest.approx(12**-0.5, rel=0.05)


@pytest.mark.parametrize("name", ["masking", "salt_and_pepper", "dropout"])
def test_a_share_is_hit(name):
    _, hit = corrupted(name, ROWS, strength=0.25)
    low, high = binom(hit.numel(), 0.25).interval(1 - 1e-6)
    assert low <= hit.sum() <= high


def test_what_is_hit_is_as_defined():
    masked, hit = corrupted("masking", ROWS, strength=0.25)
    torch.testing.assert_close(masked[0], torch.where(hit[0], 0, ROWS))
    dropped, hit = corrupted("dropout", ROWS, strength=0.25)
    torch.testing.assert_close(dropped[0], torch.where(hit[0], 0, ROWS / 0.75))
    noisy, hit = corrupted("salt_and_pepper", ROWS, strength=0.25)
    extreme = (noisy[0] == ROWS.amin(0)) | (noisy[0] == ROWS.amax(0))
    assert extreme[hit[0]].all()
    assert torch.equal(noisy[0][~hit[0]], ROWS[~hit[0]])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_restart_draws_from_its_own_generator(name):
    together, _ = corrupted(name, ROWS, n_restarts=3)
    alone, _ = corrupted(name, ROWS, seed=2)
    assert torch.equal(together[2], alone[0])
    assert not torch.equal(together[0], together[1])


def test_no_corruption_is_the_plain_autoencoder():
    plain = Autoencoder(**quick()).fit(X)
    for corruption in ("none", Clean()):
        denoising = DenoisingAutoencoder(corruption=corruption, **quick()).fit(X)
        assert np.array_equal(denoising.transform(X), plain.transform(X))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_transform_and_scores_draw_nothing(name):
    model = DenoisingAutoencoder(corruption=name, **quick()).fit(X)
    for use in (model.transform, model.denoise, model.score_samples):
        assert np.array_equal(use(X), use(X))
    assert model.loss_terms(X) == model.loss_terms(X)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_changes_what_is_learned(name):
    model = DenoisingAutoencoder(corruption=name, **quick()).fit(X)
    assert not np.array_equal(model.transform(X), Autoencoder(**quick()).fit(X).transform(X))


def test_a_function_corrupts():
    def halve(x, generator):
        return x * torch.rand(x.shape, generator=generator)

    model = DenoisingAutoencoder(corruption=halve, **quick(n_init=2)).fit(X)
    assert model.score(X) > 0
    assert Autoencoder(corruption=halve, **quick()).fit(X).score(X) > 0


def test_a_function_that_works_in_place_leaves_the_data_alone():
    def add(x, generator):
        x += torch.randn(x.shape, generator=generator)
        return x

    def added(x, generator):
        return x + torch.randn(x.shape, generator=generator)

    losses = [
        DenoisingAutoencoder(corruption=c, **quick()).fit(X).history_["validation_loss"]
        for c in (add, added)
    ]
    np.testing.assert_array_equal(*losses)


def test_corrupted_rows_keep_offsets_holes_and_need_no_target():
    model = DenoisingAutoencoder(missing="ignore", **quick()).fit(X, target=X[:, :2])
    shift = model.code_shift(X, random_state=1)
    far = DenoisingAutoencoder(missing="ignore", **quick()).fit(1e6 + 1e-3 * X, target=X[:, :2])
    assert far.code_shift(1e6 + 1e-3 * X, random_state=1) == pytest.approx(shift, rel=0.2)
    holes = X.copy()
    holes[3, 2] = np.nan
    assert np.array_equal(np.isnan(model.corrupt(holes)), np.isnan(holes))
    with pytest.raises(ValueError, match="learned from rows that are their own target"):
        model.log_density_gradient(X)


def test_emphasis_weighs_what_was_hit():
    settings = quick(max_epochs=30, hidden_layer_sizes=())
    models = [
        DenoisingAutoencoder(6, corruption=Masking(0.3), emphasis=e, **settings).fit(X)
        for e in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0))
    ]
    even = models[0]
    assert np.array_equal(
        even.transform(X),
        DenoisingAutoencoder(6, corruption="masking", **settings).fit(X).transform(X),
    )
    masked = X.copy()
    masked[:, 0] = X[:, 0].mean()
    error = [((m.denoise(masked)[:, 0] - X[:, 0]) ** 2).mean() for m in models]
    assert error[1] < error[0] < error[2]


def test_a_linear_denoiser_learns_the_slope_of_a_gaussian():
    """r(x) = Σ (Σ + σ²)⁻¹ x, so that (r(x) - x)/σ² = -(Σ + σ²)⁻¹ x, the slope of ln p * noise."""
    rng = np.random.default_rng(0)
    mix = np.array([[1.5, 0.0, 0.0], [0.8, 0.9, 0.0], [0.3, -0.4, 0.7]])
    rows, sigma = rng.normal(size=(4000, 3)) @ mix.T + [5.0, -2.0, 0.0], 0.5
    model = DenoisingAutoencoder(
        3, strength=sigma, scale="global", hidden_layer_sizes=(), max_epochs=60, random_state=0
    ).fit(rows)
    width = rows.var(0).mean() ** 0.5
    covariance = np.cov(rows.T) + (sigma * width) ** 2 * np.eye(3)
    expected = -(rows - rows.mean(0)) @ np.linalg.inv(covariance)
    found = model.log_density_gradient(rows)
    assert ((found - expected) ** 2).mean() < 0.01 * (expected**2).mean()


def test_langevin_samples_follow_the_data():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2000, 2)) @ np.array([[2.0, 0.0], [1.0, 0.5]]) + 3
    model = DenoisingAutoencoder(2, hidden_layer_sizes=(), max_epochs=40, random_state=0).fit(rows)
    start = np.repeat(rows.mean(0)[None], 2000, 0)
    samples = model.langevin(start, n_steps=600, step=1.0, random_state=1)
    noisy = np.cov(rows.T) + np.diag(0.3**2 * rows.var(0))
    np.testing.assert_allclose(samples.mean(0), rows.mean(0), atol=0.2)
    np.testing.assert_allclose(np.cov(samples.T), noisy, rtol=0.15, atol=0.05)
    again = model.langevin(start[:5], n_steps=3, random_state=1)
    assert np.array_equal(again, model.langevin(start[:5], n_steps=3, random_state=1))


def test_denoising_restores_and_holds_codes_still():
    rng = np.random.default_rng(0)
    rows = circle(rng.uniform(-np.pi, np.pi, 1500))
    settings = {"n_components": 12, "scale": "none", "max_epochs": 60, "random_state": 0}
    denoising = DenoisingAutoencoder(strength=0.2, **settings)
    plain = Autoencoder(**settings)
    denoising.fit(rows)
    with pytest.warns(UserWarning, match="overcomplete"):
        plain.fit(rows)
    noisy = denoising.corrupt(rows, random_state=1)
    assert np.array_equal(noisy, denoising.corrupt(rows, random_state=1))
    restored, kept = (m.reconstruct(noisy) - rows for m in (denoising, plain))
    # A plane keeps the noise of two of ten directions, the circle that of one.
    assert (kept**2).mean() == pytest.approx(0.2**2 * 2 / 10, rel=0.1)
    assert (restored**2).mean() < 0.6 * (kept**2).mean()


@pytest.mark.parametrize("circular", [(), (0,)])
def test_code_shift_is_the_share_of_the_spread(circular):
    model = DenoisingAutoencoder(circular=circular, circular_output="cos_sin", **quick()).fit(X)
    plain = Autoencoder(circular=circular, circular_output="cos_sin", **quick()).fit(X)
    noisy = model.corrupt(X, random_state=3)
    for other in (model, plain):
        clean, moved = other.transform(X), other.transform(noisy)
        expected = ((moved - clean) ** 2).sum() / ((clean - clean.mean(0)) ** 2).sum()
        found = model.code_shift(X, model=other, random_state=3)
        assert found == pytest.approx(expected, rel=1e-5)
    less = model.set_params(strength=0.1).code_shift(X, random_state=3)
    assert less < 0.3 * model.set_params(strength=0.3).code_shift(X, random_state=3)


MISTAKES = {
    "share": (
        {"corruption": "masking", "strength": 1.0},
        "strength=1.0 of Masking must be above 0 and below 1, a share of the values. "
        "Write 0.3, say.",
    ),
    "width": ({"strength": 0}, "strength=0 of GaussianNoise must be above 0. Write 0.3, say."),
    "name": (
        {"corruption": "maskin"},
        "corruption='maskin' is not known. Did you mean 'masking'? "
        "Known are: none, gaussian, masking, salt_and_pepper, dropout.",
    ),
    "emphasis": (
        {"emphasis": (0, 0)},
        "emphasis=(0, 0) must be two weights >= 0, of values that were hit and of those that were "
        "not, not both 0. Write (1.0, 0.5), say.",
    ),
    "nothing to tell apart": (
        {"emphasis": (1.0, 0.5)},
        "emphasis=(1.0, 0.5) tells values that were hit from others, but GaussianNoise hits all. "
        "Write corruption='masking', or leave emphasis out.",
    ),
}


@pytest.mark.parametrize(("settings", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_bad_settings(settings, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        DenoisingAutoencoder(**quick(**settings)).fit(X)


def test_emphasis_needs_values_of_the_input():
    sentence = "but the target has 2 values and the input 6. Leave emphasis out."
    model = DenoisingAutoencoder(corruption="masking", emphasis=(1, 0), **quick())
    with pytest.raises(ValueError, match=re.escape(sentence)):
        model.fit(X, target=X[:, :2])


def test_the_slope_of_the_density_needs_gaussian_noise():
    sentence = (
        "The gradient of the log-density is learned under gaussian noise and squared error alone, "
        "but corruption='masking' and likelihood='gaussian'. "
        "Write corruption='gaussian', likelihood='gaussian'."
    )
    model = DenoisingAutoencoder(corruption="masking", **quick()).fit(X)
    for use in (model.log_density_gradient, model.langevin):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            use(X)


def test_a_corruption_of_ones_own_is_not_needed_to_load(tmp_path):
    def shift(x, generator):
        return x.roll(1, 1)

    model = DenoisingAutoencoder(corruption=shift, **quick()).fit(X)
    lost = (
        "No file holds Python code: corruption=shift is left out. Codes and scores do not need it; "
        "to draw or to train after load, write model.set_params(corruption=shift)."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(lost)}$"):
        model.save(tmp_path / "m.safetensors")
    again = narrows.load(tmp_path / "m.safetensors")
    assert np.array_equal(again.transform(X), model.transform(X))
    with pytest.raises(ValueError, match="The corruption shift was not kept in the file"):
        again.fit(X)
    assert again.set_params(corruption="masking").fit(X).score(X) > 0
