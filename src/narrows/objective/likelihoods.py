"""Likelihoods: what a reconstruction is measured by.

Each maps the decoder's raw output to the mean of the data (`link`) and gives the loss of every
entry. Notation: t the target, o the decoder's output, m = link(o) the reconstruction, s the
logarithm of a learned width where there is one.

The deviance 2 (loss(t, o) - loss(t, t)) generalises the squared error, and with it the fraction
of variance explained, to every likelihood (McCullagh & Nelder 1989, 10.1007/978-1-4899-3242-6).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from narrows._errors import nearest
from narrows._types import Array
from narrows.parts import Part

Entries = Float[Tensor, "..."]
Generators = Sequence[torch.Generator]


class Link(NamedTuple):
    """A link: from the decoder's output to the mean of the data, and back.

    Attributes
    ----------
    mean : callable
        Maps outputs to means.
    output : callable
        Inverts `mean`, also for means on the border of the range.
    """

    mean: Callable[[Tensor], Tensor]
    output: Callable[[Tensor], Tensor]


def _inverse_softplus(mean: Tensor) -> Tensor:
    mean = mean.clamp_min(1e-6)
    return mean + torch.log(-torch.expm1(-mean))


IDENTITY = Link(lambda output: output, lambda mean: mean)
SIGMOID = Link(torch.sigmoid, lambda mean: mean.logit(eps=1e-6))
SOFTMAX = Link(lambda output: output.softmax(-1), lambda mean: mean.clamp_min(1e-6).log())
SOFTPLUS = Link(F.softplus, _inverse_softplus)


def _continuous_mean(output: Tensor) -> Tensor:
    """Return ``1/(1 - e⁻ᵒ) - 1/o``, by its series where o is small."""
    near = output.abs() < 0.1
    safe = torch.where(near, 1.0, output)
    series = 0.5 + output / 12 - output**3 / 720 + output**5 / 30240
    return torch.where(near, series, -1 / torch.expm1(-safe) - 1 / safe)


def _continuous_output(mean: Tensor) -> Tensor:
    """Invert `_continuous_mean` by bisection, and one step of Newton's that has the gradient."""
    with torch.no_grad():
        wanted = mean.clamp(2e-3, 1 - 2e-3)
        low, high = torch.full_like(wanted, -600.0), torch.full_like(wanted, 600.0)
        for _ in range(40):
            middle = (low + high) / 2
            above = _continuous_mean(middle) > wanted
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        output = (low + high) / 2
        step = 1e-2
        slope = (_continuous_mean(output + step) - _continuous_mean(output - step)) / (2 * step)
    return output + (mean - mean.detach()) / slope.clamp_min(1e-6)


class Likelihood(Part, ABC):
    """Base of all likelihoods.

    Attributes
    ----------
    canonical : Link
        Between the decoder's output and the mean of the data.
    scales_target : bool
        Whether targets are standardised with the inputs (real-valued likelihoods).
    learns : {"none", "level", "feature"}
        Whether a log-width is learned, one per level or one per feature.
    density : bool
        Whether the loss is minus the logarithm of a density or probability of the data.
    """

    canonical: Link = IDENTITY
    scales_target: bool = False
    learns: str = "none"
    density: bool = True

    def link(self, output: Entries) -> Entries:
        """Map the decoder's output to the mean of the data."""
        return self.canonical.mean(output)

    def unlink(self, mean: Entries) -> Entries:
        """Invert `link`, for means that may lie on the border of the range."""
        return self.canonical.output(mean)

    @abstractmethod
    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        """Return the loss of each entry, before summing over the event."""

    @abstractmethod
    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        """Return the loss of each entry for a perfect reconstruction."""

    @abstractmethod
    def draw(self, output: Entries, log_width: Tensor | None, generators: Generators) -> Entries:
        """Return data drawn given outputs whose first axis is one generator each.

        In the units of the targets of `loss`. Without a density there is no noise: the mean.
        """

    @abstractmethod
    def check(self, target: Array) -> None:
        """Raise ValueError where targets lie outside the range of the likelihood."""


def _noise(kind: Callable[..., Tensor], like: Entries, generators: Generators) -> Entries:
    """Draw numbers for each entry, along the first axis from one generator each."""
    shape, kwargs = like.shape[1:], {"device": like.device, "dtype": like.dtype}
    return torch.stack([kind(shape, generator=g, **kwargs) for g in generators])


def _poisson(rate: Entries, generators: Generators) -> Entries:
    pairs = zip(rate, generators, strict=True)
    return torch.stack([torch.poisson(own, generator=g) for own, g in pairs])


def _zeros_or(log_width: Tensor | None, output: Tensor) -> Tensor:
    return output.new_zeros(()) if log_width is None else log_width


def _refuse(name: str, wanted: str, target: Array, remedy: str) -> None:
    low, high = np.nanmin(target), np.nanmax(target)
    raise ValueError(
        f"likelihood={name!r} needs {wanted}, but the data range from {low:g} to {high:g}. {remedy}"
    )


class Gaussian(Likelihood):
    """Squared error, without the factor one half: ``(t - o)²``.

    Examples
    --------
    >>> from narrows.objective.likelihoods import Gaussian
    >>> Gaussian().scales_target
    True
    """

    scales_target = True
    density = False

    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        return F.mse_loss(output, target.expand_as(output), reduction="none")

    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        return torch.zeros_like(target)

    def draw(self, output: Entries, log_width: Tensor | None, generators: Generators) -> Entries:
        return output

    def check(self, target: Array) -> None:
        """Accept all real values."""


_NARROWEST = math.log(1e-4)


class Normal(Likelihood):
    """Minus the logarithm of a normal density: ``½ ((t - o)/σ)² + ln σ + ½ ln 2π``.

    Parameters
    ----------
    noise : {"learned", "per_feature"} or float, default="learned"
        σ in units of the scaled data: one that is learned (one per level under an ordering), one
        per value of the event, or a given number > 0. Learned ones stay above 1e-4.

    Examples
    --------
    >>> import torch
    >>> from narrows import Normal
    >>> Normal(noise=1.0).loss(torch.tensor([1.0]), torch.tensor([0.0]), None)
    tensor([1.4189])
    """

    scales_target = True

    def __init__(self, noise: str | float = "learned") -> None:
        self.noise = noise

    @property
    def learns(self) -> str:  # type: ignore[override]
        known = {"learned": "level", "per_feature": "feature"}
        if isinstance(self.noise, str):
            if self.noise not in known:
                raise ValueError(
                    f"noise={self.noise!r} is not known.{nearest(self.noise, known)} Write "
                    "'learned', 'per_feature', or a positive number."
                )
            return known[self.noise]
        if not isinstance(self.noise, Real) or not 0 < float(self.noise) < math.inf:
            raise ValueError(
                f"noise={self.noise!r} must be positive. Write 'learned', 'per_feature', or a "
                "positive number."
            )
        return "none"

    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        s = self.log_width(output, log_width)
        return 0.5 * ((target - output) * torch.exp(-s)).square() + s + 0.5 * math.log(2 * math.pi)

    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        return self.loss(target, target, log_width)

    def draw(self, output: Entries, log_width: Tensor | None, generators: Generators) -> Entries:
        s = self.log_width(output, log_width)
        return output + torch.exp(s) * _noise(torch.randn, output, generators)

    def check(self, target: Array) -> None:
        """Accept all real values."""

    def log_width(self, output: Tensor, log_width: Tensor | None) -> Tensor:
        """Return ln σ: as it was learned, or as it is set."""
        if not isinstance(self.noise, str):
            return output.new_tensor(math.log(self.noise))
        return output.new_zeros(()) if log_width is None else log_width.clamp_min(_NARROWEST)


class Bernoulli(Likelihood):
    """Cross-entropy of values in [0, 1]: ``-t ln m - (1 - t) ln(1 - m)``, ``m = sigmoid(o)``.

    Examples
    --------
    >>> import torch
    >>> from narrows import Bernoulli
    >>> Bernoulli().loss(torch.tensor([1.0]), torch.tensor([0.0]), None)
    tensor([0.6931])
    """

    canonical = SIGMOID

    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        return F.softplus(output) - target * output

    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        return -torch.xlogy(target, target) - torch.xlogy(1 - target, 1 - target)

    def draw(self, output: Entries, log_width: Tensor | None, generators: Generators) -> Entries:
        return (_noise(torch.rand, output, generators) < self.link(output)).to(output)

    def check(self, target: Array) -> None:
        if np.nanmin(target) < 0 or np.nanmax(target) > 1:
            _refuse("bernoulli", "values from 0 to 1", target, "Rescale them, or write 'gaussian'.")


class ContinuousBernoulli(Likelihood):
    """Density of values in [0, 1]: ``p(t) ∝ λᵗ (1 - λ)¹⁻ᵗ``, with logit ``o = ln λ/(1 - λ)``.

    What cross-entropy is for binary values, with the normaliser that makes it a density of real
    ones: ``ln ((eᵒ - 1)/o) - o t``. Its mean is ``1/(1 - e⁻ᵒ) - 1/o``.

    References
    ----------
    Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845.

    Examples
    --------
    >>> import torch
    >>> from narrows import ContinuousBernoulli
    >>> ContinuousBernoulli().loss(torch.tensor([0.3]), torch.tensor([1.0]), None)
    tensor([0.2413])
    """

    canonical = Link(_continuous_mean, _continuous_output)

    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        size = output.abs()
        far = size.clamp_min(1e-3)
        tail = torch.log(-torch.expm1(-far) / far) + (far - size) / 2
        return tail + (output + size) / 2 - output * target

    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        return self.loss(target, self.unlink(target), log_width)

    def draw(self, output: Entries, log_width: Tensor | None, generators: Generators) -> Entries:
        size = output.abs().clamp_min(1e-6)
        share = _noise(torch.rand, output, generators)
        fallen = -torch.log1p(share * torch.expm1(-size)) / size
        return torch.where(output > 0, 1 - fallen, fallen)

    def check(self, target: Array) -> None:
        if np.nanmin(target) < 0 or np.nanmax(target) > 1:
            remedy = "Rescale them, or write 'gaussian'."
            _refuse("continuous_bernoulli", "values from 0 to 1", target, remedy)


class Categorical(Likelihood):
    """Cross-entropy of shares that sum to one over the event: ``-t ln m``, ``m = softmax(o)``.

    Parameters
    ----------
    normalise : bool, default=False
        Divide each non-negative event by its sum first.

    Notes
    -----
    A draw is one event: its share is 1, the others 0, in the mean m.

    Examples
    --------
    >>> import torch
    >>> from narrows import Categorical
    >>> Categorical(normalise=True).loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0]), None)
    tensor([0.1733, 0.5199])
    """

    canonical = SOFTMAX

    def __init__(self, normalise: bool = False) -> None:
        self.normalise = normalise

    def shares(self, target: Entries) -> Entries:
        """Return the target as shares of the event."""
        return target / target.sum(-1, keepdim=True) if self.normalise else target

    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        return -self.shares(target) * output.log_softmax(-1)

    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        shares = self.shares(target)
        return -torch.xlogy(shares, shares)

    def draw(self, output: Entries, log_width: Tensor | None, generators: Generators) -> Entries:
        gumbel = -torch.log(-torch.log(_noise(torch.rand, output, generators)))
        return F.one_hot((output + gumbel).argmax(-1), output.shape[-1]).to(output)

    def check(self, target: Array) -> None:
        if np.isnan(target).any():
            raise ValueError(
                "likelihood='categorical' needs whole events: with an entry missing, the shares of "
                "the others are unknown. Fill the missing entries or drop their rows."
            )
        if np.nanmin(target) < 0:
            _refuse("categorical", "non-negative values", target, "Write 'gaussian' for real ones.")
        sums = np.nansum(target.reshape(len(target), -1), axis=1)
        if self.normalise and (sums <= 0).any():
            raise ValueError(
                f"likelihood=Categorical(normalise=True) needs events with a positive sum, but "
                f"{int((sums <= 0).sum())} rows sum to 0. Drop these rows."
            )
        if not self.normalise and not np.allclose(sums, 1, atol=1e-4):
            raise ValueError(
                f"likelihood='categorical' needs events that sum to 1, but the sums range from "
                f"{sums.min():g} to {sums.max():g}. Write "
                "likelihood=narrows.Categorical(normalise=True), or 'poisson' for counts."
            )


def _check_counts(name: str, target: Array) -> None:
    whole = target[np.isfinite(target)]
    if (whole < 0).any() or (whole != np.round(whole)).any():
        remedy = "Write 'gaussian' for real values, or round them."
        _refuse(name, "counts (whole numbers from 0)", target, remedy)


def _log_mean(output: Tensor) -> Tensor:
    """Return ln softplus(o), accurate where softplus underflows."""
    return torch.where(output < -15, output, F.softplus(output).clamp_min(1e-30).log())


class Poisson(Likelihood):
    """Negative log-probability of counts: ``m - t ln m + ln t!``, ``m = softplus(o)``.

    Examples
    --------
    >>> import torch
    >>> from narrows import Poisson
    >>> Poisson().loss(torch.tensor([2.0]), torch.tensor([2.0]), None)
    tensor([1.3107])
    """

    canonical = SOFTPLUS

    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        return F.softplus(output) - target * _log_mean(output) + torch.lgamma(target + 1)

    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        return target - torch.xlogy(target, target) + torch.lgamma(target + 1)

    def draw(self, output: Entries, log_width: Tensor | None, generators: Generators) -> Entries:
        return _poisson(self.link(output), generators)

    def check(self, target: Array) -> None:
        _check_counts("poisson", target)


class NegativeBinomial(Likelihood):
    """Negative log-probability of overdispersed counts, variance ``m + m²/r``, r learned.

    One dispersion ``r = exp(-s)`` per feature is learned with the network, from r = 1.

    Examples
    --------
    >>> import torch
    >>> from narrows import NegativeBinomial
    >>> NegativeBinomial().loss(torch.tensor([2.0]), torch.tensor([2.0]), None)
    tensor([1.9108])
    """

    canonical = SOFTPLUS
    learns = "feature"

    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        return _negative_binomial(target, F.softplus(output), _log_mean(output), log_width)

    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        return _negative_binomial(target, target, target.clamp_min(1e-30).log(), log_width)

    def draw(self, output: Entries, log_width: Tensor | None, generators: Generators) -> Entries:
        r = torch.exp(-_zeros_or(log_width, output)).expand_as(output)
        pairs = zip(r, generators, strict=True)
        rate = torch.stack([torch._standard_gamma(own, generator=g) for own, g in pairs])
        return _poisson(rate * self.link(output) / r, generators)

    def check(self, target: Array) -> None:
        _check_counts("negative_binomial", target)


def _negative_binomial(t: Tensor, m: Tensor, log_m: Tensor, log_width: Tensor | None) -> Tensor:
    s = torch.zeros(()) if log_width is None else log_width
    r = torch.exp(-s)
    normaliser = torch.lgamma(t + r) - torch.lgamma(r) - torch.lgamma(t + 1)
    return (t + r) * torch.log(r + m) + r * s - t * log_m - normaliser


class Laplace(Likelihood):
    """Absolute error, the negative log-density of unit width: ``|t - o| + ln 2``.

    Examples
    --------
    >>> import torch
    >>> from narrows import Laplace
    >>> Laplace().loss(torch.tensor([2.0]), torch.tensor([0.0]), None)
    tensor([2.6931])
    """

    scales_target = True

    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        return (target - output).abs() + math.log(2)

    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        return torch.full_like(target, math.log(2))

    def draw(self, output: Entries, log_width: Tensor | None, generators: Generators) -> Entries:
        size = -torch.log1p(-_noise(torch.rand, output, generators))
        upwards = _noise(torch.rand, output, generators) < 0.5
        return output + torch.where(upwards, size, -size)

    def check(self, target: Array) -> None:
        """Accept all real values."""


class StudentT(Likelihood):
    """Robust negative log-density with a learned width ``w = exp(s)``, one per level.

    ``(v + 1)/2 ln(1 + ((t - o)/w)²/v) + s + ln B(v/2, 1/2) + ½ ln v``; draws by the polar method
    (Bailey 1994, 10.1090/S0025-5718-1994-1203741-1).

    Parameters
    ----------
    degrees_of_freedom : float, default=4.0
        v > 0: small values forgive outliers more.

    References
    ----------
    Lange, Little & Taylor 1989, 10.1080/01621459.1989.10478852.

    Examples
    --------
    >>> import torch
    >>> from narrows import StudentT
    >>> StudentT(degrees_of_freedom=1.0).loss(torch.tensor([0.0]), torch.tensor([0.0]), None)
    tensor([1.1447])
    """

    scales_target = True
    learns = "level"

    def __init__(self, degrees_of_freedom: float = 4.0) -> None:
        self.degrees_of_freedom = degrees_of_freedom

    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        v = self.degrees_of_freedom
        s = torch.zeros(()) if log_width is None else log_width
        log_beta = math.lgamma(v / 2) + math.lgamma(0.5) - math.lgamma((v + 1) / 2)
        ratio = ((target - output) * torch.exp(-s)).square() / v
        return (v + 1) / 2 * torch.log1p(ratio) + s + log_beta + 0.5 * math.log(v)

    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        return self.loss(target, target, log_width)

    def draw(self, output: Entries, log_width: Tensor | None, generators: Generators) -> Entries:
        v, s = self.degrees_of_freedom, _zeros_or(log_width, output)
        log_share = torch.log1p(-_noise(torch.rand, output, generators))
        turn = 2 * math.pi * _noise(torch.rand, output, generators)
        unit = (v * torch.expm1(-2 / v * log_share)).sqrt() * torch.cos(turn)
        return output + torch.exp(s) * unit

    def check(self, target: Array) -> None:
        if self.degrees_of_freedom <= 0:
            raise ValueError(
                f"degrees_of_freedom={self.degrees_of_freedom} must be positive. Write 4.0."
            )
