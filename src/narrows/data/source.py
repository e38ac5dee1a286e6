"""Turn whatever holds rows into a `Source`."""

import importlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, cast

from narrows._errors import nearest
from narrows._types import PathLike
from narrows.data.arrays import from_memory
from narrows.data.folder import open_folder
from narrows.data.places import Place, is_url, is_zarr_store, located
from narrows.data.protocol import Source
from narrows.data.views import Concatenated

__all__ = ["FORMATS", "Format", "Source", "source", "split_selector", "unknown_suffix"]


class Format(NamedTuple):
    """How a file is opened: a callable (place, key) -> Source, and the extra it needs."""

    adapter: str
    extra: str | None = None
    folder: bool = False  # whether what has this suffix is a folder


FORMATS: dict[str, Format] = {
    ".npy": Format("narrows.data.npy.open_npy"),
    ".npz": Format("narrows.data.npz.open_npz"),
    ".csv": Format("narrows.data.csv.CsvSource"),
    ".tsv": Format("narrows.data.csv.CsvSource"),
    ".txt": Format("narrows.data.csv.CsvSource"),
    ".parquet": Format("narrows.data.parquet.ParquetSource", "parquet"),
    ".h5": Format("narrows.data.hdf5.Hdf5Source", "hdf5"),
    ".hdf5": Format("narrows.data.hdf5.Hdf5Source", "hdf5"),
    ".nxs": Format("narrows.data.hdf5.Hdf5Source", "hdf5"),
    ".zarr": Format("narrows.data.zarr.ZarrSource", "zarr", folder=True),
    ".root": Format("narrows.data.root.RootSource", "root"),
}


def source(obj: object, key: str | None = None) -> Source:
    """Return the rows of an array, frame, file or list of them as a `Source`.

    Files are read by row ranges and never unpickled. A folder of files of one format is read as
    one source, in the natural order of their names, each file a segment. A list of arrays,
    frames, sources or paths is taken as segments (trajectories, sequences), each consecutive in
    time; a nested list of numbers is an array.

    Parameters
    ----------
    obj : array, frame, sparse matrix, tensor, Source, path, or list of these
        Numpy arrays of any number of dimensions, pandas and polars frames, scipy sparse
        matrices, torch tensors, or the path or URL (``https://``, ``s3://``, ...) of a file or
        folder. A path may end in a selector: ``file.npz:key``, ``table.csv:column,column``,
        ``file.h5:/entry/data``, ``store.zarr:/group/array``, ``file.root:tree:branch,branch``.
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
    OSError
        A file that may not be read, or a server that cannot be reached.
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


def split_selector(path: PathLike) -> tuple[str, str | None]:
    r"""Split 'file.npz:key' into file and selector.

    The first colon that follows a known suffix separates them, so that drive letters and
    keys with colons are left whole. So are the host of a URL, and a URL with a query, whose key
    is given apart.

    Examples
    --------
    >>> split_selector("runs/alanine.npz:phi")
    ('runs/alanine.npz', 'phi')
    >>> split_selector("C:/runs/alanine.npz")
    ('C:/runs/alanine.npz', None)
    >>> split_selector("https://data.h5:8080/run.h5:/entry/data")
    ('https://data.h5:8080/run.h5', '/entry/data')
    """
    text = os.fspath(path)
    if is_url(text) and "?" in text:
        return text, None
    for position, character in enumerate(text):
        if character == ":" and _ends_file(text, position):
            return text[:position], text[position + 1 :]
    return text, None


def _ends_file(text: str, position: int) -> bool:
    head = text[:position]
    if _suffix(head) not in FORMATS or head.endswith(":") or text[position:].startswith("::"):
        return False
    return not head.startswith(("http://", "https://")) or head.count("/") > 2  # else a port


def unknown_suffix(path: Place, known: Iterable[str]) -> ValueError:
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
    key = selector if key is None else key
    head, _, tail = file.rpartition(":")
    if key is None and head and Path(head).is_dir() and not Path(file).exists():
        file, key = head, tail
    place = _known(file)
    known = FORMATS.get(place.suffix.lower())
    if (known is None or not known.folder) and place.is_dir():
        if not is_zarr_store(place):
            return open_folder(place, frozenset(FORMATS), lambda each: _adapted(each, key))
        known = FORMATS[".zarr"]
    return _adapted(place, key, known)


def _known(file: str) -> Place:
    """Return what has that name, unless its suffix says that it could not be opened."""
    suffix = Path(file).suffix
    if suffix and not is_url(file) and suffix.lower() not in FORMATS and not Path(file).is_dir():
        raise unknown_suffix(Path(file), FORMATS)
    return located(file)


def _adapted(place: Place, key: str | None, known: Format | None = None) -> Source:
    known = known or FORMATS.get(place.suffix.lower())
    if known is None:
        raise unknown_suffix(place, FORMATS)
    module, _, name = known.adapter.rpartition(".")
    adapter = getattr(importlib.import_module(module), name)
    return cast(Source, adapter(place, key))


def is_segment(part: object) -> bool:
    """Return whether a part of a list is rows by itself, not a number or a list of numbers."""
    if isinstance(part, list | tuple | bytes):
        return False
    return isinstance(part, str | os.PathLike | Source) or len(getattr(part, "shape", ())) > 0
