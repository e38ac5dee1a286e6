"""Results written block by block: the same file as at once, and nothing after a failure."""

import errno
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from helpers import check_reads
from narrows.data import parquet
from narrows.data.source import source
from narrows.data.writers import WRITERS, write, write_blocks

X = np.random.default_rng(0).normal(size=(700, 6))
PACKAGES = {".parquet": "pyarrow", ".h5": "h5py", ".hdf5": "h5py", ".zarr": "zarr"}

each_suffix = pytest.mark.parametrize("suffix", sorted(WRITERS))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def package(request: pytest.FixtureRequest) -> None:
    parameters = getattr(request.node, "callspec", None)
    if parameters:
        pytest.importorskip(PACKAGES.get(parameters.params.get("suffix"), "numpy"))


def contents(path: Path) -> dict[str, bytes]:
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return {str(each): each.read_bytes() for each in files if each.is_file()}


def cut(array: np.ndarray, *borders: int) -> Iterator[np.ndarray]:
    return iter(np.split(array, borders))


@each_suffix
@pytest.mark.parametrize("borders", [(), (1,), (300,), (0, 300, 300, 699)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool])
def test_blocks_read_as_the_array(suffix: str, borders: tuple[int, ...], dtype: type) -> None:
    array = (X * 3).astype(dtype)
    assert write_blocks(f"x{suffix}", cut(array, *borders)) == (700, 6)
    rows = source(f"x{suffix}")
    np.testing.assert_array_equal(rows.read(0, 700).astype(dtype), array)


@each_suffix
def test_events_of_more_dimensions_come_in_blocks(suffix: str) -> None:
    images = X.reshape(700, 2, 3)
    assert write_blocks(f"x{suffix}", cut(images, 300)) == (700, 2, 3)
    rows = source(f"x{suffix}")
    np.testing.assert_array_equal(rows.read(0, 700).reshape(images.shape), images)


@pytest.mark.parametrize("array", [X, X[:, 0], X[:0], np.asfortranarray(X), X[::2], X > 0])
def test_npy_files_are_those_of_numpy(array: np.ndarray) -> None:
    write_blocks("x.npy", cut(array, 5, 100) if len(array) else array)
    np.save("y.npy", np.ascontiguousarray(array))
    assert Path("x.npy").read_bytes() == Path("y.npy").read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_blocks_keep_names(suffix: str) -> None:
    names = ("a", "b", "c", "d", "e", "f")
    write_blocks(f"x{suffix}", cut(X, 300), names)
    assert source(f"x{suffix}").names == names


@pytest.mark.parametrize("suffix", [".parquet"])
def test_row_groups_are_neither_small_nor_large(
    suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow.parquet import ParquetFile

    monkeypatch.setattr(parquet, "_GROUP_BYTES", 100 * X[0].nbytes)
    write_blocks("x.parquet", cut(X, *range(10, 700, 10)))
    about = ParquetFile("x.parquet").metadata
    assert [about.row_group(k).num_rows for k in range(about.num_row_groups)] == [100] * 7


@each_suffix
def test_a_block_that_does_not_come_leaves_nothing(suffix: str, folder: Path) -> None:
    def blocks() -> Iterator[np.ndarray]:
        yield X
        raise ZeroDivisionError("from the blocks")

    with pytest.raises(ZeroDivisionError, match="from the blocks"):
        write_blocks(f"x{suffix}", blocks())
    assert not list(folder.iterdir())


def limited(write_it: Callable[[], object], size: int) -> None:
    """Run with a limit on the size of files, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        write_it()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@each_suffix
@pytest.mark.parametrize("size", [0, 10**5])
def test_a_full_disk_leaves_the_old_file(suffix: str, size: int, folder: Path) -> None:
    path = folder / f"x{suffix}"
    write(path, X[:3])
    before = contents(path)
    noise = np.random.default_rng(1).normal(size=(10**4, 6))
    with pytest.raises(OSError, match=r"^Cannot write '.*Nothing was changed\.$") as caught:
        limited(lambda: write_blocks(path, (noise for _ in range(4))), size)
    assert errno.EFBIG in (caught.value.errno, getattr(caught.value.__cause__, "errno", None))
    assert contents(path) == before
    assert list(folder.iterdir()) == [path]
    write(path, X[:5])
    np.testing.assert_allclose(source(path).read(0, 5), X[:5])


@pytest.mark.parametrize("suffix", [".zarr"])
def test_a_store_is_replaced_by_a_store_alone(suffix: str, folder: Path) -> None:
    for rows in (700, 5):
        write("x.zarr", X[:rows])
        check_reads(source("x.zarr"), X[:rows])
    assert [path.name for path in folder.iterdir()] == ["x.zarr"]
    Path("y.zarr").write_text("a file")
    with pytest.raises(OSError, match="Nothing was changed"):
        write("y.zarr", X)
    assert Path("y.zarr").read_text() == "a file"
    assert {path.name for path in folder.iterdir()} == {"x.zarr", "y.zarr"}


def test_blocks_must_be_there_and_agree() -> None:
    with pytest.raises(ValueError, match="no blocks") as caught:
        write_blocks("x.npy", [])
    assert str(caught.value) == "There are no blocks to write. Pass at least one."
    with pytest.raises(ValueError, match="A block has") as caught:
        write_blocks("x.npy", [X, X[:, :2]])
    assert str(caught.value) == (
        "A block has rows of shape (2,) and type float64, the first of (6,) and float64. "
        "Pass blocks of one kind."
    )
    assert not Path("x.npy").exists()


@each_suffix
def test_threads_may_share_a_source(suffix: str) -> None:
    write(f"x{suffix}", X)
    rows, wrong = source(f"x{suffix}"), []
    expected = rows.read(0, 700).copy()

    def read(seed: int) -> None:
        for start in np.random.default_rng(seed).integers(0, 600, 20).tolist():
            if not np.array_equal(rows.read(start, start + 99), expected[start : start + 99]):
                wrong.append(start)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
