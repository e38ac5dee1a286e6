"""Model files: tensors in one .safetensors file, settings as JSON in its header.

Nothing is unpickled or evaluated: estimators and parts are looked up by name in `narrows.parts`,
and everything is checked before it is used. Import paths in a file, of a user's own modules, are
followed only into packages that the caller names.
"""

import importlib.metadata
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialised
from sklearn.utils.validation import check_is_fitted

from narrows import parts
from narrows._errors import ModelFileError, nearest, warn
from narrows._files import atomic, digest, require_file, require_suffix
from narrows._plain import plain, unkept
from narrows._types import Array, PathLike
from narrows._values import check_kinds, count

if TYPE_CHECKING:
    from narrows.blueprint import Blueprint
    from narrows.model import Model

FORMAT = 1
SUFFIX = ".safetensors"
VERSION = importlib.metadata.version("narrows")

_KEY = "narrows"
_HEADER: dict[str, type | tuple[type, ...]] = {
    "version": str,
    "estimator": str,
    "parameters": dict,
    "blueprint": dict,
    "has_target": bool,
    "event_shape": list,
    "target_shape": list,
    "n_features_in": int,
    "feature_names": (list, type(None)),
    "n_restarts": int,
    "best": int,
    "n_iter": int,
    "stream": (dict, type(None)),
    "sha256": str,
}
_AXES = ("architecture", "code", "ordering", "likelihood", "penalties")
_LATER = ("prior", "n_draws", "critic")  # not in the files of the first versions
_HISTORY = ("train_loss", "validation_loss", "learning_rate", "best_epoch", "best_loss")
_NETWORKS = ("model.", "stream.", "phases.", "density.")
_DTYPES = ("F32", "F64", "I64")
_MODULES = "settings.modules"
_CONDITIONS = "narrows.estimators._conditions:Conditions"
_STREAM = "narrows.estimators._fitting:Stream"
_HAND_MADE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def save(estimator: Any, path: PathLike) -> None:
    """Write a fitted estimator to one file, whole or not at all.

    All restarts that were kept are written, with the history of the fit, the density of codes after
    `fit_density` (one of kernels with the codes that it was fitted to) and, after `partial_fit`,
    the state of the optimiser. What only training needs and what is not a number or a name is
    left out: callbacks, checkpoints, and a generator given as ``random_state``, which comes back
    as None. Sequences among the settings come back as tuples. Equal estimators give equal files.

    Parameters
    ----------
    estimator : Autoencoder, HierarchicalAutoencoder, ...
        A fitted estimator of narrows.
    path : str or PathLike
        The file to write; its name ends in ``.safetensors``.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        The estimator was not fitted.
    ValueError
        The name ends otherwise, or a setting is not finite.
    TypeError
        The estimator, a part or an activation is your own: a file holds names, not code. Classes
        of `Modules` must be importable: a file holds their import paths.
    OSError
        The folder is missing or may not be written to, or the disk is full; a file that stood
        at `path` is still there.

    See Also
    --------
    load : Read the file.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> model = Autoencoder(2, max_epochs=2).fit(X)
    >>> save(model, "model.safetensors")
    >>> save(model, "model.pkl")
    Traceback (most recent call last):
        ...
    ValueError: path='model.pkl' must end in '.safetensors'. Write 'model.safetensors'.
    """
    require_suffix(path, SUFFIX)
    name = type(estimator).__name__
    if name not in parts.ESTIMATORS or type(estimator) is not parts.load(parts.ESTIMATORS[name]):
        raise TypeError(
            f"{name} is an estimator of your own and cannot be written to a model file. "
            "Save one of narrows, or write joblib.dump(estimator, 'model.joblib')."
        )
    check_is_fitted(estimator, "fve_restarts_")
    settings, arrays = _settings_of(estimator), _arrays_of(estimator)
    _warn_unkept(estimator)
    settings["sha256"] = digest(settings, arrays)
    content = serialised(arrays, {_KEY: json.dumps(settings, allow_nan=False)})
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def _warn_unkept(estimator: Any) -> None:
    """Warn of functions of one's own that only training and draws need, and no file holds."""
    for name, value in estimator.get_params().items():
        own = unkept(name, value)
        if own:
            warn(
                f"No file holds Python code: {name}={own} is left out. Codes and scores do not "
                f"need it; to draw or to train after load, write model.set_params({name}={own}).",
            )


def load(path: PathLike, trusted: str | Sequence[str] = ()) -> Any:
    """Return the estimator that `save` wrote, with the same outputs bit for bit.

    Files are safe to load from anywhere: nothing in them is run. Files of all earlier formats
    are read. On other machines, with other builds of torch, outputs agree to rounding.

    Parameters
    ----------
    path : str or PathLike
        A file that ``estimator.save`` wrote.
    trusted : str or sequence of str, default=()
        Packages, by their top-level names, that a file with networks of one's own (`Modules`) may
        import: their classes and functions are called with the arguments in the file.

    Returns
    -------
    estimator
        Of the class that was saved, on the processor, with its settings and fitted attributes;
        `partial_fit` goes on where it stopped.

    Raises
    ------
    FileNotFoundError
        Nothing has this name; the nearest name in the folder is suggested.
    ModelFileError
        The file is not a model, is truncated or changed, is from a newer format, or names
        packages that are not trusted; the message says what to do.

    See Also
    --------
    describe : Read the settings alone.

    Examples
    --------
    >>> import narrows
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> model = narrows.Autoencoder(2, max_epochs=2).fit(X)
    >>> model.save("model.safetensors")
    >>> twin = narrows.load("model.safetensors")
    >>> bool((twin.transform(X) == model.transform(X)).all())
    True
    """
    path = require_file(path)
    settings, arrays = _read(path, _arrays)
    if digest(settings, arrays) != settings["sha256"]:
        raise _damaged(path, "its content is not what was saved (the SHA-256 differs)")
    _check_trust(path, settings, {trusted} if isinstance(trusted, str) else set(trusted))
    try:
        return _rebuilt(settings, arrays)
    except _HAND_MADE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelFileError(
            f"'{path}' was written by narrows {settings['version']} and cannot be rebuilt by "
            f"{VERSION}. {reason} Save the estimator again, or install the other version."
        ) from error


def describe(path: PathLike) -> dict[str, Any]:
    """Return the settings of a model file, without its tensors and without loading torch.

    Use it to list many files. The checksum, which covers the tensors, is not verified.

    Parameters
    ----------
    path : str or PathLike
        A file that ``estimator.save`` wrote.

    Returns
    -------
    dict
        ``estimator`` (name of the class), ``parameters`` (parts as dictionaries), ``blueprint``
        (parts and sizes of the network), ``has_target``, ``event_shape``, ``target_shape``,
        ``n_features_in``, ``feature_names``, ``n_restarts``, ``best`` (restart, from 0),
        ``n_iter``, ``stream``
        (None without `partial_fit`), ``density`` (None without `fit_density`), ``condition``
        (its columns, or None),
        ``format``, ``version`` and ``sha256``.

    Raises
    ------
    FileNotFoundError, ModelFileError
        As for `load`.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> Autoencoder(2, max_epochs=2).fit(X).save("model.safetensors")
    >>> settings = describe("model.safetensors")
    >>> settings["estimator"], settings["n_iter"], settings["event_shape"]
    ('Autoencoder', 2, [3])
    """
    return _read(require_file(path), lambda file: {})[0]


# The header


def _settings_of(estimator: Any) -> dict[str, Any]:
    e, stream = estimator, getattr(estimator, "_stream", None)
    names = getattr(e, "feature_names_in_", None)
    sizes = {
        "has_target": e._has_target,
        "event_shape": e._event_shape,
        "target_shape": e._target_shape,
        "n_features_in": e.n_features_in_,
        "feature_names": None if names is None else list(names),
        "n_restarts": e._ensemble.n_restarts,
        "best": e._best,
        "n_iter": e.n_iter_,
        "density": getattr(e, "density_", None),
        "condition": None if e._conditions is None else e._conditions.to_json(),
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "estimator": type(e).__name__,
        "parameters": _json(e.get_params(deep=False)),
        "blueprint": _json(_choices(e._model.blueprint)),
        **_json(sizes),
        "stream": None if stream is None else _json(_passes(stream)),
    }


def _choices(blueprint: "Blueprint") -> dict[str, Any]:
    """Return the parts of the fitted model: `set_params` may have changed the estimator's."""
    layout = blueprint.layout
    sizes = {"n_components": layout.n_components, "circular": layout.circular}
    return {axis: getattr(blueprint, axis) for axis in (*_AXES, *_LATER)} | sizes


def _passes(stream: Any) -> dict[str, Any]:
    seeds = [[seed.entropy, seed.spawn_key, seed.n_children_spawned] for seed in stream.seeds]
    return {"n_passes": stream.n_passes, "seeds": seeds}


def _json(settings: dict[str, Any]) -> Any:
    return parts.to_json({name: plain(name, value) for name, value in settings.items()})


# The tensors


def _arrays_of(estimator: Any) -> dict[str, Array]:
    e = estimator
    scales = {"input_scale": e._input_scale, "target_scale": e._target_scale}
    if e._target_scale is e._input_scale:
        del scales["target_scale"]
    arrays = _named("model", e._ensemble.state_dict()) | _named("history", e.history_)
    for name, scale in scales.items():
        arrays |= {f"{name}.centre": scale.centre, f"{name}.width": scale.width}
    arrays |= {"input_mean": e._input_mean, "target_mean": e._target_mean}
    arrays |= {"fve_restarts": e.fve_restarts_} | _stream_arrays(e)
    if hasattr(e, "density_"):
        arrays |= _named("density", e.density_.arrays)
    for number, phase in enumerate(getattr(e, "phases_", ())):
        arrays |= _named(f"phases.{number}", phase)
    return {name: np.array(values, order="C") for name, values in arrays.items()}


def _stream_arrays(estimator: Any) -> dict[str, Array]:
    stream = getattr(estimator, "_stream", None)
    if stream is None:
        return {}
    arrays: dict[str, Array] = {}
    for number, optimizer in enumerate(stream.optimizers):
        moments = optimizer["state"].get(0, {})
        name = f"stream.optimizer.{number}" if number else "stream.optimizer"
        arrays |= _named(name, {k: v for k, v in moments.items() if v is not None})
    if stream.model is not estimator._ensemble:
        arrays |= _named("stream.model", stream.model.state_dict())
    return arrays


def _named(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Array]:
    return {
        f"{prefix}.{name}": t.detach().cpu().numpy() if hasattr(t, "detach") else t
        for name, t in tensors.items()
    }


def _below(prefix: str, arrays: dict[str, Array]) -> dict[str, Array]:
    start = f"{prefix}."
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}


# Reading


def _read(
    path: Path, arrays: Callable[[Any], dict[str, Array]]
) -> tuple[dict[str, Any], dict[str, Array]]:
    try:
        with safe_open(path, framework="numpy") as file:
            return _settings(path, file.metadata()), arrays(file)
    except ModelFileError:
        raise
    except (SafetensorError, ValueError) as error:
        with open(path, "rb") as stream:
            start = stream.read(9)
        if len(start) == 9 and not start.endswith(b"{"):
            raise _foreign(path, "it is not a safetensors file") from error
        raise _damaged(path, "it is truncated, or its header was changed") from error


def _settings(path: Path, metadata: dict[str, str] | None) -> dict[str, Any]:
    if not metadata or _KEY not in metadata:
        raise _foreign(path, "another program wrote this safetensors file")
    try:
        settings = json.loads(metadata[_KEY])
        json.dumps(settings, allow_nan=False)
        written = settings["format"]
        if isinstance(written, int) and written > FORMAT:
            raise ModelFileError(
                f"'{path}' was written by a newer narrows (format {written}); this one reads up "
                f"to {FORMAT}. Write: pip install -U narrows"
            )
        wrong = [name for name in _HEADER if not isinstance(settings[name], _HEADER[name])]
    except ModelFileError:
        raise
    except (LookupError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(path, "its settings cannot be read") from error
    if wrong or written != FORMAT:
        raise _damaged(path, f"its settings are wrong in {', '.join(wrong or ['format'])}")
    return settings


def _arrays(file: Any) -> dict[str, Array]:
    names = file.keys()
    if any(file.get_slice(name).get_dtype() not in _DTYPES for name in names):
        raise ValueError("a tensor is of a type that no model has")
    return {name: file.get_tensor(name) for name in names}


def _check_trust(path: Path, settings: dict[str, Any], trusted: set[str]) -> None:
    """Raise ModelFileError if a file names modules of packages that the caller did not."""
    named = sorted(set(_import_paths(settings)))
    packages = sorted({name.partition(":")[0].partition(".")[0] for name in named})
    if not set(packages) <= trusted:
        write = ", ".join(f"{name!r}" for name in packages) + ("," if len(packages) == 1 else "")
        raise ModelFileError(
            f"'{path}' needs code of your own, {' and '.join(named)}, which loading runs. If you "
            f"trust the file and that code, write narrows.load('{path}', trusted=({write}))."
        )


def _import_paths(value: Any) -> Iterator[str]:
    """Yield the import paths of all networks of a user's own among settings."""
    if isinstance(value, dict) and value.get("part") == _MODULES:
        yield from (str(value.get(side)) for side in ("encoder", "decoder"))
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _import_paths(item)


def _foreign(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        f"'{path}' is not a model of narrows: {why}. Write the name of a file that save wrote."
    )


def _damaged(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        f"'{path}' is damaged: {why}. Copy it again from its origin, or save the estimator again."
    )


# Rebuilding


def _rebuilt(settings: dict[str, Any], arrays: dict[str, Array]) -> Any:
    from narrows.nn.scale import Scale

    estimator = _unfitted(settings["estimator"], settings["parameters"])
    blueprint = _blueprint(settings, sum(a.size for a in arrays.values()))
    model = _model(blueprint, settings["n_restarts"], _below("model", arrays))
    _check_shapes(arrays, model)
    _check_sizes(settings, arrays, model)
    scale = Scale(**_below("input_scale", arrays))
    target = _below("target_scale", arrays)
    fitted = {
        "n_features_in_": settings["n_features_in"],
        "n_iter_": settings["n_iter"],
        "history_": {name: arrays[f"history.{name}"] for name in _HISTORY},
        "fve_restarts_": arrays["fve_restarts"],
        "_has_target": settings["has_target"],
        "_sequential": blueprint.architecture.sequential,
        "_event_shape": tuple(settings["event_shape"]),
        "_target_shape": tuple(settings["target_shape"]),
        "_input_scale": scale,
        "_target_scale": Scale(**target) if target else scale,
        "_conditions": _conditions(settings.get("condition")),
        "_input_mean": arrays["input_mean"],
        "_target_mean": arrays["target_mean"],
        "_ensemble": model,
        "_best": settings["best"],
        "_model": model.select(settings["best"]),
    }
    phases = _below("phases", arrays)
    if phases:
        numbers = sorted({int(name.partition(".")[0]) for name in phases})
        fitted["phases_"] = [_below(str(number), phases) for number in numbers]
    if settings["feature_names"] is not None:
        fitted["feature_names_in_"] = np.asarray(settings["feature_names"], dtype=object)
    vars(estimator).update(fitted)
    if settings.get("density") is not None:  # no key in older files
        density = parts.from_json(settings["density"])
        check_kinds(type(density), density.get_params(deep=False))
        n_features = blueprint.layout.n_features
        estimator.density_ = density.restore(_below("density", arrays), n_features)
    if settings["stream"] is not None:
        estimator._stream = _stream(estimator, settings["stream"], _below("stream", arrays))
    return estimator


def _unfitted(name: str, settings: dict[str, Any]) -> Any:
    if name not in parts.ESTIMATORS:
        raise ValueError(f"The estimator {name} is not known.{nearest(name, parts.ESTIMATORS)}")
    cls = parts.load(parts.ESTIMATORS[name])
    parameters = parts.from_json(settings)
    check_kinds(cls, parameters)
    return cls(**parameters)


def _blueprint(settings: dict[str, Any], most: int) -> "Blueprint":
    """Return the blueprint of a file whose tensors hold `most` numbers: no size exceeds that."""
    from narrows.blueprint import Blueprint
    from narrows.nn.code import Layout

    own = settings["blueprint"]
    n_components = count("n_components", own["n_components"], most)
    shapes = [_shape(name, settings[name], most) for name in ("event_shape", "target_shape")]
    circular = own["circular"]
    if circular != sorted({count("circular", j, n_components - 1, 0) for j in circular}):
        raise ValueError(f"circular={circular} does not name different components in order.")
    chosen = {axis: parts.from_json(own[axis]) for axis in (*_AXES, *(own.keys() & {*_LATER}))}
    check_kinds(Blueprint, chosen)
    count("n_draws", chosen.get("n_draws", 1), most)
    layout = Layout(n_components, tuple(circular))
    conditions = _conditions(settings.get("condition"))
    n_condition = 0 if conditions is None else count("n_condition", conditions.size, most)
    return Blueprint(
        **chosen,
        layout=layout,
        event_shape=shapes[0],
        target_shape=shapes[1],
        n_condition=n_condition,
    )


def _conditions(columns: list[dict[str, Any]] | None) -> Any:
    """Return the columns of a condition; None if there is none, as in older files."""
    if columns is None:
        return None
    return parts.load(_CONDITIONS).from_json(columns)


def _shape(name: str, shape: list[Any], most: int) -> tuple[int, ...]:
    """Return a shape from a file, of at most so many values."""
    sizes = tuple(count(name, size, most) for size in shape)
    count(name, math.prod(sizes), most)
    return sizes


def _model(blueprint: "Blueprint", n_restarts: Any, arrays: dict[str, Array]) -> "Model":
    """Return the model with these tensors; no size makes it larger than they are."""
    import torch

    from narrows.data.batches import Batch
    from narrows.model import Model

    b, total = blueprint, sum(array.size for array in arrays.values())
    n = count("n_restarts", n_restarts, total)
    with torch.device("meta"):
        networks: list[torch.nn.Module] = [*b.architecture.build(b.sizes(n))]
        if b.posterior is not None and b.prior is not None:
            networks.append(b.prior.build(b.posterior, b.layout, b.n_read, n))
        if b.critic is not None:
            networks.append(b.critic.build(b.layout, n))
    if sum(p.numel() for network in networks for p in network.parameters()) > total:
        raise ValueError("The sizes of the network exceed its tensors.")
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    model = Model(b, n).to(next(t.dtype for t in tensors.values() if t.is_floating_point()))
    own = model.state_dict()
    if _kinds(own) != _kinds(tensors):
        raise ValueError("The tensors are not those of the network.")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])
    with torch.no_grad():  # settings that cannot be computed with are found here
        sizes = (b.n_values, b.n_outputs, b.n_condition)
        x, target, condition = (tensor.new_zeros(1, size) for size in sizes)
        model.eval().terms(Batch(x, target, condition=condition if b.n_condition else None))
    return model


def _kinds(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}


def _check_shapes(arrays: dict[str, Array], model: "Model") -> None:
    """Raise ValueError unless the other tensors have the sizes of the model."""
    b, n_restarts = model.blueprint, arrays["fve_restarts"].shape[:1]
    n_values, n_outputs = (b.n_values,), (b.n_outputs,)
    n_epochs, n_losses = (arrays[f"history.{name}"].shape[:1] for name in _HISTORY[:2])
    shapes = {
        "input_scale.centre": n_values,
        "input_scale.width": n_values,
        "input_mean": n_values,
        "target_mean": n_outputs,
        "fve_restarts": (*n_restarts, model.n_levels),
        "history.train_loss": (*n_epochs, len(b.trained_names), *n_restarts),
        "history.validation_loss": (*n_losses, *n_restarts),
        "history.learning_rate": n_epochs,
        "history.best_epoch": n_restarts,
        "history.best_loss": n_restarts,
    }
    if _below("target_scale", arrays) or n_values != n_outputs:
        shapes |= {"target_scale.centre": n_outputs, "target_scale.width": n_outputs}
    others = {name: arrays[name].shape for name in arrays if not name.startswith(_NETWORKS)}
    for name in sorted(shapes | others):
        if shapes.get(name) != others.get(name):
            raise ValueError(
                f"The tensor {name} has the shape {others.get(name)}, not {shapes.get(name)}."
            )


def _check_sizes(settings: dict[str, Any], arrays: dict[str, Array], model: "Model") -> None:
    """Raise ValueError unless the sizes in the settings are those of the tensors."""
    b, names = model.blueprint, settings["feature_names"]
    n_features = count("n_features_in", settings["n_features_in"], b.n_values)
    if names is not None and [*map(type, names)] != [str] * n_features:
        raise ValueError(f"feature_names={names} are not {n_features} names.")
    n_epochs = len(arrays["history.learning_rate"])
    count("n_iter", settings["n_iter"], n_epochs, n_epochs)
    count("best", settings["best"], model.n_restarts - 1, 0)


def _stream(estimator: Any, settings: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """Return the state of `partial_fit`."""
    import torch

    from narrows.engine.training import Training

    seeds = [
        np.random.SeedSequence(entropy, spawn_key=tuple(key), n_children_spawned=n)
        for entropy, key, n in settings["seeds"]
    ]
    model, own = estimator._ensemble, _below("model", arrays)
    if own:
        model = _model(model.blueprint, len(seeds) - 1, own)
    moments = {name: torch.tensor(a) for name, a in _below("optimizer", arrays).items()}
    if len(seeds) != model.n_restarts + 1:
        raise ValueError("The seeds of the passes do not fit the network.")
    stream = parts.load(_STREAM)(model, seeds)
    stream.n_passes = count("n_passes", settings["n_passes"], sys.maxsize)
    stream.resume(moments, estimator.training or Training(), estimator.learning_rate)
    return stream
