"""A computation that is recorded once and replayed: the same operations without their overhead.

A small step is bound by the number of its operations. Autograd builds a graph of them each time,
though every step takes the same ones. Here one step runs under a recorder, which notes every
operation of torch's library with its operands, those of the backward pass among them. These calls
alone, with neither graph nor modules, give the same bits.
"""

from collections import Counter
from collections.abc import Callable, Sequence, Set
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from narrows.engine.calls import COPY, Call, Found, Recorder, memory_of, tensors_of
from narrows.engine.order import aligned
from narrows.engine.workspace import Workspace

# torch's own functions take the operands of the library's operation of their name, in 2/3 the time
_FASTER = {
    "aten::add": torch.add,
    "aten::baddbmm": torch.baddbmm,
    "aten::bmm": torch.bmm,
    "aten::cat": torch.cat,
    "aten::copy_": Tensor.copy_,
    "aten::div": torch.div,
    "aten::exp": torch.exp,
    "aten::expand": Tensor.expand,
    "aten::log": torch.log,
    "aten::lt": torch.lt,
    "aten::mean": torch.mean,
    "aten::mul": torch.mul,
    "aten::neg": torch.neg,
    "aten::rand": torch.rand,
    "aten::randn": torch.randn,
    "aten::relu": torch.relu,
    "aten::sigmoid": torch.sigmoid,
    "aten::split_with_sizes": torch.split_with_sizes,
    "aten::squeeze": torch.squeeze,
    "aten::stack": torch.stack,
    "aten::sub": torch.sub,
    "aten::sum": torch.sum,
    "aten::tanh": torch.tanh,
    "aten::transpose": torch.transpose,
    "aten::unsqueeze": torch.unsqueeze,
    "aten::view": Tensor.view,
    "aten::where": torch.where,
}
_LITERAL = "aten::lift_fresh"
_ALIASES = ("aten::detach", "aten::alias")
_SHAPED = (
    "aten::full_like",
    "aten::new_ones",
    "aten::new_zeros",
    "aten::ones_like",
    "aten::zeros_like",
)
_KEPT = 2**23  # bytes of a result that is the same in each step, at most
_ANY_ORDER = ("aten::bmm", "aten::mul", "aten::sum")  # with the same bits in any order of memory


def record(
    function: Callable[[], Found],
    inputs: Sequence[Tensor],
    places: Sequence[Tensor] = (),
    workspace: Workspace | None = None,
) -> "tuple[Found, Replay | None]":
    """Return what a function finds, and what finds it for other inputs without autograd.

    Parameters
    ----------
    function : callable
        Computes from the inputs. It may also read and write tensors that stay in place, and draw
        random numbers from generators; the replay does the same.
    inputs : sequence of Tensor
        All that differ from call to call; their shapes stay.
    places : sequence of Tensor
        Where the replay writes what is to be written, each of the same shape; the function does
        not read them.
    workspace : Workspace or None
        Holds results meanwhile; replays that never run at the same time can share it.

    Returns
    -------
    found : Found
    replay : Replay or None
        None if the function reads values of tensors, so that its course may depend on them, has
        operands by name that change, or writes to a tensor of numbers that stand in its code.

    Examples
    --------
    >>> scale, x = torch.tensor(2.0), torch.ones(2)
    >>> _, replay = record(lambda: Found([scale * x], []), [x])
    >>> scale.fill_(3.0)
    tensor(3.)
    >>> replay(torch.tensor([1.0, 2.0]))
    [tensor([3., 6.])]
    """
    with Recorder() as recorder:
        found = function()
    calls = recorder.calls
    made = {id(tensor) for call in calls for tensor in call.made} | set(map(id, inputs))
    named = [tensors_of([*call.named.values()]) for call in calls]
    mutated = {memory_of(own) for call in calls for own in call.changed}
    literals = {memory_of(call.result) for call in calls if call.name == _LITERAL}
    changing = any(id(tensor) in made for own in named for tensor in own)
    if recorder.reads_values or changing or literals & mutated:
        return found, None
    calls, laid = aligned(calls, found)
    return found, Replay(calls, inputs, laid, places, workspace or Workspace(), mutated)


class Replay:
    """Recorded calls, on other inputs.

    All that is read or made lies in numbered slots, the inputs in the first. Tensors are told apart
    by identity, which holds as long as the record. Those that are neither an input nor made by a
    call stay in place: they fill their slots for good, and so do views of them. So do constants,
    which are made of shapes and other constants alone.

    Parameters
    ----------
    calls : sequence of Call
    inputs, found, places, workspace
        Like those of `record`.
    mutated : set of int
        Where the memory begins of which calls change values.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        inputs: Sequence[Tensor],
        found: Found,
        places: Sequence[Tensor],
        workspace: Workspace,
        mutated: Set[int],
    ) -> None:
        self.inputs = slice(len(inputs))
        self.filled: list[Any] = [None] * len(inputs)
        self.still: set[int] = set()
        self.slots = {id(tensor): slot for slot, tensor in enumerate(inputs)}
        self.constant: set[int] = set()
        self.mutated = mutated
        calls = [call for call in calls if self._changes(call)]
        calls = self._needed(calls, [*found.returned, *found.written])
        calls = self._written(calls, found, places)
        calls = self._fixed(workspace.placed(calls, found.returned))
        self.returned = [self._slot(tensor) for tensor in found.returned]
        touched = [(self._slot(t), k) for k, call in enumerate(calls) for t in call.tensors]
        last = {slot: k for slot, k in touched if slot not in {*self.still, *self.returned}}
        ends = [[slot for slot in last if last[slot] == k] for k in range(len(calls))]
        self.moves = [(*self._move(call), end) for call, end in zip(calls, ends, strict=True)]
        del self.slots, self.constant, self.mutated

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Return what is to be returned, and write what is to be written."""
        slots = self.filled.copy()
        slots[self.inputs] = inputs
        for function, read, named, made, ended in self.moves:
            result = function(*read(slots), **named)
            if isinstance(made, int):
                slots[made] = result
            else:
                for slot, part in zip(made, result, strict=True):
                    slots[slot] = part
            for slot in ended:
                slots[slot] = None
        return [slots[slot] for slot in self.returned]

    def _slot(self, part: Any) -> int:
        """Return the slot of an operand; fill a new one if it stays in place."""
        if id(part) not in self.slots:
            self.still.add(self._new(part, part))
        return self.slots[id(part)]

    def _new(self, part: Any, filled: Any = None) -> int:
        self.slots[id(part)] = len(self.filled)
        self.filled.append(filled)
        return len(self.filled) - 1

    def _changes(self, call: Call) -> bool:
        """Take in what a call makes; return whether it is more than a view of what stays."""
        read = [self._slot(tensor) for tensor in call.read]
        if call.name in _ALIASES:
            self.slots[id(call.result)] = read[0]
            return False
        shaped = call.name in _SHAPED or self.constant.issuperset(read)
        constant = shaped and self._is_kept(call)
        still = constant or (call.views and self.still.issuperset(read))
        for tensor in call.made:
            if still:
                self.constant |= {self._slot(tensor)} if constant else set()
            elif id(tensor) not in self.slots:
                self._new(tensor)
        return not still

    def _is_kept(self, call: Call) -> bool:
        """Return whether nobody writes to the results of a call, and they are not too large."""
        size = sum(own.numel() * own.element_size() for own in call.made)
        same = call.pure and self.mutated.isdisjoint(map(memory_of, call.made))
        return same and size <= _KEPT

    def _needed(self, calls: Sequence[Call], results: Sequence[Tensor]) -> list[Call]:
        """Leave out calls whose results nobody reads."""
        wanted, found = {self._slot(tensor) for tensor in results}, []
        for call in reversed(calls):
            if not call.pure or any(self._slot(tensor) in wanted for tensor in call.made):
                wanted |= {self._slot(tensor) for tensor in call.read}
                found.append(call)
        return found[::-1]

    def _written(self, calls: Sequence[Call], found: Found, places: Sequence[Tensor]) -> list[Call]:
        """Let calls write into the places where they can, and copy what others made."""
        returned, written = found
        read = [tensor for call in calls for tensor in call.read]
        uses = Counter(self._slot(tensor) for tensor in [*read, *written, *returned])
        pairs = list(zip(written, places, strict=bool(places)))
        goes = {self._slot(tensor): place for tensor, place in pairs}
        moved = []
        for call in calls:
            slot = self._slot(call.result) if call.can_write else None
            if slot in goes and uses[slot] == 1 and _fits(call, goes[slot]):
                call = call.into(goes[slot])
                pairs = [pair for pair in pairs if self._slot(pair[0]) != slot]
            moved.append(call)
        return moved + [Call(COPY, (place, tensor), {}, place) for tensor, place in pairs]

    def _fixed(self, calls: Sequence[Call]) -> list[Call]:
        """Leave out views of results that are always written into the same place."""
        found = []
        for call in calls:
            if call.views and self.still.issuperset(map(self._slot, call.read)):
                self._fix(call.result, call.operation(*self._placed(call.operands), **call.named))
                continue
            if call.place is not None:
                self._fix(call.result, call.place)
            found.append(call)
        return found

    def _fix(self, result: Any, place: Any) -> None:
        """Fill the slots of what a call makes for good."""
        for tensor, own in zip(tensors_of(result), tensors_of(place), strict=True):
            self.filled[self._slot(tensor)] = own
            self.still.add(self._slot(tensor))

    def _placed(self, operands: Sequence[Any]) -> list[Any]:
        """Return operands as they lie in their slots."""
        return [self.filled[self._slot(o)] if isinstance(o, Tensor) else o for o in operands]

    def _move(
        self, call: Call
    ) -> tuple[Callable[..., Any], Callable[[list[Any]], Sequence[Any]], dict[str, Any], Any]:
        """Return a function, what gathers its operands, those with names, and where results go."""
        gather = _gatherer([self._nested(part) for part in call.operands])
        made = call.result
        several = isinstance(made, list | tuple)
        slots = [self._made(part) for part in made] if several else self._made(made)
        return _FASTER.get(call.name, call.operation), gather, call.named, slots

    def _nested(self, part: Any) -> int | list[int]:
        """Return the slot of an operand, or those of a list of tensors."""
        if any(True for _ in tensors_of(part)) and not isinstance(part, Tensor):
            return [self._slot(own) for own in part]
        return self._slot(part)

    def _made(self, part: Any) -> int:
        return self._slot(part) if isinstance(part, Tensor) else self._new(part)


def _fits(call: Call, place: Tensor) -> bool:
    """Return whether a call gives the same bits if it writes into a place."""
    plain = place.device.type == "cpu" and call.result.stride() == place.stride()
    return (plain or call.name in _ANY_ORDER) and call.result.dtype == place.dtype


def _gatherer(slots: Sequence[Any]) -> Callable[[list[Any]], Sequence[Any]]:
    """Return what takes operands out of their slots; slots may be lists of slots."""
    if any(isinstance(own, list) for own in slots):
        each = [_gatherer(own) if isinstance(own, list) else itemgetter(own) for own in slots]
        return lambda filled: [gather(filled) for gather in each]
    if len(slots) != 1:
        return itemgetter(*slots) if slots else lambda filled: ()
    (slot,) = slots
    return lambda filled: (filled[slot],)
