"""Rows of a .npy file, read by ranges."""

import math
import os
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from narrows.data.arrays import ArraySource
from narrows.data.blocks import Handle
from narrows.data.places import Place, check_numbers, damaged, open_bytes, reading
from narrows.data.protocol import BaseSource, Source


@runtime_checkable
class Readable(Protocol):
    """A stream of bytes: a file, or a member of an archive."""

    def read(self, size: int = ..., /) -> bytes:
        """Return at most `size` bytes."""


class Header(NamedTuple):
    """What a stored array is, known without reading it."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Size of the array; Python's numbers do not overflow."""
        return math.prod(self.shape) * self.dtype.itemsize


class StreamSource(BaseSource):
    """Rows of an array that lies in a file, read by ranges.

    Not mapped into memory: the pages of a map count as the process's own, and reading one of a file
    that was cut short ends the process. A local file is opened anew for every range, so that a
    thousand files are not open at once.
    """

    def __init__(self, place: Place, header: Header, offset: int) -> None:
        check_numbers(f"The file '{place}'", header.shape, header.dtype)
        if header.fortran and math.prod(header.shape[1:]) > 1:
            raise ValueError(
                f"The file '{place}' holds an array by columns, of which a network cannot read "
                "rows. Download it, or save np.ascontiguousarray(array)."
            )
        self._place = place
        self._offset = offset
        self._row = math.prod(header.shape[1:]) * header.dtype.itemsize
        self._handle = None if isinstance(place, Path) else Handle(open_bytes, place)
        super().__init__(header.shape[0], header.shape[1:], header.dtype)

    def _read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        rows = np.empty((stop - start, *self.shape), self.dtype)
        with self._handle or open_bytes(self._place) as stream:
            stream.seek(self._offset + start * self._row)
            n_read = stream.readinto(rows.reshape(-1).view(np.uint8).data)
        if n_read < rows.nbytes:
            raise damaged(self._place)
        return rows


def open_npy(place: Place, key: str | None = None) -> Source:
    """Open a .npy file; only the rows that are read come from the disk.

    An array that was saved by columns is mapped into memory, since its rows are scattered.

    Parameters
    ----------
    place : Path or Remote
        The file.
    key : None
        A .npy file holds one array, so there is nothing to select.

    Raises
    ------
    ValueError
        A selector, a damaged file, or an array of Python objects.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/x.npy", np.eye(3))
    ...     open_npy(Path(folder, "x.npy")).read(0, 1)
    array([[1., 0., 0.]])
    """
    if key is not None:
        raise ValueError(f"The file '{place}' holds one array. Leave out the selector {key!r}.")
    with open_bytes(place) as stream:
        return stored_array(place, stream)


def stored_array(place: Place, stream: BufferedReader) -> Source:
    """Return the rows of the array whose header starts where `stream` stands in a file."""
    header, offset = read_header(place, stream), stream.tell()
    if header.nbytes > stream.seek(0, os.SEEK_END) - offset:  # shorter than its header says
        raise damaged(place)
    scattered = header.fortran and math.prod(header.shape[1:]) > 1
    if not (isinstance(place, Path) and scattered):
        return StreamSource(place, header, offset)
    with reading(place):
        array = np.memmap(place, header.dtype, "r", offset, header.shape, "F")
    return ArraySource(array, where=f"The file '{place}'")


def read_header(place: Place, stream: Readable) -> Header:
    """Read the header of a stored array; refuse Python objects, which would need pickle."""
    with reading(place):
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            header = Header(*np.lib.format.read_array_header_1_0(stream))
        else:
            header = Header(*np.lib.format.read_array_header_2_0(stream))
    if header.dtype.hasobject:
        raise ValueError(
            f"The file '{place}' holds Python objects, which would have to be unpickled. "
            "Save numbers: np.save(path, array.astype(float))."
        )
    if header.dtype.kind in "SUV":
        raise ValueError(
            f"The file '{place}' has dtype {header.dtype}. Choose an array of numbers."
        )
    if min(header.shape, default=0) < 0:
        raise damaged(place)
    return header
