"""Files that are found with a hint, written whole or not at all, and known by a checksum."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from narrows._errors import nearest
from narrows._types import Array, PathLike


def require_file(path: PathLike) -> Path:
    """Return `path` as a `Path`, or say that it is missing and which name is close.

    Parameters
    ----------
    path : str or PathLike
        The file to read.

    Returns
    -------
    Path
        The same path, known to be a file.

    Raises
    ------
    FileNotFoundError
        Nothing has this name; the nearest name in the folder is suggested.
    IsADirectoryError
        The path is a folder.

    Examples
    --------
    >>> require_file("digits.npy")
    Traceback (most recent call last):
        ...
    FileNotFoundError: There is no file 'digits.npy'.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder. Write the name of a file in it.")
    if not path.exists():
        raise FileNotFoundError(_missing(path))
    return path


def require_suffix(path: PathLike, suffix: str) -> None:
    """Raise ValueError unless a file's name ends with a suffix.

    Examples
    --------
    >>> require_suffix("model.pkl", ".onnx")
    Traceback (most recent call last):
        ...
    ValueError: path='model.pkl' must end in '.onnx'. Write 'model.onnx'.
    """
    if Path(path).suffix.lower() != suffix:
        name = os.fspath(path)
        instead = os.path.splitext(name)[0] or "model"
        raise ValueError(f"path='{name}' must end in '{suffix}'. Write '{instead}{suffix}'.")


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no file '{path}': the folder '{path.parent}' does not exist."
    hint = nearest(path.name, _seen(path.parent))
    return f"There is no file '{path}'.{hint}"


def _seen(folder: Path) -> Iterator[str]:
    return (each.name for each in folder.iterdir() if not each.name.startswith("."))


@contextmanager
def atomic(path: PathLike) -> Iterator[Path]:
    """Write a file whole or not at all.

    Gives a temporary name in the same folder and with the same suffix. When the block ends
    well the file is flushed to the disk and renamed to `path` in one step; when it fails the
    temporary file is removed and whatever stood at `path` stays as it was. The block may make a
    folder instead; an older one is then moved aside first, in a step of its own.

    Parameters
    ----------
    path : str or PathLike
        The file to write; its folder must exist.

    Yields
    ------
    Path
        The temporary name; the block must create a file or a folder there.

    Raises
    ------
    OSError
        The folder is missing or may not be written to, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic(f"{folder}/note.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     Path(folder, "note.txt").read_text()
    'whole'
    """
    target = Path(path).resolve()  # a link stays a link
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"Cannot write '{os.fspath(path)}': there is no folder '{Path(path).parent}'."
        )
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield temporary
        _flush(temporary)
        _replace(temporary, target)
        _flush_folder(target.parent)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(
            f"Cannot write '{os.fspath(path)}': {reason}. Nothing was changed."
        ) from error
    finally:
        _remove(temporary)


def digest(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """Return the SHA-256 of what a file says of itself and, in the order of names, of its arrays.

    The entry "sha256" of the header is left out, and numbers count as little-endian.
    """
    signed = {name: value for name, value in header.items() if name != "sha256"}
    found = hashlib.sha256(json.dumps(signed, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name].astype(arrays[name].dtype.newbyteorder("<"), copy=False)
        found.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        found.update(array.tobytes())
    return found.hexdigest()


def _flush(path: Path) -> None:
    if path.is_dir():
        for each in path.iterdir():
            _flush(each)
        return
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Write a folder's names to the disk, where the system has it so."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _replace(temporary: Path, target: Path) -> None:
    if not (temporary.is_dir() and target.is_dir()):
        os.replace(temporary, target)
        return
    aside = temporary.with_name(f"{temporary.name}.old")
    os.rename(target, aside)
    try:
        os.replace(temporary, target)
    except OSError:
        os.rename(aside, target)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
