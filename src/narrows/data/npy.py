"""Rows of a .npy file, memory-mapped."""

from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from narrows.data.arrays import ArraySource
from narrows.data.protocol import Source


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


def open_npy(path: Path, key: str | None = None) -> Source:
    """Map a .npy file into memory; only the rows that are read come from the disk.

    Parameters
    ----------
    path : Path
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
        raise ValueError(f"The file '{path}' holds one array. Leave out the selector {key!r}.")
    with open(path, "rb") as stream:
        array = map_array(path, stream)
    return ArraySource(array, where=f"The file '{path}'")


def map_array(path: Path, stream: IO[bytes]) -> Shaped[np.ndarray, "..."]:
    """Map the array whose header starts where `stream` stands."""
    header = read_header(path, stream)
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    try:
        return np.memmap(path, header.dtype, "r", stream.tell(), header.shape, order)
    except ValueError as error:  # the file is shorter than its header says
        raise damaged(path) from error


def read_header(path: Path, stream: Readable) -> Header:
    """Read the header of a stored array; refuse Python objects, which would need pickle."""
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            header = Header(*np.lib.format.read_array_header_1_0(stream))
        else:
            header = Header(*np.lib.format.read_array_header_2_0(stream))
    except (ValueError, EOFError) as error:
        raise damaged(path) from error
    if header.dtype.hasobject:
        raise ValueError(
            f"The file '{path}' holds Python objects, which would have to be unpickled. "
            "Save numbers: np.save(path, array.astype(float))."
        )
    return header


def damaged(path: Path) -> ValueError:
    """Build the error for a file that cannot be what its suffix says."""
    return ValueError(
        f"The file '{path}' is truncated, damaged or not a {path.suffix} file. Write it again."
    )
