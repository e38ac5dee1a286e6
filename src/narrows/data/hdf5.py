"""Rows of a dataset of an HDF5 file."""

import io
import math
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from narrows._errors import nearest, require
from narrows.data.blocks import Handle, block_starts
from narrows.data.places import Place, check_chunk, check_numbers, open_bytes, reading
from narrows.data.protocol import BaseSource

_CACHE = 2**26  # bytes of decoded chunks that HDF5 keeps
_CHUNK = 2**20  # bytes of a chunk we write
_MOST_LINKS = 16  # soft links followed on the way to a dataset
_MOST_NESTED = 3  # virtual datasets of virtual datasets
_MOST_OBJECTS = 10_000  # looked at in search of datasets
_SHOWN = 10  # datasets listed in an error


class Hdf5Source(BaseSource):
    """Rows of one dataset, along its first axis; HDF5 reads the chunks that hold them.

    Datasets may be contiguous, chunked or compressed. Only this file is read: links, virtual
    datasets and raw data that lie in other files are refused.

    Parameters
    ----------
    place : Path or Remote
        The file: .h5, .hdf5 or .nxs.
    key : str, optional
        Path of the dataset in the file; may be left out when only one would do.

    Raises
    ------
    MissingExtraError
        h5py is not installed.
    ValueError
        No such dataset, several and no key, something else than rows of numbers, a filter that is
        not installed, another file to be read, or a damaged file.

    Examples
    --------
    >>> import tempfile, h5py
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/run.h5", "w") as file:
    ...         file["entry/data"] = np.eye(3)
    ...     Hdf5Source(Path(folder, "run.h5"), "/entry/data").read(0, 1)
    array([[1., 0., 0.]])
    """

    def __init__(self, place: Place, key: str | None = None) -> None:
        self._place = place
        self._handle = Handle(_opened, place, key)
        with self._handle as dataset, reading(place):
            shape, dtype = dataset.shape, dataset.dtype.newbyteorder("=")
            chunks = dataset.chunks
        super().__init__(shape[0], shape[1:], dtype)
        if chunks is not None:
            size = math.prod(shape[1:]) * dtype.itemsize
            self.starts = block_starts(shape[0], size, chunks[0])

    def _read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        with self._handle as dataset, reading(self._place):
            rows = np.asarray(dataset[start:stop])
        return rows.astype(self.dtype, copy=False)


def write_hdf5(path: Path, blocks: Iterator[np.ndarray]) -> None:
    """Write blocks of rows to the dataset "data" of a new HDF5 file."""
    h5py = require("h5py", "hdf5")
    with open(path, "wb+", buffering=0) as stream, h5py.File(disk := _Disk(stream), "w") as file:
        first = next(blocks)
        shape, row = first.shape[1:], max(first[:1].nbytes, 1)
        chunks = (_CHUNK // row, *shape) if row <= _CHUNK and 0 not in shape else True
        data = file.create_dataset(
            "data", (0, *shape), first.dtype, chunks=chunks, maxshape=(None, *shape)
        )
        for block in chain([first], blocks):
            data.resize(len(data) + len(block), axis=0)
            data[len(data) - len(block) :] = block
            if disk.error is not None:
                break
    if disk.error is not None:
        raise disk.error


class _Disk(io.RawIOBase):
    """A file that HDF5 can always write to: it crashes some time after a disk was full.

    The first error is kept, to be raised when HDF5 is done; what is written from then on is kept in
    memory, since HDF5 may read it again.
    """

    def __init__(self, stream: Any) -> None:
        self.error: OSError | None = None
        self._stream = stream
        self._position = 0
        self._kept: list[tuple[int, bytes]] = []

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        ends = [self._stream.seek(0, io.SEEK_END), *(at + len(data) for at, data in self._kept)]
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: max(ends)}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        self._stream.seek(self._position)
        view = memoryview(buffer).cast("B")
        found = self._stream.read(len(view))
        view[:] = found.ljust(len(view), b"\0")
        for at, data in self._kept:
            start, stop = max(at, self._position), min(at + len(data), self._position + len(view))
            if start < stop:
                place = slice(start - self._position, stop - self._position)
                view[place] = data[start - at : stop - at]
        self._position += len(view)
        return len(view)

    def write(self, data: Any) -> int:
        content = memoryview(data).cast("B")
        done = 0
        try:
            self._stream.seek(self._position)
            while self.error is None and done < len(content):
                done += self._stream.write(content[done:])
        except OSError as error:
            self.error = error
        if done < len(content):
            self._kept.append((self._position + done, bytes(content[done:])))
        self._position += len(content)
        return len(content)

    def truncate(self, size: int | None = None) -> int:
        if self.error is None:
            try:
                self._stream.truncate(size)
            except OSError as error:
                self.error = error
        return self._position if size is None else size


def _opened(place: Place, key: str | None) -> Any:
    h5py = require("h5py", "hdf5")
    open_bytes(place).close()  # says in plain words if the system refuses
    with reading(place):
        source = place if isinstance(place, Path) else place.open()
        file = h5py.File(source, "r", rdcc_nbytes=_CACHE)
    name = _only(place, file) if key is None else key
    dataset = _followed(place, file, name)
    _check(place, name, dataset)
    return dataset


def _only(place: Place, file: Any) -> str:
    with reading(place):
        found = list(islice(_datasets(file), _SHOWN + 1))
    if len(found) == 1:
        return found[0].name
    if not found:
        raise ValueError(f"The file '{place}' holds no dataset with rows of numbers.")
    raise ValueError(
        f"The file '{place}' holds {_listed(found)}. Name one: '{place}:{found[0].name}'."
    )


def _listed(datasets: list[Any]) -> str:
    shown = ", ".join(f"{each.name} {each.shape}" for each in datasets[:_SHOWN])
    return shown + (" and more" if len(datasets) > _SHOWN else "")


def _datasets(file: Any) -> Iterator[Any]:
    """Yield datasets that would do, by breadth; groups may hold one another, or be very many."""
    h5py = require("h5py", "hdf5")
    groups, seen = deque([file]), {_address(file)}
    names = ((group, name) for group in _drained(groups) for name in group)
    for group, name in islice(names, _MOST_OBJECTS):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        child = group[name]
        if isinstance(child, h5py.Group) and _address(child) not in seen:
            seen.add(_address(child))
            groups.append(child)
        elif isinstance(child, h5py.Dataset) and _fault(child) is None:
            yield child


def _drained(groups: deque[Any]) -> Iterator[Any]:
    while groups:
        yield groups.popleft()


def _address(group: Any) -> int:
    return int(require("h5py", "hdf5").h5o.get_info(group.id).addr)


def _followed(place: Place, file: Any, name: str) -> Any:
    """Return what has that name, in this file."""
    with reading(place):
        found = _walked(file, name)
    if found is None:
        raise _unknown(place, file, name)
    if isinstance(found, require("h5py", "hdf5").ExternalLink):
        raise _elsewhere(place, name, found.filename)
    return found


def _walked(file: Any, name: str) -> Any:
    """Return what has that name, None, or the link to another file, which h5py would open."""
    h5py = require("h5py", "hdf5")
    parts, here, n_links = deque(name.split("/")), file, 0
    while parts:
        part = parts.popleft()
        if part in ("", "."):
            continue
        link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
        if link is None or isinstance(link, h5py.ExternalLink) or n_links > _MOST_LINKS:
            return link if n_links <= _MOST_LINKS else None
        if isinstance(link, h5py.SoftLink):
            n_links += 1
            parts.extendleft(reversed(link.path.split("/")))
            here = file if link.path.startswith("/") else here
        else:
            here = here[part]
    return here


def _unknown(place: Place, file: Any, name: str) -> ValueError:
    with reading(place):
        found = list(islice(_datasets(file), _SHOWN + 1))
    hint = nearest(f"/{name.strip('/')}", [each.name for each in found])
    held = f" It holds: {_listed(found)}." if found and not hint else ""
    return ValueError(f"The file '{place}' has no dataset {name!r}.{hint}{held}")


def _check(place: Place, name: str, found: Any) -> None:
    """Raise ValueError unless rows of numbers can be read from what was found."""
    h5py = require("h5py", "hdf5")
    where = f"The dataset {name!r} of the file '{place}'"
    if isinstance(found, h5py.Group):
        with reading(place):
            inside = list(islice(_datasets(found), _SHOWN + 1))
        held = f"with {_listed(inside)}. Name one: '{place}:{inside[0].name}'." if inside else ""
        held = held or "without datasets of numbers."
        raise ValueError(f"{name!r} of the file '{place}' is a group {held}")
    if not isinstance(found, h5py.Dataset):
        raise ValueError(
            f"{name!r} of the file '{place}' is a type, not a dataset. Choose an array of numbers."
        )
    with reading(place):
        other, filters = _outside(found), _missing_filter(found)
    if other is not None:
        raise _elsewhere(place, name, other)
    if filters is not None:
        raise ValueError(
            f"{where} is compressed by {filters}, which is not installed. "
            "Install hdf5plugin and import it first."
        )
    with reading(place):
        shape, dtype, chunks = found.shape, found.dtype, found.chunks
    if shape is None:
        raise ValueError(f"{where} is empty. Choose an array of numbers.")
    check_numbers(where, shape, dtype)
    check_chunk(where, chunks or (), dtype)


def _fault(dataset: Any) -> Exception | None:
    try:
        _check(Path(), dataset.name, dataset)
    except (ValueError, OSError) as error:
        return error
    return None


def _outside(dataset: Any, depth: int = 0) -> str | None:
    """Return the name of another file in which a dataset has values, itself or through others."""
    h5py = require("h5py", "hdf5")
    plan = dataset.id.get_create_plist()
    if plan.get_external_count():
        return str(plan.get_external(0)[0].decode(errors="replace"))
    n_parts = plan.get_virtual_count() if plan.get_layout() == h5py.h5d.VIRTUAL else 0
    for k in range(n_parts):
        file, name = plan.get_virtual_filename(k), plan.get_virtual_dsetname(k)
        if file != "." or "%" in name or depth >= _MOST_NESTED:  # % stands for many names
            return str(file if file != "." else name)
        part = _walked(dataset.file, name)
        if isinstance(part, h5py.ExternalLink):
            return str(part.filename)
        if isinstance(part, h5py.Dataset) and (found := _outside(part, depth + 1)):
            return found
    return None


def _missing_filter(dataset: Any) -> str | None:
    """Return the number of a filter that is needed to decode a dataset, and not there."""
    plan, h5z = dataset.id.get_create_plist(), require("h5py", "hdf5").h5z
    codes = [plan.get_filter(k)[0] for k in range(plan.get_nfilters())]
    missing = [code for code in codes if not h5z.filter_avail(code)]
    return f"filter {missing[0]}" if missing else None


def _elsewhere(place: Place, name: str, other: str) -> ValueError:
    return ValueError(
        f"{name!r} of the file '{place}' lies in another file, '{other}'. Open that file instead."
    )
