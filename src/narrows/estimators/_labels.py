"""Labels of which some are not known: their checks, and which rows are held out."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from narrows.data import columns as files
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


def read(
    y: Any, name: str, without: str
) -> tuple[Shaped[np.ndarray, " row"], Bool[np.ndarray, " row"]]:
    """Return labels, and which of them are known: all but -1.

    Parameters
    ----------
    y : array of shape (rows,)
    name, without : str
        Of the estimator, and of one that needs no labels.

    Raises
    ------
    ValueError
        If there are entries that are neither labels nor -1.
    """
    if y is None:
        raise ValueError(
            f"{name} requires y to be passed, but the target y is None. Pass labels, -1 where one "
            f"is not known; without any, fit {without}()."
        )
    if files.is_file(y):
        y = _from_file(y)
    masked = int(np.ma.getmaskarray(y).sum()) if np.ma.isMaskedArray(y) else 0
    if masked:
        raise ValueError(
            f"y is a masked array, in which {masked} entries are masked. Write y.filled(-1)."
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
    if any(isinstance(label, str) and label == "-1" for label in labels.tolist()):
        mixed = getattr(y, "dtype", None) == np.dtype(object)
        how = "" if mixed else "np.array(y, dtype=object), with "
        raise ValueError(
            f"y holds the text '-1'. Write {how}the number -1 where a label is not known."
        )
    known = np.array([not _unknown(label) for label in labels.tolist()], dtype=bool)
    return labels, known


def _from_file(path: Any) -> Shaped[np.ndarray, " row"]:
    """Return the labels of a file of one column; of texts, -1 is the number."""
    found = files.columns(path)
    if len(found) != 1:
        raise ValueError(
            f"y='{path}' has {len(found)} columns. Select the labels, as in 'table.csv:label'."
        )
    ((labels,),) = [found.values()]
    if any(isinstance(label, str) for label in labels):
        return np.array([-1 if label == "-1" else label for label in labels], dtype=object)
    return np.array([np.nan if label is None else label for label in labels])


def numbered(
    labels: Shaped[np.ndarray, " row"], known: Bool[np.ndarray, " row"], without: str
) -> tuple[Shaped[np.ndarray, " class"], Int64[np.ndarray, " row"]]:
    """Return the classes of labels that are known, in order, and the number of each row's, or -1.

    Parameters
    ----------
    labels, known : array of shape (rows,)
        As `read` returns them.
    without : str
        Name of an estimator that needs no labels.

    Raises
    ------
    ValueError
        If no label is known, or those of one class alone, or if they are of several kinds, or
        amounts.
    """
    if not known.any():
        raise ValueError(
            f"y holds no label: all {len(labels)} are -1. Pass labels of some rows of each class; "
            f"without any, fit {without}()."
        )
    own = _of_one_kind(labels[known]) if labels.dtype == object else labels[known]
    with warnings.catch_warnings():
        # With few labels, most of them differ.
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%")
        check_classification_targets(own)
    found, places = np.unique(own, return_inverse=True)
    if len(found) < 2:
        raise ValueError(
            f"y holds one class alone, {found.tolist()[0]!r}; a classifier needs two. Pass labels "
            "of all classes."
        )
    numbers = np.full(len(labels), -1)
    numbers[known] = places
    return found, numbers


def _of_one_kind(labels: Shaped[np.ndarray, " row"]) -> Shaped[np.ndarray, " row"]:
    """Return objects as numbers or booleans where all are, texts as they are."""
    kinds = {_kind(label) for label in labels.tolist()}
    if len(kinds) > 1:
        raise ValueError(
            f"y holds labels of several kinds: {', '.join(sorted(kinds))}. Write all of them as "
            "text, or all as whole numbers."
        )
    return np.array(labels.tolist()) if kinds <= {"bool", "int", "float"} else labels


def _kind(label: Any) -> str:
    """Return the name of what kind of label an object is."""
    return type(label.item() if isinstance(label, np.generic) else label).__name__


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


def numbers_of(
    labels: Shaped[np.ndarray, " row"], among: Shaped[np.ndarray, " class"]
) -> Int64[np.ndarray, " row"]:
    """Return the number of each label among classes.

    Raises
    ------
    ValueError
        If one is not among them.
    """
    hits = labels[:, None] == among
    new = ~hits.any(1)
    if new.any():
        raise ValueError(
            f"The label {labels[new].tolist()[0]!r} is not among those of the fit: "
            f"{', '.join(map(repr, among.tolist()))}. Pass one of these."
        )
    return hits.argmax(1)


def asked_for(label: Any, n: int, among: Shaped[np.ndarray, " class"]) -> Int64[np.ndarray, "{n}"]:
    """Return the number of the class of each of n rows to be drawn, of one for all or for each.

    Raises
    ------
    ValueError
        If there are other than one or n labels, or one that is not among the classes.
    """
    labels = np.asarray(label, dtype=object).ravel()
    if np.ndim(label) and len(labels) != n:
        raise ValueError(
            f"label has {len(labels)} entries, but n_samples={n}. Pass one for each row, or one "
            "for all."
        )
    return np.broadcast_to(numbers_of(labels, among), n)


def divided(
    numbers: Int64[np.ndarray, " row"], fraction: float, seed: np.random.SeedSequence
) -> tuple[Split, Split]:
    """Return which rows train and which are held out.

    A share of the labelled rows of every class, and one of the rows without labels if that is at
    least five for each class. Where a class cannot spare five, nothing is held out: rows
    without labels alone cannot choose a classifier.

    Parameters
    ----------
    numbers : array of int
        The class of each row, from 0, or -1.
    fraction : float
    seed : SeedSequence
    """
    rng = np.random.default_rng(seed)
    n_classes = int(numbers.max()) + 1
    without, *with_labels = (np.flatnonzero(numbers == c) for c in range(-1, n_classes))
    sizes = [round(fraction * len(rows)) for rows in with_labels]
    own = fraction if min(sizes) >= _LEAST else 0.0
    spared = round(own * len(without)) >= _LEAST * n_classes
    train_one, held_one = _parted(without, own if spared else 0.0, rng)
    parts = [_parted(rows, own, rng) for rows in with_labels]
    train, held = (torch.from_numpy(np.sort(np.concatenate(p))) for p in zip(*parts, strict=True))
    return Split(torch.from_numpy(train_one), train), Split(torch.from_numpy(held_one), held)


def _parted(
    rows: Int64[np.ndarray, " row"], fraction: float, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " held"]]:
    train, held = split_rows(len(rows), fraction, "random", rng=rng)
    return rows[train], rows[held]
