"""What processes that train one model make sure of: the same rows, settings, start and end."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from narrows import _ranks
from narrows._errors import warn
from narrows._types import Array
from narrows.engine.callbacks import Epoch
from narrows.engine.checkpoint import described
from narrows.engine.learner import Learner

# Batches that are compared, and how far their sums may differ: machines round differently.
_COMPARED, _TOLERANCE = 256, 1e-4
_REMEDY = "Call fit in every process with the same rows and settings."


def agree(
    model: Learner,
    batches: Sequence[Iterable[Any] | None],
    settings: Mapping[str, Any],
    generators: Sequence[torch.Generator],
) -> None:
    """Give all processes the start of the first, after making sure that they train the same.

    Raises
    ------
    ValueError
        If settings, rows or seeds differ between processes.
    """
    if _ranks.size() == 1:
        return
    states = b"".join(bytes(own.get_state().numpy()) for own in generators)
    own = {"random_state": hashlib.sha256(states).hexdigest()[:16], **described(settings)}
    every = _ranks.alike(lambda: (own, _sums_of(batches)))
    names = [*dict.fromkeys(name for texts, _ in every for name in texts)]
    first = every[0]
    for number, other in enumerate(every):
        for name in names:
            found = [texts.get(name, "not set") for texts, _ in (first, other)]
            if found[0] != found[1]:
                _refuse(number, name, *found)
        _refuse_rows(number, first[1], other[1])
    _ranks.begin()
    _ranks.take_over([*model.parameters(), *model.buffers()])


def agree_on_moments(mean: Array, variance: Array) -> None:
    """Make sure that all processes have rows of the same mean and variance.

    Scaled rows, which `agree` compares, do not show an offset or a unit.

    Raises
    ------
    ValueError
        If they have not.
    """
    if _ranks.size() == 1:
        return
    width = np.sqrt(np.where(variance > 0, variance, 1.0))
    own = torch.from_numpy(np.concatenate([mean / width, np.log(width)]))
    every = _ranks.alike(lambda: _sums(own))
    for number, other in enumerate(every):
        _refuse_rows(number, every[0], other)


def stopped(epoch: Epoch, callbacks: Sequence[Callable[[Epoch], str | None]]) -> bool:
    """Return whether a callback says "stop", in any process; warn of other answers."""

    def said() -> bool:
        stop = False
        for callback in callbacks:
            answer = callback(epoch)
            if isinstance(answer, str) and answer == "stop":
                stop = True
            elif answer is not None:
                known = isinstance(answer, str | bool)
                said = repr(answer) if known else f"an object of type {type(answer).__name__}"
                text = f"A callback returned {said}, and training goes on."
                warn(f"{text} Return 'stop' to end it, else None.")
        return stop

    return any(_ranks.alike(said))


def _sums_of(batches: Sequence[Iterable[Any] | None]) -> list[float]:
    """Return sums over the first batches that tell rows, and orders of them, apart."""
    found: list[float] = []
    for own in batches:
        sums = [_sums(batch) for batch in islice(own or (), _COMPARED)]
        found += [float(len(sums)), *(number for each in sums for number in each)]
    return found


def _sums(batch: Any) -> list[float]:
    """Return sums over what a batch holds."""
    if isinstance(batch, Tensor):
        values = batch.detach().cpu().double().nan_to_num().flatten()
        ramp = torch.linspace(0, 1, len(values), dtype=values.dtype)
        sizes = values.abs()
        return [float(len(values)), float(sizes.sum()), float((sizes * ramp).sum())]
    if isinstance(batch, int | float):
        return [float(batch)]
    if isinstance(batch, list | tuple):
        return [number for part in batch for number in _sums(part)]
    return [number for part in getattr(batch, "__dict__", {}).values() for number in _sums(part)]


def _close(one: Sequence[float], two: Sequence[float]) -> bool:
    pairs = zip(one, two, strict=False)
    return len(one) == len(two) and all(
        math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for a, b in pairs
    )


def _refuse_rows(number: int, first: Sequence[float], other: Sequence[float]) -> None:
    if not _close(first, other):
        raise ValueError(
            f"Processes 0 and {number} have different rows, or rows in another order. {_REMEDY}"
        )


def _refuse(number: int, name: str, first: str, other: str) -> None:
    raise ValueError(f"Processes 0 and {number} differ in {name}: {first} and {other}. {_REMEDY}")
