"""Sources, views, splits and writers: every format and view against slices of an array."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch

from helpers import check_reads
from narrows._errors import MissingExtraError
from narrows._files import atomic
from narrows.data.arrays import ArraySource
from narrows.data.places import reading
from narrows.data.protocol import Source
from narrows.data.source import FORMATS, source, split_selector
from narrows.data.split import split_rows
from narrows.data.views import Concatenated, Rows, lagged, windows
from narrows.data.writers import WRITERS, write

NAMES = ("phi", "psi 2", "E/kT")
X = np.random.default_rng(0).normal(size=(700, 3)) * [1e-6, 1.0, 1e6]
BORDERS = [0, 5, 300, 302, 700]

EXTRAS = {"parquet": "pyarrow", "hdf5": "h5py", "zarr": "zarr"}
each_format = pytest.mark.parametrize("suffix", sorted(WRITERS))
each_split = pytest.mark.parametrize("how", ["random", "blocks", "groups"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, so that error sentences hold no other path."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class ArrayLike:
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return X


def mapped(array: np.ndarray) -> np.ndarray:
    np.save("mapped.npy", array)
    return np.load("mapped.npy", mmap_mode="r")


def pieces(array: np.ndarray) -> list[np.ndarray]:
    return [array[a:b] for a, b in pairwise(BORDERS)]


MEMORY: dict[str, Callable[[np.ndarray], object]] = {
    "numpy": np.asarray,
    "fortran": np.asfortranarray,
    "objects": lambda x: x.astype(object),
    "memmap": mapped,
    "array-like": lambda x: ArrayLike(),
    "nested list": lambda x: x.tolist(),
    "csr": scipy.sparse.csr_array,
    "coo": scipy.sparse.coo_matrix,
    "pandas": lambda x: pd.DataFrame(x, columns=NAMES),
    "polars": lambda x: pl.DataFrame(x, schema=NAMES),
    "torch": lambda x: torch.tensor(x, requires_grad=True),
    "segments": pieces,
    "segments of frames": lambda x: [pd.DataFrame(part, columns=NAMES) for part in pieces(x)],
    "segments of sources": lambda x: tuple(map(source, pieces(x))),
    "source": source,
}


def written(suffix: str, array: np.ndarray = X, names: tuple[str, ...] | None = NAMES) -> Path:
    package = EXTRAS.get(str(FORMATS[suffix].extra))
    if package:
        pytest.importorskip(package)
    path = Path(f"table{suffix}")
    write(path, array, names if array is X else None)
    return path


def view_cases(rows: Source, x: np.ndarray, borders: list[int]) -> list[tuple[Source, np.ndarray]]:
    """Every view of a source, with what numpy says it holds."""
    rng = np.random.default_rng(1)
    split = np.sort(rng.choice(len(x), len(x) // 3, replace=False))
    drawn = rng.integers(0, len(x), 2 * len(x))
    times = [np.arange(a, b) for a, b in pairwise(borders)]
    now, later = lagged(rows, 4)
    starts = [t for part in times for t in part[: max(len(part) - 6, 0) : 2]]
    return [
        (Rows(rows, split), x[split]),
        (Rows(rows, drawn), x[drawn]),
        (Rows(rows, np.arange(20, 60)), x[20:60]),
        (now, np.concatenate([x[part[:-4]] for part in times])),
        (later, np.concatenate([x[part[4:]] for part in times])),
        (windows(rows, 7, stride=2), np.stack([x[t : t + 7] for t in starts])),
        (Concatenated([rows, Rows(rows, split)]), np.concatenate([x, x[split]])),
    ]


# Reading


@pytest.mark.parametrize("kind", MEMORY)
def test_memory_reads_as_the_array(kind: str) -> None:
    rows = source(MEMORY[kind](X))
    check_reads(rows, X)
    assert rows.names == (NAMES if "frame" in kind or kind in {"pandas", "polars"} else None)
    borders = BORDERS if "segments" in kind else [0, len(X)]
    assert rows.segments.tolist() == borders
    for view, expected in view_cases(rows, X, borders):
        check_reads(view, expected)


@each_format
def test_files_read_as_the_array(suffix: str) -> None:
    path = written(suffix)
    rows = source(path)
    check_reads(rows, X)
    for view, expected in view_cases(rows, X, [0, len(X)]):
        check_reads(view, expected)
    check_reads(source([path, str(path)]), np.concatenate([X, X]))


@each_format
@pytest.mark.parametrize("shape", [(9,), (9, 1), (9, 2, 3), (1, 2)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_writers_round_trip(suffix: str, shape: tuple[int, ...], dtype: type) -> None:
    array = (np.random.default_rng(2).normal(size=shape) * 3).astype(dtype)
    rows = source(written(suffix, array))
    got = rows.read(0, len(rows))
    np.testing.assert_array_equal(got.reshape(shape).astype(dtype), array)
    if rows.names:
        assert rows.names[-1] == {1: "x", 2: f"x{shape[-1] - 1}", 3: "x1_2"}[len(shape)]


@each_format
def test_missing_entries_come_back_as_nan(suffix: str) -> None:
    array = np.where(np.random.default_rng(3).random((300, 2)) < 0.5, np.nan, 1.5)
    check_reads(source(written(suffix, array)), array)


def test_every_format_but_those_of_experiments_has_a_writer() -> None:
    assert WRITERS.keys() == FORMATS.keys() - {".nxs", ".root"}


def test_parquet_reads_across_row_groups() -> None:
    pl.DataFrame(X, schema=NAMES).write_parquet("groups.parquet", row_group_size=64)
    check_reads(source("groups.parquet:E/kT,phi"), X[:, [2, 0]])


def test_npz_reads_one_array_by_row_ranges_where_it_can() -> None:
    arrays = {"xyz": X.reshape(-1, 7, 3), "empty": X[:0], "phi": X[:, 0]}
    np.savez("plain.npz", **arrays)
    np.savez_compressed("packed.npz", **arrays)
    for name, array in arrays.items():
        for file in ("plain", "packed"):
            check_reads(source(f"{file}.npz:{name}"), array)
            check_reads(source(Path(f"{file}.npz"), key=name), array)
    assert not source("plain.npz:xyz").in_memory
    assert source("packed.npz:xyz").in_memory


def test_fortran_order_is_kept() -> None:
    np.save("f.npy", np.asfortranarray(X))
    check_reads(source("f.npy"), X)


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("1,2\n3,4\n", None, [[1, 2], [3, 4]]),
        ("a;b\n1;\n\n;4\n", ("a", "b"), [[1, np.nan], [np.nan, 4]]),
        ("a\tb\n1\t\n\t\n", ("a", "b"), [[1, np.nan], [np.nan, np.nan]]),
        ("  1   2\n 3 \t 4\n", None, [[1, 2], [3, 4]]),
        ("# made by hand\n# a b\n1 2\n3 4\n", ("a", "b"), [[1, 2], [3, 4]]),
        ('"1990","1991"\n1,NA\n3,4\n', ("1990", "1991"), [[1, np.nan], [3, 4]]),
        ('\ufeff"x, left",y\r\n"1",2\r\n', ("x, left", "y"), [[1, 2]]),
        ("a\n1\n2", ("a",), [[1], [2]]),
        ("5\n", None, [[5]]),
    ],
)
def test_dialects_of_text_tables(text: str, names: Any, expected: list[list[float]]) -> None:
    Path("t.csv").write_bytes(text.encode())
    rows = source("t.csv")
    assert rows.names == names
    check_reads(rows, np.array(expected, float))


def test_columns_are_selected_by_name_or_number() -> None:
    Path("r.csv").write_text(",1,2\nV1,0.5,3\nV2,0.7,4\n")
    check_reads(source("r.csv:2,1"), np.array([[3, 0.5], [4, 0.7]]))
    Path("n.csv").write_text("1,2,u\n3,4,v\n")
    check_reads(source("n.csv", key="1"), np.array([[2.0], [4.0]]))


@pytest.mark.parametrize(
    ("path", "file", "key"),
    [
        ("a.npz:b", "a.npz", "b"),
        ("a.npz", "a.npz", None),
        (r"C:\x\a.NPZ:b", r"C:\x\a.NPZ", "b"),
        (r"C:\x\a.npz", r"C:\x\a.npz", None),
        ("t.csv:time: s,x", "t.csv", "time: s,x"),
    ],
)
def test_selectors_leave_drive_letters_alone(path: str, file: str, key: str | None) -> None:
    assert split_selector(path) == (file, key)


def test_frames_with_missing_mixed_columns() -> None:
    columns = {"i": [1, None, 3], "f": [0.5, None, 2.5], "b": [True, None, False]}
    expected = np.array([[1, 0.5, 1], [np.nan] * 3, [3, 2.5, 0]])
    check_reads(source(pd.DataFrame(columns).convert_dtypes()), expected)
    check_reads(source(pl.DataFrame(columns)), expected)


def test_tensors_of_bfloat16_widen() -> None:
    rows = source(torch.ones(3, 2, dtype=torch.bfloat16))
    assert rows.dtype == np.float32


def test_libraries_are_recognised_without_importing_them() -> None:
    code = (
        "import sys, numpy as np; from narrows.data.source import source; source(np.eye(2));"
        "print({'torch', 'pandas', 'polars', 'scipy', 'pyarrow'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


# Time


def clocks(seed: int) -> Source:
    """Segments of random lengths whose rows say segment and time: 1000 segment + time."""
    lengths = np.random.default_rng(seed).integers(0, 40, 12)
    return source([1000 * k + np.arange(n) for k, n in enumerate([*lengths, 40])])


@pytest.mark.parametrize("seed", range(5))
def test_views_of_views_never_cross_a_border(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(rng.random(len(clocks(seed))) < 0.9)
    for rows in (clocks(seed), Rows(clocks(seed), kept), Concatenated([clocks(seed), clocks(9)])):
        for a, b in pairwise(rows.segments.tolist()):
            assert np.all(np.diff(rows.read(a, b)) == 1)
        events = windows(rows, 3, stride=2)
        values = events.read(0, len(events))
        assert np.all(np.diff(values) == 1)
        now, later = lagged(events, 1)
        assert np.all(later.read(0, len(later)) - now.read(0, len(now)) == 2)
        now, later = lagged(rows, 2)
        assert np.all(later.read(0, len(later)) - now.read(0, len(now)) == 2)


# Splits


@each_split
@pytest.mark.parametrize("n", [2, 3, 17, 1000])
@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.93])
@pytest.mark.parametrize("segmented", [False, True])
def test_splits_are_disjoint_complete_and_repeatable(
    how: str, n: int, fraction: float, segmented: bool
) -> None:
    groups = np.arange(n) // 2 if n > 3 else np.arange(n)
    segments = np.array([0, n // 3, n // 3, n]) if segmented else None

    def sides() -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        return split_rows(n, fraction, how, rng=rng, groups=groups, segments=segments)

    train, held_out = sides()
    np.testing.assert_array_equal(held_out, sides()[1])
    np.testing.assert_array_equal(np.sort([*train, *held_out]), np.arange(n))
    assert abs(len(held_out) - n * fraction) <= max(4, 0.03 * n)
    for side in (train, held_out):
        assert len(side) >= 1
        assert np.all(np.diff(side) > 0)
    if how == "groups":
        assert not set(groups[train]) & set(groups[held_out])


@each_split
@pytest.mark.parametrize(("n", "fraction"), [(0, 0.5), (1, 0.5), (9, 0)])
def test_nothing_is_held_out_of_one_row_or_at_fraction_zero(
    how: str, n: int, fraction: float
) -> None:
    rng = np.random.default_rng(0)
    train, held_out = split_rows(n, fraction, how, rng=rng, groups=["a"] * n)
    assert (train.tolist(), held_out.tolist()) == (list(range(n)), [])


@pytest.mark.parametrize("seed", range(5))
def test_blocks_are_contiguous_and_spread(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, held_out = split_rows(10_000, 0.1, "blocks", rng=rng)
    blocks = np.split(held_out, np.flatnonzero(np.diff(held_out) > 1) + 1)
    assert 5 <= len(blocks) <= 10
    assert min(map(len, blocks)) >= 99
    assert set(held_out // 1000) == set(range(10))


def test_short_segments_stay_whole() -> None:
    segments = np.arange(0, 2001, 20)
    rng = np.random.default_rng(0)
    train, held_out = split_rows(2000, 0.2, "blocks", rng=rng, segments=segments)
    assert not set(train // 20) & set(held_out // 20)
    assert len(held_out) == 400


# What goes wrong


def contents(path: Path) -> dict[str, bytes]:
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return {str(each): each.read_bytes() for each in files if each.is_file()}


@each_format
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_the_old_file_survives_a_failing_write(
    suffix: str, function: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = written(suffix)
    before = contents(path)
    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="Cannot write") as caught:
        write(path, X[:5])
    sentence = f"Cannot write '{path}': no space left on device. Nothing was changed."
    assert str(caught.value) == sentence
    assert contents(path) == before
    assert list(folder.iterdir()) == [Path.cwd() / path]


def test_an_interrupted_write_leaves_nothing(folder: Path) -> None:
    def interrupted() -> None:
        with atomic("x.npy") as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("suffix", sorted(WRITERS.keys() - {".zarr"}))
def test_damaged_files_say_so_in_a_sentence(suffix: str) -> None:
    path = written(suffix)
    whole = path.read_bytes()
    table = suffix in {".csv", ".tsv", ".txt"}
    cut = whole[: whole.rindex(b"\n", 0, -1) + 4] if table else whole[:-7]
    for content in (b"", b"\xff\x00\xfe" * 50, cut, b"" if table else whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^The file 'table\{suffix}' [^\n]*[.?]$"):
            source(path).read(0, len(source(path)))


def saved(save: Callable[..., object], name: str, *args: Any, **kwargs: Any) -> str:
    """Save a file and return the name that selects in it."""
    save(name.partition(":")[0], *args, **kwargs)
    return name


def text(name: str, content: str) -> str:
    Path(name.partition(":")[0]).write_text(content)
    return name


def split(how: str = "random", fraction: float = 0.1, **kwargs: Any) -> object:
    return split_rows(4, fraction, how, rng=np.random.default_rng(0), **kwargs)


FRAME = {"x": [1.0, 2.0], "kind": ["a", "b"]}
DATES = {"x": [1.0, 2.0], "day": np.array(["2020-01-01", "2020-01-02"], "M8[us]")}
EYE = np.eye(3)
SEVERAL = {"xyz": np.zeros((4, 2, 3)), "phi": np.zeros(4)}
COLUMNS = "columns of text or dates: {}. Encode them as numbers or drop them."
KIND = COLUMNS.format("'kind'")

TEXT: list[tuple[str, Callable[[], object]]] = [
    ("'kind'", lambda: pd.DataFrame(FRAME)),
    ("'kind'", lambda: pl.DataFrame(FRAME)),
    ("'kind'", lambda: pd.DataFrame(FRAME).astype({"kind": "category"})),
    ("'day'", lambda: pd.DataFrame(DATES)),
    ("'day'", lambda: pl.DataFrame(DATES)),
    ("'1'", lambda: np.array([[1, "a"], [2, "b"]], object)),
    (", ".join(f"'{k}'" for k in range(10)) + " and 2 more", lambda: np.full((1, 12), "a")),
]


@pytest.mark.parametrize(("columns", "make"), TEXT)
def test_text_columns_are_named(columns: str, make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="text or dates") as caught:
        source(make())
    assert str(caught.value) == f"The data has {COLUMNS.format(columns)}"


ERRORS: dict[type[Exception], dict[str, Callable[[], object]]] = {
    ValueError: {
        f"The file 't.csv' has {KIND} Or select columns: 't.csv:x,y'.": lambda: source(
            text("t.csv", "x,kind,y\n1,a,2\n3,b,4\n")
        ),
        f"The file 't.csv' has {KIND} Or select columns: 't.csv:x'.": lambda: source(
            text("t.csv", f"x,kind\n1,{'a' * 200_000}\n")
        ),
        f"The file 't.parquet' has {KIND} Or select columns: 't.parquet:x'.": lambda: source(
            saved(pl.DataFrame(FRAME).write_parquet, "t.parquet")
        ),
        (
            "The data has dtype complex128. Complex data not supported; "
            "pass real and imaginary parts as features."
        ): lambda: source(EYE * 1j),
        "The data is a single value. Pass an array of shape (rows, features).": lambda: source(
            np.array(1.0)
        ),
        (
            "The data is a list of rows of different lengths. "
            "For sequences pass a list of arrays of shape (steps, features)."
        ): lambda: source([[1, 2], [3]]),
        (
            "key='a' selects within a file, but the data is of type 'ndarray'. "
            "Select before calling."
        ): lambda: source(EYE, key="a"),
        "'x.npz:a' has a selector, and key='b' is another. Write only one.": lambda: source(
            "x.npz:a", key="b"
        ),
        (
            "Unknown suffix '.cvs' of 'x.cvs'. Did you mean '.csv'? Known: .npy, .npz, .csv, .tsv, "
            ".txt, .parquet (pip install 'narrows[parquet]'), .h5 (pip install 'narrows[hdf5]'), "
            ".hdf5 (pip install 'narrows[hdf5]'), .nxs (pip install 'narrows[hdf5]'), "
            ".zarr (pip install 'narrows[zarr]'), .root (pip install 'narrows[root]')."
        ): lambda: source("x.cvs"),
        (
            "Unknown suffix '' of 'x'. Known: .npy, .npz, .csv, .tsv, "
            ".txt, .parquet (pip install 'narrows[parquet]'), .h5 (pip install 'narrows[hdf5]'), "
            ".hdf5 (pip install 'narrows[hdf5]'), .zarr (pip install 'narrows[zarr]')."
        ): lambda: write("x", EYE),
        (
            "The file 'o.npy' holds Python objects, which would have to be unpickled. "
            "Save numbers: np.save(path, array.astype(float))."
        ): lambda: source(saved(np.save, "o.npy", np.array([None]))),
        "The file 'x.npy' holds one array. Leave out the selector 'a'.": lambda: source(
            saved(np.save, "x.npy:a", EYE)
        ),
        "The file 'a.npz' holds xyz (4, 2, 3), phi (4,). Name one: 'a.npz:xyz'.": lambda: source(
            saved(np.savez, "a.npz", **SEVERAL)
        ),
        (
            "The file 'a.npz' has no array 'psi'. Did you mean 'phi'? "
            "It holds: xyz (4, 2, 3), phi (4,)."
        ): lambda: source(saved(np.savez, "a.npz:psi", **SEVERAL)),
        "The file 't.csv' has no column 'tine'. Did you mean 'time'?": lambda: source(
            text("t.csv:x,tine", "time,x\n0,1\n")
        ),
        (
            "The file 't.csv' has 1 cells in row 1 (the first is 0), but 2 columns. "
            "Is it truncated?"
        ): lambda: source(text("t.csv", "a,b\n1,2\n3")).read(0, 2),
        (
            "The file 't.csv' has '-.-' in row 1500 (the first is 0), column 'b'. "
            "Write a number, or leave it empty."
        ): lambda: source(text("t.csv", "a,b\n" + "1,2\n" * 1500 + "1,-.-\n")).read(0, 1501),
        "The file 't.csv' has no rows of numbers.": lambda: source(text("t.csv", "a,b\n")),
        "The file 't.csv' is not UTF-8 text. Save it as UTF-8.": lambda: source(
            saved(lambda p: Path(p).write_bytes(b"\xc5,b\n1,2\n"), "t.csv")
        ),
        (
            "Segment 1 has events of shape (2,), segment 0 of (3,). "
            "Pass segments of one event shape."
        ): lambda: source([EYE, np.eye(2)]),
        (
            "Segment 2 has the features ('a', 'c', 'b'), an earlier one ('a', 'b', 'c'). "
            "Pass segments with the same columns in the same order."
        ): lambda: source([EYE, ArraySource(EYE, tuple("abc")), ArraySource(EYE, tuple("acb"))]),
        "The data is an empty list. Pass at least one array.": lambda: Concatenated([]),
        "lag=5 is too long: the longest segment has 5 rows. Write at most 4.": lambda: lagged(
            source([EYE, np.eye(5, 3)]), 5
        ),
        "lag=-1 is negative. Write lag=1 or more.": lambda: lagged(source(EYE), -1),
        "length=4 is too long: the longest segment has 3 rows. Write at most 3.": lambda: windows(
            source(EYE), 4
        ),
        "stride=0 is below 1. Write stride=1 or more.": lambda: windows(source(EYE), 2, stride=0),
        (
            "split='block' is unknown. Did you mean 'blocks'? Known: 'random', 'blocks', 'groups'."
        ): lambda: split("block"),
        "fraction=1 lies outside [0, 1). Write 0.1, say.": lambda: split(fraction=1),
        "n_blocks=0 is below 1. Write 10, say.": lambda: split("blocks", n_blocks=0),
        (
            "segments=[0, 3] are not the offsets of 4 rows. Write offsets that ascend from 0 to 4."
        ): lambda: split("blocks", segments=np.array([0, 3])),
        "split='groups' needs to know the groups. Pass groups=, one label a row.": lambda: split(
            "groups"
        ),
        "groups has 3 labels for 4 rows. Pass one label a row.": lambda: split(
            "groups", groups="abc"
        ),
        (
            "groups has the one label 7, so none can be held out. "
            "Pass at least two, or write split='random'."
        ): lambda: split("groups", groups=np.array([7] * 4, object)),
        "names has 1 entries, the array 3 columns. Pass one name per column.": lambda: write(
            "x.csv", EYE, names=["a"]
        ),
        "The array has dtype <U1. Pass an array of numbers.": lambda: write(
            "x.npy", np.array(["a"])
        ),
    },
    TypeError: {
        (
            "The data is of type 'dict'. Pass an array, a frame, "
            "a sparse matrix, a tensor, a list of arrays, a Source or a path."
        ): lambda: source({"a": 1}),
        (
            "indices has dtype bool. Pass row numbers; for a mask write np.flatnonzero(mask)."
        ): lambda: Rows(source(EYE), np.array([True, False, True])),
    },
    FileNotFoundError: {
        "There is no file 'djgits.npy'. Did you mean 'digits.npy'?": lambda: source(
            saved(np.save, "digits.npy", EYE).replace("i", "j", 1)
        ),
        "There is no file 'runs/a.npy': the folder 'runs' does not exist.": lambda: source(
            "runs/a.npy"
        ),
        "Cannot write 'no/x.npy': there is no folder 'no'.": lambda: write("no/x.npy", EYE),
    },
    IndexError: {
        "Rows 2:4 lie outside a source of 3 rows. Write 0 <= start <= stop <= 3.": lambda: source(
            EYE
        ).read(2, 4),
        "Row 3 lies outside a source of 3 rows. Write 0 to 2.": lambda: Rows(
            source(EYE), np.array([0, 3])
        ),
    },
    OSError: {
        "Cannot write 'd.npy': is a directory. Nothing was changed.": lambda: write(
            saved(os.mkdir, "d.npy"), EYE
        ),
    },
}


@pytest.mark.parametrize(
    ("kind", "sentence"), [(kind, sentence) for kind in ERRORS for sentence in ERRORS[kind]]
)
def test_errors_say_what_to_write(kind: type[Exception], sentence: str) -> None:
    if "t.parquet" in sentence:
        pytest.importorskip("pyarrow")
    with pytest.raises(kind) as caught:
        ERRORS[kind][sentence]()
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("suffix", "module", "extra"),
    [
        (".parquet", "pyarrow.parquet", "parquet"),
        (".h5", "h5py", "hdf5"),
        (".zarr", "zarr", "zarr"),
        (".root", "uproot", "root"),
    ],
)
def test_a_missing_extra_says_what_to_install(
    suffix: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(f"t{suffix}").touch()
    monkeypatch.setitem(sys.modules, module, None)
    package = module.partition(".")[0]
    sentence = f"{package!r} is not installed. Write: pip install 'narrows[{extra}]'"
    with pytest.raises(MissingExtraError) as caught:
        source(f"t{suffix}")
    assert str(caught.value) == sentence


def test_a_package_that_a_library_misses_is_named() -> None:
    def decompress() -> None:
        raise ModuleNotFoundError("install the 'lz4' package with:\n\n    pip install lz4")

    with pytest.raises(MissingExtraError) as caught, reading(Path("t.root")):
        decompress()
    sentence = "Cannot read 't.root': install the 'lz4' package with: pip install lz4."
    assert str(caught.value) == sentence


def test_lags_and_windows_take_arrays():
    X = np.arange(12.0).reshape(6, 2)
    now, later = lagged(X, 2)
    np.testing.assert_array_equal(now.read(0, 4), X[:4])
    np.testing.assert_array_equal(later.read(0, 4), X[2:])
    np.testing.assert_array_equal(windows([X[:3], X[3:]], 3).read(0, 2), X.reshape(2, 3, 2))
