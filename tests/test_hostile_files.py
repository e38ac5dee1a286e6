"""Data files that are damaged, or made to harm: one clear sentence, little memory, no code run."""

import io
import json
import os
import pickle
import shutil
import sys
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from narrows import Autoencoder, Checkpoint, Training
from narrows._errors import CheckpointError
from narrows.data import csv
from narrows.data.source import source
from narrows.data.writers import write
from narrows.engine.standing import standings

X = np.random.default_rng(0).normal(size=(300, 4))
PACKAGES = {".parquet": "pyarrow", ".h5": "h5py", ".root": "uproot"}
FORMATS = [".npy", ".npz", "packed.npz", ".csv", ".parquet", ".h5", "packed.h5", ".root"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def whole(kind: str) -> bytes:
    """Bytes of a good file."""
    package = pytest.importorskip(PACKAGES.get(f".{kind.rpartition('.')[2]}", "numpy"))
    path = Path(f"good{kind}")
    if kind == "packed.npz":
        np.savez_compressed(path, data=X)
    elif kind == "packed.h5":
        with package.File(path, "w") as file:
            settings = {"chunks": (50, 4), "compression": "gzip", "shuffle": True}
            file.create_dataset("entry/data", data=X, **settings)
            file["link"] = package.SoftLink("/entry/data")
    elif kind == ".root":
        with package.recreate(path) as file:
            file.mktree("t", {"a": "f4", "b": "f8"}).extend({"a": X[:, 0], "b": X[:, 1]})
    else:
        write(path, X)
    return path.read_bytes()


def changed(content: bytes, seed: int) -> bytes:
    """Other bytes in the header, other bytes anywhere, the end cut off, or a huge number."""
    rng = np.random.default_rng(seed)
    out = bytearray(content)
    if seed % 4 == 0:
        for place in rng.integers(min(len(out), 600), size=rng.integers(1, 8)):
            out[place] = rng.integers(256)
    elif seed % 4 == 1:
        for place in rng.integers(len(out), size=rng.integers(1, 20)):
            out[place] = rng.integers(256)
    elif seed % 4 == 2:
        del out[rng.integers(len(out)) :]
    else:
        place = rng.integers(len(out) - 8)
        out[place : place + 8] = b"\xff" * 7 + b"\x7f"
    return bytes(out)


@pytest.mark.parametrize("kind", FORMATS)
def test_changed_files_are_read_or_refused_in_a_sentence(kind: str) -> None:
    content = whole(kind)
    refused: dict[Path, str] = {}
    for seed in range(80):
        path = Path(f"{seed}{kind}")
        path.write_bytes(changed(content, seed))
        try:
            rows = source(path)
            rows.read(0, min(len(rows), 1000))
        except (ValueError, OSError) as error:
            refused[path] = str(error)
    assert len(refused) > 20
    for path, sentence in refused.items():
        assert "\n" not in sentence
        assert sentence.endswith((".", "?"))
        assert str(path) in sentence


@pytest.mark.parametrize("settings", [{"zarr_format": 2}, {}, {"shards": (150, 4)}])
def test_changed_stores_are_read_or_refused_in_a_sentence(settings: dict[str, object]) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array("good.zarr", data=X, chunks=(50, 4), **settings)
    files = [path for path in Path("good.zarr").rglob("*") if path.is_file()]
    refused = []
    for seed in range(40):
        shutil.copytree("good.zarr", "bad.zarr")
        path = Path("bad.zarr", sorted(files)[seed % len(files)].relative_to("good.zarr"))
        path.write_bytes(changed(path.read_bytes(), seed))
        try:
            rows = source("bad.zarr")
            rows.read(0, min(len(rows), 1000))
        except (ValueError, OSError) as error:
            refused.append(str(error))
        shutil.rmtree("bad.zarr")
    assert len(refused) > 10
    for sentence in refused:
        assert "bad.zarr" in sentence
        assert "\n" not in sentence


def npy_header(shape: object, descr: object = "<f8") -> bytes:
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


HEADERS = {
    "more rows than bytes": npy_header((10**12, 3)),
    "more values than integers": npy_header((10**18, 10**18)),
    "a wide row": npy_header((3, 10**12)),
    "below zero": npy_header((-1, 3)),
    "twice below zero": npy_header((-4, -8)),
    "no shape": npy_header(None),
    "text": npy_header((0, 10**9), "<U1"),
    "text of no length": npy_header((10**9,), "<U0"),
    "records": npy_header((3,), [("a", "<f8"), ("b", "<i4")]),
    "records of no length": npy_header((10**12,), []),
    "nested": npy_header((3,)).replace(b"'<f8'", b"(" * 3000),
    "minus signs": npy_header((3,)).replace(b"(3,)", b"-" * 5000 + b"1"),
    "code": npy_header((3,)).replace(b"(3,)", b"__import__('os').abort()"),
    "long": b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b" " * 1000,
    "unknown version": b"\x93NUMPY\x09\x00" + b" " * 1000,
}


@pytest.mark.parametrize("where", ["npy", "npz", "packed"])
@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_arrays_are_not_believed(name: str, where: str) -> None:
    content = HEADERS[name] + bytes(1000)
    if where == "npy":
        Path("x.npy").write_bytes(content)
    else:
        method = zipfile.ZIP_STORED if where == "npz" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile("x.npz", "w", method) as archive:
            archive.writestr("x.npy", content)
    suffix = "npy" if where == "npy" else "npz"
    with pytest.raises(ValueError, match=rf"^The file 'x\.{suffix}' [^\n]*\.$"):
        source(f"x.{suffix}")


class Harm:
    """What pickle would call."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("harmed",)


def test_nothing_is_unpickled() -> None:
    array = np.array([Harm()], dtype=object)
    np.save("x.npy", array)
    np.savez("x.npz", x=array)
    np.savez_compressed("y.npz", x=array)
    for name in ("x.npy", "x.npz", "y.npz"):
        with pytest.raises(ValueError, match="would have to be unpickled"):
            source(name)
        Path(name).write_bytes(pickle.dumps(Harm()))
        with pytest.raises(ValueError, match="truncated, damaged"):
            source(name)
    assert not Path("harmed").exists()


def test_an_archive_that_unpacks_to_far_more_than_it_can_is_refused() -> None:
    with zipfile.ZipFile("x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_header((10**9,), "<f8"))
    with pytest.raises(ValueError, match="truncated, damaged"):
        source("x.npz")
    with zipfile.ZipFile("y.npz", "w", zipfile.ZIP_LZMA) as archive:
        buffer = io.BytesIO()
        np.save(buffer, X)
        archive.writestr("x.npy", buffer.getvalue())
    with pytest.raises(ValueError, match="truncated, damaged"):
        source("y.npz")


def test_a_line_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "_LONGEST", 1000)
    Path("x.csv").write_text("1," * 5000)
    with pytest.raises(ValueError, match="truncated, damaged"):
        source("x.csv")


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_a_file_that_changes_or_vanishes_is_noticed(suffix: str) -> None:
    whole(suffix)
    rows = source(f"good{suffix}")
    write(f"good{suffix}", X[:7])
    with pytest.raises(ValueError, match="truncated, damaged"):
        rows.read(0, 300)
    os.remove(f"good{suffix}")
    with pytest.raises(FileNotFoundError, match=rf"good\{suffix}' is gone: it was there before\."):
        rows.read(0, 300)


def test_rows_of_a_huge_file_cost_what_is_read() -> None:
    with open("x.npy", "wb") as stream:
        stream.write(npy_header((10**9, 30), "<f4"))
        stream.truncate(stream.tell() + 10**9 * 30 * 4)
    rows = source("x.npy")
    assert len(rows) == 10**9
    assert rows.read(10**9 - 5, 10**9).shape == (5, 30)


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions of files")
def test_a_file_that_may_not_be_read_says_so() -> None:
    if os.geteuid() == 0:
        pytest.skip("the administrator may read everything")
    for kind in (".npy", ".h5", ".csv", ".root"):
        whole(kind)
        os.chmod(f"good{kind}", 0)
        with pytest.raises(PermissionError):
            source(f"good{kind}")


# Checkpoints


def checkpointed(folder: Path, **more: object) -> Autoencoder:
    checkpoint = Checkpoint(folder, minutes=None, epochs=1)
    settings = {"max_epochs": 3, "random_state": 0, "hidden_layer_sizes": (4,), **more}
    return Autoencoder(2, training=Training(checkpoint=checkpoint), **settings)


@pytest.fixture(scope="module")
def run_of_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A folder with the last two checkpoints of a fit, and the codes that it ends with."""
    folder = tmp_path_factory.mktemp("run")
    return folder, checkpointed(folder).fit(X).transform(X)


def header_and_rest(content: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def rebuilt(header: object, rest: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def huge(header: dict[str, Any], name: str = "best.loss") -> dict[str, Any]:
    return {**header, name: {**header[name], "shape": [2**40, 2**20]}}


def other_type(header: dict[str, Any]) -> dict[str, Any]:
    kinds = {"F32": "I32", "F64": "I64", "I64": "F64", "BOOL": "U8", "U8": "BOOL"}
    own = {name: told for name, told in header.items() if name != "__metadata__"}
    changed = {n: {**told, "dtype": kinds[told["dtype"]]} for n, told in own.items()}
    return {**header, **changed}


def signed(told: object, header: dict[str, Any]) -> dict[str, Any]:
    return {**header, "__metadata__": {"narrows": told if isinstance(told, str) else "3"}}


HOSTILE = {
    "huge shape": lambda header, rest: rebuilt(huge(header), rest),
    "huge header": lambda header, rest: b"\xff" * 7 + b"\x7f" + rest,
    "long header": lambda header, rest: (2**33).to_bytes(8, "little") + rest,
    "deep header": lambda header, rest: rebuilt(b'{"a":' * 10**5, rest),
    "deep settings": lambda header, rest: rebuilt(signed("[" * 10**5, header), rest),
    "no settings": lambda header, rest: rebuilt(signed("{}", header), rest),
    "settings of text": lambda header, rest: rebuilt(signed("3", header), rest),
    "other types": lambda header, rest: rebuilt(other_type(header), rest),
    "no tensors": lambda header, rest: rebuilt({"__metadata__": header["__metadata__"]}, b""),
    "a pickle": lambda header, rest: pickle.dumps(Harm()),
}


def goes_on(folder: Path, expected: np.ndarray) -> None:
    """Fit from a folder on, whatever it warns of, and compare codes with those of a whole fit."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        found = checkpointed(folder).fit(X).transform(X)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_checkpoints_give_way_to_the_one_before(
    name: str, run_of_two: tuple[Path, np.ndarray]
) -> None:
    shutil.copytree(run_of_two[0], "run")
    first, last = sorted(Path("run").iterdir())
    last.write_bytes(HOSTILE[name](*header_and_rest(last.read_bytes())))
    tracemalloc.start()
    (run,), (reason,) = standings("run")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert run.path == first
    assert most < 5e6
    assert "\n" not in reason
    assert str(last) in reason
    goes_on(Path("run"), run_of_two[1])
    shutil.rmtree("run")
    Path("run").mkdir()
    last.write_bytes(
        HOSTILE[name](*header_and_rest(sorted(run_of_two[0].iterdir())[1].read_bytes()))
    )
    with pytest.raises(CheckpointError, match=r"^No checkpoint of this fit in 'run' can be"):
        checkpointed(Path("run")).fit(X)
    assert last.exists()
    assert not Path("harmed").exists()


def test_changed_checkpoints_give_way_to_the_one_before(
    run_of_two: tuple[Path, np.ndarray],
) -> None:
    refused = 0
    for seed in range(24):
        shutil.rmtree("run", ignore_errors=True)
        shutil.copytree(run_of_two[0], "run")
        last = sorted(Path("run").iterdir())[-1]
        last.write_bytes(changed(last.read_bytes(), seed))
        runs, reasons = standings("run")
        assert len(runs) == 1
        assert all("\n" not in reason for reason in reasons)
        refused += len(reasons)
        goes_on(Path("run"), run_of_two[1])
    assert refused > 12
