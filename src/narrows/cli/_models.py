"""From the options that were written to estimators."""

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from narrows._errors import nearest
from narrows.cli import _settings
from narrows.cli._settings import Path


def values(given: Mapping[str, str | bool | None]) -> dict[Path, Any]:
    """Return the values of the options that were written, by path."""
    known = _settings.settings()
    written = {tuple(name.split("__")): text for name, text in given.items() if text is not None}
    return {path: known[path].parse(text) for path, text in written.items()}


def applicable(model: str, given: Mapping[Path, Any]) -> dict[Path, Any]:
    """Return the settings that a model has, or whose parts it takes."""
    cls = _class(model)
    names = inspect.signature(cls).parameters
    return {path: value for path, value in given.items() if path[0] in names}


def estimator(model: str, given: Mapping[Path, Any]) -> Any:
    """Return the estimator of that name with these settings.

    Raises
    ------
    ValueError
        No such model, or a setting that it or its chosen part does not have.
    """
    cls = _class(model)
    foreign = given.keys() - applicable(model, given).keys()
    if foreign:
        path = min(foreign)
        option = _settings.settings()[path].option
        raise ValueError(f"{model} has no setting {option}. Write --model {_owner(path[0])}.")
    own = {path[0]: value for path, value in given.items() if len(path) == 1}
    parts = {path[0]: _part(cls, path[0], own, given) for path in given if len(path) > 1}
    return cls(**{**own, **parts})


def _owner(name: str) -> str:
    """Return the first estimator that has a setting."""
    from narrows.parts import ESTIMATORS

    return next(each for each in ESTIMATORS if name in inspect.signature(_class(each)).parameters)


def _class(model: str) -> Any:
    from narrows.parts import ESTIMATORS, load

    if model not in ESTIMATORS:
        raise ValueError(
            f"There is no model {model!r}.{nearest(model, ESTIMATORS)} "
            f"Known are: {', '.join(ESTIMATORS)}."
        )
    return load(ESTIMATORS[model])


def _part(cls: type, name: str, own: Mapping[str, Any], given: Mapping[Path, Any]) -> Any:
    """Return the part, or the parts, that the options ``--name.*`` describe."""
    defaults = {key: each.default for key, each in inspect.signature(cls).parameters.items()}
    hint = typing.get_type_hints(cls.__init__)[name]  # type: ignore[misc]
    inner = {path: value for path, value in given.items() if path[0] == name and len(path) > 1}
    choice, kind = own.get(name, defaults[name]), _settings.part(hint)
    if _settings.item(hint):
        for path in inner:
            if path[1] not in choice:
                option = _settings.settings()[path].option
                raise ValueError(f"{option} needs {path[1]!r} among --{name}.")
        of = {each: {p: value for p, value in inner.items() if p[1] == each} for each in choice}
        return tuple(_made(kind, each, values, {}) for each, values in of.items())
    # A part left open is made from the settings of the estimator that have its names.
    shared = {**defaults, **own} if defaults[name] is None and choice is None else {}
    return _made(kind, choice, inner, shared)


def _made(kind: Any, choice: Any, inner: Mapping[Path, Any], shared: Mapping[str, Any]) -> Any:
    """Return a part with some of its parameters set."""
    from narrows.parts import resolve

    axis = _settings.axis(kind)
    made = kind() if axis is None else resolve(axis, choice)
    names = made.get_params(deep=False).keys()
    for path in inner:
        if path[-1] not in names:
            setting = _settings.settings()[path]
            raise ValueError(
                f"{setting.option} is for {' or '.join(setting.defaults)}, not for {choice}. "
                f"Write --{path[0]} {next(iter(setting.defaults))} as well."
            )
    own = {path[-1]: value for path, value in inner.items()}
    return made.set_params(**{key: shared[key] for key in names & shared.keys()} | own)
