"""Fitted models as ONNX graphs, which run without Python: in C++, in a browser, on a chip.

A graph reads and writes the units of the data: scaling, missing entries, circular components and
the links of likelihoods are part of it.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted
from torch import nn

from narrows import __version__
from narrows._errors import nearest, require, warn
from narrows._files import atomic, require_suffix
from narrows._types import Array, PathLike
from narrows.data.source import source
from narrows.estimators import _rows
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._checks import sampler_of
from narrows.estimators._semi_supervised import SemiSupervisedClassifier
from narrows.estimators.supervised import StackedPredictor
from narrows.export._few_labels import LabelledGraph, labelled_parts, reader_of, refuse_sampler
from narrows.export._graph import PARTS, Graph, Part, condition_of, prediction
from narrows.nn.modules import Modules
from narrows.nn.sampler import CustomSampler, MadeOfNoise
from narrows.nn.scale import Scale

TOLERANCE = 1e-5
DTYPES = {"float64": torch.float64, "float32": torch.float32}
N_ROWS = 16  # of a comparison
LEVELLED = ("decoder", "reconstruction")
IN_UNITS = ("reconstruction", "samples", "prediction")


def export(
    estimator: Any,
    path: PathLike,
    *,
    part: str | Sequence[str] | None = None,
    level: int | None = None,
    dtype: str = "float64",
    verify: bool = True,
    rows: Any = None,
    target: Any = None,
) -> dict[str, float]:
    """Write a fitted autoencoder, classifier or regressor to one .onnx file.

    Any number of rows goes through at once, and through a recurrent encoder any number of steps.
    Entries that are not finite where the estimator would refuse them make their row NaN; that
    targets of a score are in the range of the likelihood is not checked. The file's metadata name
    the estimator, the features, the codes and the classes.

    Parameters
    ----------
    estimator : autoencoder, classifier or StackedRegressor
    path : str or PathLike
        File to write, whole or not at all; its name ends in ``.onnx``.
    part : str or sequence of str, default="encoder"
        What to compute, of an autoencoder:

        - "encoder": `codes` from `rows`, as `transform`;
        - "decoder": `rows` from `codes`, as `inverse_transform`;
        - "reconstruction": `reconstruction` from `rows`, as `reconstruct`;
        - "score": `score` from `rows` (and `target`, if the fit had one), as `score_samples`;
          where the code is a distribution, each row is decoded from 64 codes at once;
        - "sampler": `samples` from `noise` of shape (rows, numbers), standard normal, of a model
          with a prior: the means that codes of the prior are decoded to, as `sample(noise=False)`
          before `fit_density`; the likelihood's own noise is not added. A prior of several
          members also reads `uniform` of shape (rows,), uniform from 0 to 1: a row's code comes
          from the first member whose share, with the shares of those before it, exceeds it. Of an
          adversarial model the prior that it was given makes codes of `noise`, of `uniform` of
          shape (rows, numbers), or of both.

        Several that read rows go into one graph, with an output each. Under a condition, all read
        `condition` of shape (rows, numbers) too: for each column an amount in its own units, or a
        one in the place of the category and zeros; the metadata name them. Of a classifier or
        regressor it is "prediction": `predict_proba`, questions side by side, or `predict`. A
        classifier for few labels has "encoder", "decoder", "sampler" and, with a bound, "score"
        (`elbo`) as well; decoder and sampler read `label`, the number of the class from 0.
    level : int, optional
        Decode the first `level` components only, from 1; all by default.
    dtype : {"float64", "float32"}, default="float64"
        Type of rows and reconstructions. Codes and scores have that of the network. "float32" keeps
        the graph in single precision, for devices without double, but for special functions such
        as the gamma function; what rows lose by being single precision themselves, no graph gives
        back.
    verify : bool, default=True
        Whether to run the graph before it is written, and compare it with the estimator.
    rows, target : like `fit`, optional
        Rows to compare on; random ones, with the mean and width of those of the fit, by default.

    Returns
    -------
    dict of str to float
        Largest difference of each output from the estimator's, as a share of the output's largest
        absolute value; of what is in the units of the data, each value is taken from its centre in
        units of its width, and the last digit that its type holds is not counted. Empty without
        `verify`.

    Raises
    ------
    ValueError
        If there is no such part or level, the name of the file ends otherwise, or the networks have
        no form in ONNX.
    ArithmeticError
        If a difference exceeds 1e-5; nothing is written.
    MissingExtraError
        If onnx, onnxscript or onnxruntime is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import onnxruntime
    >>> from narrows import Autoencoder
    >>> from narrows.export.onnx import export
    >>> X = np.random.default_rng(0).normal(size=(100, 5))
    >>> model = Autoencoder(2, max_epochs=2, random_state=0).fit(X)
    >>> different = export(model, "encoder.onnx")
    >>> different["codes"] < 1e-5
    True
    >>> (codes,) = onnxruntime.InferenceSession("encoder.onnx").run(None, {"rows": X})
    >>> bool(np.allclose(codes, model.transform(X), atol=1e-5))
    True
    """
    require("onnx", "onnx")
    require("onnxscript", "onnx")
    require("onnxruntime", "onnx")
    require_suffix(path, ".onnx")
    if dtype not in DTYPES:
        hint = nearest(str(dtype), DTYPES)
        raise ValueError(f"dtype={dtype!r} is not known.{hint} Known are: {', '.join(DTYPES)}.")
    inner, parts = _chosen(estimator, part)
    wanted, index = tuple(parts.values()), _level(inner, parts, level)
    graph: nn.Module
    if isinstance(estimator, SemiSupervisedClassifier):
        graph = LabelledGraph(estimator, wanted, DTYPES[dtype]).eval()
    else:
        graph = Graph(inner, wanted, index, DTYPES[dtype]).eval()
    given = _example(estimator, inner, graph, rows, target) if verify else {}
    content = _written(graph, inner, _facts(estimator, inner, parts, level))
    found = _differences(inner, parts, level, given, content) if verify else {}
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return found


def _chosen(estimator: Any, part: Any) -> tuple[BaseAutoencoder, dict[str, Part]]:
    """Return the autoencoder that computes, and the chosen parts by name."""
    if isinstance(estimator, StackedPredictor):
        check_is_fitted(estimator)
        inner: BaseAutoencoder = estimator.network_
        known = {"prediction": prediction(getattr(estimator, "_single", False))}
    elif isinstance(estimator, SemiSupervisedClassifier):
        check_is_fitted(estimator)
        inner, known = reader_of(estimator), labelled_parts(estimator)
    elif isinstance(estimator, BaseAutoencoder):
        check_is_fitted(estimator)
        inner, known = estimator, PARTS
    else:
        raise TypeError(_foreign(estimator))
    names = list(known)[:1] if part is None else [part] if isinstance(part, str) else list(part)
    for name in names:
        if name not in known:
            raise ValueError(
                f"part={name!r} is not known.{nearest(str(name), known)} "
                f"Known are: {', '.join(known)}."
            )
    if "sampler" in names:
        _refuse_sampler(getattr(estimator, "autoencoder_", inner))
        if isinstance(estimator, SemiSupervisedClassifier):
            refuse_sampler(estimator)
    if "sampler" in names and getattr(inner, "density_", None) is not None:
        warn(
            "The graph of the sampler draws codes from the prior, not from the density that "
            "model.sample draws from since fit_density.",
        )
    if not names or len({known[name].inputs[0] for name in names}) > 1:
        raise ValueError(
            f"part={part!r} must be one part, or several that read the same. "
            "Write decoder and sampler to files of their own."
        )
    return inner, {name: known[name] for name in names}


def _refuse_sampler(inner: Any) -> None:
    """Raise ValueError unless a graph can draw from the prior."""
    model = inner._model
    if model.prior is not None:
        return
    if model.critic is None:
        raise ValueError(
            f"{type(inner).__name__} has no prior that a graph could draw from. Write "
            "part='decoder', and give it draws of model.fit_density(X).density_."
        )
    prior = sampler_of(inner)
    if not isinstance(prior, MadeOfNoise):
        own = prior.function if isinstance(prior, CustomSampler) else type(prior)
        raise ValueError(
            f"The prior {getattr(own, '__name__', own)} is Python code, which no graph holds. "
            "Write part='decoder', and give it draws of the prior."
        )


def _foreign(estimator: Any) -> str:
    """Return why an estimator has no graph."""
    inside = isinstance(getattr(estimator, "autoencoder_", None), BaseAutoencoder)
    what = "its autoencoder_" if inside else "an autoencoder, a classifier or StackedRegressor"
    return f"{type(estimator).__name__} cannot be written as ONNX. Pass {what}."


def _level(inner: BaseAutoencoder, parts: Mapping[str, Part], level: int | None) -> int | None:
    """Return the level to decode, from 0."""
    if level is not None and ("score" in parts or not parts.keys() & LEVELLED):
        raise ValueError(
            f"level={level} is for part='decoder' or part='reconstruction', not for "
            f"{' and '.join(parts)}. Leave it out."
        )
    return inner._level(level)


def _facts(
    estimator: Any, inner: BaseAutoencoder, parts: Mapping[str, Part], level: int | None
) -> dict[str, Any]:
    """Return what the file's metadata say."""
    classes = getattr(estimator, "classes_", None)
    questions = classes if isinstance(classes, list) else [classes]
    codes = not isinstance(estimator, StackedPredictor)
    return {
        "narrows": __version__,
        "estimator": type(estimator).__name__,
        "parts": list(parts),
        "level": level,
        "event_shape": inner._event_shape,
        "target_shape": inner._target_shape,
        "feature_names": _listed(getattr(estimator, "feature_names_in_", None)),
        "code_names": _listed(estimator.get_feature_names_out()) if codes else None,
        "condition": None
        if inner._conditions is None or not codes
        else inner._conditions.to_json(),
        "classes": None if classes is None else [_listed(each) for each in questions],
    }


def _listed(values: Array | None) -> list[Any] | None:
    return None if values is None else values.tolist()


# The graph


def _written(graph: Any, inner: BaseAutoencoder, facts: Mapping[str, Any]) -> bytes:
    """Return the contents of the file."""
    several = inner._sequential and facts["parts"] == ["encoder"]
    blank = [torch.zeros(2, *shape, dtype=dtype) for shape, dtype in graph.inputs.values()]
    dims = [{0: torch.export.Dim("row")} for _ in blank]
    if several:
        blank[0] = blank[0][:, :1].repeat_interleave(2, 1)
        dims[0][1] = torch.export.Dim("step")
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                graph, tuple(blank), dynamic_shapes=(tuple(dims),), strict=False
            )
            written: Any = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=list(graph.inputs),
                output_names=[part.output for part in graph.parts],
            )
    except Exception as error:
        raise ValueError(_unwritable(inner, error)) from error
    proto = written.model_proto
    _strip(proto.graph)
    _name_axes(proto.graph, ("row", "step") if several else ("row",))
    proto.producer_name, proto.producer_version = "narrows", __version__
    for name, value in facts.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            proto.metadata_props.add(key=name, value=text)
    return proto.SerializeToString()


def _strip(graph: Any) -> None:
    """Remove what the exporter notes of source files and their folders."""
    for each in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        each.ClearField("metadata_props")
        each.ClearField("doc_string")
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _strip(attribute.g)


def _name_axes(graph: Any, names: Sequence[str]) -> None:
    """Name the leading axes of what is read, wherever they occur."""
    axes = graph.input[0].type.tensor_type.shape.dim
    named = {axis.dim_param: name for axis, name in zip(axes, names, strict=False)}
    for each in (*graph.value_info, *graph.input, *graph.output):
        for axis in each.type.tensor_type.shape.dim:
            if axis.dim_param in named:
                axis.dim_param = named[axis.dim_param]


def _unwritable(inner: BaseAutoencoder, error: Exception) -> str:
    """Return why a network has no form in ONNX."""
    architecture = inner._model.blueprint.architecture
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = str(cause).splitlines() or [type(cause).__name__]
    reason = " ".join(lines[0].split()).rstrip(".")
    own = isinstance(architecture, Modules)
    return (
        f"{type(architecture).__name__} cannot be written as ONNX: {reason}. "
        + ("Write the modules in operations that torch.export follows, and " if own else "")
        + ("that ONNX has." if own else "Save the model as .safetensors instead.")
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter tells of itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


# The comparison


def _example(
    estimator: Any, inner: BaseAutoencoder, graph: Any, rows: Any, target: Any
) -> dict[str, Array]:
    """Return inputs to compare on, by name."""
    types = {name: str(dtype).removeprefix("torch.") for name, (_, dtype) in graph.inputs.items()}
    if rows is None:
        given = _random(inner)
    else:
        known = inner._known_rows(rows)
        given = {"rows": known.read(0, len(known))}
        if "target" in graph.inputs:
            if target is None:
                raise ValueError("The score needs the target of rows. Pass target= as well.")
            targets = _rows.target_rows(target, len(known), inner._sequential)
            given["target"] = targets.read(0, len(targets))
    n_rows, rng = len(given["rows"]), np.random.default_rng(1)
    if "condition" in graph.inputs:
        given["condition"] = _numbers(inner, n_rows)
    if "codes" in graph.inputs:
        own = {"condition": condition_of(inner, given)} if estimator is inner else {}
        given["codes"] = estimator.transform(source(given["rows"]), **own)
    if "label" in graph.inputs:
        given["label"] = rng.integers(len(estimator.classes_), size=n_rows)
    for name, draw in (("noise", rng.standard_normal), ("uniform", rng.random)):
        if name in graph.inputs:
            given[name] = draw((n_rows, *graph.inputs[name][0]))
    return {name: given[name].astype(types[name]) for name in graph.inputs}


def _numbers(inner: BaseAutoencoder, n_rows: int) -> Float[np.ndarray, "{n_rows} condition"]:
    """Return random conditions: a one for a category, and amounts as wide as those of the fit."""
    rng, conditions = np.random.default_rng(2), inner._conditions
    columns = () if conditions is None else conditions.columns
    parts = [
        column.centre + column.width * rng.normal(size=(n_rows, 1))
        if column.categories is None
        else np.eye(column.size)[rng.integers(column.size, size=n_rows)]
        for column in columns
    ]
    return np.hstack(parts)


def _random(inner: BaseAutoencoder) -> dict[str, Array]:
    """Return rows with the mean and width of those of the fit, and targets.

    Entries are missing, and sequences end, where the model takes that. Values whose likelihood has
    a range are reconstructions.
    """
    rng = np.random.default_rng(0)
    rows = _normal(rng, inner._input_scale, inner._input_mean, inner._event_shape)
    numbers = None if inner._conditions is None else {"condition": _numbers(inner, N_ROWS)}
    made = inner._reconstructed(source(rows), None, condition_of(inner, numbers or {}))
    scales = inner._model.blueprint.likelihood.scales_target
    scaled = np.broadcast_to(scales, made[0].size).reshape(made.shape[1:])
    if inner._has_target:
        free = _normal(rng, inner._target_scale, inner._target_mean, inner._target_shape)
        return {"rows": rows, "target": np.where(scaled, free, made)}
    rows = np.where(scaled, rows, made)
    gaps = rng.random(rows.shape) < (0.1 if inner.missing == "ignore" else 0.0)
    gaps.reshape(N_ROWS, -1)[:, 0] = False
    if inner._sequential:
        for row, n_steps in zip(gaps, rng.integers(1, rows.shape[1] + 1, N_ROWS), strict=True):
            row[n_steps:] = True
    return {"rows": np.where(gaps, np.nan, rows)}


def _normal(
    rng: np.random.Generator, scale: Scale, mean: Array, shape: tuple[int, ...]
) -> Float[np.ndarray, "row ..."]:
    """Return normal rows."""
    return (mean + scale.width * rng.normal(size=(N_ROWS, len(mean)))).reshape(-1, *shape)


def _differences(
    inner: BaseAutoencoder,
    parts: Mapping[str, Part],
    level: int | None,
    given: Mapping[str, Array],
    content: bytes,
) -> dict[str, float]:
    """Return the largest difference of each output, after checking that it is small."""
    onnxruntime = require("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    found = {}
    for part, values in zip(parts.values(), session.run(None, dict(given)), strict=True):
        expected = part.expected(inner, given, level)
        found[part.output] = _difference(inner, part, values, expected)
    for name, size in found.items():
        if not size <= TOLERANCE:
            raise ArithmeticError(
                f"{name} of the graph and of the estimator differ by up to {size:.2g} of the "
                f"largest value, more than {TOLERANCE:g}; nothing was written. If single precision "
                "is the cause, fit with Training(precision='float64'); or write verify=False."
            )
    return found


def _difference(inner: BaseAutoencoder, part: Part, found: Array, expected: Array) -> float:
    """Return the largest difference as a share of the largest expected value; NaN if NaN differ."""
    digit = np.spacing(np.abs(expected).astype(found.dtype)).astype(np.float64)
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    if found.shape != expected.shape or (np.isnan(found) != np.isnan(expected)).any():
        return np.nan
    apart = np.abs(found - expected)
    if part.output == "codes" and inner.circular_output == "angle":
        circular = inner._model.blueprint.layout.circular
        apart[:, circular] = np.minimum(apart[:, circular], 2 * np.pi - apart[:, circular])
    if part.output in IN_UNITS:
        centre, width = inner._target_scale.centre, inner._target_scale.width
        shape = len(found), -1
        apart = np.maximum(apart - digit, 0).reshape(shape) / width
        expected = (expected.reshape(shape) - centre) / width
    largest = np.nanmax(np.abs(expected), initial=0.0)
    return float(np.nanmax(apart, initial=0.0) / (largest or 1.0))
