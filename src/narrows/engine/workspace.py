"""Memory that replays use again for their results.

What a step gives back to the system, the next one fetches again, page by page; for a result of a
megabyte that takes longer than many an operation on it. And views of a result that always lies in
the same place need to be made but once.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from narrows.engine.calls import Call, memory_of


class Workspace:
    """Places for results; replays that run one after another share them."""

    def __init__(self) -> None:
        self._free: list[Tensor] = []

    def placed(self, calls: Sequence[Call], kept: Collection[Tensor]) -> list[Call]:
        """Let calls write results into places, but for those that are kept.

        A place is free for another result after the last call that reads or makes a view of it.
        """
        last = {memory_of(own): k for k, call in enumerate(calls) for own in call.tensors}
        aside = {memory_of(own) for own in kept}
        taken: dict[int, Tensor] = {}
        found = []
        for k, call in enumerate(calls):
            if call.can_write and _is_whole(call.result) and memory_of(call.result) not in aside:
                block = taken[memory_of(call.result)] = self._take(_size(call.result))
                call = call.into(_place(block, call.result))
            found.append(call)
            self._free += [taken.pop(own) for own in list(taken) if last[own] == k]
        return found

    def _take(self, size: int) -> Tensor:
        """Return the smallest free block that fits, or a new one."""
        enough = [k for k, block in enumerate(self._free) if size <= len(block) <= 2 * size]
        best = min(enough, key=lambda k: len(self._free[k]), default=None)
        return (
            torch.empty(size, dtype=torch.uint8, device="cpu")
            if best is None
            else self._free.pop(best)
        )


def _is_whole(result: Tensor) -> bool:
    """Return whether a result takes some of the processor's memory, without gaps."""
    whole = result.untyped_storage().nbytes() == _size(result)
    return result.device.type == "cpu" and whole and _size(result) > 0


def _size(result: Tensor) -> int:
    return result.numel() * result.element_size()


def _place(block: Tensor, result: Tensor) -> Tensor:
    """Return a block as a tensor like a result."""
    typed = block[: _size(result)].view(result.dtype)
    return typed.as_strided(result.size(), result.stride())
