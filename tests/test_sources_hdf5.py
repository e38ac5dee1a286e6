"""HDF5 files: any layout reads as the array; links, types and sizes that must be refused."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

from helpers import check_reads  # noqa: E402
from narrows.data.source import source  # noqa: E402

X = np.random.default_rng(0).normal(size=(700, 6))
LISTED = "/entry/data (700, 6), /entry/narrow (700, 2)"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def virtual(file: Any, name: str, other: str, inside: str) -> None:
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(other, inside, (4,))
    file.create_virtual_dataset(name, layout)


def virtual_by_number(file: Any, name: bytes) -> None:
    """A dataset that continues in raw0, raw1, ..."""
    endless = h5py.h5s.UNLIMITED
    space = h5py.h5s.create_simple((4,), (endless,))
    space.select_hyperslab((0,), (endless,), stride=(4,), block=(4,))
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_virtual(space, b".", b"raw%b", h5py.h5s.create_simple((4,)))
    whole = h5py.h5s.create_simple((4,), (endless,))
    h5py.h5d.create(file.id, name, h5py.h5t.IEEE_F64LE, whole, plan)


def made() -> str:
    """A file with two datasets that would do, and everything that would not."""
    with h5py.File("a.h5", "w") as file:
        file["entry/data"] = X
        file["entry/narrow"] = X[:, :2].astype(np.float32)
        file["text"] = ["a", "b"]
        file["one"] = 1.0
        file["empty"] = h5py.Empty("f8")
        file["records"] = np.zeros(3, [("a", "f4"), ("b", "i4")])
        file["complex"] = X * 1j
        file["type"] = np.dtype("f8")
        file["entry/up"] = file["/"]
        file["soft"] = h5py.SoftLink("/entry/data")
        file["chain"] = h5py.SoftLink("soft")
        file["loop"] = h5py.SoftLink("/loop")
        file["nowhere"] = h5py.SoftLink("/gone")
        file["outside"] = h5py.ExternalLink("b.h5", "/x")
        file["soft to outside"] = h5py.SoftLink("/outside")
        file["group outside"] = h5py.ExternalLink("b.h5", "/")
        file.create_dataset("raw", (4,), "f8", external=[("/etc/passwd", 0, 32)])
        virtual(file, "virtual", "b.h5", "x")
        virtual(file, "virtual raw", ".", "/raw")
        virtual(file, "virtual link", ".", "/outside")
        virtual(file, "virtual itself", ".", "/virtual itself")
        virtual_by_number(file, b"virtual many")
        file.create_dataset("wide", (3, 10**10), np.float64, chunks=(1, 1000))
    return "a.h5"


LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": (64, 3)},
    "whole chunk": {"chunks": (700, 6)},
    "gzip": {"chunks": (50, 6), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"chunks": (1, 6), "compression": "lzf"},
    "growing": {"maxshape": (None, None)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(700,), (700, 6), (700, 2, 3)])
def test_every_layout_and_rank_reads_as_the_array(layout: str, shape: tuple[int, ...]) -> None:
    array = X.ravel()[:700].reshape(shape) if len(shape) == 1 else X.reshape(shape)
    settings = dict(LAYOUTS[layout])
    for name in ("chunks", "maxshape"):
        if name in settings:
            settings[name] = (*settings[name], 3)[: len(shape)]
            settings[name] = settings[name][:1] + tuple(
                n and min(n, m) for n, m in zip(settings[name][1:], shape[1:], strict=True)
            )
    with h5py.File("x.nxs", "w") as file:
        file.create_dataset("entry/data", data=array, **settings)
    check_reads(source("x.nxs"), array)
    check_reads(source("x.nxs:entry/data"), array)
    check_reads(source(Path("x.nxs"), key="/entry/data"), array)


@pytest.mark.parametrize("dtype", [">f4", "<f2", "u1", ">i8", "?"])
def test_types_come_in_the_byte_order_of_the_machine(dtype: str) -> None:
    with h5py.File("x.h5", "w") as file:
        file["x"] = (X > 0).astype(dtype)
    rows = source("x.h5")
    assert rows.dtype == np.dtype(dtype).newbyteorder("=")
    check_reads(rows, (X > 0).astype(rows.dtype))


def test_links_within_the_file_are_followed() -> None:
    path = made()
    for name in ("soft", "/chain", "entry/up/soft", "entry/up/entry/up/entry/data"):
        check_reads(source(f"{path}:{name}"), X)
    with h5py.File("v.h5", "w") as file:
        file["x"] = X[:, 0]
        virtual(file, "part", ".", "/x")
    check_reads(source("v.h5:part"), X[:4, 0])


def test_a_source_is_opened_again_after_a_copy() -> None:
    rows = source(f"{made()}:soft")
    assert rows.read(0, 1) is not None
    check_reads(pickle.loads(pickle.dumps(rows)), X)


def test_a_dataset_that_was_never_written_costs_the_rows_that_are_read() -> None:
    with h5py.File("huge.h5", "w") as file:
        data = file.create_dataset("x", (10**9, 30), np.float32, chunks=(1000, 30))
        data[500_000_001] = 1
    assert Path("huge.h5").stat().st_size < 10**6
    rows = source("huge.h5")
    assert len(rows) == 10**9
    got = rows.read(500_000_000, 500_000_003)
    np.testing.assert_array_equal(got, [[0] * 30, [1] * 30, [0] * 30])


ERRORS: dict[str, str] = {
    f"The file 'a.h5' holds {LISTED}. Name one: 'a.h5:/entry/data'.": "a.h5",
    f"'entry' of the file 'a.h5' is a group with {LISTED}. Name one: 'a.h5:/entry/data'.": (
        "a.h5:entry"
    ),
    "The file 'a.h5' has no dataset '/entry/date'. Did you mean '/entry/data'?": (
        "a.h5:/entry/date"
    ),
    f"The file 'a.h5' has no dataset '../b'. It holds: {LISTED}.": "a.h5:../b",
    f"The file 'a.h5' has no dataset 'loop'. It holds: {LISTED}.": "a.h5:loop",
    f"The file 'a.h5' has no dataset 'nowhere'. It holds: {LISTED}.": "a.h5:nowhere",
    "The file 'a.h5' has no dataset 'entry/data/x'. Did you mean '/entry/data'?": (
        "a.h5:entry/data/x"
    ),
    "The dataset 'text' of the file 'a.h5' has dtype object. Choose an array of numbers.": (
        "a.h5:text"
    ),
    (
        "The dataset 'records' of the file 'a.h5' has dtype [('a', '<f4'), ('b', '<i4')]. "
        "Choose an array of numbers."
    ): "a.h5:records",
    "The dataset 'complex' of the file 'a.h5' has dtype complex128. Choose an array of numbers.": (
        "a.h5:complex"
    ),
    (
        "The dataset 'one' of the file 'a.h5' is a single value. "
        "Choose an array of shape (rows, features)."
    ): "a.h5:one",
    "The dataset 'empty' of the file 'a.h5' is empty. Choose an array of numbers.": "a.h5:empty",
    "'type' of the file 'a.h5' is a type, not a dataset. Choose an array of numbers.": "a.h5:type",
    (
        "The dataset 'wide' of the file 'a.h5' has shape (3, 10000000000): a single row would take "
        "75 GiB. Store it with the rows on the first axis."
    ): "a.h5:wide",
    **{
        f"{name!r} of the file 'a.h5' lies in another file, '{other}'. Open that file instead.": (
            f"a.h5:{name}"
        )
        for name, other in {
            "outside": "b.h5",
            "soft to outside": "b.h5",
            "group outside/x": "b.h5",
            "entry/up/outside": "b.h5",
            "raw": "/etc/passwd",
            "virtual": "b.h5",
            "virtual raw": "/etc/passwd",
            "virtual link": "b.h5",
        }.items()
    },
}


@pytest.mark.parametrize("sentence", ERRORS)
def test_errors_say_what_to_write(sentence: str) -> None:
    with h5py.File("b.h5", "w") as file:
        file["x"] = X[:4, 0]
    made()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        source(ERRORS[sentence])
    assert str(caught.value) == sentence


@pytest.mark.parametrize("name", ["virtual itself", "virtual many"])
def test_virtual_datasets_that_lead_anywhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Open that file instead"):
        source(f"{made()}:{name}")


def test_a_file_without_datasets_says_so() -> None:
    with h5py.File("n.h5", "w") as file:
        file["one"] = 1.0
        file.create_group("g")
    with pytest.raises(ValueError, match="holds no dataset") as caught:
        source("n.h5")
    assert str(caught.value) == "The file 'n.h5' holds no dataset with rows of numbers."
    with pytest.raises(ValueError, match="is a group") as caught:
        source("n.h5:g")
    assert str(caught.value) == "'g' of the file 'n.h5' is a group without datasets of numbers."


def test_groups_may_be_deep_or_many() -> None:
    with h5py.File("deep.h5", "w") as file:
        group = file
        for _ in range(3000):
            group = group.create_group("g")
        group["x"] = X
        for k in range(30):
            file[f"many/{k}"] = X[k]
    name = "g/" * 3000 + "x"
    check_reads(source("deep.h5", key=name), X)
    with pytest.raises(ValueError, match=r"and more\. Name one") as caught:
        source("deep.h5")
    assert len(str(caught.value)) < 1000


def test_a_filter_that_is_not_installed_is_named() -> None:
    if h5py.h5z.filter_avail(32001):
        pytest.skip("blosc is installed here")
    with h5py.File("f.h5", "w") as file:
        space = h5py.h5s.create_simple((4, 3))
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((4, 3))
        plan.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (1,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, plan)
    with pytest.raises(ValueError, match="is compressed by") as caught:
        source("f.h5:x")
    assert str(caught.value) == (
        "The dataset 'x' of the file 'f.h5' is compressed by filter 32001, which is not "
        "installed. Install hdf5plugin and import it first."
    )
