"""Codes on the unit sphere."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from narrows.nn.code import Code, Layout
from narrows.nn.posterior import Densities, Draws, Features, Given, Parts, Posterior, Raw
from narrows.nn.simplex import gamma_from, refuse_alone


class PowerSphericalCode(Posterior, Code):
    """Points on the unit sphere around a direction: ``q(z | x) ∝ (1 + μᵀz)^κ``.

    The prior is uniform on the sphere, from which the divergence has a closed form. Use it where
    directions matter and lengths do not.

    References
    ----------
    De Cao & Aziz 2020, The power spherical distribution, arXiv:2006.04437.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import VariationalAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = VariationalAutoencoder(3, posterior="power_spherical", max_epochs=2).fit(X)
    >>> bool(np.allclose(np.linalg.norm(model.transform(X), axis=1), 1))
    True
    """

    repeats = False  # its draws are computed by SciPy

    def check(self, layout: Layout, ranked: bool) -> None:
        refuse_alone(self, layout, ranked, "length is one")

    def n_raw(self, layout: Layout) -> int:
        return layout.n_components + 1

    def n_noise(self, layout: Layout) -> int:
        return layout.n_components + 1

    def standard(self, layout: Layout) -> Float[Tensor, " raw"]:
        raw = torch.zeros(self.n_raw(layout))
        raw[0], raw[-1] = 1.0, -100.0
        return raw

    def __call__(self, raw: Raw, layout: Layout, progress: float | None = None) -> Features:
        return _direction(raw)

    def project(
        self, features: Float[Tensor, "*batch feature"], layout: Layout
    ) -> Float[Tensor, "*batch feature"]:
        return F.normalize(features, dim=-1, eps=1e-6)

    def draw(self, raw: Raw, layout: Layout, noise: Float[Tensor, "restart row noise"]) -> Features:
        shapes = torch.cat(_shapes(raw, layout), -1)
        one, two = gamma_from(shapes, noise[..., :2]).split(1, -1)
        along = (one - two) / (one + two)
        across = F.normalize(noise[..., 2:], dim=-1) * (1 - along.square()).clamp_min(1e-12).sqrt()
        return _reflected(torch.cat([along, across], -1), _direction(raw))

    def log_density(self, features: Draws, raw: Given, layout: Layout) -> Densities:
        cosine = (features * _direction(raw)).sum(-1, keepdim=True).clamp(-1 + 1e-6, 1.0)
        return _kappa(raw) * torch.log1p(cosine) - _log_normaliser(raw, layout)

    def divergence(self, raw: Raw, layout: Layout) -> Parts:
        a, b = _shapes(raw, layout)
        expected = math.log(2) + torch.digamma(a) - torch.digamma(a + b)
        return _kappa(raw) * expected - _log_normaliser(raw, layout) + _log_area(layout)


def _direction(raw: Tensor) -> Tensor:
    return F.normalize(raw[..., :-1], dim=-1, eps=1e-6)


def _kappa(raw: Tensor) -> Tensor:
    return F.softplus(raw[..., -1:])


def _shapes(raw: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Return the shapes of the beta density of (1 + μᵀz) / 2."""
    half = torch.full_like(raw[..., :1], (layout.n_components - 1) / 2)
    return half + _kappa(raw), half


def _log_normaliser(raw: Tensor, layout: Layout) -> Tensor:
    a, b = _shapes(raw, layout)
    return (a + b) * math.log(2) + b * math.log(math.pi) + torch.lgamma(a) - torch.lgamma(a + b)


def _log_area(layout: Layout) -> float:
    half = layout.n_components / 2
    return math.log(2) + half * math.log(math.pi) - math.lgamma(half)


def _reflected(point: Tensor, direction: Tensor) -> Tensor:
    """Return points reflected so that the first axis goes to a direction."""
    first = torch.zeros_like(direction)
    first[..., 0] = 1
    normal = F.normalize(first - direction, dim=-1, eps=1e-6)
    return point - 2 * (point * normal).sum(-1, keepdim=True) * normal
