"""A computation that is recorded once and replayed: the same operations without their overhead.

A small step is bound by the number of its operations. Autograd builds a graph of them each time,
though every step takes the same ones. Here one step runs under a recorder, which notes every
operation of torch's library with its operands, those of the backward pass among them. A function of
these calls alone, with neither graph nor modules, gives the same bits.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# torch's own functions take the operands of the library's operation of their name, in 2/3 the time
_FASTER = {
    "aten::add": torch.add,
    "aten::baddbmm": torch.baddbmm,
    "aten::bmm": torch.bmm,
    "aten::copy_": Tensor.copy_,
    "aten::exp": torch.exp,
    "aten::expand": Tensor.expand,
    "aten::mean": torch.mean,
    "aten::mul": torch.mul,
    "aten::relu": torch.relu,
    "aten::sigmoid": torch.sigmoid,
    "aten::squeeze": torch.squeeze,
    "aten::sub": torch.sub,
    "aten::sum": torch.sum,
    "aten::tanh": torch.tanh,
    "aten::transpose": torch.transpose,
    "aten::unsqueeze": torch.unsqueeze,
    "aten::view": Tensor.view,
}
_ALIASES = ("aten::detach", "aten::alias")
_WRITING = ("aten::bmm", "aten::mul", "aten::sum")  # these can write into a given place
_VALUES = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)

Replay = Callable[..., list[Tensor]]


class Found(NamedTuple):
    """What a computation gives: tensors to return, and tensors to write into places."""

    returned: Sequence[Tensor]
    written: Sequence[Tensor]


@dataclass(frozen=True)
class _Call:
    """One operation of torch's library: its operands, and what it gave."""

    operation: Any
    operands: tuple[Any, ...]
    named: dict[str, Any]
    result: Any

    @property
    def name(self) -> str:
        return str(self.operation._schema.name)

    @property
    def read(self) -> list[Tensor]:
        return [*_tensors(self.operands), *_tensors(tuple(self.named.values()))]

    @property
    def made(self) -> list[Tensor]:
        return list(_tensors(self.result))

    @property
    def pure(self) -> bool:
        """Whether it neither writes to operands nor draws random numbers."""
        random = torch.Tag.nondeterministic_seeded in self.operation.tags
        return not random and not self.operation._schema.is_mutable

    @property
    def reads_values(self) -> bool:
        """Whether Python learns values, or a shape that depends on them."""
        if self.name == "aten::index":  # only masks among indices decide on the shape
            return any(index.dtype is torch.bool for index in _tensors(self.operands[1]))
        return any(tag in self.operation.tags for tag in _VALUES)

    @property
    def views(self) -> bool:
        """Whether it gives another view of an operand."""
        return self.pure and any(made.alias_info for made in self.operation._schema.returns)


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[_Call] = []
        self.reads_values = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls.append(_Call(func, args, kwargs or {}, result))
        self.reads_values |= self.calls[-1].reads_values
        return result


def record(
    function: Callable[[], Found], inputs: Sequence[Tensor], places: Sequence[Tensor] = ()
) -> tuple[Found, Replay | None]:
    """Return what a function finds, and a function of other inputs that finds it without autograd.

    Parameters
    ----------
    function : callable
        Computes from the inputs. It may also read and write tensors that stay in place, and draw
        random numbers from generators; the replay does the same.
    inputs : sequence of Tensor
        All that differ from call to call; their shapes stay.
    places : sequence of Tensor
        Where the replay writes what is to be written, each of the same shape.

    Returns
    -------
    found : Found
    replay : callable or None
        Maps inputs to what is returned. None if the function reads values of tensors, so that its
        course may depend on them.

    Examples
    --------
    >>> scale, x = torch.tensor(2.0), torch.ones(2)
    >>> _, replay = record(lambda: Found([scale * x], []), [x])
    >>> scale.fill_(3.0)
    tensor(3.)
    >>> replay(torch.tensor([1.0, 2.0]))
    [tensor([3., 6.])]
    """
    with _Recorder() as recorder:
        found = function()
    if recorder.reads_values:
        return found, None
    return found, _Script(inputs).function(recorder.calls, found, places)


class _Script:
    """The source of a function that repeats calls.

    Tensors are told apart by identity, which holds as long as the record. Those that are neither an
    input nor made by a call stay in place: the function holds them, and views of them.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self.inputs = [f"x{k}" for k in range(len(inputs))]
        self.names = {id(tensor): name for tensor, name in zip(inputs, self.inputs, strict=True)}
        self.held: dict[str, Any] = {}

    def function(self, calls: Sequence[_Call], found: Found, places: Sequence[Tensor]) -> Replay:
        """Return the function of the inputs."""
        calls = [call for call in calls if self._changes(call)]
        results = [*found.returned, *found.written]
        calls = self._written(self._needed(calls, results), found.written, places)
        lines = [self._line(call) for call in calls]
        last = {
            self._text(tensor): k
            for k, call in enumerate(calls)
            for tensor in call.read + call.made
        }
        kept = {*self.inputs, *self.held, *map(self._text, found.returned)}
        for name in last.keys() - kept:
            lines[last[name]] += f"; del {name}"
        lines.append(f"return [{', '.join(map(self._text, found.returned))}]")
        parameters = [*self.inputs, *(f"{name}={name}" for name in self.held)]
        scope = dict(self.held)
        exec(f"def replay({', '.join(parameters)}):\n    " + "\n    ".join(lines), scope)
        replay: Replay = torch.no_grad()(scope["replay"])
        return replay

    def _changes(self, call: _Call) -> bool:
        """Name what a call makes; return whether it is more than a view of what stays in place."""
        read = [self._text(tensor) for tensor in call.read]
        if call.name in _ALIASES:
            self.names[id(call.result)] = read[0]
            return False
        still = call.views and all(name in self.held for name in read)
        for tensor in call.made:
            if still:
                self._hold(tensor)
            self.names.setdefault(id(tensor), f"v{len(self.names)}")
        return not still

    def _needed(self, calls: Sequence[_Call], results: Sequence[Tensor]) -> list[_Call]:
        """Leave out calls whose results nobody reads."""
        wanted, found = set(map(self._text, results)), []
        for call in reversed(calls):
            if not call.pure or any(self._text(tensor) in wanted for tensor in call.made):
                wanted |= set(map(self._text, call.read))
                found.append(call)
        return found[::-1]

    def _written(
        self, calls: Sequence[_Call], written: Sequence[Tensor], places: Sequence[Tensor]
    ) -> list[_Call]:
        """Let calls write into the places where they can, and copy what others made."""
        uses = Counter(self._text(tensor) for call in calls for tensor in call.read)
        uses.update(map(self._text, written))
        goes = {self._text(t): place for t, place in zip(written, places, strict=bool(places))}
        found = []
        for call in calls:
            name = self._text(call.result) if isinstance(call.result, Tensor) else ""
            if name in goes and uses[name] == 1 and call.name in _WRITING:
                call = replace(call, named=call.named | {"out": goes.pop(name)})
            found.append(call)
        made = {self._text(tensor): tensor for tensor in written}
        copy = torch.ops.aten.copy_.default
        return found + [_Call(copy, (place, made[n]), {}, place) for n, place in goes.items()]

    def _line(self, call: _Call) -> str:
        operation = _FASTER.get(call.name, call.operation)
        operands = [self._text(part) for part in call.operands]
        operands += [f"{name}={self._text(part)}" for name, part in call.named.items()]
        text = f"{self._hold(operation)}({', '.join(operands)})"
        return f"{self._target(call.result)} = {text}" if call.made else text

    def _target(self, result: Any) -> str:
        if isinstance(result, Tensor):
            return self._text(result)
        if isinstance(result, list | tuple):
            return f"({''.join(self._target(part) + ', ' for part in result)})"
        return "_"

    def _text(self, part: Any) -> str:
        """Return how the source refers to an operand."""
        if isinstance(part, list | tuple):
            return f"[{', '.join(map(self._text, part))}]"
        plain = part is None or isinstance(part, bool | int | str)
        if plain or (isinstance(part, float) and math.isfinite(part)):
            return repr(part)
        return self.names.get(id(part)) or self._hold(part)

    def _hold(self, part: Any) -> str:
        """Name something that stays in place."""
        name = self.names.setdefault(id(part), f"k{len(self.held)}")
        self.held[name] = part
        return name


def _tensors(part: Any) -> Iterator[Tensor]:
    """Yield the tensors among operands or results."""
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, list | tuple):
        for own in part:
            yield from _tensors(own)
