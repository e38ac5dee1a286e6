"""Scaling of inputs and targets: any precision in, single or double precision out."""

import math
from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float

from narrows._types import Array

_LARGEST = 1e30  # size of centres, widths and their inverses in single precision: rows are larger
_FAR = 1000  # widths from zero to the centre, from which on single precision blurs rows
_AT_ONCE = 2**20  # numbers whose moments are computed together: temporaries are several times that
SCALES = ("auto", "standard", "channel", "global", "none")


class Scale:
    """An affine map per value, ``(x - centre) / width``, kept in double precision.

    Data of offset 10⁶ and width 10⁻³ survive it: rows in double precision are centred before
    anything is rounded. Rows that are in single precision stay there, in half the time: their
    distance from the nearest number to the centre is exact where they are close to it, and what
    that number misses of the centre is added after division.

    Parameters
    ----------
    centre, width : array of shape (value,)
        In the units of the data.
    """

    def __init__(self, centre: Float[np.ndarray, " value"], width: Float[np.ndarray, " value"]):
        self.centre = centre
        self.width = width

    def __getstate__(self) -> dict[str, Array]:
        """Return the map, without what is derived from it."""
        return {"centre": self.centre, "width": self.width}

    def apply(self, x: Array, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return scaled rows, in single or double precision, NaN where they are missing."""
        return self.apply_into(torch.empty(x.shape, dtype=dtype), x)

    def apply_into(self, out: torch.Tensor, x: Array) -> torch.Tensor:
        """Write scaled rows into a tensor of their shape, and return it."""
        own = _tensor(x)
        if self.trivial:
            return out.copy_(own)
        if own.dtype == out.dtype == torch.float32 and self._single is not None:
            near, missed, factor = self._single
            torch.sub(own, near, out=out)
            return torch.addcmul(missed, out, factor, out=out)
        wide = own.to(torch.float64, copy=True)
        wide -= torch.from_numpy(self.centre)
        wide /= torch.from_numpy(self.width)
        return out.copy_(wide)

    def repeated(self, n_values: int) -> "Scale":
        """Return the scale of longer or shorter sequences of the same features."""
        return Scale(np.resize(self.centre, n_values), np.resize(self.width, n_values))

    def invert(self, y: torch.Tensor) -> torch.Tensor:
        """Return rows in the units of the data."""
        if self.trivial:
            return y
        width, centre = torch.from_numpy(self.width), torch.from_numpy(self.centre)
        return (y.double() * width + centre).to(y.dtype)

    def stored(self, rows: Array, dtype: torch.dtype) -> Array:
        """Return rows in the units of the data, which are in double precision, as users get them.

        In the precision of the network, unless single precision would round them by more than a
        ten-thousandth of a width, or cannot hold them.
        """
        return rows if dtype is torch.float64 or self._wide else rows.astype(np.float32)

    def only(self, which: Bool[np.ndarray, " value"] | bool) -> "Scale":
        """Return a scale that changes these values alone."""
        return Scale(np.where(which, self.centre, 0.0), np.where(which, self.width, 1.0))

    @cached_property
    def trivial(self) -> bool:
        """Whether the map changes nothing."""
        return bool((self.centre == 0).all() and (self.width == 1).all())

    @cached_property
    def _wide(self) -> bool:
        """Whether rows need double precision.

        Constant values, whose width is 1, do if single precision misses them.
        """
        if self._single is None:
            return True
        far, missed = np.abs(self.centre) > _FAR * self.width, self._single[1].numpy()
        return bool((far & ((self.width != 1) | (missed != 0))).any())

    @cached_property
    def _single(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
        """The centre, what it misses in widths, and the inverse width, in single precision.

        None if they are beyond its range.
        """
        near = torch.from_numpy(self.centre).float()
        with np.errstate(over="ignore"):
            factor, missed = 1 / self.width, (near.numpy() - self.centre) / self.width
        parts = (self.centre, self.width, factor, missed)
        if not all((np.abs(own) <= _LARGEST).all() for own in parts):
            return None
        return near, torch.from_numpy(missed).float(), torch.from_numpy(factor).float()


def readable(x: Array) -> bool:
    """Return whether torch reads numbers in single or double precision where they lie."""
    return bool(x.flags.carray) and x.dtype in (np.float32, np.float64)


def _tensor(x: Array) -> torch.Tensor:
    """Return numbers as a tensor, which shares their memory where torch can read it."""
    if readable(x):
        return torch.from_numpy(x)
    return torch.from_numpy(x.astype(np.float32 if x.dtype == np.float32 else np.float64, "C"))


class Moments:
    """Weighted mean and variance per value, over observed entries, from chunks of rows.

    Attributes
    ----------
    mean, variance : array of shape (value,)
    constant : array of bool, shape (value,)
        Values that do not vary, or by less than double precision can square.
    """

    def __init__(self, n_values: int) -> None:
        self.weight = np.zeros(n_values)
        self.mean = np.zeros(n_values)
        self.squares = np.zeros(n_values)
        self.low = np.full(n_values, np.inf)
        self.high = np.full(n_values, -np.inf)

    @np.errstate(over="ignore", invalid="ignore")
    def update(self, x: Array, weight: Array | None) -> None:
        """Add rows; those too large to be squared have no variance (inf or NaN).

        (Chan, Golub & LeVeque 1983, 10.1080/00031305.1983.10483115.)
        """
        w = None if weight is None else weight.astype(np.float64)[:, None]
        n_values = x.shape[1]
        n_parts = min(-(-x.size // _AT_ONCE), n_values // 2) or 1
        borders = [n_values * part // n_parts for part in range(n_parts + 1)]
        for values in map(slice, borders[:-1], borders[1:]):
            self._add(values, *_sums(x[:, values].astype(np.float64), w))

    def _add(
        self, values: slice, mass: Array, mean: Array, squares: Array, low: Array, high: Array
    ) -> None:
        """Add the moments of some values of rows."""
        before = self.weight[values]
        total = np.where(before + mass > 0, before + mass, 1)
        delta = mean - self.mean[values]
        self.squares[values] += squares + delta**2 * before * mass / total
        self.mean[values] = self.mean[values] + delta * mass / total
        self.weight[values] = before + mass
        self.low[values] = np.fmin(self.low[values], low)
        self.high[values] = np.fmax(self.high[values], high)

    @property
    def variance(self) -> Array:
        """Weighted variance, without Bessel's correction."""
        return self.squares / np.where(self.weight > 0, self.weight, 1)

    @property
    def constant(self) -> Array:
        """Which values do not vary, or so little that their variance is zero."""
        return ~(self.high > self.low) | (self.squares == 0)


def _sums(rows: Array, w: Array | None) -> tuple[Array, Array, Array, Array, Array]:
    """Return weight, mean, sum of squared distances from it, lowest and highest of each value."""
    total = rows.sum(0)
    if w is None and len(rows) and np.isfinite(total).all():  # the same to the bit, and faster
        mean = total / len(rows)
        squares = np.square(rows - mean).sum(0)
        return np.full_like(total, len(rows)), mean, squares, rows.min(0), rows.max(0)
    w = np.ones((len(rows), 1)) if w is None else w
    seen = np.isfinite(rows) & (w > 0)
    mass = (w * seen).sum(0)
    mean = (w * np.where(seen, rows, 0)).sum(0) / np.where(mass > 0, mass, 1)
    squares = (w * np.where(seen, rows - mean, 0) ** 2).sum(0)
    low = np.where(seen, rows, np.inf).min(0, initial=np.inf)
    high = np.where(seen, rows, -np.inf).max(0, initial=-np.inf)
    return mass, mean, squares, low, high


def moments(chunks: Iterable[tuple[Array, Array | None]], n_values: int) -> Moments:
    """Return the moments of rows given in chunks (rows, weights)."""
    total = Moments(n_values)
    for x, weight in chunks:
        total.update(x, weight)
    return total


@np.errstate(over="ignore", invalid="ignore")
def pooled(moments: Moments, shape: tuple[int, ...], axes: tuple[int, ...]) -> Moments:
    """Return the moments of all values along some axes of the event together.

    Parameters
    ----------
    moments : Moments
    shape : tuple of int
        Shape of the event.
    axes : tuple of int
        Axes along which values are alike: (0,) for the steps of sequences.

    Returns
    -------
    Moments
        Of each value of the event, the same along these axes.

    Examples
    --------
    >>> steps = moments([(np.array([[1.0, 2.0, 6.0], [3.0, np.nan, np.nan]]), None)], 3)
    >>> pooled(steps, (3,), (0,)).mean
    array([3., 3., 3.])
    """

    def along(values: Array, reduce: Callable[..., Array]) -> Array:
        total = reduce(values.reshape(shape), axis=axes, keepdims=True)
        return np.broadcast_to(total, shape).flatten()

    total, m = Moments(math.prod(shape)), moments
    total.weight = along(m.weight, np.sum)
    total.mean = along(m.weight * m.mean, np.sum) / np.where(total.weight > 0, total.weight, 1)
    total.squares = along(m.squares + m.weight * (m.mean - total.mean) ** 2, np.sum)
    total.low, total.high = along(m.low, np.min), along(m.high, np.max)
    return total


@np.errstate(over="ignore", invalid="ignore")
def scale_from(moments: Moments, kind: str, n_channels: int = 1) -> Scale:
    """Return the scale of that kind.

    Parameters
    ----------
    moments : Moments
    kind : {"standard", "channel", "global", "none"}
        Each value by its own centre and width, by those of its channel, or by its own centre and
        one width; or not at all.
    n_channels : int
        Equal parts of the values, one after the other.
    """
    n = len(moments.mean)
    if kind == "none":
        return Scale(np.zeros(n), np.ones(n))
    if kind == "channel":
        moments = pooled(moments, (n_channels, n // n_channels), (1,))
    width = np.where(moments.constant, 1.0, np.sqrt(moments.variance))
    if kind == "global":
        width = np.full(n, np.sqrt(moments.variance.mean()))
    return Scale(moments.mean, np.where(width > 0, width, 1.0))
