"""Files behind URLs: read as the array, by ranges; servers and packages that are missing."""

import io
import pickle
import re
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

fsspec = pytest.importorskip("fsspec")

from helpers import check_reads  # noqa: E402
from narrows._errors import MissingExtraError  # noqa: E402
from narrows.data.source import source, split_selector  # noqa: E402
from narrows.data.writers import write  # noqa: E402

X = np.random.default_rng(0).normal(size=(300, 4))
PACKAGES = {".parquet": "pyarrow", ".h5": "h5py", ".zarr": "zarr", ".root": "uproot"}

each_suffix = pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", *PACKAGES])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    fsspec.filesystem("memory").rm("/", recursive=True)


def written(suffix: str, name: str = "x") -> Path:
    pytest.importorskip(PACKAGES.get(suffix, "numpy"))
    path = Path(f"{name}{suffix}")
    if suffix == ".root":
        uproot = pytest.importorskip("uproot")
        with uproot.recreate(path) as file:
            columns = {f"x{k}": X[:, k] for k in range(4)}
            file.mktree("t", {key: "f8" for key in columns}).extend(columns)
    else:
        write(path, X)
    return path


def in_memory(path: Path, name: str) -> str:
    """Copy a file or folder to fsspec's memory and return its URL."""
    memory = fsspec.filesystem("memory")
    for each in path.rglob("*") if path.is_dir() else [path]:
        if each.is_file():
            memory.pipe(f"/{name}/{each}" if path.is_dir() else f"/{name}", each.read_bytes())
    return f"memory://{name}/{path}" if path.is_dir() else f"memory://{name}"


@each_suffix
def test_urls_read_as_the_array(suffix: str) -> None:
    rows = source(in_memory(written(suffix), f"runs/x{suffix}"))
    check_reads(rows, X)
    check_reads(pickle.loads(pickle.dumps(rows)), X)


@pytest.mark.parametrize(
    ("suffix", "selector", "columns"),
    [
        (".npz", "data", slice(None)),
        (".h5", "/data", slice(None)),
        (".parquet", "x2,x0", [2, 0]),
        (".csv", "x1", [1]),
        (".root", "t:x3,x2", [3, 2]),
    ],
)
def test_urls_take_selectors(suffix: str, selector: str, columns: Any) -> None:
    url = in_memory(written(suffix), f"x{suffix}")
    check_reads(source(f"{url}:{selector}"), X[:, columns])
    check_reads(source(url, key=selector), X[:, columns])


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_a_folder_behind_a_url_is_one_source(suffix: str) -> None:
    for name in ("a10", "a9"):
        in_memory(written(suffix, name), f"many/{name}{suffix}")
    rows = source("memory://many")
    check_reads(rows, np.concatenate([X, X]))
    assert rows.segments.tolist() == [0, 300, 600]


@pytest.mark.parametrize(
    ("url", "file", "key"),
    [
        ("s3://b/a.h5:/entry/data", "s3://b/a.h5", "/entry/data"),
        ("memory://a.npz:b", "memory://a.npz", "b"),
        ("https://data.h5:8080/a.h5", "https://data.h5:8080/a.h5", None),
        ("https://data.h5:8080/a.h5:/x", "https://data.h5:8080/a.h5", "/x"),
        ("https://h/a.h5?sign=a.h5:b", "https://h/a.h5?sign=a.h5:b", None),
        ("zip://a.npy::s3://b/c.zip", "zip://a.npy::s3://b/c.zip", None),
        ("simplecache::https://h/a.npz:b", "simplecache::https://h/a.npz", "b"),
    ],
)
def test_selectors_leave_urls_alone(url: str, file: str, key: str | None) -> None:
    assert split_selector(url) == (file, key)


def test_urls_may_be_chained() -> None:
    written(".npz")
    in_memory(Path("x.npz"), "x.npz")  # a zip file itself
    check_reads(source("zip://data.npy::memory://x.npz"), X)


class Whole(SimpleHTTPRequestHandler):
    """Sends whole files only."""

    def log_message(self, *_: object) -> None:
        pass


class Ranges(Whole):
    """Sends ranges of files too, and counts bytes."""

    sent: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not asked or not path.is_file():
            super().do_GET()
            return
        whole = path.read_bytes()
        first, last = int(asked[1]), min(int(asked[2]), len(whole) - 1)
        self.sent.append(last + 1 - first)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(whole)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(whole[first : last + 1])


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    pytest.importorskip("aiohttp")
    served = ThreadingHTTPServer(("127.0.0.1", 0), request.param)
    thread = threading.Thread(target=served.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()
    thread.join()


@pytest.mark.parametrize("server", [Ranges], indirect=True)
@each_suffix
def test_web_addresses_read_as_the_array(suffix: str, server: str) -> None:
    written(suffix)
    check_reads(source(f"{server}/x{suffix}"), X)
    if suffix != ".zarr":
        check_reads(source(f"{server}/x{suffix}?token=a:b"), X)


@pytest.mark.parametrize("server", [Ranges], indirect=True)
def test_only_what_is_read_is_fetched(server: str) -> None:
    with open("big.npy", "wb") as stream:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 30)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + 10**6 * 30 * 8)
    Ranges.sent.clear()
    assert not source(f"{server}/big.npy").read(500_000, 500_010).any()
    assert sum(Ranges.sent) < 0.1 * 10**6 * 30 * 8


@pytest.mark.parametrize("server", [Whole], indirect=True)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".csv", ".parquet", ".root"])
def test_a_server_without_ranges_is_refused(suffix: str, server: str) -> None:
    written(suffix)
    with pytest.raises(OSError, match="does not serve ranges") as caught:
        source(f"{server}/x{suffix}")
    assert str(caught.value) == (
        f"The server of '{server}/x{suffix}' does not serve ranges of bytes. Download the file."
    )


@pytest.mark.parametrize("server", [Ranges], indirect=True)
def test_what_is_not_there_is_named(server: str) -> None:
    for url in (f"{server}/no.npy", f"{server}/no", "memory://no.npy", "memory://no"):
        with pytest.raises(FileNotFoundError) as caught:
            source(url)
        assert str(caught.value) == f"There is no file '{url}'."


def test_a_server_that_does_not_answer_says_so() -> None:
    pytest.importorskip("aiohttp")
    with pytest.raises(OSError, match=r"^Cannot read 'http://127\.0\.0\.1:1/x\.npy': [^\n]*\.$"):
        source("http://127.0.0.1:1/x.npy")


def test_other_mistakes_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="Cannot read") as caught:
        source("gohper://x.npy")
    assert str(caught.value) == "Cannot read 'gohper://x.npy': protocol not known: gohper."
    in_memory(written(".npy"), "x.nyp")
    with pytest.raises(ValueError, match=r"^Unknown suffix '\.nyp' of 'memory://x\.nyp'\. Did you"):
        source("memory://x.nyp")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError) as missing:
        source("memory://x.npy")
    assert str(missing.value) == ("'fsspec' is not installed. Write: pip install 'narrows[remote]'")


def test_a_protocol_names_the_package_that_it_needs() -> None:
    try:
        import s3fs  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError) as missing:
            source("s3://bucket/x.npy")
        assert str(missing.value) == ("Cannot read 's3://bucket/x.npy': install s3fs to access S3.")


def test_arrays_by_columns_cannot_be_read_by_rows() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.asfortranarray(X))
    fsspec.filesystem("memory").pipe("/f.npy", buffer.getvalue())
    with pytest.raises(ValueError, match="by columns") as caught:
        source("memory://f.npy")
    assert str(caught.value) == (
        "The file 'memory://f.npy' holds an array by columns, of which a network cannot read rows. "
        "Download it, or save np.ascontiguousarray(array)."
    )


@each_suffix
def test_a_file_cut_short_says_so(suffix: str) -> None:
    if suffix in (".zarr", ".csv"):
        pytest.skip("a store has files of its own; half a table is one")
    path = written(suffix)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"truncated, damaged or not a"):
        source(in_memory(path, f"half{suffix}")).read(0, 300)
