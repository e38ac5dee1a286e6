"""Rows of one array of an .npz file."""

import struct
import zipfile
from io import BufferedReader

import numpy as np
from jaxtyping import Shaped

from narrows._errors import nearest
from narrows.data.arrays import ArraySource
from narrows.data.npy import read_header, stored_array
from narrows.data.places import Place, damaged, open_bytes, reading
from narrows.data.protocol import Source

_LOCAL_HEADER = 30  # bytes before the name of a zip member
_RATIO = 1100  # more than deflate can compress


def open_npz(place: Place, key: str | None = None) -> Source:
    """Open one array of an .npz file.

    Arrays stored without compression (``np.savez``) are read by ranges; a compressed array
    (``np.savez_compressed``) has no row ranges and is loaded whole.

    Parameters
    ----------
    place : Path or Remote
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
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/x.npz", a=np.eye(2), b=np.arange(3))
    ...     open_npz(Path(folder, "x.npz"), "b").read(1, 3)
    array([1, 2])
    """
    with open_bytes(place) as stream:
        with reading(place):
            archive = zipfile.ZipFile(stream)
        info = archive.getinfo(_member(place, archive, key))
        if info.compress_type == zipfile.ZIP_STORED:
            return _stored(place, stream, info)
        return ArraySource(_unpacked(place, archive, info), where=f"The file '{place}'")


def _member(place: Place, archive: zipfile.ZipFile, key: str | None) -> str:
    keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if key in keys:
        return f"{key}.npy"
    if key is None and len(keys) == 1:
        return f"{keys[0]}.npy"
    held = ", ".join(f"{name} {_shape(place, archive, name)}" for name in keys) or "no arrays"
    if key is not None:
        hint = nearest(key, keys)
        raise ValueError(f"The file '{place}' has no array {key!r}.{hint} It holds: {held}.")
    choice = f" Name one: '{place}:{keys[0]}'." if keys else ""
    raise ValueError(f"The file '{place}' holds {held}.{choice}")


def _shape(place: Place, archive: zipfile.ZipFile, key: str) -> tuple[int, ...]:
    with reading(place):
        stream = archive.open(f"{key}.npy")
    with stream:
        return read_header(place, stream).shape


def _stored(place: Place, stream: BufferedReader, info: zipfile.ZipInfo) -> Source:
    with reading(place):
        stream.seek(info.header_offset)
        name, extra = struct.unpack("<26xHH", stream.read(_LOCAL_HEADER))
        stream.seek(name + extra, 1)
    return stored_array(place, stream)


def _unpacked(
    place: Place, archive: zipfile.ZipFile, info: zipfile.ZipInfo
) -> Shaped[np.ndarray, "..."]:
    with reading(place):
        stream = archive.open(info)
    with stream:
        size = read_header(place, stream).nbytes
    if info.compress_type != zipfile.ZIP_DEFLATED or size > info.compress_size * _RATIO:
        raise damaged(place)
    with reading(place), archive.open(info) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
