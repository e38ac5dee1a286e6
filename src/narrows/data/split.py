"""Rows to train on and rows held out."""

import math
from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from narrows._errors import nearest

_HOW = ("random", "blocks", "groups")
_SHORTEST = 5  # rows of a block: shorter ones would have most of their rows beside training rows


def split_rows(
    n: int,
    fraction: float | int,
    how: str,
    *,
    rng: np.random.Generator,
    groups: Shaped[np.ndarray, " row"] | Sequence[Hashable] | None = None,
    segments: Int64[np.ndarray, " border"] | None = None,
    n_blocks: int = 10,
) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " held_out"]]:
    """Split row numbers into those to train on and those held out.

    Hold out at random when rows are independent; in blocks when neighbours in time resemble
    each other (trajectories, series), since a random split then measures memory; by groups
    when rows come in families (patients, runs, molecules). Blocks still share their borders
    with training rows, so where correlation outlasts a block, hold out groups.

    Parameters
    ----------
    n : int
        Number of rows.
    fraction : float
        Part to hold out, in [0, 1); 0 holds out nothing. Else each side gets at least one
        row when n >= 2.
    how : {"random", "blocks", "groups"}
        With "blocks" the series is cut into pieces and one piece is held out in every equal
        stretch of it; no piece crosses a segment border, and a short segment is one piece.
        With "groups" whole groups are drawn until `fraction` is nearest.
    rng : numpy.random.Generator
        Decides everything that is random.
    groups : array of n labels, optional
        Needed by "groups".
    segments : ndarray of int, optional
        Row offsets of the segments, from 0 to n; used by "blocks".
    n_blocks : int, default 10
        Blocks to hold out, at least 1; fewer where blocks would be shorter than 5 rows.

    Returns
    -------
    train, held_out : ndarray of int64
        Sorted, disjoint, together all rows.

    Raises
    ------
    ValueError
        `how` unknown, `fraction` outside [0, 1), `groups` missing, of the wrong length or
        all equal, `segments` not from 0 to n, or `n_blocks` below 1.

    References
    ----------
    Roberts et al., Ecography 40, 913 (2017), doi:10.1111/ecog.02881.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> train, held_out = split_rows(10, 0.3, "groups", rng=rng, groups=list("aaabbbcccc"))
    >>> held_out
    array([6, 7, 8, 9])
    """
    _check(n, fraction, how, n_blocks)
    held_out = np.zeros(n, bool)
    if how == "groups":
        held_out = _by_groups(n, fraction, rng, groups)
    elif fraction > 0 and n > 1 and how == "blocks":
        held_out = _in_blocks(n, fraction, rng, _borders(n, segments), n_blocks)
    elif fraction > 0 and n > 1:
        held_out[rng.choice(n, _count(n, fraction), replace=False)] = True
    return np.flatnonzero(~held_out).astype(np.int64), np.flatnonzero(held_out).astype(np.int64)


def _check(n: int, fraction: float | int, how: str, n_blocks: int) -> None:
    if how not in _HOW:
        known = ", ".join(map(repr, _HOW))
        raise ValueError(f"split={how!r} is unknown.{nearest(how, _HOW)} Known: {known}.")
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction={fraction} lies outside [0, 1). Write 0.1, say.")
    if n_blocks < 1:
        raise ValueError(f"n_blocks={n_blocks} is below 1. Write 10, say.")


def _count(n: int, fraction: float | int) -> int:
    """Return how many of n, keeping one on each side."""
    return min(max(round(n * fraction), 1), n - 1)


def _in_blocks(
    n: int,
    fraction: float | int,
    rng: np.random.Generator,
    segments: Int64[np.ndarray, " border"],
    n_blocks: int,
) -> Bool[np.ndarray, " row"]:
    """Mark one piece in every equal stretch; pieces are cut for the smaller side."""
    if fraction > 0.5:
        return ~_in_blocks(n, 1 - fraction, rng, segments, n_blocks)
    rows = _count(n, fraction)
    length = math.ceil(rows / max(min(n_blocks, rows // _SHORTEST), 1))
    pieces = _pieces(segments, length)
    chosen = [
        rng.choice(part)
        for part in np.array_split(np.arange(len(pieces)), _count(len(pieces), fraction))
    ]
    held_out = np.zeros(n, bool)
    for k in chosen:
        held_out[slice(*pieces[k])] = True
    return held_out


def _pieces(segments: Int64[np.ndarray, " border"], length: int) -> list[tuple[int, int]]:
    """Cut every segment into nearly equal pieces of about `length` rows."""
    pieces: list[tuple[int, int]] = []
    for start, stop in pairwise(segments.tolist()):
        if stop > start:
            parts = max(round((stop - start) / length), 1)
            pieces += pairwise(np.linspace(start, stop, parts + 1).round().astype(int).tolist())
    return pieces


def _borders(
    n: int, segments: Int64[np.ndarray, " border"] | None
) -> Int64[np.ndarray, " border_of_rows"]:
    if segments is None:
        return np.array([0, n], np.int64)
    if segments[0] != 0 or segments[-1] != n or np.any(np.diff(segments) < 0):
        raise ValueError(
            f"segments={segments.tolist()} are not the offsets of {n} rows. "
            f"Write offsets that ascend from 0 to {n}."
        )
    return segments


def _by_groups(
    n: int,
    fraction: float | int,
    rng: np.random.Generator,
    groups: Shaped[np.ndarray, " row"] | Sequence[Hashable] | None,
) -> Bool[np.ndarray, " row_of_data"]:
    """Mark whole groups in random order until as near to the fraction as they come."""
    if groups is None:
        raise ValueError("split='groups' needs to know the groups. Pass groups=, one label a row.")
    if len(groups) != n:
        raise ValueError(f"groups has {len(groups)} labels for {n} rows. Pass one label a row.")
    labels, member, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if fraction == 0 or n < 2:
        return np.zeros(n, bool)
    if len(labels) < 2:
        raise ValueError(
            f"groups has the one label {labels.tolist()[0]!r}, so none can be held out. "
            "Pass at least two, or write split='random'."
        )
    order = rng.permutation(len(labels))
    reached = np.cumsum(sizes[order])[:-1]
    last = int(np.argmin(np.abs(reached - n * fraction)))
    return np.asarray(np.isin(member, order[: last + 1]))
