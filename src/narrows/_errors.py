"""Errors and warnings that say what to write instead."""

import difflib
import importlib
import sys
import warnings
from collections.abc import Iterable
from types import FrameType, ModuleType
from typing import Any

_WRAPPERS = ("jaxtyping", "joblib", "sklearn", "torch")  # packages whose decorators stand between


class ModelFileError(ValueError):
    """A model file that is missing, truncated, tampered with, foreign or from a newer format."""


class CheckpointError(ValueError):
    """Checkpoints that are damaged, of another fit, or in the way."""


class ProcessError(RuntimeError):
    """Another of several processes that train one model together failed."""


class NonFiniteLossError(FloatingPointError):
    """A loss became NaN or infinite while training; the last good weights are kept."""


class MissingExtraError(ImportError):
    """An optional package is not installed; the message says what to install."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return a hint naming the choice closest to `name`, or an empty string."""
    match = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and name the line that called into the package."""
    warnings.warn_explicit(text, category, *caller())


def caller() -> tuple[str, int, str, Any]:
    """Return file, line, module and known warnings of what called into the package."""
    found = sys._getframe()
    frame: FrameType | None = found
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package == "narrows" or (package in _WRAPPERS and frame is found):
            found = frame.f_back or frame
        frame = frame.f_back
    names = found.f_globals
    known = names.setdefault("__warningregistry__", {})
    return found.f_code.co_filename, found.f_lineno, names.get("__name__", "<string>"), known


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say in one line what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{package!r} is not installed. Write: pip install 'narrows[{extra}]'"
        ) from error
