"""Labels of which some are not known: their checks, and which rows are held out."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from narrows.data.split import split_rows

# Fewest rows for each class that are worth holding out
_LEAST = 5


class Split(NamedTuple):
    """Numbers of rows without labels, and of rows with them."""

    unlabelled: Int64[Tensor, " unlabelled"]
    labelled: Int64[Tensor, " labelled"]

    @property
    def n_rows(self) -> int:
        """Rows of both kinds."""
        return len(self.unlabelled) + len(self.labelled)


def read(estimator: Any, y: Any) -> tuple[Shaped[np.ndarray, " row"], Bool[np.ndarray, " row"]]:
    """Return labels, and which of them are known: all but -1.

    Raises
    ------
    ValueError
        If there are none, or entries that are neither labels nor -1.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None. Pass "
            "labels, -1 where one is not known; without any, fit a VariationalAutoencoder."
        )
    labels = column_or_1d(y, warn=True)
    absent = np.array([_absent(label) for label in labels.tolist()], dtype=bool)
    if absent.any():
        raise ValueError(
            f"y has missing entries (NaN): {absent.sum()}, the first in row "
            f"{np.flatnonzero(absent)[0]}. Write -1 where a label is not known."
        )
    if labels.dtype.kind == "f":
        assert_all_finite(labels, input_name="y")
    if labels.dtype.kind in "US" and (labels == "-1").any():
        raise ValueError(
            "y holds the text '-1'. Write y.astype(object), with the number -1 where a label is "
            "not known."
        )
    known = np.array([not _unknown(label) for label in labels.tolist()], dtype=bool)
    if not known.any():
        raise ValueError(
            f"y holds no label: all {len(labels)} are -1. Pass labels of some rows of each class; "
            "without any, fit a VariationalAutoencoder."
        )
    check_classification_targets(labels[known])
    return labels, known


def _absent(label: Any) -> bool:
    """Return whether an object is None, NaN, or NA of pandas."""
    return label is None or type(label).__name__ == "NAType" or bool(label != label)


def _unknown(label: Any) -> bool:
    return not isinstance(label, str | bytes) and bool(label == -1)


def check_length(labels: Shaped[np.ndarray, " row"], n_rows: int) -> None:
    """Raise ValueError unless there is one label for each row."""
    if len(labels) != n_rows:
        raise ValueError(
            f"y has {len(labels)} labels, but X has {n_rows} rows. Pass one for each row, -1 where "
            "it is not known."
        )


def divided(
    numbers: Int64[np.ndarray, " row"], fraction: float, seed: np.random.SeedSequence
) -> tuple[Split, Split]:
    """Return which rows train and which are held out.

    A share of the rows without labels, and one of the labelled rows of every class; of either kind
    none where that would be fewer than five for a class.

    Parameters
    ----------
    numbers : array of int
        The class of each row, from 0, or -1.
    fraction : float
    seed : SeedSequence
    """
    rng = np.random.default_rng(seed)
    n_classes = int(numbers.max()) + 1
    without, *classes = (np.flatnonzero(numbers == c) for c in range(-1, n_classes))
    sizes = [round(fraction * len(rows)) for rows in classes]
    spared = round(fraction * len(without)) >= _LEAST * n_classes
    train_one, held_one = _parted(without, fraction if spared else 0.0, rng)
    own = fraction if min(sizes) >= _LEAST else 0.0
    parts = [_parted(rows, own, rng) for rows in classes]
    train, held = (torch.from_numpy(np.sort(np.concatenate(p))) for p in zip(*parts, strict=True))
    return Split(torch.from_numpy(train_one), train), Split(torch.from_numpy(held_one), held)


def _parted(
    rows: Int64[np.ndarray, " row"], fraction: float, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " held"]]:
    train, held = split_rows(len(rows), fraction, "random", rng=rng)
    return rows[train], rows[held]
