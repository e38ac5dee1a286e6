"""The settings of an estimator as Python that makes it again."""

import inspect
import platform
from importlib import metadata
from typing import Any

import numpy as np

import narrows
from narrows.parts import Part

PACKAGES = ("numpy", "torch", "scikit-learn", "matplotlib")


def as_code(estimator: Any) -> str:
    """Return imports and a call, one argument a line, that make an estimator with these settings.

    What has no Python text (a module or function of the user's own) is left out with a comment.

    Examples
    --------
    >>> from narrows import HierarchicalAutoencoder
    >>> print(as_code(HierarchicalAutoencoder(3)).splitlines()[3])
        n_components=3,
    """
    names: set[type] = {type(estimator)}
    lines = [f"    {_argument(name, value, names)}" for name, value in _arguments(estimator)]
    call = [f"model = {type(estimator).__name__}(", *lines, ")"]
    return "\n".join([*_imports(names), "", *call])


def versions() -> list[tuple[str, str]]:
    """Return the name and version of all that a result depends on."""
    installed = [(name, metadata.version(name)) for name in PACKAGES]
    return [("narrows", narrows.__version__), ("Python", platform.python_version()), *installed]


def _arguments(thing: Any) -> list[tuple[str, Any]]:
    return [(name, getattr(thing, name)) for name in inspect.signature(type(thing)).parameters]


def _argument(name: str, value: Any, names: set[type]) -> str:
    text = _text(value, names)
    if text is None:
        return f"# {name}=...,  # an object of your own: {_one_line(value)}"
    return f"{name}={text},"


def _text(value: Any, names: set[type]) -> str | None:
    """Return the Python text of a value, if it has one; gather the classes it names."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if np.isfinite(value) else f"float('{value}')"
    if isinstance(value, Part):
        return _call(value, names)
    if isinstance(value, list | tuple | range | np.ndarray):
        return _sequence([_text(item, names) for item in value])
    return None


def _call(part: Part, names: set[type]) -> str:
    arguments = [(name, _text(value, names)) for name, value in _arguments(part)]
    names.add(type(part))
    inside = ", ".join(f"{name}={text}" for name, text in arguments if text is not None)
    return f"{type(part).__name__}({inside})"


def _sequence(items: list[str | None]) -> str | None:
    texts = [item for item in items if item is not None]
    if len(texts) < len(items):
        return None
    return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"


def _imports(names: set[type]) -> list[str]:
    ours = {kind for kind in names if getattr(narrows, kind.__name__, None) is kind}
    short = ", ".join(sorted(kind.__name__ for kind in ours))
    others = sorted(f"from {kind.__module__} import {kind.__name__}" for kind in names - ours)
    return [f"from narrows import {short}", *others] if ours else others


def _one_line(value: Any) -> str:
    return " ".join(repr(value).split())[:80]
