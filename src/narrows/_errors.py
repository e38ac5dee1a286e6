"""Errors and warnings that say what to write instead."""

import difflib
import importlib
import sys
import warnings
from collections.abc import Iterable
from types import FrameType, ModuleType

_WRAPPERS = ("jaxtyping", "sklearn", "torch")  # packages whose decorators stand between


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
    """Warn, and name the line that called into the package, through its wrappers."""
    frame: FrameType | None = sys._getframe()
    depth = outermost = 0
    while frame is not None:
        depth += 1
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        reached = package == "narrows" or (package in _WRAPPERS and outermost == depth - 1)
        outermost = depth if reached else outermost
        frame = frame.f_back
    warnings.warn(text, category, stacklevel=outermost + 1)


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say in one line what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{package!r} is not installed. Write: pip install 'narrows[{extra}]'"
        ) from error
