"""Rows of one array of an .npz file."""

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from narrows._errors import nearest
from narrows.data.arrays import ArraySource
from narrows.data.npy import damaged, map_array, read_header
from narrows.data.protocol import Source

_LOCAL_HEADER = 30  # bytes before the name of a zip member


def open_npz(path: Path, key: str | None = None) -> Source:
    """Open one array of an .npz file.

    Arrays stored without compression (``np.savez``) are memory-mapped; a compressed array
    (``np.savez_compressed``) has no row ranges and is loaded whole.

    Parameters
    ----------
    path : Path
        The file.
    key : str, optional
        Name of the array; may be left out when there is only one.

    Raises
    ------
    ValueError
        Several arrays and no key, an unknown key, a damaged file, or Python objects.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/x.npz", a=np.eye(2), b=np.arange(3))
    ...     open_npz(Path(folder, "x.npz"), "b").read(1, 3)
    array([1, 2])
    """
    try:
        with zipfile.ZipFile(path) as archive:
            array = _array(path, archive, _member(path, archive, key))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise damaged(path) from error
    return ArraySource(array, where=f"The file '{path}'")


def _member(path: Path, archive: zipfile.ZipFile, key: str | None) -> str:
    keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if key in keys:
        return f"{key}.npy"
    if key is None and len(keys) == 1:
        return f"{keys[0]}.npy"
    held = ", ".join(f"{name} {_shape(path, archive, name)}" for name in keys) or "no arrays"
    if key is not None:
        hint = nearest(key, keys)
        raise ValueError(f"The file '{path}' has no array {key!r}.{hint} It holds: {held}.")
    choice = f" Name one: '{path}:{keys[0]}'." if keys else ""
    raise ValueError(f"The file '{path}' holds {held}.{choice}")


def _shape(path: Path, archive: zipfile.ZipFile, key: str) -> tuple[int, ...]:
    with archive.open(f"{key}.npy") as stream:
        return read_header(path, stream).shape


def _array(path: Path, archive: zipfile.ZipFile, member: str) -> Shaped[np.ndarray, "..."]:
    info = archive.getinfo(member)
    if info.compress_type == zipfile.ZIP_STORED:
        return _mapped(path, info)
    with archive.open(info) as stream:
        read_header(path, stream)
    with archive.open(info) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _mapped(path: Path, info: zipfile.ZipInfo) -> Shaped[np.ndarray, "..."]:
    with open(path, "rb") as stream:
        stream.seek(info.header_offset)
        name, extra = struct.unpack("<26xHH", stream.read(_LOCAL_HEADER))
        stream.seek(name + extra, 1)
        return map_array(path, stream)
