"""The rows that a linear autoencoder finds typical, for training that anomalies do not spoil."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import linalg

from narrows.data.source import Source
from narrows.data.views import Rows
from narrows.estimators._rows import chunks

_ROUNDS = 12
_DESCENT = 8
_SHRINKAGE = 0.1
_FLOOR = 1e-3
_SAMPLE = 65_536
_LARGEST = 1e3

Blocks = Callable[[], Iterator[Float[np.ndarray, "row value"]]]


def typical_rows(rows: Source, share: float) -> Int[np.ndarray, " kept"]:
    """Return the rows that lie nearest to the others, sorted.

    A linear autoencoder with as many components as features is fitted in closed form to the rows
    kept so far, and those nearest by its code are kept for the next fit: all at first, `share` of
    them from the eighth round of twelve. The squared distance is ``zᵀ (0.9 C + 0.1 I)⁻¹ z`` with
    values z standardised on the rows kept and their correlations C; scale and offset of a feature
    do not matter, and no single value has more than a thousand robust widths. Missing values count
    as typical. (Rousseeuw & Van Driessen 1999, 10.1080/00401706.1999.10485670, keep rows by such
    steps.) With n rows and d features it takes a time of n d min(n, d).
    """
    n, number = len(rows), max(2, round(share * len(rows)))
    blocks, kept = partial(_standard, rows, *_location(rows)), np.ones(n, bool)
    mean = np.zeros(int(np.prod(rows.shape)))
    distances = _in_features
    if len(mean) > n:
        distances, whole = _in_rows, np.concatenate([*blocks()])
        blocks = partial(iter, [whole])
    for step in range(1, _ROUNDS + 1):
        mean, distance = distances(blocks, kept, mean)
        wanted = max(number, round(n * (1 - (1 - share) * step / _DESCENT)))
        kept = np.zeros(n, bool)
        kept[np.argsort(distance, kind="stable")[:wanted]] = True
    return np.flatnonzero(kept)


def _location(rows: Source) -> tuple[Float[np.ndarray, " value"], Float[np.ndarray, " value"]]:
    """Return median and width of each value, from quartiles unless these are one."""
    some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(int))
    sample = np.concatenate([block for _, block in chunks(Rows(rows, some))]).astype(np.float64)
    low, middle, high = np.nanquantile(sample, (0.25, 0.5, 0.75), axis=0)
    width = (high - low) / 1.349
    width = np.where(width > 0, width, np.nanstd(sample, axis=0))
    return middle, np.where(width > 0, width, 1.0)


def _standard(
    rows: Source, centre: Float[np.ndarray, " value"], width: Float[np.ndarray, " value"]
) -> Iterator[Float[np.ndarray, "row value"]]:
    """Yield rows as flat values in robust widths, NaN where they are missing."""
    for _, block in chunks(rows):
        yield np.clip((block - centre) / width, -_LARGEST, _LARGEST)


def _filled(
    block: Float[np.ndarray, "row value"], mean: Float[np.ndarray, " value"]
) -> Float[np.ndarray, "row value"]:
    return np.where(np.isnan(block), mean, block)


def _in_features(
    blocks: Blocks, kept: Bool[np.ndarray, " row"], mean: Float[np.ndarray, " value"]
) -> tuple[Float[np.ndarray, " value"], Float[np.ndarray, " row"]]:
    """Return the mean of the rows kept and all distances from it, by the covariance of values."""
    total, squares, start = np.zeros(len(mean)), np.zeros((len(mean), len(mean))), 0
    for block in blocks():
        some = _filled(block, mean)[kept[start : start + len(block)]]
        total += some.sum(0)
        squares += some.T @ some
        start += len(block)
    new = total / kept.sum()
    covariance = squares / kept.sum() - np.outer(new, new)
    width = np.sqrt(np.maximum(np.diag(covariance), 0) + _FLOOR)
    spread = (1 - _SHRINKAGE) * covariance / np.outer(width, width)
    factor = linalg.cholesky(spread + _SHRINKAGE * np.eye(len(width)), lower=True)
    white = (
        linalg.solve_triangular(factor, ((_filled(block, new) - new) / width).T, lower=True)
        for block in blocks()
    )
    return new, np.concatenate([(each**2).sum(0) for each in white])


def _in_rows(
    blocks: Blocks, kept: Bool[np.ndarray, " row"], mean: Float[np.ndarray, " value"]
) -> tuple[Float[np.ndarray, " value"], Float[np.ndarray, " row"]]:
    """Return the same by products of rows, of which there are fewer (Woodbury's identity)."""
    (block,) = blocks()
    new = _filled(block, mean)[kept].mean(0)
    centred = _filled(block, new) - new
    first = _filled(block, mean)[kept] - new
    z = centred / np.sqrt((first**2).mean(0) + _FLOOR)
    products = z @ z.T
    within = products[np.ix_(kept, kept)]
    ridge = kept.sum() * _SHRINKAGE / (1 - _SHRINKAGE)
    solved = linalg.solve(within + ridge * np.eye(len(within)), products[kept], assume_a="pos")
    return new, (np.diag(products) - (products[kept] * solved).sum(0)) / _SHRINKAGE
