"""Settings as a model file holds them: names, finite numbers, and parts of these."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from narrows import parts

# Settings that may be functions, and what stands for these in a file
_SAMPLER = "narrows.nn.sampler:UnkeptSampler"
_UNKEPT = {
    "corruption": "narrows.corruption:Unkept",
    "prior": _SAMPLER,
    "critic__sampler": _SAMPLER,
}

# Settings that no file holds, and what stands there
_TRAINING_ONLY = {"callbacks": (), "checkpoint": None}


def plain(name: str, value: Any) -> Any:
    """Return a setting as names, finite numbers and parts.

    Raises
    ------
    TypeError
        It is something else: a function of one's own, or a class that cannot be imported.
    ValueError
        It is a number that is not finite.
    """
    if name.endswith(tuple(_TRAINING_ONLY)):
        return _TRAINING_ONLY[name.rpartition("__")[2]]
    if isinstance(value, np.random.RandomState | np.random.Generator):
        return None
    title = unkept(name, value)
    if title:
        # What it was called is enough to load and score.
        return parts.load(_UNKEPT[name])(title)
    if isinstance(value, parts.Part):
        own = value.get_params(deep=False)
        return type(value)(**{key: plain(f"{name}__{key}", own[key]) for key in own})
    if isinstance(value, dict | list | tuple | range):
        return _items(name, value)
    if isinstance(value, np.ndarray | np.generic):
        return plain(name, value.tolist())
    if callable(value):
        return _function_name(name, value)
    if not isinstance(value, str | int | float | None):
        raise TypeError(
            f"{name}={value!r} cannot be written to a model file. Write a number or a name."
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(
            f"{name}={value} cannot be written to a model file, which holds finite numbers only. "
            f"Write set_params({name}=...) with a finite number first."
        )
    return value


def unkept(name: str, value: Any) -> str:
    """Return what a setting is called that is code, and so not in a file; nothing of others."""
    own = name in _UNKEPT and callable(value) and not parts.listed(value)
    return _title(value) if own else ""


def _items(name: str, settings: Any) -> Any:
    if not isinstance(settings, dict):
        return tuple(plain(name, item) for item in settings)
    for key in settings:
        if not isinstance(key, str) or key == "part":
            raise TypeError(
                f"{name} has the key {key!r}, which a model file cannot hold. Write another name."
            )
    return {key: plain(f"{name}[{key!r}]", value) for key, value in settings.items()}


def _title(part: Any) -> str:
    function = getattr(part, "function", part)
    return str(getattr(function, "__name__", type(function).__name__))


def _function_name(name: str, function: Callable[..., Any]) -> str:
    from narrows.nn.activation import ACTIVATIONS
    from narrows.nn.modules import import_path

    if name.endswith(("__encoder", "__decoder")):
        return import_path(name, function)
    for known, listed in ACTIVATIONS.items():
        if function is listed:
            return known
    raise TypeError(
        f"{name}={function!r} is a function of your own and cannot be written to a model file. "
        f"Write one of {', '.join(map(repr, ACTIVATIONS))} and fit again, or write "
        "joblib.dump(estimator, 'model.joblib')."
    )
