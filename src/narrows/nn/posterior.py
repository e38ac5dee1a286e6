"""Codes that are distributions: the encoder gives the parameters, training draws from them.

A family turns standard normal noise into draws (`draw`), knows its density (`log_density`) and,
where it has one in closed form, its divergence from the standard member of the family, which is
the standard prior (`divergence`). Raw outputs of the encoder are first one location per feature,
as for a plain code, then what else the family needs. Outside training the code is the location:
nothing is drawn.
"""

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from narrows.nn.code import Code, Layout, with_pairs

Raw = Float[Tensor, "restart *row raw"]
Features = Float[Tensor, "restart *row feature"]
Parts = Float[Tensor, "restart *row part"]
# Features and raw outputs that are broadcast against each other, and what comes of them
Draws = Float[Tensor, "restart *#row feature"]
Given = Float[Tensor, "restart *#row raw"]
Densities = Float[Tensor, "restart ... part"]

# Logarithms of the widths between which posteriors are kept, and of one that makes a circle
# uniform to 1e-6
LOG_WIDTHS = (-9.0, 5.0)
_UNIFORM = math.log(5.5)
_WINDINGS = 6
_NODES = 32


class Posterior(ABC):
    """What codes that are distributions add to `Code`.

    Attributes
    ----------
    factorised : bool
        Whether components are independent, so that some of them are a model of their own: the
        parts of `log_density` are then the components, plain ones first, else there is one part.
    """

    factorised: bool = False
    settled: float = 0.0
    elementwise: bool = False
    linear: bool = False

    @abstractmethod
    def n_noise(self, layout: Layout) -> int:
        """Return how many standard normal numbers a draw of one row needs."""

    @abstractmethod
    def draw(self, raw: Raw, layout: Layout, noise: Float[Tensor, "restart row noise"]) -> Features:
        """Return draws of the code, made of standard normal noise."""

    @abstractmethod
    def log_density(self, features: Draws, raw: Given, layout: Layout) -> Densities:
        """Return the logarithm of the density of each part of the code, in nats.

        Rows may have several axes, along which features and raw parameters are broadcast.
        """

    @abstractmethod
    def divergence(self, raw: Raw, layout: Layout) -> Parts | None:
        """Return the divergence KL(q ‖ p) from the standard prior, or None without closed form."""

    @abstractmethod
    def standard(self, layout: Layout) -> Float[Tensor, " raw"]:
        """Return the raw outputs of the member of the family that is the standard prior."""


class _Independent(ABC):
    """Independent components: on a line, or wrapped around a circle.

    Raw outputs: the features of a plain code, then the logarithm of one width per component, plain
    components first, kept from -9 to 5. A circular component is a normal angle wrapped around the
    circle, its standard prior the uniform density.
    """

    factorised = True
    linear = True
    elementwise = True

    def n_raw(self, layout: Layout) -> int:
        return layout.n_features + layout.n_components

    def check(self, layout: Layout, ranked: bool) -> None:
        """Accept all layouts and orderings."""
        return None

    def n_noise(self, layout: Layout) -> int:
        return layout.n_components

    def standard(self, layout: Layout) -> Float[Tensor, " raw"]:
        raw = torch.zeros(self.n_raw(layout))
        n_plain, n_circular = len(layout.plain), len(layout.circular)
        raw[n_plain : n_plain + n_circular] = 1.0
        raw[self.n_raw(layout) - n_circular :] = _UNIFORM
        return raw

    def __call__(self, raw: Raw, layout: Layout, progress: float | None = None) -> Features:
        return with_pairs(raw[..., : layout.n_features], layout, lambda plain: plain)

    def project(
        self, features: Float[Tensor, "*batch feature"], layout: Layout
    ) -> Float[Tensor, "*batch feature"]:
        return with_pairs(features, layout, lambda plain: plain)

    def draw(self, raw: Raw, layout: Layout, noise: Float[Tensor, "restart row noise"]) -> Features:
        plain, cosine, sine = layout.split(self(raw, layout))
        width = _widths(raw, layout).exp()
        n = len(layout.plain)
        plain = plain + width[..., :n] * self._unit(noise[..., :n])
        if not layout.circular:
            return plain
        turn = width[..., n:] * noise[..., n:]
        c, s = turn.cos(), turn.sin()
        return torch.cat([plain, cosine * c - sine * s, sine * c + cosine * s], -1)

    def log_density(self, features: Draws, raw: Given, layout: Layout) -> Densities:
        log_width, n = _widths(raw, layout), len(layout.plain)
        at, cosine, sine = layout.split(self(raw, layout))
        plain, c, s = layout.split(features)
        unit = (plain - at) * (-log_width[..., :n]).exp()
        on_line = self._log_unit(unit) - log_width[..., :n]
        if not layout.circular:
            return on_line
        turn = torch.atan2(s * cosine - c * sine, c * cosine + s * sine)
        return torch.cat([on_line, _wrapped(turn, log_width[..., n:])], -1)

    def divergence(self, raw: Raw, layout: Layout) -> Parts:
        log_width, n = _widths(raw, layout), len(layout.plain)
        plain, *_ = layout.split(self(raw, layout))
        on_line = self._from_standard(plain, log_width[..., :n])
        if not layout.circular:
            return on_line
        return torch.cat([on_line, _from_uniform(log_width[..., n:])], -1)

    @abstractmethod
    def _unit(self, noise: Tensor) -> Tensor:
        """Return draws of the family's unit member from standard normal noise."""

    @abstractmethod
    def _log_unit(self, unit: Tensor) -> Tensor:
        """Return the logarithm of the density of the unit member."""

    @abstractmethod
    def _from_standard(self, at: Tensor, log_width: Tensor) -> Tensor:
        """Return the divergence from the unit member."""


class GaussianCode(_Independent, Posterior, Code):
    """Normal components, independent given the row: the code of a variational autoencoder.

    ``q(z_j | x) = N(μ_j, σ_j²)`` with divergence ``½ (σ² + μ² - 1 - ln σ²)`` from the standard
    normal prior. Circular components are wrapped normal angles under a uniform prior.

    References
    ----------
    Kingma & Welling 2014, arXiv:1312.6114.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder, GaussianCode
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = Autoencoder(2, code=GaussianCode(), penalties=["divergence"], max_epochs=2).fit(X)
    >>> sorted(model.loss_terms(X))
    ['divergence', 'reconstruction']
    """

    def _unit(self, noise: Tensor) -> Tensor:
        return noise

    def _log_unit(self, unit: Tensor) -> Tensor:
        return _log_normal(unit)

    def _from_standard(self, at: Tensor, log_width: Tensor) -> Tensor:
        return 0.5 * (torch.expm1(2 * log_width) + at.square()) - log_width


class LaplaceCode(_Independent, Posterior, Code):
    """Components of Laplace's density: heavier tails than the normal, sharper peaks.

    ``q(z_j | x) = exp(-|z_j - μ_j| / b_j) / 2 b_j`` with divergence
    ``|μ| + b e^{-|μ|/b} - 1 - ln b`` from the prior, which is Laplace's density of unit width.
    Circular components are wrapped normal angles under a uniform prior.

    References
    ----------
    Gil, Alajaji & Linder 2013, 10.1016/j.ins.2013.06.018 (the divergence).

    Examples
    --------
    >>> from narrows import LaplaceCode
    >>> from narrows.nn.code import Layout
    >>> LaplaceCode().n_raw(Layout(3))
    6
    """

    def _unit(self, noise: Tensor) -> Tensor:
        return -noise.sign() * (torch.special.log_ndtr(-noise.abs()) + math.log(2))

    def _log_unit(self, unit: Tensor) -> Tensor:
        return -unit.abs() - math.log(2)

    def _from_standard(self, at: Tensor, log_width: Tensor) -> Tensor:
        size, width = at.abs(), log_width.exp()
        return size + width * torch.exp(-size / width) - 1 - log_width


def _widths(raw: Raw, layout: Layout) -> Parts:
    """Return the logarithm of the width of every component, plain ones first."""
    log_width = raw[..., layout.n_features :].clamp(*LOG_WIDTHS)
    if not layout.circular:
        return log_width
    plain, angles = log_width.split([len(layout.plain), len(layout.circular)], -1)
    return torch.cat([plain, angles.clamp_max(_UNIFORM)], -1)


def _log_normal(unit: Tensor) -> Tensor:
    return -0.5 * unit.square() - 0.5 * math.log(2 * math.pi)


def _wrapped(turn: Tensor, log_width: Tensor) -> Tensor:
    """Return the log-density of an angle from the mean of a wrapped normal one."""
    windings = torch.arange(-_WINDINGS, _WINDINGS + 1, device=turn.device)
    whole = (turn.unsqueeze(-1) + 2 * math.pi * windings) * (-log_width).exp().unsqueeze(-1)
    return torch.logsumexp(_log_normal(whole), -1) - log_width


def _from_uniform(log_width: Tensor) -> Tensor:
    """Return the divergence of a wrapped normal angle from a uniform one, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    at = torch.as_tensor(nodes, dtype=log_width.dtype, device=log_width.device)
    share = torch.as_tensor(weights / weights.sum(), dtype=log_width.dtype, device=at.device)
    width = log_width.unsqueeze(-1)
    density = _wrapped(at * width.exp(), width.expand(*log_width.shape, len(at)))
    return (density * share).sum(-1) + math.log(2 * math.pi)
