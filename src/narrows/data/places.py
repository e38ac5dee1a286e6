"""Where rows lie: a path or a URL, and what is said of a file that cannot be understood."""

import errno
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from narrows._errors import MissingExtraError
from narrows._files import require_file
from narrows.data.remote import Remote, Unreachable

Place = Path | Remote

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")
_NUMBER = re.compile(r"(\d+)")
_NONSENSE = (None, errno.EINVAL, errno.EOVERFLOW)  # no fault of the system, or a wild position
_LARGEST = 2**32  # bytes of a row, or of a chunk that is decoded as a whole


class Gone(FileNotFoundError):
    """A file that was there when it was named is there no more."""


def is_url(text: str) -> bool:
    """Tell a URL from a path; one letter before the colon is a drive.

    Examples
    --------
    >>> is_url("s3://bucket/run.npy"), is_url("C:/run.npy"), is_url("run.npz:phi")
    (True, False, False)
    """
    return _URL.match(text) is not None


def located(text: str) -> Place:
    """Return the file or folder of that name, known to be there.

    Raises
    ------
    FileNotFoundError
        Nothing has this name.
    """
    if is_url(text):
        return Remote(text)
    path = Path(text)
    return path if path.is_dir() else require_file(path)


def is_zarr_store(place: Place) -> bool:
    """Tell a Zarr store from other folders."""
    return any((place / mark).is_file() for mark in ("zarr.json", ".zarray", ".zgroup"))


def open_bytes(place: Place) -> BufferedReader:
    """Open a file, which was there when it was named, for reading.

    Raises
    ------
    Gone
        It is there no more.
    """
    try:
        return place.open("rb")
    except FileNotFoundError as error:
        if isinstance(place, Remote):  # which says by itself what is not there
            raise
        raise gone(place) from error


def gone(place: Place) -> Gone:
    """Build the error for a file that was there when it was named."""
    return Gone(
        f"The file '{place}' is gone: it was there before. Put it back, and run this again."
    )


def in_natural_order(places: Iterable[Place]) -> list[Place]:
    """Sort by name, numbers in names by their values: run2 before run10.

    Examples
    --------
    >>> [path.name for path in in_natural_order(map(Path, ["run10", "run2", "run1b"]))]
    ['run1b', 'run2', 'run10']
    """
    return sorted(places, key=lambda place: (_pieces(place.name), place.name))


def _pieces(name: str) -> list[tuple[int, str]]:
    pieces = [piece for piece in _NUMBER.split(name) if piece]
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def damaged(place: Place) -> ValueError:
    """Build the error for a file that cannot be what its suffix says."""
    return ValueError(
        f"The file '{place}' is truncated, damaged or not a {place.suffix} file. Write it again."
    )


@contextmanager
def reading(place: Place) -> Iterator[None]:
    """Turn whatever a library raises over a file it cannot understand into one sentence.

    Libraries that parse files raise what comes up on the way, from IndexError to RecursionError.
    What is not the file's fault is left alone: faults that the system reports by a number (a
    permission, a disk), servers out of reach, and too little memory.

    Raises
    ------
    ValueError
        For everything else.
    MissingExtraError
        The library needs another package for this file.
    """
    try:
        yield
    except (MissingExtraError, MemoryError, Unreachable, Gone):
        raise
    except ImportError as error:  # what decompresses it, say; the library names what to install
        reason = " ".join(str(error).split()).rstrip(".")
        raise MissingExtraError(f"Cannot read '{place}': {reason}.") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _NONSENSE:
            raise
        raise damaged(place) from error


def check_numbers(where: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise ValueError unless a stored array has rows of numbers, and rows that can be held."""
    if dtype.kind not in "biuf":
        raise ValueError(f"{where} has dtype {dtype}. Choose an array of numbers.")
    if not shape:
        raise ValueError(f"{where} is a single value. Choose an array of shape (rows, features).")
    size = math.prod(shape[1:]) * dtype.itemsize
    if size > _LARGEST:
        raise ValueError(
            f"{where} has shape {shape}: a single row would take {size / 2**30:.0f} GiB. "
            "Store it with the rows on the first axis."
        )


def check_chunk(where: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise ValueError for chunks that are too large to be decoded."""
    size = math.prod(shape) * dtype.itemsize
    if size > _LARGEST:
        raise ValueError(
            f"{where} has chunks of shape {shape}, each of {size / 2**30:.0f} GiB. "
            "Store it in smaller chunks."
        )
