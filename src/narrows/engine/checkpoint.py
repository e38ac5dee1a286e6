"""Checkpoints: how often a training is saved, and the files that hold its state."""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from numbers import Real
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from sklearn.base import BaseEstimator
from torch import Tensor

from narrows._errors import CheckpointError
from narrows._files import atomic, digest
from narrows._types import PathLike
from narrows.parts import Part

SUFFIX = ".safetensors"
FORMAT = 1
_KEY = "narrows"
_WATCHING = ("callbacks", "checkpoint", "verbose")


class Checkpoint(Part):
    """How often a fit is saved while it trains, so that it can go on after a fault.

    A fit of the same settings, rows and `random_state` that finds its own checkpoint goes on from
    there, in the middle of an epoch if need be, and ends with the same bits as one that was never
    stopped; one that had ended is not trained again. On SIGINT (Ctrl-C) and SIGTERM it saves
    before it stops. The last two are kept, each written whole or not at all and with a checksum.
    Several fits, also those within one estimator, may share a folder. Functions among the settings
    are told apart by their code and what they enclose; of callbacks nothing counts, and they see
    the epochs that remain. It is for `fit`; between calls of `partial_fit`, save the model.

    Parameters
    ----------
    folder : str or PathLike
        Where checkpoints lie; it is made if need be.
    minutes : float or None, default=10.0
        Save after so many minutes, > 0, at the end of a step.
    epochs : int or None, default=None
        Save after so many epochs, at least 1.
    resume : bool or None, default=None
        Whether there must be a checkpoint of this fit to go on from (True), must not be one
        (False), or either (None).

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from narrows import Autoencoder, Checkpoint, Training
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     training = Training(checkpoint=Checkpoint(folder, epochs=5))
    ...     one = Autoencoder(2, max_epochs=10, training=training, random_state=0).fit(X)
    ...     two = Autoencoder(2, max_epochs=10, training=training, random_state=0).fit(X)
    >>> bool((one.transform(X) == two.transform(X)).all())
    True
    """

    def __init__(
        self,
        folder: PathLike,
        minutes: float | None = 10.0,
        epochs: int | None = None,
        resume: bool | None = None,
    ) -> None:
        self.folder = folder
        self.minutes = minutes
        self.epochs = epochs
        self.resume = resume

    def check(self) -> None:
        """Raise ValueError for a setting that is out of range."""
        minutes: Any = self.minutes
        if minutes is not None and not (isinstance(minutes, Real) and float(minutes) > 0):
            raise ValueError(f"minutes={minutes!r} must be a positive number, or None. Write 10.0.")
        epochs: Any = self.epochs
        if epochs is not None and (isinstance(epochs, bool) or not hasattr(epochs, "__index__")):
            raise ValueError(f"epochs={epochs!r} must be a whole number, at least 1, or None.")
        if epochs is not None and epochs < 1:
            raise ValueError(f"epochs={epochs!r} must be a whole number, at least 1, or None.")


def write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a state to a file, whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    version = importlib.metadata.version("narrows")
    header = {"format": FORMAT, "version": version, **facts}
    header["sha256"] = digest(header, arrays)
    with atomic(path) as temporary:
        try:
            save_file(arrays, temporary, {_KEY: json.dumps(header)})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a state from a file, and what is said of it.

    Raises
    ------
    CheckpointError
        If it is not what was written.
    OSError
        If it cannot be read.
    """
    try:
        header, arrays = header_of(path), load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"The checkpoint '{path}' is damaged ({error}).") from error
    if digest(header, arrays) != header.get("sha256"):
        raise CheckpointError(f"The checkpoint '{path}' is damaged (its SHA-256 differs).")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, header


def header_of(path: Path) -> dict[str, Any]:
    """Return what a file says of itself, without its tensors; the checksum is not verified.

    Raises
    ------
    CheckpointError
        If it is no checkpoint.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[_KEY])
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"The checkpoint '{path}' is damaged ({error}).") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(
            f"The checkpoint '{path}' was not written by this version of narrows."
        )
    return header


def seconds_of(header: Mapping[str, Any]) -> float:
    """Return how long the complete epochs of a state took; 0 if it does not say."""
    found = header.get("seconds")
    return found if isinstance(found, float) and 0 <= found < math.inf else 0.0


def described(value: Any, name: str = "", within: tuple[int, ...] = ()) -> dict[str, str]:
    """Return settings as text, by dotted names: the same in every process.

    Estimators, parts, data classes and other objects are taken apart, functions into their code
    and what they enclose; of arrays a digest counts. What only watches a training is left out.
    """
    inner = _inside(value)
    if inner is None:
        return {name: _text(value)}
    if id(value) in within:
        return {name: "itself"}
    kind = {} if isinstance(value, Mapping) else {name: _title(value)}
    parts = [
        described(inner[key], f"{name}.{key}".lstrip("."), (*within, id(value)))
        for key in inner
        if key not in _WATCHING
    ]
    return {key: text for part in [kind, *parts] for key, text in part.items()}


def _inside(value: Any) -> dict[Any, Any] | None:
    """Return what a setting is made of, by name; None for numbers, names, arrays and classes."""
    if value is None or isinstance(value, str | int | float | np.generic | type):
        return None
    if isinstance(value, np.ndarray | Tensor | ModuleType):
        return None
    if isinstance(value, BaseEstimator):
        return dict(value.get_params(deep=False))
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    return _of_function(value) or getattr(value, "__dict__", None)


def _of_function(value: Any) -> dict[str, Any]:
    """Return what a function computes by, whatever its name; {} for what is none."""
    if isinstance(value, partial):
        return {"function": value.func, "arguments": value.args, "keywords": value.keywords}
    if isinstance(value, MethodType):
        return {"function": value.__func__, "of": value.__self__}
    if isinstance(value, FunctionType):
        enclosed = [cell.cell_contents for cell in value.__closure__ or ()]
        defaults = (value.__defaults__, value.__kwdefaults__)
        return {"code": value.__code__, "defaults": defaults, "enclosed": enclosed}
    if isinstance(value, CodeType):
        return {"code": value.co_code, "names": value.co_names, "constants": value.co_consts}
    return {}


def _text(value: Any) -> str:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return f"array {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()[:16]}"
    if value is None or isinstance(value, str | bytes | int | float | np.generic):
        return repr(value)
    return _title(value)


def _title(value: Any) -> str:
    """Return the name of a function or class, or that of the class of anything else."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{getattr(named, '__module__', '')}.{named.__qualname__}"
