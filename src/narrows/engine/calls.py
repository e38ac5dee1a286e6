"""Calls into torch's library: what a computation is made of, as a recorder notes it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_VALUES = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
_COPIES = ("aten::_to_copy", "aten::clone")
_SCALED = ("aten::add", "aten::sub", "aten::mul", "aten::div")  # numbers are computed as tensors
_RELU = "aten::relu"
COPY = torch.ops.aten.copy_.default


class Found(NamedTuple):
    """What a computation gives: tensors to return, and tensors to write into places."""

    returned: Sequence[Tensor]
    written: Sequence[Tensor]


@dataclass(frozen=True)
class Call:
    """One operation of torch's library: its operands, and what it gave."""

    operation: Any
    operands: tuple[Any, ...]
    named: dict[str, Any]
    result: Any
    place: Tensor | None = None  # that the result is written into, if there is one

    @property
    def name(self) -> str:
        """Name of the operation, without its overload."""
        return str(self.operation._schema.name)

    @property
    def read(self) -> list[Tensor]:
        """Tensors among the operands."""
        return [*tensors_of(self.operands), *tensors_of(tuple(self.named.values()))]

    @property
    def made(self) -> list[Tensor]:
        """Tensors among the results."""
        return list(tensors_of(self.result))

    @property
    def tensors(self) -> list[Tensor]:
        """Those read and those made."""
        return self.read + self.made

    @property
    def pure(self) -> bool:
        """Whether it neither writes to operands nor draws random numbers."""
        random = torch.Tag.nondeterministic_seeded in self.operation.tags
        return not random and not self.operation._schema.is_mutable

    @property
    def changed(self) -> list[Tensor]:
        """Tensors whose values it changes."""
        arguments = self.operation._schema.arguments
        given = dict(zip([own.name for own in arguments], self.operands, strict=False)) | self.named
        writes = [own.name for own in arguments if own.alias_info and own.alias_info.is_write]
        return list(tensors_of([given[name] for name in writes if name in given]))

    @property
    def reads_values(self) -> bool:
        """Whether Python learns values, or a shape that depends on them."""
        if self.name == "aten::index":  # only masks among indices decide on the shape
            return any(index.dtype is torch.bool for index in tensors_of(self.operands[1]))
        return any(tag in self.operation.tags for tag in _VALUES)

    @property
    def views(self) -> bool:
        """Whether it gives another view of an operand."""
        return self.pure and any(made.alias_info for made in self.operation._schema.returns)

    @property
    def can_write(self) -> bool:
        """Whether it has one result, of its own memory, and could write it into a place."""
        made = self.result
        if not isinstance(made, Tensor) or not self.pure:
            return False
        if memory_of(made) in map(memory_of, self.read):
            return False
        return self.name in (*_COPIES, _RELU) or _writing(self.operation) is not None

    def into(self, place: Tensor) -> "Call":
        """Return the call that writes its result into a place like it, with the same bits."""
        if self.name in _COPIES:
            return Call(COPY, (place, self.operands[0]), {}, self.result, place)
        if self.name == _RELU:  # which torch computes so
            clamp = torch.ops.aten.clamp_min.out
            return Call(clamp, (*self.operands, 0), {"out": place}, self.result, place)
        form = _writing(self.operation)
        if form is None:
            raise TypeError(f"{self.name} cannot write its result into a place.")
        return Call(form[0], self.operands, self.named | {form[1]: place}, self.result, place)


class Recorder(TorchDispatchMode):
    """Notes the calls that are made while it is entered, those of autograd among them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self.reads_values = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler (1.5 s, 80 MB), which is not to trace this."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls.append(Call(func, args, kwargs or {}, result))
        self.reads_values |= self.calls[-1].reads_values
        return result


def tensors_of(part: Any) -> Iterator[Tensor]:
    """Yield the tensors among operands or results."""
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, list | tuple):
        for own in part:
            yield from tensors_of(own)


def memory_of(tensor: Tensor) -> int:
    """Return where the memory of a tensor begins, which its views share."""
    return tensor.untyped_storage().data_ptr()


@cache
def _writing(operation: Any) -> tuple[Any, str] | None:
    """Return the form of an operation that writes into a place, and its name for the place.

    Forms that torch generated compute as always and then copy; they do not count.
    """
    packet, wanted = operation.overloadpacket, _types(operation)
    if operation._schema.name in _SCALED:
        wanted = {name: "Tensor" if name == "other" else own for name, own in wanted.items()}
    for form in (getattr(packet, overload) for overload in packet.overloads()):
        places = [own.name for own in form._schema.arguments if own.is_out]
        if len(places) == 1 and wanted == _types(form) and torch.Tag.generated not in form.tags:
            return form, places[0]
    return None


def _types(operation: Any) -> dict[str, str]:
    """Return the types of what an operation reads, by name."""
    return {own.name: str(own.type) for own in operation._schema.arguments if not own.is_out}
