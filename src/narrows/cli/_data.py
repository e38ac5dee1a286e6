"""Files that commands read and write."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from narrows._errors import nearest

if TYPE_CHECKING:
    from narrows._types import Array
    from narrows.data.source import Source


def rows(paths: Sequence[str]) -> "Source":
    """Return the rows of one file, or of several as segments."""
    from narrows.data.source import source

    return source(paths[0] if len(paths) == 1 else list(paths))


def column(option: str, path: str | None, n_rows: int) -> "Array | None":
    """Return one number per row from a file, None without one.

    Raises
    ------
    ValueError
        The file has another number of rows, or several columns.
    """
    if path is None:
        return None
    found = rows([path])
    if found.shape not in ((), (1,)):
        raise ValueError(
            f"--{option} '{path}' has rows of shape {found.shape}; one number per row is needed. "
            f"Select a column: '{path}:name'."
        )
    if len(found) != n_rows:
        raise ValueError(f"--{option} '{path}' has {len(found)} rows, but DATA has {n_rows}.")
    return found.read(0, n_rows).reshape(n_rows)


class Parts(NamedTuple):
    """Numbers of the rows to learn from and of those kept apart."""

    train: "Array"
    test: "Array"


def parts(data: "Source", model: Any, fraction: float, groups: "Array | None") -> Parts:
    """Return the training and the test part: the same whenever data, fraction and model are.

    The test part is chosen as the model chooses its validation rows: ``training.split``.
    """
    import numpy as np

    from narrows.data.split import split_rows

    if not 0 <= fraction < 1:
        raise ValueError(f"--test-fraction {fraction} must be in [0, 1). Write 0.2, say.")
    seed = model.random_state if isinstance(model.random_state, int) else 0
    how = "random" if model.training is None else model.training.split
    rng = np.random.default_rng([seed, 1])
    return Parts(
        *split_rows(len(data), fraction, how, rng=rng, groups=groups, segments=data.segments)
    )


def part(data: Any, index: "Array") -> Any:
    """Return some rows of a source or an array, None of None."""
    from narrows.data.source import Source
    from narrows.data.views import Rows

    if data is None:
        return None
    return Rows(data, index) if isinstance(data, Source) else data[index]


def check_output(path: str, suffixes: Iterable[str]) -> None:
    """Raise for a file that could not be written, before anything is computed for it.

    Raises
    ------
    ValueError
        A suffix that is not one of those given.
    OSError
        The folder is missing, or may not be written to.
    """
    suffix, known = Path(path).suffix.lower(), list(suffixes)
    if suffix not in known:
        hint = nearest(suffix, known) if suffix else ""
        raise ValueError(f"Unknown suffix {suffix!r} of '{path}'.{hint} Known: {', '.join(known)}.")
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"Cannot write '{path}': there is no folder '{Path(path).parent}'.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"Cannot write '{path}': the folder '{folder}' may not be changed.")
