"""From what users pass to rows the model can read: checked, flat, scaled."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.utils.validation import _check_sample_weight, validate_data

from narrows._types import Array
from narrows.data import sequences
from narrows.data.arrays import ArraySource, SparseSource, refuse_lazy
from narrows.data.protocol import in_memory
from narrows.data.source import Source, source
from narrows.data.split import split_rows
from narrows.engine.training import Training
from narrows.nn.scale import Moments, Scale, moments, pooled, readable
from narrows.objective.likelihoods import Likelihood

CHUNK = 8192
_READ = 2**25  # bytes read at a time
_SCALED, _FEWEST = 2**17, 16  # values scaled at a time, which stay in the cache; rows, at least


class Given(NamedTuple):
    """Checked rows, what to reconstruct of them, and their condition as numbers."""

    rows: Source
    targets: Source
    condition: Float[torch.Tensor, "row condition"] | None = None


def rows_of(estimator: Any, X: Any, *, reset: bool, sequential: bool = False) -> Source:
    """Return the rows of X, after scikit-learn's checks where X is its kind of data.

    With `reset`, the estimator learns the number and names of the features; without, X must
    have them. If `sequential`, a list of arrays has one row per array.
    """
    refuse_lazy(X)
    if sequences.listed(X):
        X = sequences.Sequences(X) if sequential else list(X)
    if _is_tabular(X):
        return _tabular(estimator, X, reset)
    rows = source(X)
    if len(rows.shape) == 0:
        raise ValueError(
            "X has one dimension; rows of values are needed. Write X.reshape(-1, 1) for one "
            "feature, X.reshape(1, -1) for one row." + (_ONE_A_ROW if sequences.listed(X) else "")
        )
    minimum = 2 if reset else 1
    if len(rows) < minimum or 0 in rows.shape:
        raise ValueError(
            f"Found {len(rows)} sample(s) of shape {rows.shape}, while a minimum of {minimum} "
            f"is required by {type(estimator).__name__}."
        )
    if reset:
        estimator.n_features_in_ = rows.shape[0]
        if rows.names is not None:
            estimator.feature_names_in_ = np.asarray(rows.names, dtype=object)
        elif hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    else:
        _check_names(rows.names, getattr(estimator, "feature_names_in_", None))
    return rows


_ONE_A_ROW = " For a list of sequences, one a row, write architecture='recurrent'."


def _check_names(names: tuple[str, ...] | None, fitted: Array | None) -> None:
    """Raise ValueError if both sides have names of features and these differ."""
    if names is None or fitted is None or list(names) == list(fitted):
        return
    if len(names) != len(fitted):
        raise ValueError(
            f"X has {len(names)} features, but the model was fitted on {len(fitted)}: "
            f"{', '.join(map(str, fitted[:5]))}{' ...' if len(fitted) > 5 else '.'} "
            "Pass the same features in the same order (of a file, 'table.csv:first,second,...')."
        )
    place = [a == b for a, b in zip(names, fitted, strict=True)].index(False)
    raise ValueError(
        f"X has other features than the model was fitted on: feature {place} is {names[place]!r}, "
        f"not {fitted[place]!r}. Pass the same features in the same order "
        "(of a file, 'table.csv:first,second,...')."
    )


def _is_tabular(X: Any) -> bool:
    module = type(X).__module__.partition(".")[0]
    if getattr(X, "ndim", 2) > 2:
        return False
    if isinstance(X, (list, tuple)):
        return not any(isinstance(part, str) or hasattr(part, "__array__") for part in X[:1])
    return module != "torch" and (hasattr(X, "__array__") or hasattr(X, "tocsr"))


def _tabular(estimator: Any, X: Any, reset: bool) -> Source:
    text = getattr(getattr(X, "dtype", None), "kind", "") in ("U", "S")
    if hasattr(X, "columns") or text or isinstance(X, list | tuple):
        source(X)  # names the text columns, if any, and refuses rows of different lengths
    checked = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr",
        dtype="numeric",
        ensure_all_finite=False,
        allow_nd=True,
        ensure_min_samples=2 if reset else 1,
    )
    names = getattr(estimator, "feature_names_in_", None)
    if hasattr(checked, "tocsr"):
        return SparseSource(checked)
    return ArraySource(checked, None if names is None else tuple(map(str, names)))


def of_shape(name: str, rows: Source, shape: tuple[int, ...], sequential: bool) -> Source:
    """Return rows if their events have the shape that was fitted; sequences, cut or padded to it.

    Raises
    ------
    ValueError
        If they have not.
    """
    if sequential and rows.shape[1:] == shape[1:] and rows.shape != shape:
        return sequences.Resized(rows, shape[0])
    check_shape(name, rows, shape)
    return rows


def check_shape(name: str, rows: Source, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless events have the shape that was fitted."""
    if rows.shape != shape:
        raise ValueError(
            f"{name} has events of shape {rows.shape}, but the model was fitted on {shape}. "
            "Pass rows with the same features in the same order."
        )


def chunks(rows: Source, size: int = CHUNK) -> Iterator[tuple[int, Array]]:
    """Yield (first row, flat rows) in chunks; wide rows that have to be read, fewer at a time."""
    if not in_memory(rows):
        row_bytes = max(math.prod(rows.shape) * rows.dtype.itemsize, 1)
        size = max(1, min(size, _READ // row_bytes))
    for start in range(0, len(rows), size):
        block = rows.read(start, min(start + size, len(rows)))
        yield start, block.reshape(len(block), -1)


@dataclass(frozen=True)
class Check:
    """What rows must be, looked at chunk by chunk.

    Attributes
    ----------
    name : str
        What errors call the rows.
    rows : Source
    missing : {"error", "ignore"}
    sequential : bool
        Whether entries that are missing after the end of a row are allowed.
    likelihood : Likelihood or None
        Whose range the values must be in.
    """

    name: str
    rows: Source
    missing: str
    sequential: bool = False
    likelihood: Likelihood | None = None

    def __call__(self, start: int, block: Float[np.ndarray, "row value"] | Array) -> bool:
        """Return whether entries of a chunk are missing.

        Raises
        ------
        ValueError
            For what is not allowed; it says how many entries there are, and where the first is.
        """
        found = False
        if block.dtype.kind == "f" and not _sum_is_finite(block):
            found = self._look(start, block)
        if self.likelihood is not None:
            self.likelihood.check(block)
        return found

    def _look(self, start: int, block: Array) -> bool:
        if np.isinf(block).any():
            self._refuse(start, block, np.isinf, "infinite (inf) entries", "Replace them.")
        if not np.isnan(block).any():
            return False
        if self.sequential and (ended := np.isnan(block).all(1)).any():
            raise sequences.no_steps(start + int(np.flatnonzero(ended)[0]))
        if self.missing == "error" and self._holes(block).any():
            remedy = "Fill them, drop their rows, or write missing='ignore'."
            self._refuse(start, block, self._holes, "missing entries (NaN)", remedy)
        return True

    def _holes(self, block: Array) -> Array:
        missing = np.isnan(block)
        if not self.sequential:
            return missing
        return missing & ~sequences.padding(missing, self.rows.shape[0])

    def _refuse(self, start: int, block: Array, test: Any, what: str, remedy: str) -> None:
        row, column = np.argwhere(test(block))[0]
        names = self.rows.names
        count = sum(int(test(b).sum()) for _, b in chunks(self.rows) if b.dtype.kind == "f")
        where = f"column {names[column]!r}" if names else f"column {column}"
        raise ValueError(
            f"{self.name} has {what}: {count}, the first in row {start + row}, {where}. {remedy}"
        )


def _sum_is_finite(block: Array) -> bool:
    """Return False if an entry is not finite, or large ones overflow, which has to be seen."""
    if readable(block):
        return math.isfinite(torch.from_numpy(block).sum().item())
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(block.sum()))


def check_finite(
    name: str,
    rows: Source,
    missing: str,
    sequential: bool = False,
    likelihood: Likelihood | None = None,
) -> bool:
    """Return whether entries are missing; raise ValueError for what is not allowed."""
    check = Check(name, rows, missing, sequential, likelihood)
    return any([check(*chunk) for chunk in chunks(rows)])


def scaled(
    rows: Source,
    scale: Scale,
    fill: Float[np.ndarray, " value"],
    dtype: torch.dtype,
    place: Float[torch.Tensor, "row value"] | None = None,
) -> tuple[Float[torch.Tensor, "row value"], Bool[torch.Tensor, "row value"] | None]:
    """Return scaled rows, missing entries filled with `fill`, and which were observed.

    They are in the place, if one is given and none are missing.
    """
    out = torch.empty(len(rows), len(scale.centre), dtype=dtype) if place is None else place
    whole = True
    for start, block in chunks(rows):
        for first, piece in _pieces(block):
            own = scale.apply_into(out[start + first :][: len(piece)], piece)
            whole &= not math.isnan(own.sum().item())
    return (out, None) if whole else _filled(out, scale, fill)


def _pieces(block: Array) -> Iterator[tuple[int, Array]]:
    """Yield (first row, rows) few enough to stay in the cache while they are scaled."""
    size = max(_FEWEST, _SCALED // block.shape[1])
    for first in range(0, len(block), size):
        yield first, block[first : first + size]


def scaled_blocks(
    check: Check, scale: Scale, fill: Float[np.ndarray, " value"], dtype: torch.dtype
) -> Iterator[Float[torch.Tensor, "row value"]]:
    """Yield scaled rows piece by piece, each checked before, missing entries filled with `fill`.

    Sequences may have more or fewer steps than the scale, and are NaN after their ends.
    """
    rows = check.rows
    n_values = math.prod(rows.shape)
    if n_values != len(scale.centre):
        scale, fill = scale.repeated(n_values), np.resize(fill, n_values)
    for start, block in chunks(rows):
        for first, piece in _pieces(block):
            holes, seen = check(start + first, piece), None
            out = scale.apply(piece, dtype)
            if holes:
                out, seen = _filled(out, scale, fill)
            yield ended(out, seen, rows.shape[0]) if check.sequential else out


def ended(
    x: Float[torch.Tensor, "row value"],
    seen: Bool[torch.Tensor, "row value"] | None,
    n_steps: int,
) -> Float[torch.Tensor, "row value"]:
    """Return scaled sequences with NaN after their ends."""
    if seen is None:
        return x
    padding = torch.from_numpy(sequences.padding(~seen.numpy(), n_steps))
    return x.masked_fill(padding, torch.nan) if padding.any() else x


def _filled(
    out: torch.Tensor, scale: Scale, fill: Array
) -> tuple[torch.Tensor, torch.Tensor | None]:
    missing = out.isnan()
    if not missing.any():
        return out, None
    filling = torch.as_tensor((fill - scale.centre) / scale.width, dtype=out.dtype)
    return torch.where(missing, filling, out), ~missing


def target_rows(target: Any, n_rows: int, sequential: bool = False) -> Source:
    """Return the rows of a target: one per row of X; if `sequential`, one per array of a list."""
    several = sequences.listed(target)
    rows = sequences.Sequences(target) if sequential and several else source(target)
    if len(rows.shape) == 0:
        raise ValueError(
            "target has one dimension; rows of values are needed. Write target.reshape(-1, 1)."
        )
    if len(rows) != n_rows:
        raise ValueError(
            f"target has {len(rows)} rows, but X has {n_rows}. Pass one target row per row of X."
            + (_ONE_A_ROW if several and not sequential else "")
        )
    return rows


def moments_of(
    rows: Source, weight: Array | None, sequential: bool = False, check: Check | None = None
) -> Moments:
    """Return mean and variance of the rows, over observed entries; of all steps if `sequential`.

    Rows are checked in the same pass, if it is said how.
    """

    def weighed() -> Iterator[tuple[Array, Array | None]]:
        for start, block in chunks(rows):
            if check is not None:
                check(start, block)
            yield block, None if weight is None else weight[start : start + len(block)]

    found = moments(weighed(), int(np.prod(rows.shape)))
    return pooled(found, rows.shape, (0,)) if sequential else found


def weights_of(sample_weight: Any, rows: Source, minimum: int = 1) -> Array | None:
    """Return weights whose mean is one over the rows that have any; None if none are given.

    Raises
    ------
    ValueError
        If fewer than `minimum` rows have a weight above 0.
    """
    if sample_weight is None:
        return None
    weight = _check_sample_weight(
        sample_weight, np.empty((len(rows), 1)), dtype=np.float64, ensure_non_negative=True
    )
    count = np.count_nonzero(weight)
    if count < minimum:
        raise ValueError(
            f"sample_weight is positive for {count} rows, but a fit needs at least two rows. "
            "Give more of them a weight."
        )
    return np.asarray(weight * (count / weight.sum()))


def check_groups(groups: Any, n_rows: int, settings: Training) -> None:
    """Raise ValueError for groups that have no effect, or are not one label a row."""
    if groups is not None and settings.split != "groups":
        raise ValueError(
            f"groups= has no effect with split={settings.split!r}. "
            "Write training=Training(split='groups'), or leave groups out."
        )
    if groups is not None and len(groups) != n_rows:
        raise ValueError(
            f"groups has {len(groups)} labels for {n_rows} rows. Pass one label a row."
        )


def divided(
    rows: Source,
    weight: Array | None,
    groups: Any,
    settings: Training,
    seed: np.random.SeedSequence,
    all_train: bool,
) -> tuple[Array, Array]:
    """Return which rows train and which validate, of those with a weight.

    Parameters
    ----------
    all_train : bool
        Whether validation rows are given from elsewhere.
    """
    check_groups(groups, len(rows), settings)
    present = np.arange(len(rows)) if weight is None else np.flatnonzero(weight)
    if all_train or settings.validation_fraction == 0:
        return present, present[:0]
    train, held = split_rows(
        len(present),
        settings.validation_fraction,
        settings.split,
        rng=np.random.default_rng(seed),
        groups=None if groups is None else np.asarray(groups)[present],
        segments=rows.segments if len(present) == len(rows) else None,
    )
    return present[train], present[held]
