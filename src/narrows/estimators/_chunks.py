"""Dask arrays: what a method makes of rows, chunk by chunk, when it is computed."""

import copy
import os
from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
from sklearn.utils.validation import check_is_fitted

from narrows._errors import require, warn
from narrows._types import Array
from narrows.data.arrays import in_chunks

P = ParamSpec("P")
R = TypeVar("R")

_ASIDE = ("_stream", "_held", "density_")  # what scoring does not read


def over_chunks(
    empty: Callable[[Any], Array], *, codes: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a method that maps rows to rows also take a Dask array, and return one, not computed.

    Parameters
    ----------
    empty : callable
        Returns what a fitted estimator makes of no rows: an array of the right type and shape.
    codes : bool, default=False
        Whether rows are those of codes, rather than of the data.
    """

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        @wraps(method)
        def either(*given: P.args, **more: P.kwargs) -> R:
            estimator, *arguments = given
            if not arguments or not in_chunks(arguments[0]):
                return method(*given, **more)
            check_is_fitted(estimator)
            rows, *others = arguments
            _check_columns(rows, None if codes else _event_shape(estimator))
            call = partial(_called, method.__name__, tuple(others))
            return cast(R, _lazy(call, estimator, empty(estimator), rows, dict(more)))

        return either

    return decorate


def _event_shape(estimator: Any) -> tuple[int, ...] | None:
    """Return the shape that rows must have, if there is one."""
    if getattr(estimator, "_sequential", False):
        return None
    known = getattr(estimator, "_event_shape", None)
    return (estimator.n_features_in_,) if known is None else tuple(known)


def _check_columns(rows: Any, shape: tuple[int, ...] | None) -> None:
    """Raise ValueError for rows that cannot be scored, before anything is computed."""
    found = rows.shape[1:]
    if not found:
        raise ValueError(
            "X has one dimension; rows of values are needed. Write X.reshape(-1, 1) for one "
            "feature, X.reshape(1, -1) for one row."
        )
    if any(np.isnan(size) for size in found):
        raise ValueError(
            "The Dask array has events of unknown shape. Write X.compute_chunk_sizes()."
        )
    if shape is not None and found[: len(shape)] != shape:
        raise ValueError(
            f"X has events of shape {found}, but the model was fitted on {shape}. "
            "Pass rows with the same features in the same order."
        )


def _lazy(
    call: Callable[..., Array], estimator: Any, empty: Array, rows: Any, more: dict[str, Any]
) -> Any:
    """Return the Dask array of what a call makes of each chunk of rows."""
    array, dask = require("dask.array", "scale"), require("dask", "scale")
    beside = {name: each for name, each in more.items() if in_chunks(each)}
    plain = {name: each for name, each in more.items() if name not in beside}
    _refuse_whole(rows, plain)
    if more.get("condition") is None and getattr(estimator, "_conditions", None) is not None:
        estimator._refuse_missing_condition(None)
    if "transform" in getattr(estimator, "_sklearn_output_config", {}):
        raise TypeError(
            "A Dask array is mapped to a Dask array, which set_output would compute as a whole. "
            "Write set_output(transform='default')."
        )
    if getattr(estimator, "feature_names_in_", None) is not None:
        warn(
            "The model was fitted on named features, and a Dask array has no names: its columns "
            "must be the same, in the same order.",
        )
    rows = rows.rechunk(dict.fromkeys(range(1, rows.ndim), -1))
    parts: list[Any] = [rows, _axes("in", rows)]
    for name, each in beside.items():
        parts += [_aligned(name, each, rows), _axes(name, each)]
    model = dask.delayed(_light(estimator), traverse=False)  # sent to each worker once
    axes = _axes("out", empty)
    return array.blockwise(
        partial(call, empty, tuple(beside), plain),
        axes,
        *parts,
        model,
        None,
        new_axes=dict(zip(axes[1:], empty.shape[1:], strict=True)),
        align_arrays=False,
        concatenate=True,
        dtype=empty.dtype,
        meta=empty,
    )


def _axes(name: str, array: Any) -> tuple[str, ...]:
    """Return labels of the axes of an array, the first that of the rows."""
    return ("row", *(f"{name} {k}" for k in range(1, array.ndim)))


def _called(
    method: str,
    others: tuple[Any, ...],
    empty: Array,
    names: Iterable[str],
    plain: dict[str, Any],
    rows: Array,
    *rest: Any,
) -> Array:
    """Return what a method makes of a chunk; the last argument is the estimator."""
    *beside, estimator = rest
    if not len(rows):
        return empty
    told = dict(zip(names, beside, strict=True))
    found = getattr(estimator, method)(rows, *others, **plain, **told)
    return np.asarray(found).astype(empty.dtype, copy=False)


def _refuse_whole(rows: Any, plain: dict[str, Any]) -> None:
    """Raise ValueError for rows beside those of a Dask array that are in no chunks."""
    for name in ("target", "condition"):
        each = plain.get(name)
        if each is None or (name == "condition" and np.ndim(each) == 0 and not _is_path(each)):
            continue
        if name == "target" or _is_path(each) or len(each) == rows.shape[0] > 1:
            raise ValueError(
                f"{name} must be a Dask array as X is. Write dask.array.from_array({name}), say."
            )


def _is_path(each: Any) -> bool:
    return isinstance(each, str | os.PathLike)


def _aligned(name: str, beside: Any, rows: Any) -> Any:
    """Return an array in the chunks of the rows that it belongs to."""
    sizes = rows.chunks[0]
    if not np.isnan([*sizes, *beside.chunks[0]]).any():
        if len(beside) != len(rows):
            raise ValueError(
                f"{name} has {len(beside)} rows, but X has {len(rows)}. Pass one row per row of X."
            )
        beside = beside.rechunk({0: sizes})
    elif len(beside.chunks[0]) != len(sizes):
        raise ValueError(
            f"{name} has {len(beside.chunks[0])} chunks of rows, but X has {len(sizes)}, of "
            "unknown sizes. Write compute_chunk_sizes() of both."
        )
    return beside.rechunk(dict.fromkeys(range(1, beside.ndim), -1))


def _light(estimator: Any) -> Any:
    """Return a copy with what scoring reads alone: one restart, no state of a training."""
    light = copy.copy(estimator)
    for name in _ASIDE:
        light.__dict__.pop(name, None)
    if "_ensemble" in light.__dict__:
        light._ensemble, light._best = light._model, 0
    if "training" in light.__dict__:
        light.training = None
    light.__dict__.pop("feature_names_in_", None)  # chunks have no names, which is said once
    return light
