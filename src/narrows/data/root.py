"""Rows of a TTree or an RNTuple of a ROOT file."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from narrows._errors import nearest, require
from narrows.data.blocks import BlockSource, Handle, block_starts
from narrows.data.places import Place, damaged, open_bytes, reading
from narrows.data.protocol import selected

_NUMBER = re.compile(r"(?:std::)?(u?int(?:8|16|32|64))_t|float|double|bool")
_NAMES = {"float": "float32", "double": "float64", "bool": "bool"}
_KINDS = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")


class RootSource(BlockSource):
    """Entries of a tree as rows, branches of one number each as columns, a block at a time.

    The type is float32 where that holds every column exactly (as numpy promotes them), else
    float64.

    Parameters
    ----------
    place : Path or Remote
        The file.
    key : str, optional
        The tree, and after another colon the branches to keep, in this order, with commas between:
        ``events:pt,eta``. The tree may be left out when there is only one.

    Raises
    ------
    MissingExtraError
        uproot is not installed.
    ValueError
        No such tree or branch, several trees and no key, branches that hold anything but one number
        for each entry, or a damaged file.

    Examples
    --------
    >>> import tempfile, uproot
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with uproot.recreate(f"{folder}/run.root") as file:
    ...         tree = file.mktree("events", {"pt": "float32", "eta": "float32"})
    ...         tree.extend({"pt": np.float32([3, 4]), "eta": np.float32([1, 2])})
    ...     RootSource(Path(folder, "run.root"), "events:eta").read(0, 2)
    array([[1.],
           [2.]], dtype=float32)
    """

    def __init__(self, place: Place, key: str | None = None) -> None:
        name, _, columns = (key or "").partition(":")
        self._handle = Handle(_opened, place, name)
        with self._handle as (name, tree):
            with reading(place):
                known, n_rows = list(dict.fromkeys(tree.keys())), int(tree.num_entries)
            names = [known[k] for k in selected(place, known, columns or None)]
            types = {each: _type(place, tree, each) for each in names}
            self._check(place, name, types)
        self._columns = tuple(names)
        dtype = np.result_type(np.float32, *types.values())
        starts = block_starts(n_rows, len(names) * dtype.itemsize)
        super().__init__(place, starts, n_rows, (len(names),), dtype, self._columns)

    @staticmethod
    def _check(place: Place, tree: str, types: dict[str, np.dtype[Any] | None]) -> None:
        """Raise ValueError if a branch has no single number for each entry."""
        bad = [name for name, dtype in types.items() if dtype is None]
        if not types:
            raise ValueError(f"The tree {tree!r} of the file '{place}' has no branches.")
        if bad:
            shown = ", ".join(map(repr, bad[:10]))
            more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
            good = ",".join([name for name in types if name not in bad][:3])
            select = f" Select others: '{place}:{tree}:{good}'." if good else ""
            raise ValueError(
                f"The tree {tree!r} of the file '{place}' has branches without one number for "
                f"each entry: {shown}{more}.{select}"
            )

    def _load(self, k: int, start: int, stop: int) -> Float[np.ndarray, "row feature"]:
        with self._handle as (_, tree):
            rows = np.empty((stop - start, len(self._columns)), self.dtype)
            for column, name in enumerate(self._columns):
                # branch by branch: names given to the tree would be evaluated as expressions
                values = tree[name].array(entry_start=start, entry_stop=stop, library="np")
                if len(values) != len(rows):
                    raise damaged(self._place)
                rows[:, column] = values
        return rows


def _opened(place: Place, name: str) -> tuple[str, Any]:
    uproot = require("uproot", "root")
    open_bytes(place).close()  # says in plain words if the system refuses
    with reading(place):
        file = uproot.open(place if isinstance(place, Path) else place.open())
        kinds = file.classnames(recursive=True, cycle=False)
    trees = [each for each, kind in kinds.items() if kind in _KINDS]
    if not name and len(trees) != 1:
        held = ", ".join(trees[:10]) or "no trees"
        choice = f" Name one: '{place}:{trees[0]}'." if trees else ""
        raise ValueError(f"The file '{place}' holds {held}.{choice}")
    name = name or trees[0]
    if name.partition(";")[0].strip("/") not in trees:
        hint = nearest(name, trees) or f" It holds: {', '.join(trees[:10]) or 'no trees'}."
        raise ValueError(f"The file '{place}' has no tree {name!r}.{hint}")
    with reading(place):
        return name, file[name]


def _type(place: Place, tree: Any, name: str) -> np.dtype[Any] | None:
    """Return the type of a branch, None unless it has one number for each entry."""
    with reading(place):
        found = getattr(tree[name], "interpretation", None)
        if found is None:
            return _type_of_field(tree, name)
        dtype = getattr(found, "to_dtype", None)
        flat = isinstance(dtype, np.dtype) and dtype.kind in "biuf"
        return dtype.newbyteorder("=") if flat and dtype == found.numpy_dtype else None


def _type_of_field(ntuple: Any, name: str) -> np.dtype[Any] | None:
    parts, known = name.split("."), set(ntuple.keys())
    above = {".".join(parts[:k]) for k in range(1, len(parts))} & known
    if any(ntuple[each].typename.startswith("std::") for each in above):  # of a vector, say
        return None
    found = _NUMBER.fullmatch(ntuple[name].typename)
    return np.dtype(_NAMES.get(found[0], found[1])) if found else None
