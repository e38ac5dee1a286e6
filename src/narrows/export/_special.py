"""Special functions in operators that ONNX has in double precision, as most are computed."""

import math
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.polynomial import Chebyshev
from scipy import special
from torch import Tensor

from narrows._types import Array

# The table of the quantile: numbers along its sides, and of each stencil
_N_SHAPES, _N_NORMALS, _ORDER = 96, 192, 8
_SMALLEST_SHAPE = 0.0199
_LARGEST_NORMAL = 7.05
# Shares of the quantile are kept from 1e-12 to 1 - 1e-12.
_LAST_NORMAL = -float(special.ndtri(1e-12))


def log_gamma(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return ln Γ(x) for x > 0, computed in double precision.

    Stirling's series (Abramowitz & Stegun 1964, 6.1.41) at x + 8, and the way there:
    ``ln Γ(x) = ln Γ(x + 8) - ln(x (x + 1) ... (x + 7))``.

    Examples
    --------
    >>> log_gamma(torch.tensor([0.5, 1.0, 5.0]))
    tensor([0.5724, 0.0000, 3.1781])
    """
    y = x.double()
    z, over = y + 8, (y + 8).reciprocal()
    series = over * (1 / 12 - over * over * (1 / 360 - over * over / 1260))
    high = (z - 0.5) * z.log() - z + (series + 0.5 * math.log(2 * math.pi))
    return (high - _steps(y).log().sum(-1)).to(x.dtype)


def digamma(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return ψ(x) = d ln Γ(x) / dx for x > 0, computed in double precision.

    The series at x + 8 (Abramowitz & Stegun 1964, 6.3.18), and the way there:
    ``ψ(x) = ψ(x + 8) - Σ_{k<8} 1 / (x + k)``.

    Examples
    --------
    >>> digamma(torch.tensor([0.5, 1.0, 5.0]))
    tensor([-1.9635, -0.5772,  1.5061])
    """
    y = x.double()
    over = (y + 8).reciprocal()
    square = over * over
    series = over / 2 + square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    return ((y + 8).log() - series - _steps(y).reciprocal().sum(-1)).to(x.dtype)


def _steps(y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape 8"]:
    return y.unsqueeze(-1) + torch.arange(8, device=y.device)


def softplus(
    x: Float[Tensor, "*shape"], beta: float = 1.0, threshold: float = 20.0
) -> Float[Tensor, "*shape"]:
    """Return ``ln(1 + exp(βx)) / β``, or x where βx is above the threshold, in x's precision.

    Examples
    --------
    >>> softplus(torch.tensor([-1.0, 0.0, 100.0]))
    tensor([  0.3133,   0.6931, 100.0000])
    """
    y = x * beta
    return torch.where(y > threshold, x, (y.clamp_min(0) + torch.log1p((-y.abs()).exp())) / beta)


def log_ndtr(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the logarithm of the normal distribution function, accurate in both tails.

    From ``erfc(y) = t exp(-y² + f(t))``, ``t = 1 / (1 + y / 2)``, for y >= 0, with a Chebyshev
    series of f.

    Examples
    --------
    >>> log_ndtr(torch.tensor([-10.0, 0.0, 1.0]))
    tensor([-53.2313,  -0.6931,  -0.1728])
    """
    z = x.double()
    y = z.abs() / math.sqrt(2)
    t = (1 + y / 2).reciprocal()
    below = t.log() - y * y - math.log(2)
    one, two, u = torch.zeros_like(t), torch.zeros_like(t), 4 * t - 2
    for coefficient in _log_erfcx()[:0:-1]:  # Clenshaw's recurrence
        one, two = u * one - two + coefficient, one
    below = below + (u / 2 * one - two + _log_erfcx()[0])
    return torch.where(z < 0, below, torch.log1p(-below.exp())).to(x.dtype)


@cache
def _log_erfcx() -> tuple[float, ...]:
    """Return the Chebyshev coefficients of f on [0, 1]."""

    def f(t: Array) -> Array:
        return np.log(special.erfcx(2 / t - 2) / t)

    return tuple(Chebyshev.interpolate(f, 30, (0, 1)).coef.tolist())


def gamma_from(
    shape: Float[Tensor, "*#shape"], noise: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """Return gamma variables of a shape from 0.02 up, the quantiles of standard normal noise.

    Interpolated in a table of ``ln(x / a) a / √(1 + a)``, which is smooth in the noise and in
    ``arsinh(1 / √a)`` and tends to the noise for large a. Relative error 1e-7.

    Examples
    --------
    >>> gamma_from(torch.tensor([0.5, 1.0, 100.0]), torch.zeros(3))
    tensor([ 0.2275,  0.6931, 99.6669])
    """
    a, z = torch.broadcast_tensors(shape.double(), noise.double())
    z = z.clamp(-_LAST_NORMAL, _LAST_NORMAL)
    root = a.rsqrt()
    s = (root + (root * root + 1).sqrt()).log() / _last() * (_N_SHAPES - 1)
    row, across = _stencil(s, _N_SHAPES)
    column, along = _stencil((z / _LARGEST_NORMAL + 1) / 2 * (_N_NORMALS - 1), _N_NORMALS)
    table, found = torch.from_numpy(_quantiles()).flatten(), torch.zeros_like(z)
    places = (row * _N_NORMALS + column).unsqueeze(-1) + torch.arange(_ORDER)
    for i, weight in enumerate(across.unbind(-1)):
        found = found + weight * (along * table[places + i * _N_NORMALS]).sum(-1)
    return (found * (1 + a).sqrt() / a + a.log()).exp().clamp_min(1e-30).to(shape.dtype)


def _stencil(
    at: Float[Tensor, "*shape"], n: int
) -> tuple[Int[Tensor, "*shape"], Float[Tensor, "*shape point"]]:
    """Return the first of the grid points around a position, and Lagrange's weights of all."""
    first = (at - (_ORDER / 2 - 1)).floor().clamp(0, n - _ORDER)
    middle, powers = (_ORDER - 1) / 2, np.arange(float(_ORDER))
    to_weights = np.linalg.inv(np.vander(powers - middle, increasing=True))
    off = (at - first - middle).unsqueeze(-1) ** torch.from_numpy(powers)
    return first.long(), off @ torch.from_numpy(to_weights)


def _last() -> float:
    return math.asinh(_SMALLEST_SHAPE**-0.5)


@cache
def _quantiles() -> Float[np.ndarray, "shape normal"]:
    """Return the table: where x is tiny, of ``x^a = a Γ(a) Φ(z)``."""
    a = np.sinh(np.linspace(0, _last(), _N_SHAPES)[1:, None]) ** -2.0
    z = np.linspace(-_LARGEST_NORMAL, _LARGEST_NORMAL, _N_NORMALS)
    x = np.where(
        z < 0, special.gammaincinv(a, special.ndtr(z)), special.gammainccinv(a, special.ndtr(-z))
    )
    tiny = (special.log_ndtr(z) + special.gammaln(a + 1)) / a
    log_x = np.where(x > 1e-12, np.log(np.maximum(x, 1e-12)), tiny)
    return np.vstack([z, (log_x - np.log(a)) * a / np.sqrt(1 + a)])
