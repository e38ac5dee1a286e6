"""Files behind URLs, read through fsspec by the ranges that are asked for."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from narrows._errors import MissingExtraError, require

_BUFFER = 2**16  # bytes handed over at a time; fsspec reads and keeps larger blocks


class Unreachable(OSError):
    """A server that does not answer, does not let us in, or does not serve ranges of bytes."""


@dataclass(frozen=True)
class Remote:
    """A file or folder behind a URL, with those members of a `Path` that adapters use.

    Parameters
    ----------
    url : str
        Of any protocol fsspec knows: https://, s3://, memory://, ...

    Raises
    ------
    FileNotFoundError
        On opening, there is nothing at this URL.
    OSError
        The server cannot be reached, or does not serve ranges of bytes.
    MissingExtraError
        fsspec, or what it needs for this protocol, is not installed.

    Examples
    --------
    >>> import fsspec
    >>> with fsspec.open("memory://runs/a.bin", "wb") as stream:
    ...     _ = stream.write(b"abc")
    >>> with Remote("memory://runs/a.bin").open() as stream:
    ...     stream.seek(1), stream.read()
    (1, b'bc')
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """Last part of the path, without what a web address has after it."""
        parts = [part for part in self.url.split("::") if "://" in part]
        scheme, _, path = (parts[0] if parts else self.url).partition("://")
        if scheme in ("http", "https"):
            path = path.partition("?")[0].partition("#")[0]
        return PurePosixPath(path).name

    @property
    def suffix(self) -> str:
        """End of the name, from its last dot."""
        return PurePosixPath(self.name).suffix

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """Open the file for reading by ranges."""
        with _failures(self.url):
            system, path = self._found()
            return io.BufferedReader(_Stream(self.url, system.open(path, mode)), _BUFFER)

    def is_dir(self) -> bool:
        """Tell a folder from a file; one of the two must be there."""
        with _failures(self.url):
            system, path = self._found()
            return bool(system.info(path)["type"] == "directory")

    def iterdir(self) -> Iterator["Remote"]:
        """Yield what lies in the folder."""
        with _failures(self.url):
            system, path = self._found()
            for name in system.ls(path, detail=False):
                if name.rstrip("/") != path.rstrip("/"):
                    yield Remote(system.unstrip_protocol(name.rstrip("/")))

    def __truediv__(self, name: str) -> "Remote":
        return Remote(f"{self.url.rstrip('/')}/{name}")

    def is_file(self) -> bool:
        """Return whether this is a file that is there."""
        with _failures(self.url):
            system, path = self._found()
            return bool(system.isfile(path))

    def _found(self) -> tuple[Any, str]:
        return require("fsspec.core", "remote").url_to_fs(self.url)


class _Stream(io.RawIOBase):
    """Bytes of a file of fsspec; what goes wrong on the way is one sentence."""

    def __init__(self, url: str, file: Any) -> None:
        self._url = url
        self._file = file
        if file.seek(0, io.SEEK_END) > 1:  # a server without ranges is found out here
            file.seek(-1, io.SEEK_END)
            file.read(1)
        file.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _failures(self._url):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        with _failures(self._url):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextmanager
def _failures(url: str) -> Iterator[None]:
    try:
        yield
    except (MissingExtraError, Unreachable):
        raise
    except ImportError as error:  # names the package that the protocol needs
        raise MissingExtraError(f"Cannot read '{url}': {_reason(error)}.") from error
    except FileNotFoundError as error:
        if isinstance(error.__cause__, OSError):  # nobody answered
            raise Unreachable(f"Cannot read '{url}': {_reason(error.__cause__)}.") from error
        raise FileNotFoundError(f"There is no file '{url}'.") from error
    except ValueError as error:
        if "known" not in str(error):  # fsspec's word for a server that sends whole files only
            raise Unreachable(
                f"The server of '{url}' does not serve ranges of bytes. Download the file."
            ) from error
        raise Unreachable(f"Cannot read '{url}': {_reason(error)}.") from error
    except Exception as error:
        raise Unreachable(f"Cannot read '{url}': {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    text = " ".join((str(error) or type(error).__name__).split()).rstrip(".")
    return text[:1].lower() + text[1:200]
