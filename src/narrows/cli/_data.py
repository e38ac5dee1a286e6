"""Files that commands read and write."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows._errors import nearest
from narrows.cli import _show

if TYPE_CHECKING:
    from narrows._types import Array
    from narrows.data.source import Source

_VALUES = 2**23  # values read at a time


@dataclass(frozen=True)
class Material:
    """Rows, and what goes with each of them."""

    data: "Source"
    target: "Source | None" = None
    condition: "dict[str, list[Any]] | None" = None
    weight: "Array | None" = None
    groups: "Array | None" = None
    labels: "Array | None" = None

    def rows(self, index: "Array") -> "Material":
        """Return some of the rows."""
        from narrows.data.views import Rows

        columns = (self.weight, self.groups, self.labels)
        return Material(
            Rows(self.data, index),
            None if self.target is None else Rows(self.target, index),
            _condition_of(self.condition, index),
            *(None if column is None else column[index] for column in columns),
        )

    def __len__(self) -> int:
        return len(self.data)

    @property
    def known(self) -> dict[str, Any]:
        """The condition as an argument, if there is one."""
        return {} if self.condition is None else {"condition": self.condition}

    def split(self, model: Any, fraction: float) -> "tuple[Material, Material]":
        """Return the training part and the test part: the same rows whenever data and model are.

        Test rows are chosen as the model chooses its validation rows: ``training.split``.
        """
        import numpy as np

        from narrows.data.split import split_rows

        if not 0 <= fraction < 1:
            raise ValueError(f"--test-fraction {fraction} must be in [0, 1). Write 0.2, say.")
        if fraction == 0:
            return self, self.rows(np.arange(0))
        how = "random" if model.training is None else model.training.split
        train, test = split_rows(
            len(self),
            fraction,
            how,
            rng=np.random.default_rng([model.random_state or 0, 1]),
            groups=self.groups,
            segments=self.data.segments,
        )
        return self.rows(train), self.rows(test)


def material(
    data: Sequence[str],
    target: str | None = None,
    sample_weight: str | None = None,
    groups: str | None = None,
    labels: str | None = None,
    condition: str | None = None,
) -> Material:
    """Return the rows of files, and what goes with them.

    Raises
    ------
    ValueError
        A file cannot be read as rows of numbers, or has another number of rows than the data.
    """
    found = rows(data)
    n_rows = len(found)
    targets = None if target is None else rows([target])
    if targets is not None and len(targets) != n_rows:
        raise _unequal("target", target, len(targets), n_rows)
    named = {"sample-weight": sample_weight, "groups": groups, "labels": labels}
    known = None if condition is None else _known_of(condition, n_rows)
    own = (column(*each, n_rows) for each in named.items())
    return Material(found, targets, known, *own)


def _known_of(path: str, n_rows: int) -> dict[str, list[Any]]:
    """Return the columns of a condition, of as many rows as the data."""
    from narrows.data.columns import columns

    found = columns(path)
    n_found = len(next(iter(found.values()), []))
    if n_found != n_rows:
        raise _unequal("condition", path, n_found, n_rows)
    return found


def _condition_of(
    known: dict[str, list[Any]] | None, index: "Array"
) -> dict[str, list[Any]] | None:
    """Return the condition of some of the rows."""
    if known is None:
        return None
    chosen = [int(row) for row in index]
    return {name: [values[row] for row in chosen] for name, values in known.items()}


def rows(paths: Sequence[str]) -> "Source":
    """Return the rows of one file, or of several as segments."""
    from narrows.data.source import source

    return source(paths[0] if len(paths) == 1 else list(paths))


def column(option: str, path: str | None, n_rows: int) -> "Array | None":
    """Return one number per row from a file, None without one."""
    if path is None:
        return None
    found = rows([path])
    if found.shape not in ((), (1,)):
        raise ValueError(
            f"--{option} needs one number per row, but '{path}' has rows of shape {found.shape}. "
            "Select a column, as in table.csv:weight."
        )
    if len(found) != n_rows:
        raise _unequal(option, path, len(found), n_rows)
    return found.read(0, n_rows).reshape(n_rows)


def _unequal(option: str, path: str | None, n_found: int, n_rows: int) -> ValueError:
    return ValueError(
        f"--{option} needs one row per row of DATA, but '{path}' has {n_found} and DATA {n_rows}."
    )


def mapped(function: "Callable[[Material], Array]", everything: Material) -> "Iterator[Array]":
    """Yield what a function makes of rows and what goes with them, a block at a time.

    A block holds what fits in memory with ease; a bar shows how many are done where a person
    watches. An error names the row that it has in all of them.
    """
    import numpy as np

    n_rows = len(everything)
    size = max(_VALUES // max(math.prod(everything.data.shape), 1), 1)
    if n_rows <= size:
        yield function(everything)
        return
    for start in _show.progress(range(0, n_rows, size)):
        index = np.arange(start, min(start + size, n_rows))
        try:
            found = function(everything.rows(index))
        except ValueError:
            function(everything)  # checks all rows before it computes, and counts them from 0
            raise
        yield found


def write(
    path: str,
    blocks: "Iterable[Array]",
    names: "Callable[[Array], list[str] | None]",
    as_json: bool,
) -> None:
    """Write a table that comes in blocks, and print where it lies.

    Names of the columns may depend on what the first block is.
    """
    from narrows.data.writers import write_blocks

    remaining = iter(blocks)
    first = next(remaining)
    columns = names(first)
    shape = write_blocks(path, chain([first], remaining), columns)
    if as_json:
        _show.as_json({"path": path, "shape": shape, "names": columns})
        return
    shown = " × ".join(map(str, shape))
    _show.line(f"Wrote {shown} numbers to {_show.path(path)}.")


def save(path: str, blocks: "Iterable[Array]", names: Sequence[str] | None) -> None:
    """Write a table that comes in blocks, in the format that the suffix says."""
    from narrows.data.writers import write_blocks

    write_blocks(path, blocks, names)


def save_figure(path: str, figure: Any) -> None:
    """Write a figure, whole or not at all."""
    from narrows._files import atomic

    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=160, bbox_inches="tight", pad_inches=0.12)


def check_table(path: str, *read: str | None) -> None:
    """Raise for a table that could not be written, or that is one of the files to be read."""
    from narrows.data.writers import WRITERS

    check_output(path, WRITERS, *read)


def check_output(path: str, suffixes: Iterable[str], *read: str | None) -> None:
    """Raise for a file that could not be written, before anything is computed for it.

    Raises
    ------
    ValueError
        A suffix that is not one of those given, or one of the files that are read.
    OSError
        The folder is missing, or may not be written to.
    """
    suffix, known = Path(path).suffix.lower(), list(suffixes)
    if "://" in path:
        raise ValueError(f"Results go to local files, not to '{path}'. Write the name of one.")
    if not suffix and ":/" in path:
        file = path.partition(":/")[0]
        raise ValueError(f"Results fill a file of their own, not a part of it. Write '{file}'.")
    if suffix not in known:
        hint = nearest(suffix, known) if suffix else ""
        raise ValueError(f"Unknown suffix {suffix!r} of '{path}'.{hint} Known: {', '.join(known)}.")
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"Cannot write '{path}': there is no folder '{Path(path).parent}'.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"Cannot write '{path}': the folder '{folder}' is not writable.")
    if os.path.exists(path) and any(_is_same(path, own) for own in read if own is not None):
        raise ValueError(f"'{path}' is read too, and would be lost. Write to another file.")


def _is_same(path: str, data: str) -> bool:
    """Return whether data, perhaps with a selector, lie in a file that exists."""
    from narrows.data.source import split_selector

    file = split_selector(data)[0]
    return os.path.exists(file) and os.path.samefile(file, path)
