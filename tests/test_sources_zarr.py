"""Zarr stores of both formats: every layout reads as the array; what a store may not do."""

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

zarr = pytest.importorskip("zarr")

from helpers import check_reads  # noqa: E402
from narrows.data import blocks  # noqa: E402
from narrows.data.source import source  # noqa: E402
from narrows.data.writers import write  # noqa: E402

X = np.random.default_rng(0).normal(size=(700, 6))
LISTED = "/phi (700,), /runs/xyz (700, 6)"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made() -> str:
    group = zarr.open_group("a.zarr", mode="w", zarr_format=2)
    group.create_array("runs/xyz", data=X, chunks=(64, 6))
    group.create_array("phi", data=X[:, 0])
    group.create_array("text", shape=(3,), dtype="<U3")
    group.create_array("one", shape=(), dtype="f8")
    group.create_array("complex", data=X * 1j)
    group.create_array("wide", shape=(3, 10**10), dtype="f8", chunks=(1, 1000))
    group.create_array("chunky", shape=(10**6, 10**4), dtype="f8", chunks=(10**6, 10**4))
    return "a.zarr"


LAYOUTS: dict[str, dict[str, Any]] = {
    "format 2": {"zarr_format": 2, "chunks": (64, 4)},
    "format 2, fortran": {"zarr_format": 2, "chunks": (64, 4), "order": "F"},
    "plain": {"zarr_format": 3, "chunks": (1, 6), "compressors": None},
    "one chunk": {"zarr_format": 3, "chunks": (700, 6)},
    "shards": {"zarr_format": 3, "chunks": (16, 3), "shards": (64, 6)},
    "big endian": {"zarr_format": 2, "dtype": ">f8", "chunks": (100, 6)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_reads_as_the_array(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_BLOCK", 100 * X[0].nbytes)  # so that reads cross blocks
    settings = {"dtype": X.dtype, **LAYOUTS[layout]}
    zarr.create_array("x.zarr", shape=X.shape, **settings)[:] = X
    rows = source("x.zarr")
    assert rows.dtype == np.float64
    check_reads(rows, X)
    check_reads(pickle.loads(pickle.dumps(rows)), X)


@pytest.mark.parametrize("shape", [(700,), (700, 1), (70, 3, 5, 4)])
def test_every_rank_reads_as_the_array(shape: tuple[int, ...]) -> None:
    array = X.ravel()[: np.prod(shape)].reshape(shape)
    zarr.open_group("g.zarr", mode="w").create_array("a/b", data=array)
    for name in ("g.zarr", "g.zarr:a/b", "g.zarr:/a/b"):
        check_reads(source(name), array)


def test_a_store_needs_no_suffix() -> None:
    zarr.create_array("store", data=X)
    check_reads(source("store"), X)


@pytest.mark.filterwarnings("ignore:.*lacks 999999 of the 1000000 chunks")
def test_an_array_that_was_never_written_costs_the_rows_that_are_read() -> None:
    array = zarr.create_array("h.zarr", shape=(10**9, 30), chunks=(1000, 30), dtype="f4")
    array[500_000_001] = 1
    rows = source("h.zarr")
    assert len(rows) == 10**9
    got = rows.read(500_000_000, 500_000_003)
    np.testing.assert_array_equal(got, [[0] * 30, [1] * 30, [0] * 30])


ERRORS: dict[str, str] = {
    f"The store 'a.zarr' holds {LISTED}. Name one: 'a.zarr:/phi'.": "a.zarr",
    f"The store 'a.zarr' has no array '/../b'. It holds: {LISTED}.": "a.zarr:../b",
    "The store 'a.zarr' has no array '/runs/xzy'. Did you mean 'runs/xyz'?": "a.zarr:/runs/xzy",
    (
        "The store 'a.zarr' has a group, not an array, at '/runs'. It holds: /runs/xyz (700, 6)."
    ): "a.zarr:runs",
    "The array '/text' of the store 'a.zarr' has dtype <U3. Choose an array of numbers.": (
        "a.zarr:text"
    ),
    "The array '/complex' of the store 'a.zarr' has dtype complex128. Choose an array of numbers.": (  # noqa: E501
        "a.zarr:complex"
    ),
    (
        "The array '/one' of the store 'a.zarr' is a single value. "
        "Choose an array of shape (rows, features)."
    ): "a.zarr:one",
    (
        "The array '/wide' of the store 'a.zarr' has shape (3, 10000000000): a single row would "
        "take 75 GiB. Store it with the rows on the first axis."
    ): "a.zarr:wide",
    (
        "The array '/chunky' of the store 'a.zarr' has chunks of shape (1000000, 10000), each of "
        "75 GiB. Store it in smaller chunks."
    ): "a.zarr:chunky",
    "The store 'x.zarr' is one array. Leave out the selector 'y'.": "x.zarr:y",
    "The store 'none.zarr' holds no array with rows of numbers.": "none.zarr",
}


@pytest.mark.parametrize("sentence", ERRORS)
def test_errors_say_what_to_write(sentence: str) -> None:
    made()
    write("x.zarr", X)
    zarr.open_group("none.zarr", mode="w")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        source(ERRORS[sentence])
    assert str(caught.value) == sentence


@pytest.mark.parametrize("codec", ["pickle", "json2", "vlen-bytes"])
@pytest.mark.parametrize("key", ["filters", "compressor"])
def test_codecs_that_do_more_than_compute_are_refused(codec: str, key: str) -> None:
    zarr.create_array("x.zarr", data=X, zarr_format=2)
    about = Path("x.zarr/.zarray")
    settings = json.loads(about.read_text())
    settings[key] = [{"id": codec}] if key == "filters" else {"id": codec}
    about.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"damaged or not|is encoded by"):
        source("x.zarr")


@pytest.mark.parametrize("where", ["zarr.json", "c/0/0"])
@pytest.mark.parametrize("content", [b"", b"\xff\x00" * 50, b"{}", b"[" * 5000])
def test_damaged_stores_say_so_in_a_sentence(where: str, content: bytes) -> None:
    zarr.create_array("x.zarr", data=X)
    Path("x.zarr", where).write_bytes(content)
    with pytest.raises(ValueError, match=r"^The file 'x\.zarr' is truncated, damaged"):
        source("x.zarr").read(0, 1)


def test_other_folders_are_not_replaced(folder: Path) -> None:
    Path("x.zarr").mkdir()
    Path("x.zarr/thesis.tex").write_text("years of work")
    with pytest.raises(OSError, match="no Zarr store") as caught:
        write("x.zarr", X)
    sentence = "Cannot write 'x.zarr': it is a folder, but no Zarr store. Nothing was changed."
    assert str(caught.value) == sentence
    assert [path.name for path in folder.rglob("*")] == ["x.zarr", "thesis.tex"]


def test_chunks_that_are_absent_are_told(tmp_path):
    array = zarr.create_array(tmp_path / "rows.zarr", shape=(6, 2), chunks=(2, 2), dtype="f4")
    array[:2] = 1
    message = f"'{tmp_path / 'rows.zarr'}' lacks 2 of the 3 chunks of its array, whose entries"
    with pytest.warns(UserWarning, match=re.escape(message)):
        rows = source(tmp_path / "rows.zarr")
    np.testing.assert_array_equal(rows.read(0, 6), np.repeat([1.0, 0.0, 0.0], 2)[:, None] * [1, 1])


@pytest.mark.parametrize("fill", [0.0, np.nan])
@pytest.mark.parametrize("lost", ["store", "chunks"])
def test_a_store_that_vanishes_is_noticed(lost: str, fill: float, tmp_path: Path) -> None:
    """Chunks that are not there would be read as the fill value."""
    path = tmp_path / "x.zarr"
    zarr.create_array(str(path), data=np.ones((40, 3)), chunks=(10, 3), fill_value=fill)
    rows = source(path)
    if lost == "store":
        shutil.rmtree(path)
    else:
        shutil.rmtree(path / "c")
    with pytest.raises(FileNotFoundError, match=r"x\.zarr' is gone: it was there before\."):
        rows.read(15, 35)
