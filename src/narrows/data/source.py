"""Turn whatever holds rows into a `Source`."""

import importlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, cast

from narrows._errors import nearest
from narrows._files import require_file
from narrows._types import PathLike
from narrows.data.arrays import from_memory
from narrows.data.protocol import Source
from narrows.data.views import Concatenated

__all__ = ["FORMATS", "Format", "Source", "source", "split_selector", "unknown_suffix"]


class Format(NamedTuple):
    """How a file is opened: a callable (path, key) -> Source, and the extra it needs."""

    adapter: str
    extra: str | None = None


FORMATS: dict[str, Format] = {
    ".npy": Format("narrows.data.npy.open_npy"),
    ".npz": Format("narrows.data.npz.open_npz"),
    ".csv": Format("narrows.data.csv.CsvSource"),
    ".tsv": Format("narrows.data.csv.CsvSource"),
    ".txt": Format("narrows.data.csv.CsvSource"),
    ".parquet": Format("narrows.data.parquet.ParquetSource", "parquet"),
}


def source(obj: object, key: str | None = None) -> Source:
    """Return the rows of an array, frame, file or list of them as a `Source`.

    Files are read by row ranges and never unpickled. A list of arrays, frames, sources or
    paths is taken as segments (trajectories, sequences), each consecutive in time; a nested
    list of numbers is an array.

    Parameters
    ----------
    obj : array, frame, sparse matrix, tensor, Source, path, or list of these
        Numpy arrays of any number of dimensions, pandas and polars frames, scipy sparse
        matrices, torch tensors, or a path. A path may end in a selector: ``file.npz:key``,
        ``table.csv:column,column``.
    key : str, optional
        The selector, when it is not part of the path.

    Returns
    -------
    Source
        `obj` itself when it is one.

    Raises
    ------
    ValueError
        Text columns, an unknown suffix, column or key, or a damaged file.
    FileNotFoundError
        No such file; the nearest name is suggested.
    MissingExtraError
        The format needs a package that is not installed.
    TypeError
        `obj` holds no rows.

    Examples
    --------
    >>> import numpy as np
    >>> rows = source(np.arange(6.0).reshape(3, 2))
    >>> len(rows), rows.shape
    (3, (2,))
    >>> rows.read(1, 3)
    array([[2., 3.],
           [4., 5.]])
    >>> source([np.zeros((4, 2)), np.zeros((5, 2))]).segments
    array([0, 4, 9])
    """
    if isinstance(obj, str | os.PathLike):
        return _open(obj, key)
    if key is not None:
        raise ValueError(
            f"key={key!r} selects within a file, but the data is of type "
            f"{type(obj).__name__!r}. Select before calling."
        )
    if isinstance(obj, list | tuple) and obj and all(map(is_segment, obj)):
        return Concatenated([source(part) for part in obj])
    return obj if isinstance(obj, Source) else from_memory(obj)


def split_selector(path: PathLike) -> tuple[Path, str | None]:
    r"""Split 'file.npz:key' into file and selector.

    The first colon that follows a known suffix separates them, so that drive letters and
    keys with colons are left whole.

    Examples
    --------
    >>> split_selector("runs/alanine.npz:phi")[1]
    'phi'
    >>> split_selector("C:/runs/alanine.npz")[1] is None
    True
    """
    text = os.fspath(path)
    for position, character in enumerate(text):
        if character == ":" and _suffix(text[:position]) in FORMATS:
            return Path(text[:position]), text[position + 1 :]
    return Path(text), None


def unknown_suffix(path: Path, known: Iterable[str]) -> ValueError:
    """Build the error that lists the suffixes we know and what to install for them."""
    known = list(known)
    listed = ", ".join(name + _install(FORMATS[name].extra) for name in known)
    hint = nearest(path.suffix, known)
    return ValueError(f"Unknown suffix {path.suffix!r} of '{path}'.{hint} Known: {listed}.")


def _install(extra: str | None) -> str:
    return f" (pip install 'narrows[{extra}]')" if extra else ""


def _suffix(text: str) -> str:
    return Path(text).suffix.lower()


def _open(path: PathLike, key: str | None) -> Source:
    file, selector = split_selector(path)
    if selector is not None and key is not None:
        raise ValueError(f"'{path}' has a selector, and key={key!r} is another. Write only one.")
    known = FORMATS.get(file.suffix.lower())
    if known is None:
        raise unknown_suffix(file, FORMATS)
    module, _, name = known.adapter.rpartition(".")
    adapter = getattr(importlib.import_module(module), name)
    return cast(Source, adapter(require_file(file), selector if key is None else key))


def is_segment(part: object) -> bool:
    """Return whether a part of a list is rows by itself, not a number or a list of numbers."""
    if isinstance(part, list | tuple | bytes):
        return False
    return isinstance(part, str | os.PathLike | Source) or len(getattr(part, "shape", ())) > 0
