"""Rows of an array of a Zarr store."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from narrows._errors import nearest, require, warn
from narrows.data.blocks import BlockSource, Handle, block_starts
from narrows.data.places import (
    Place,
    check_chunk,
    check_numbers,
    damaged,
    gone,
    is_zarr_store,
    reading,
)

_CHUNK = 2**22  # bytes of a chunk we write
_MOST_OBJECTS = 10_000  # looked at in search of arrays
_SHOWN = 10  # arrays listed in an error
# Codecs that only compute; others (pickle) run what the store says.
_CODECS = frozenset(
    (
        "bytes",
        "transpose",
        "sharding_indexed",
        "blosc",
        "gzip",
        "zstd",
        "zlib",
        "lz4",
        "bz2",
        "lzma",
        "shuffle",
        "bitshuffle",
        "delta",
        "crc32",
        "crc32c",
        "adler32",
        "fletcher32",
        "fixedscaleoffset",
        "astype",
        "bitround",
        "quantize",
        "packbits",
    )
)


class ZarrSource(BlockSource):
    """Rows of one array, along its first axis; whole chunks are decoded, and those read last kept.

    Parameters
    ----------
    place : Path or Remote
        A store of format 2 or 3: a folder, or what lies behind a URL.
    key : str, optional
        Path of the array in the store; may be left out when the store is an array or has only one
        that would do.

    Raises
    ------
    MissingExtraError
        zarr is not installed.
    ValueError
        No such array, several and no key, something else than rows of numbers, a codec that does
        more than compute, or a damaged store.

    Examples
    --------
    >>> import tempfile, zarr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = zarr.create_array(f"{folder}/run.zarr", name="xyz", data=np.eye(3))
    ...     ZarrSource(Path(folder, "run.zarr"), "xyz").read(0, 1)
    array([[1., 0., 0.]])
    """

    def __init__(self, place: Place, key: str | None = None) -> None:
        self._handle = Handle(_opened, place, key)
        with self._handle as array:
            shape, dtype = array.shape, array.dtype.newbyteorder("=")
            rows = (array.shards or array.chunks)[0]
            self._absent, self._marked = _absent(place, array), _is_marked(place, array)
        if self._absent:
            warn(
                f"'{place}' lacks {self._absent} of the {array.nchunks} chunks of its array, whose "
                f"entries are read as {array.fill_value}.",
            )
        size = int(np.prod(shape[1:], dtype=float)) * dtype.itemsize
        super().__init__(place, block_starts(shape[0], size, rows), shape[0], shape[1:], dtype)

    def _load(self, k: int, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        with self._handle as array:
            rows = np.asarray(array[start:stop])
            # A chunk that is not there is read as if it held the fill value, without an error
            empty = bool(((rows == array.fill_value) | (rows != rows)).all())
            lost = self._marked and not _is_marked(self._place, array)
            if lost or (empty and _absent(self._place, array) > self._absent):
                raise gone(self._place)
            return rows


def write_zarr(path: Path, blocks: Iterator[np.ndarray]) -> None:
    """Write blocks of rows to a new Zarr store that is one array."""
    zarr = require("zarr", "zarr")
    first = next(blocks)
    shape, row = first.shape[1:], max(first[:1].nbytes, 1)
    chunks = (max(_CHUNK // row, 1), *(max(n, 1) for n in shape))
    array = zarr.create_array(str(path), shape=(0, *shape), chunks=chunks, dtype=first.dtype)
    array.append(first)
    for block in blocks:
        array.append(block)


def _absent(place: Place, array: Any) -> int:
    """Return how many chunks of a local array are not there."""
    return int(array.nchunks - array.nchunks_initialized) if isinstance(place, Path) else 0


def _is_marked(place: Place, array: Any) -> bool:
    """Return whether a local array has the file that describes it."""
    return isinstance(place, Path) and is_zarr_store(place / array.path)


def _opened(place: Place, key: str | None) -> Any:
    zarr = require("zarr", "zarr")
    with reading(place):
        node = zarr.open(str(place), mode="r")
    if isinstance(node, zarr.Group):
        name = _only(place, node) if key is None else key.strip("/")
        node = _inside(place, node, name)
    elif key is not None and key.strip("/"):
        raise ValueError(f"The store '{place}' is one array. Leave out the selector {key!r}.")
    else:
        name = "/"
    _check(place, name, node)
    return node


def _only(place: Place, group: Any) -> str:
    with reading(place):
        found = list(islice(_arrays(group), _SHOWN + 1))
    if len(found) == 1:
        return str(found[0].path)
    if not found:
        raise ValueError(f"The store '{place}' holds no array with rows of numbers.")
    raise ValueError(
        f"The store '{place}' holds {_listed(found)}. Name one: '{place}:/{found[0].path}'."
    )


def _inside(place: Place, group: Any, name: str) -> Any:
    zarr = require("zarr", "zarr")
    try:
        node = group[name]
    except (KeyError, ValueError):  # a path with dots in it is a ValueError
        node = None
    if isinstance(node, zarr.Array):
        return node
    with reading(place):
        found = list(islice(_arrays(group if node is None else node), _SHOWN + 1))
    hint = nearest(name, [str(each.path) for each in found]) if node is None else ""
    held = f" It holds: {_listed(found)}." if found and not hint else ""
    what = "has no array" if node is None else "has a group, not an array, at"
    raise ValueError(f"The store '{place}' {what} '/{name}'.{hint}{held}")


def _listed(arrays: list[Any]) -> str:
    shown = ", ".join(f"/{each.path} {each.shape}" for each in arrays[:_SHOWN])
    return shown + (" and more" if len(arrays) > _SHOWN else "")


def _arrays(group: Any) -> Iterator[Any]:
    """Yield arrays that would do, by breadth; links of the file system can make groups endless."""
    zarr = require("zarr", "zarr")
    groups = deque([group])
    members = (node for each in _drained(groups) for _, node in each.members())
    for node in islice(members, _MOST_OBJECTS):
        if isinstance(node, zarr.Group):
            groups.append(node)
        elif _fault(node) is None:
            yield node


def _drained(groups: deque[Any]) -> Iterator[Any]:
    while groups:
        yield groups.popleft()


def _fault(array: Any) -> Exception | None:
    try:
        _check(Path(), array.path, array)
    except ValueError as error:
        return error
    return None


def _check(place: Place, name: str, array: Any) -> None:
    """Raise ValueError unless rows of numbers can be read from an array."""
    where = f"The array '/{name.strip('/')}' of the store '{place}'"
    with reading(place):
        shape, dtype = array.shape, array.dtype
        known = set(_codecs(array.metadata.to_dict()))
    check_numbers(where, shape, dtype)
    with reading(place):
        chunks = array.shards or array.chunks
    check_chunk(where, chunks, dtype)
    if known - _CODECS:
        raise ValueError(
            f"{where} is encoded by {min(known - _CODECS)!r}, which is not read here. "
            f"Known: {', '.join(sorted(_CODECS))}."
        )
    if 0 in chunks:
        raise damaged(place)


def _codecs(settings: Any) -> Iterator[str]:
    """Yield the names of all codecs, those inside of others too."""
    keys = ("codecs", "index_codecs", "filters", "compressor")
    found = [settings[key] for key in keys if settings.get(key)]
    for each in found:
        for codec in each if isinstance(each, list | tuple) else [each]:
            name = str(codec.get("name", codec.get("id")))
            yield name.removeprefix("numcodecs.")
            yield from _codecs(codec.get("configuration") or {})
