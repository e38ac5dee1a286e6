"""The order in which results lie in memory, such that sums read both of their operands alike.

Where a gradient is differentiated, that of a weight comes in parts, and some are transposes of
products. Adding one of these to another part jumps through memory, which takes ten times as long
as adding two that lie alike. The product of the transposed factors lies as it is read. Products of
gradients, whose first factor lies transposed, then have the same bits, as long as they sum so few
terms that the library does so in one go.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from narrows.engine.calls import Call, Found, tensors_of

_PRODUCT, _TRANSPOSE = torch.ops.aten.bmm.default, torch.ops.aten.transpose.int
_SUMS = ("aten::add", "aten::_to_copy")
_TERMS = 512  # of which 20 000 products of random shapes had the same bits in either order


def aligned(calls: Sequence[Call], found: Found) -> tuple[list[Call], Found]:
    """Return calls and results in which products that are only read transposed lie so.

    Sums of them, and what these are converted to, then lie in order too.
    """
    loose = _loose(calls, found)
    turned = {id(call.operands[0]): call for call in loose.values() if _turns(call)}
    new = {
        key: torch.empty_like(call.result, memory_format=torch.contiguous_format)
        for key, call in loose.items()
    }
    made: list[Call] = []
    for call in calls:
        call = replace(call, operands=_replaced(call.operands, new))
        key = id(call.result)
        if key in turned:
            factors = [factor.mT for factor in reversed(call.operands)]
            pairs = zip(factors, reversed(call.operands), strict=True)
            made += [Call(_TRANSPOSE, (own, -2, -1), {}, factor) for factor, own in pairs]
            made.append(replace(call, operands=tuple(factors), result=new[id(turned[key].result)]))
        elif not (key in loose and _turns(call)):
            made.append(replace(call, result=new.get(key, call.result)))
    return made, Found(found.returned, [new.get(id(own), own) for own in found.written])


def _loose(calls: Sequence[Call], found: Found) -> dict[int, Call]:
    """Return calls by their results, which lie transposed though nothing asks for it."""
    readers, given = defaultdict(list), set(map(id, found.returned))
    for call in calls:
        for own in call.read:
            readers[id(own)].append(call)
    written = set(map(id, found.written))
    products = {id(call.result) for call in calls if _turnable(call)} - given - written
    alone = {key for key in products if len(readers[key]) == 1}
    loose = {
        id(call.result): call
        for call in calls
        if (call.name in _SUMS and _lies_transposed(call.result) and not _named(call))
        or (_turns(call) and id(call.operands[0]) in alone)
    }
    while True:
        tied = {
            key
            for key, call in loose.items()
            if key in given
            or not all(id(own.result) in loose and not _turns(own) for own in readers[key])
            or not (_turns(call) or all(id(o) in loose for o in call.read if _lies_transposed(o)))
        }
        if not tied:
            return loose
        loose = {key: call for key, call in loose.items() if key not in tied}


def _turnable(call: Call) -> bool:
    """Return whether a call is a product that has the same bits if its factors are transposed."""
    if call.operation is not _PRODUCT or call.result.device.type != "cpu":
        return False
    first, second = call.operands
    return _lies_transposed(first) and second.is_contiguous() and first.shape[-1] <= _TERMS


def _turns(call: Call) -> bool:
    """Return whether a call gives the transpose, of its last axes, of what lies in order."""
    if call.operation is not _TRANSPOSE or not _lies_transposed(call.result):
        return False
    n = call.result.ndim
    return {axis % n for axis in call.operands[1:]} == {n - 2, n - 1}


def _named(call: Call) -> list[Tensor]:
    """Return the operands of a call that have names."""
    return list(tensors_of(tuple(call.named.values())))


def _lies_transposed(tensor: Tensor) -> bool:
    return tensor.ndim > 1 and tensor.mT.is_contiguous() and not tensor.is_contiguous()


def _replaced(operands: Sequence[Any], new: dict[int, Tensor]) -> tuple[Any, ...]:
    """Return operands of a call, some in their new order."""
    return tuple(new.get(id(operand), operand) for operand in operands)
