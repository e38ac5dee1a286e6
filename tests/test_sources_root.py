"""ROOT files: TTrees and RNTuples read as their columns; branches that are no columns."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

uproot = pytest.importorskip("uproot")
import awkward  # noqa: E402

from helpers import check_reads  # noqa: E402
from narrows.data import blocks  # noqa: E402
from narrows.data.source import source  # noqa: E402

RNG = np.random.default_rng(0)
PT, N, TRUE = RNG.normal(size=900).astype("f4"), RNG.integers(0, 9, 900), RNG.random(900) < 0.5
EXACT = {"pt": PT, "eta": -PT, "short": N.astype("i2"), "ok": TRUE}
WIDE = {"pt": PT, "n": N}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pieces(columns: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The columns in three parts, so that trees have several baskets or clusters."""
    for a, b in ((0, 300), (300, 301), (301, 900)):
        yield {name: values[a:b] for name, values in columns.items()}


def made() -> str:
    jagged = awkward.unflatten(PT, np.tile([2, 0, 4], 150))
    mixed = {"pt": PT[: len(jagged)], "jets": jagged}
    with uproot.recreate("a.root") as file:
        for name, columns in {"run/exact": EXACT, "wide": WIDE}.items():
            tree = file.mktree(name, {key: values.dtype for key, values in columns.items()})
            for part in pieces(columns):
                tree.extend(part)
        ntuple = file.mkrntuple("ntuple", awkward.Array(next(pieces(EXACT))))
        for part in list(pieces(EXACT))[1:]:
            ntuple.extend(awkward.Array(part))
        tree = file.mktree("mixed", {"pt": "f4", "jets": "var * float32", "p3": ("f4", (3,))})
        tree.extend({**mixed, "p3": np.ones((len(jagged), 3), "f4")})
        texts = awkward.Array(["a"] * len(jagged))
        file.mkrntuple("mixed ntuple", awkward.Array({**mixed, "text": texts}))
        file.mktree("empty", {"pt": "f4"})
    return "a.root"


def table(columns: dict[str, np.ndarray], *names: str) -> np.ndarray:
    return np.column_stack([columns[name] for name in names or columns])


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("name", ["run/exact", "ntuple", "run/exact;1"])
def test_trees_read_as_their_columns(
    name: str, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        monkeypatch.setattr(blocks, "_BLOCK", 1600)  # so that reads cross blocks
    rows = source(f"{made()}:{name}")
    assert rows.dtype == np.float32
    assert set(rows.names or ()) == set(EXACT)
    check_reads(rows, table(EXACT, *(rows.names or ())).astype("f4"))
    check_reads(source(f"a.root:{name}:ok,pt"), table(EXACT, "ok", "pt").astype("f4"))


def test_integers_that_float32_does_not_hold_are_float64() -> None:
    rows = source(f"{made()}:wide")
    assert rows.dtype == np.float64
    check_reads(rows, table(WIDE))
    check_reads(pickle.loads(pickle.dumps(rows)), table(WIDE))


@pytest.mark.parametrize("name", ["mixed", "mixed ntuple"])
def test_flat_branches_of_other_trees_can_be_chosen(name: str) -> None:
    rows = source(f"{made()}:{name}:pt")
    check_reads(rows, PT[: len(rows), None])


def test_the_only_tree_needs_no_name() -> None:
    with uproot.recreate("one.root") as file:
        file.mktree("events", {"pt": "f4"}).extend({"pt": PT})
        file["histogram"] = np.histogram(PT)
    check_reads(source("one.root"), PT[:, None])


def test_an_empty_tree_has_no_rows() -> None:
    assert len(source(f"{made()}:empty")) == 0


HELD = "run/exact, wide, ntuple, mixed, mixed ntuple, empty"
ERRORS = {
    f"The file 'a.root' holds {HELD}. Name one: 'a.root:run/exact'.": "a.root",
    "The file 'a.root' has no tree 'run'. Did you mean 'run/exact'?": "a.root:run",
    f"The file 'a.root' has no tree 'Z'. It holds: {HELD}.": "a.root:Z",
    "The file 'a.root' has no column 'ptt'. Did you mean 'pt'?": "a.root:wide:n,ptt",
    (
        "The tree 'mixed' of the file 'a.root' has branches without one number for each entry: "
        "'jets', 'p3'. Select others: 'a.root:mixed:pt,njets'."
    ): "a.root:mixed",
    (
        "The tree 'mixed ntuple' of the file 'a.root' has branches without one number for each "
        "entry: 'jets', 'text'. Select others: 'a.root:mixed ntuple:pt'."
    ): "a.root:mixed ntuple",
    (
        "The tree 'mixed' of the file 'a.root' has branches without one number for each entry: "
        "'jets'."
    ): "a.root:mixed:jets",
}


@pytest.mark.parametrize("sentence", ERRORS)
def test_errors_say_what_to_write(sentence: str) -> None:
    made()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        source(ERRORS[sentence])
    assert str(caught.value) == sentence


def test_a_file_without_trees_says_so() -> None:
    with uproot.recreate("none.root") as file:
        file["histogram"] = np.histogram(PT)
    with pytest.raises(ValueError, match="no trees") as caught:
        source("none.root")
    assert str(caught.value) == "The file 'none.root' holds no trees."


def test_names_of_branches_are_not_evaluated() -> None:
    with uproot.recreate("x.root") as file:
        file.mktree("t", {"pt": "f4", "pt*0": "f4"}).extend({"pt": PT, "pt*0": PT})
    check_reads(source("x.root:t:pt*0"), PT[:, None])


TYPES = ["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"]


@pytest.mark.parametrize("name", ["tree", "ntuple"])
def test_every_type_of_number_reads_as_itself(name: str) -> None:
    columns = {f"c_{k}": N.astype(dtype) for k, dtype in enumerate(TYPES)}
    with uproot.recreate("x.root") as file:
        file.mktree("tree", {key: each.dtype for key, each in columns.items()}).extend(columns)
        file.mkrntuple("ntuple", awkward.Array(columns))
    for key, each in columns.items():
        rows = source(f"x.root:{name}:{key}")
        assert rows.dtype == np.result_type(np.float32, each.dtype)
        check_reads(rows, each[:, None].astype(rows.dtype))


def test_fields_of_records_are_columns_but_those_of_lists_are_not() -> None:
    records = awkward.Array([{"x": 1.5, "y": 2}] * 3)
    lists = awkward.Array([[{"x": 1.5, "y": 2}] * 2] * 3)
    with uproot.recreate("x.root") as file:
        file.mkrntuple("t", awkward.Array({"one": records, "many": lists}))
    check_reads(source("x.root:t:one.y,one.x"), np.array([[2, 1.5]] * 3))
    with pytest.raises(ValueError, match=r"without one number for each entry: 'many'\."):
        source("x.root:t:one.x,many")
