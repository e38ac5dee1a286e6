"""Folders of files as one source, and how much of many files is kept in memory."""

import os
import weakref
from pathlib import Path

import numpy as np
import pytest

from helpers import check_reads
from narrows.data import blocks
from narrows.data.source import source
from narrows.data.writers import write

X = np.random.default_rng(0).normal(size=(40, 3))
NAMES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    os.mkdir("runs")
    return tmp_path


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".csv", ".h5", ".zarr"])
def test_a_folder_reads_as_its_files_in_natural_order(suffix: str) -> None:
    for package in {".parquet": "pyarrow", ".h5": "h5py", ".zarr": "zarr"}.get(suffix, "").split():
        pytest.importorskip(package)
    order = ["part1", "part2", "part10", "part010b"]
    for name, rows in zip(order[::-1], np.split(X, 4)[::-1], strict=True):
        write(f"runs/{name}{suffix}", rows, NAMES)
    for extra in ("_SUCCESS", ".part3.npy", "notes.md"):
        Path("runs", extra).write_text("")
    for path in ("runs", Path("runs"), "runs/"):
        rows = source(path)
        check_reads(rows, X)
        assert rows.segments.tolist() == [0, 10, 20, 30, 40]
    assert rows.names == (NAMES if suffix in (".parquet", ".csv") else None)


def test_a_folder_may_have_the_suffix_and_a_selector() -> None:
    pytest.importorskip("pyarrow")
    os.mkdir("x.parquet")
    for k in range(4):
        write(f"x.parquet/{k}.parquet", X[10 * k : 10 * k + 10], NAMES)
        write(f"runs/{k}.parquet", X[10 * k : 10 * k + 10], NAMES)
    check_reads(source("x.parquet:c,a"), X[:, [2, 0]])
    check_reads(source("runs:c,a"), X[:, [2, 0]])
    check_reads(source("runs", key="c,a"), X[:, [2, 0]])


def test_types_of_one_kind_are_promoted() -> None:
    np.save("runs/0.npy", X.astype(np.float32))
    np.save("runs/1.npy", X)
    check_reads(source("runs"), np.concatenate([X.astype(np.float32), X]))


def test_many_files_do_not_keep_many_blocks() -> None:
    pytest.importorskip("pyarrow")
    for k in range(10):
        write(f"runs/{k}.parquet", X + k)
    files = [source(f"runs/{k}.parquet") for k in range(10)]
    rows = source(files)
    for _ in range(2):
        np.testing.assert_array_equal(rows.read(0, 400), np.concatenate([X + k for k in range(10)]))
        assert sum(file._kept is not None for file in files) == blocks.MOST_KEPT
    forgotten = [weakref.ref(file) for file in files]
    del files, rows
    assert not [reference for reference in forgotten if reference() is not None]


ERRORS = {
    (
        "The file 'runs/b.npy' has events of shape (2,), 'runs/a.npy' of (3,). "
        "Files of a folder must agree."
    ): {"a.npy": X, "b.npy": X[:, :2]},
    (
        "The file 'runs/b.npy' has numbers of type int64, 'runs/a.npy' of float64. "
        "Files of a folder must agree."
    ): {"a.npy": X, "b.npy": X.astype(np.int64)},
    (
        "The folder 'runs' holds files of several formats: 1 .csv, 2 .npy. "
        "Pass a list of files, or keep one format."
    ): {"a.csv": X, "b.npy": X, "c.npy": X},
    ("The folder 'runs' holds no files of rows. Write the name of a folder that does."): {},
}


@pytest.mark.parametrize("sentence", ERRORS)
def test_errors_say_what_to_write(sentence: str) -> None:
    for name, rows in ERRORS[sentence].items():
        write(f"runs/{name}", rows)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        source("runs")
    assert str(caught.value) == sentence


def test_columns_of_a_folder_must_agree() -> None:
    pytest.importorskip("pyarrow")
    write("runs/a.parquet", X, NAMES)
    write("runs/b.parquet", X, ("a", "c", "b"))
    with pytest.raises(ValueError, match="must agree") as caught:
        source("runs")
    assert str(caught.value) == (
        "The file 'runs/b.parquet' has the columns a, c, b, 'runs/a.parquet' has a, b, c. "
        "Files of a folder must agree."
    )


def test_a_folder_in_a_folder_is_not_passed_over() -> None:
    write("runs/a.npy", X)
    os.mkdir("runs/more")
    with pytest.raises(ValueError, match="beside its files") as caught:
        source("runs")
    assert str(caught.value) == (
        "The folder 'runs' holds the folder 'more' beside its files. Pass a list of folders."
    )


def test_a_folder_that_is_not_there_is_missed_by_name() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        source("rnus")
    assert str(caught.value) == "There is no file 'rnus'. Did you mean 'runs'?"
