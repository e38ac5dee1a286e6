"""Codes on the simplex: shares that sum to one."""

import math

import torch
from jaxtyping import Float
from scipy.special import gammaincinv, ndtr
from torch import Tensor
from torch.overrides import wrap_torch_function

from narrows.nn.code import Code, Layout
from narrows.nn.posterior import (
    LOG_WIDTHS,
    Densities,
    Draws,
    Features,
    Given,
    Parts,
    Posterior,
    Raw,
)

_LOWEST = 1e-30


class _Shares:
    """Codes that are shares: from 0 up, summing to one."""

    def check(self, layout: Layout, ranked: bool) -> None:
        refuse_alone(self, layout, ranked, "shares sum to one")

    def project(
        self, features: Float[Tensor, "*batch feature"], layout: Layout
    ) -> Float[Tensor, "*batch feature"]:
        shares = features.clamp_min(_LOWEST)
        return shares / shares.sum(-1, keepdim=True)


def refuse_alone(code: object, layout: Layout, ranked: bool, reason: str) -> None:
    """Raise ValueError where components of a joint density should stand alone.

    Parameters
    ----------
    code : Code
    layout : Layout
    ranked : bool
        Whether an ordering masks components.
    reason : str
        Why they cannot.
    """
    name = type(code).__name__
    if ranked:
        raise ValueError(
            f"{name} cannot be ranked: its {reason}, so the first components are no model of their "
            "own. Write ordering='none', or posterior='gaussian' or 'laplace'."
        )
    if layout.circular:
        raise ValueError(
            f"{name} has no circular components: its {reason}. Write circular=(), or "
            "posterior='gaussian' or 'laplace'."
        )
    if layout.n_components < 2:
        raise ValueError(f"{name} needs 2 components at least. Write n_components=2, say.")


class LogisticNormalCode(_Shares, Posterior, Code):
    """Shares whose log-ratios are normal: ``z = softmax(V y)``, ``y ~ N(μ, diag σ²)``.

    V is an orthonormal basis of the directions in which log-shares can differ, so that the prior,
    y standard normal, treats all shares alike. Densities are those of y.

    References
    ----------
    Aitchison & Shen 1980, 10.1093/biomet/67.2.261. Egozcue et al. 2003, 10.1023/A:1023818214614.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import VariationalAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = VariationalAutoencoder(3, posterior="logistic_normal", max_epochs=2).fit(X)
    >>> bool(np.allclose(model.transform(X).sum(1), 1))
    True
    """

    def n_raw(self, layout: Layout) -> int:
        return 2 * (layout.n_components - 1)

    def n_noise(self, layout: Layout) -> int:
        return layout.n_components - 1

    def standard(self, layout: Layout) -> Float[Tensor, " raw"]:
        return torch.zeros(self.n_raw(layout))

    def __call__(self, raw: Raw, layout: Layout, progress: float | None = None) -> Features:
        return self._shares(raw.chunk(2, -1)[0])

    def draw(self, raw: Raw, layout: Layout, noise: Float[Tensor, "restart row noise"]) -> Features:
        at, log_width = _halves(raw)
        return self._shares(at + log_width.exp() * noise)

    def log_density(self, features: Draws, raw: Given, layout: Layout) -> Densities:
        at, log_width = _halves(raw)
        y = features.clamp_min(_LOWEST).log() @ _log_ratios(layout.n_components).to(features)
        unit = (y - at) * (-log_width).exp()
        density = -0.5 * unit.square() - log_width - 0.5 * math.log(2 * math.pi)
        return density.sum(-1, keepdim=True)

    def divergence(self, raw: Raw, layout: Layout) -> Parts:
        at, log_width = _halves(raw)
        each = 0.5 * (torch.expm1(2 * log_width) + at.square()) - log_width
        return each.sum(-1, keepdim=True)

    @staticmethod
    def _shares(y: Tensor) -> Features:
        return (y @ _log_ratios(y.shape[-1] + 1).T.to(y)).softmax(-1)


class DirichletCode(_Shares, Posterior, Code):
    """Shares of Dirichlet's density, ``q(z | x) = Dir(α)``; the prior is uniform on the simplex.

    Draws are gamma variables divided by their sum, differentiated through the distribution function
    (Figurnov, Mohamed & Mnih 2018, arXiv:1805.08498).

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import VariationalAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = VariationalAutoencoder(3, posterior="dirichlet", max_epochs=2).fit(X)
    >>> bool(np.allclose(model.transform(X).sum(1), 1))
    True
    """

    repeats = False  # its draws are computed by SciPy

    def n_raw(self, layout: Layout) -> int:
        return layout.n_components

    def n_noise(self, layout: Layout) -> int:
        return layout.n_components

    def standard(self, layout: Layout) -> Float[Tensor, " raw"]:
        return torch.full((layout.n_components,), math.log(math.expm1(1 - _SMALLEST)))

    def __call__(self, raw: Raw, layout: Layout, progress: float | None = None) -> Features:
        alpha = _concentration(raw)
        return alpha / alpha.sum(-1, keepdim=True)

    def draw(self, raw: Raw, layout: Layout, noise: Float[Tensor, "restart row noise"]) -> Features:
        gammas = gamma_from(_concentration(raw), noise)
        return gammas / gammas.sum(-1, keepdim=True)

    def log_density(self, features: Draws, raw: Given, layout: Layout) -> Densities:
        alpha = _concentration(raw)
        powers = ((alpha - 1) * features.clamp_min(_LOWEST).log()).sum(-1, keepdim=True)
        return powers + _log_normaliser(alpha)

    def divergence(self, raw: Raw, layout: Layout) -> Parts:
        alpha = _concentration(raw)
        total = alpha.sum(-1, keepdim=True)
        slope = torch.digamma(alpha) - torch.digamma(total)
        expected = ((alpha - 1) * slope).sum(-1, keepdim=True)
        return _log_normaliser(alpha) - _log_normaliser(torch.ones_like(alpha)) + expected


class RelaxedCategoricalCode(_Shares, Posterior, Code):
    """Nearly one-hot shares: a choice among K kinds, relaxed so that it has a gradient.

    ``z = softmax((l + g) / τ)`` with logits l and Gumbel noise g; small τ is nearer to a choice.
    Outside training the code holds the probabilities ``softmax(l)``. The prior has equal logits.
    Densities are those of the logarithms of the shares; the divergence is estimated from draws.

    Parameters
    ----------
    temperature : float, default=0.5
        τ > 0.

    References
    ----------
    Maddison, Mnih & Teh 2017, arXiv:1611.00712. Jang, Gu & Poole 2017, arXiv:1611.01144.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import VariationalAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = VariationalAutoencoder(3, posterior="relaxed_categorical", max_epochs=2).fit(X)
    >>> bool(np.allclose(model.transform(X).sum(1), 1))
    True
    """

    def __init__(self, temperature: float = 0.5) -> None:
        self.temperature = temperature

    def n_raw(self, layout: Layout) -> int:
        return layout.n_components

    def n_noise(self, layout: Layout) -> int:
        return layout.n_components

    def standard(self, layout: Layout) -> Float[Tensor, " raw"]:
        return torch.zeros(layout.n_components)

    def __call__(self, raw: Raw, layout: Layout, progress: float | None = None) -> Features:
        return raw.softmax(-1)

    def draw(self, raw: Raw, layout: Layout, noise: Float[Tensor, "restart row noise"]) -> Features:
        gumbel = -torch.log(-torch.special.log_ndtr(noise))
        return ((raw + gumbel) / self._checked()).softmax(-1)

    def log_density(self, features: Draws, raw: Given, layout: Layout) -> Densities:
        n, temperature = layout.n_components, self._checked()
        score = raw.log_softmax(-1) - temperature * features.clamp_min(_LOWEST).log()
        constant = math.lgamma(n) + (n - 1) * math.log(temperature)
        total = score.sum(-1, keepdim=True) - n * torch.logsumexp(score, -1, keepdim=True)
        return total + constant

    def divergence(self, raw: Raw, layout: Layout) -> None:
        return None

    def _checked(self) -> float:
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature!r} must be positive. Write 0.5.")
        return self.temperature


# Gamma variables of a smaller shape than this are 0 in single precision.
_SMALLEST = 0.02


def _halves(raw: Tensor) -> tuple[Tensor, Tensor]:
    at, log_width = raw.chunk(2, -1)
    return at, log_width.clamp(*LOG_WIDTHS)


def _concentration(raw: Tensor) -> Tensor:
    return torch.nn.functional.softplus(raw) + _SMALLEST


def _log_normaliser(alpha: Tensor) -> Tensor:
    return torch.lgamma(alpha.sum(-1, keepdim=True)) - torch.lgamma(alpha).sum(-1, keepdim=True)


def _log_ratios(n: int) -> Float[Tensor, "share ratio"]:
    """Return an orthonormal basis of log-ratios of n shares (Helmert's)."""
    basis = torch.zeros(n, n - 1)
    for j in range(1, n):
        basis[:j, j - 1] = 1 / math.sqrt(j * (j + 1))
        basis[j, j - 1] = -math.sqrt(j / (j + 1))
    return basis


@wrap_torch_function(lambda shape, noise: (shape, noise))
def gamma_from(shape: Tensor, noise: Tensor) -> Tensor:
    """Return gamma variables of a shape > 0 from standard normal noise, with their gradient.

    The quantile of the noise's probability; its derivative by the shape is that of the
    distribution function over minus the density.
    """
    with torch.no_grad():
        share = ndtr(noise.double().cpu().numpy()).clip(1e-12, 1 - 1e-12)
        value = torch.from_numpy(gammaincinv(shape.double().cpu().numpy(), share))
        value = value.clamp_min(_LOWEST).to(shape)
        slope = torch._standard_gamma_grad(shape.detach(), value)
    return value + slope * (shape - shape.detach())
