"""Likelihoods of rows, bounded from below or estimated by importance, in nats of the data."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from narrows._types import Array
from narrows.data.batches import Batch
from narrows.model import Model
from narrows.nn.latent import Latent
from narrows.nn.scale import Scale
from narrows.objective.likelihoods import Bernoulli, Categorical
from narrows.objective.mixed import Mixed

# Codes that every row is tried with, quasi-random, so that a row's bound is its own.
_N_POINTS = 64
# Values of the output that are held in memory at once.
_AT_ONCE = 2**24


class Elbo(NamedTuple):
    """The evidence lower bound of each row, and its two terms, in nats.

    Attributes
    ----------
    reconstruction : array of shape (rows,)
        ``E_q[ln p(x | z)]``, of the data as given.
    divergence : array of shape (rows,)
        ``KL(q(z | x) ‖ p(z))``.
    """

    reconstruction: Float[np.ndarray, " row"]
    divergence: Float[np.ndarray, " row"]

    @property
    def total(self) -> Float[np.ndarray, " row"]:
        """The bound: reconstruction minus divergence."""
        return self.reconstruction - self.divergence


class LogLikelihood(NamedTuple):
    """Log-likelihoods of rows, estimated.

    Attributes
    ----------
    value : array of shape (rows,)
        Biased low by about half the squared `error` for few samples.
    error : array of shape (rows,)
        Standard errors, from the spread of the importance weights; NaN for a single sample.
    """

    value: Float[np.ndarray, " row"]
    error: Float[np.ndarray, " row"]


class PriorGap(NamedTuple):
    """The two parts of the mean divergence of codes from the prior, in nats.

    Attributes
    ----------
    mutual_information : float
        What codes tell of rows: ``E KL(q(z | x) ‖ q(z))``.
    gap : float
        How far all codes together are from the prior: ``KL(q(z) ‖ p(z))``.
    """

    mutual_information: float
    gap: float


def elbo(model: Model, batch: Batch, scale: Scale) -> Elbo:
    """Return the bound of each row of a batch, over the same quasi-random codes for each."""
    noise, size = points(model), max(1, _AT_ONCE // (_N_POINTS * _width(model)))
    parts = [
        terms(model, batch[slice(start, start + size)], noise, scale)
        for start in range(0, len(batch), size)
    ]
    found = torch.cat(parts, 1).double().numpy()
    return Elbo(found[0], found[1])


def terms(
    model: Model, batch: Batch, noise: Float[Tensor, "draw #row noise"], scale: Scale
) -> Float[Tensor, "2 row"]:
    """Return the two terms of the bound of each row, over codes made of the same noise."""
    log_x, log_p, log_q = model.log_densities(batch, noise)
    closed = model.divergences(batch)
    divergence = (log_q - log_p).mean(0) if closed is None else closed[0].sum(-1)
    volume = log_volume(batch, scale) if model.blueprint.likelihood.density else 0.0
    return torch.stack([log_x.mean(0) - volume, divergence])


def log_likelihood(
    model: Model, batch: Batch, scale: Scale, n_samples: int, rng: np.random.Generator
) -> LogLikelihood:
    """Return ``ln (1/S) Σ_s p(x, z_s) / q(z_s | x)`` of each row, with its standard error."""
    found = [
        _estimate(model, batch[slice(start, start + 1024)], n_samples, rng)
        for start in range(0, len(batch), 1024)
    ]
    value, error = torch.cat(found, 1).numpy()
    return LogLikelihood(value - log_volume(batch, scale).double().numpy(), error)


def _estimate(
    model: Model, batch: Batch, n_samples: int, rng: np.random.Generator
) -> Float[Tensor, "2 row"]:
    """Sum weights over blocks of draws, with their squares, as logarithms."""
    sums, squares = [], []
    for n in _blocks(n_samples, max(1, _AT_ONCE // (len(batch) * _width(model)))):
        noise = torch.from_numpy(rng.standard_normal((n, len(batch), _n_noise(model))))
        log_x, log_p, log_q = model.log_densities(batch, noise)
        log_weight = (log_x + log_p - log_q).double()
        sums.append(torch.logsumexp(log_weight, 0))
        squares.append(torch.logsumexp(2 * log_weight, 0))
    total = torch.logsumexp(torch.stack(sums), 0)
    square = torch.logsumexp(torch.stack(squares), 0)
    relative = ((square - 2 * total).exp() - 1 / n_samples).clamp_min(0)
    spread = n_samples / (n_samples - 1) if n_samples > 1 else math.nan
    return torch.stack([total - math.log(n_samples), (relative * spread).sqrt()])


def drawn(
    model: Model,
    x: Float[Tensor, "row value"],
    condition: Float[Tensor, "row condition"] | None,
    rng: np.random.Generator,
) -> Float[Tensor, "restart row feature"]:
    """Return a draw of the code of each row."""
    return _latent(model, x, condition, rng).features


def prior_gap(
    model: Model,
    x: Float[Tensor, "row value"],
    condition: Float[Tensor, "row condition"] | None,
    rng: np.random.Generator,
) -> PriorGap:
    """Split the divergence of one draw per row, the posteriors of all rows being their sum."""
    latent = _latent(model, x, condition, rng)
    own, prior = latent.log_posterior()[0, 0], latent.log_prior()[0, 0]
    size = max(1, _AT_ONCE // (len(x) * latent.raw.shape[-1]))
    together = torch.cat(
        [
            torch.logsumexp(replace(latent, features=part).between_rows().sum(-1)[0], 1)
            for part in latent.features.split(size, 1)
        ]
    ) - math.log(len(x))
    return PriorGap(float((own - together).mean()), float((together - prior).mean()))


def _latent(
    model: Model,
    x: Float[Tensor, "row value"],
    condition: Float[Tensor, "row condition"] | None,
    rng: np.random.Generator,
) -> Latent:
    noise = torch.from_numpy(rng.standard_normal((1, len(x), _n_noise(model))))
    return model.latent(x, noise, condition)


def log_volume(batch: Batch, scale: Scale) -> Float[Tensor, " row"]:
    """Return the logarithm of the volume that scaling divides each row's observed values by."""
    log_width = torch.from_numpy(np.log(scale.width)).to(batch.target)
    if batch.observed is None:
        return log_width.sum().expand(batch.target.shape[0])
    return batch.observed.to(log_width) @ log_width


def refuse_no_density(model: Model, rows: Array) -> None:
    """Raise ValueError unless the likelihood gives the rows a density or a probability."""
    likelihood = model.blueprint.likelihood
    flat = rows.reshape(len(rows), -1)
    groups = likelihood.groups if isinstance(likelihood, Mixed) else [(likelihood, slice(None))]
    for kind, columns in groups:
        own = flat[:, columns]
        own = own[np.isfinite(own)]
        if isinstance(kind, Bernoulli) and not np.isin(own, (0, 1)).all():
            raise ValueError(
                "likelihood='bernoulli' gives probabilities of 0 and 1 alone, but there are values "
                "between. Write likelihood='continuous_bernoulli', or make the values binary."
            )
        if isinstance(kind, Categorical) and not np.isin(own, (0, 1)).all():
            raise ValueError(
                "likelihood='categorical' gives probabilities of single choices, but there are "
                "shares. Write one 1 per event, or compare score_samples instead."
            )


def points(model: Model) -> Float[Tensor, "point 1 noise"]:
    """Return quasi-random noise that every row's code is made of."""
    return normal_points(_n_noise(model))[:, None]


def normal_points(n_noise: int) -> Float[Tensor, "point {n_noise}"]:
    """Return quasi-random normal numbers, in pairs of either sign, each noise of variance one.

    Few enough of them are uncorrelated, too: what is quadratic in them has its exact mean.
    """
    sobol = torch.quasirandom.SobolEngine(n_noise, scramble=True, seed=0).draw(_N_POINTS // 2)
    half = torch.special.ndtri(sobol.double().clamp(1e-6, 1 - 1e-6))
    if n_noise <= _N_POINTS // 4:
        moments = half.T @ half / len(half)
        half = torch.linalg.solve_triangular(torch.linalg.cholesky(moments), half.T, upper=False).T
    else:
        half = half / half.square().mean(0).sqrt()
    return torch.cat([half, -half])


def _blocks(n: int, size: int) -> Iterator[int]:
    for start in range(0, n, size):
        yield min(size, n - start)


def _width(model: Model) -> int:
    """Return the most values that one draw of one row becomes: of a layer, or of the prior."""
    layers = (tensor.shape[-1] for tensor in model.decoder.parameters())
    members = model.prior(model.encoder).raw if model.prior is not None else torch.zeros(1, 1, 1)
    return max(model.blueprint.n_outputs, *layers, members.shape[1] * members.shape[2])


def _n_noise(model: Model) -> int:
    posterior = model.blueprint.posterior
    if posterior is None:
        raise TypeError(f"{model.blueprint.code!r} is no distribution.")
    return posterior.n_noise(model.blueprint.layout)
