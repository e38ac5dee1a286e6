"""A fitted estimator as one function of tensors, from data to data, which can be written down.

A part is what is computed: its inputs, its output, and a function of a `Pass`. A new part is a
function and a line in `PARTS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from narrows._types import Array
from narrows.data.batches import Batch
from narrows.data.source import source
from narrows.estimators import _bound
from narrows.estimators._checks import sampler_of
from narrows.estimators._rows import Given
from narrows.export._operators import InOperators, portable
from narrows.model import Model
from narrows.nn.prior import Members
from narrows.nn.sampler import MadeOfNoise
from narrows.nn.scale import Scale


@dataclass(frozen=True)
class Part:
    """What a graph computes.

    Attributes
    ----------
    inputs : tuple of str
        Names of what it reads.
    output : str
        Name of what it gives.
    run : callable
        Returns the output from a `Pass`, or a `LabelledPass`.
    expected : callable
        Returns the same from an estimator, arrays by name of input, and the level.
    """

    inputs: tuple[str, ...]
    output: str
    run: Callable[[Any], Tensor]
    expected: Callable[[Any, Mapping[str, Array], int | None], Array]


class Scaling(nn.Module):
    """A scale in the numbers of the data.

    The centre is subtracted in two steps, so that single precision holds offsets of 10⁶ too: the
    first is exact for values near the centre.

    Parameters
    ----------
    scale : Scale
    shape : tuple of int
        Of a row.
    dtype : torch.dtype
    """

    high: Tensor
    low: Tensor
    width: Tensor

    def __init__(self, scale: Scale, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        super().__init__()
        centre = torch.from_numpy(scale.centre).reshape(shape)
        high = centre.to(dtype)
        self.trivial = scale.trivial
        self.register_buffer("high", high)
        self.register_buffer("low", (centre - high.double()).to(dtype))
        self.register_buffer("width", torch.from_numpy(scale.width).reshape(shape).to(dtype))
        self.split = bool(self.low.any())

    def apply_to(self, x: Tensor) -> Tensor:
        """Return scaled values."""
        if self.trivial:
            return x
        x = x - self.high
        return (x - self.low if self.split else x) / self.width

    def invert(self, y: Tensor) -> Tensor:
        """Return values in the units of the data."""
        if self.trivial:
            return y
        y = y * self.width
        return (y + self.low if self.split else y) + self.high


@dataclass(frozen=True)
class Read:
    """Rows as the model sees them.

    Attributes
    ----------
    x : Tensor of shape (row, value)
        Scaled, missing entries and padding filled.
    missing, padding : Tensor of bool, shape (row, value)
        Entries that were missing, padding included; those after the end of a sequence.
    refused : Tensor of bool, shape (row,)
        Rows that the estimator would refuse.
    """

    x: Float[Tensor, "row value"]
    missing: Bool[Tensor, "row value"]
    padding: Bool[Tensor, "row value"] | None
    refused: Bool[Tensor, " row"]


class Reader(nn.Module):
    """From rows in the units of the data to rows as the model sees them.

    Parameters
    ----------
    scale : Scale
    mean : array of shape (value,)
        What missing entries become.
    shape : tuple of int
        Of a row.
    estimator : BaseAutoencoder
    dtype, number : torch.dtype
        Of the rows, and of the network.
    """

    filling: Tensor

    def __init__(
        self,
        scale: Scale,
        mean: Array,
        shape: tuple[int, ...],
        estimator: Any,
        dtype: torch.dtype,
        number: torch.dtype,
    ) -> None:
        super().__init__()
        self.sequential = estimator._sequential
        self.ignores = estimator.missing == "ignore"
        if self.sequential:  # all steps are scaled alike, however many there are
            n, shape = len(mean) // shape[0], shape[1:]
            scale, mean = Scale(scale.centre[:n], scale.width[:n]), mean[:n]
        self.scaling = Scaling(scale, shape, dtype)
        self.dtype = number
        filling = torch.from_numpy((mean - scale.centre) / scale.width).reshape(shape)
        self.register_buffer("filling", filling.to(self.dtype))

    def forward(self, rows: Tensor) -> Read:
        x = self.scaling.apply_to(rows).to(self.dtype)
        missing = x.isnan()
        padding = _padding(missing) if self.sequential else None
        holes = missing if padding is None else missing & ~padding
        wrong = rows.isinf() if self.ignores else rows.isinf() | holes
        refused = _flat(wrong).any(1)
        if padding is not None:
            refused = refused | _flat(padding).all(1)
        if self.ignores or self.sequential:
            x = torch.where(missing, self.filling, x)
        flat = None if padding is None else _flat(padding)
        return Read(_flat(x), _flat(missing), flat, refused)


def _flat(x: Tensor) -> Tensor:
    return x if x.ndim == 2 else x.flatten(1)


def _padding(missing: Bool[Tensor, "row step *feature"]) -> Bool[Tensor, "row step *feature"]:
    """Return which entries are padding: those of the last steps, if these miss all entries."""
    steps = missing.unsqueeze(-1).flatten(2)
    present = (~steps).any(2).to(torch.int64)
    ended = present.flip(1).cumsum(1).flip(1) == 0
    return ended.reshape(*ended.shape, *[1] * (missing.ndim - 2)).expand_as(missing)


class Graph(nn.Module):
    """Parts of a fitted autoencoder as a function of tensors.

    Parameters
    ----------
    estimator : BaseAutoencoder
    parts : tuple of Part
    level : int or None
        The level, from 0, that is decoded; None for all components.
    dtype : torch.dtype
        Of what is in the units of the data. In single precision, all is.

    Attributes
    ----------
    inputs : dict of str to (tuple of int, torch.dtype)
        Name, shape of a row and type of each argument.
    """

    points: Tensor
    cumulated: Tensor

    def __init__(
        self, estimator: Any, parts: tuple[Part, ...], level: int | None, dtype: torch.dtype
    ) -> None:
        super().__init__()
        e, self.parts, self.level, self.dtype = estimator, parts, level, dtype
        number = torch.float32 if dtype is torch.float32 else e._dtype
        known = {
            "rows": (e._event_shape, dtype),
            "target": (e._target_shape, dtype),
            "codes": ((len(e.get_feature_names_out()),), number),
        }
        self.model, left_out = portable(e._model, number), set() if e._has_target else {"target"}
        self.sampler = None
        if self.model.prior is not None:
            members = self.model.prior(self.model.encoder)
            self.register_buffer("points", _bound.points(e._model).to(number))
            self.register_buffer("cumulated", _cumulated(members))
            known |= {"noise": (self.points.shape[2:], number), "uniform": ((), number)}
            left_out |= {"uniform"} if members.raw.shape[1] == 1 else set()
        elif self.model.critic is not None and isinstance(sampler_of(e), MadeOfNoise):
            self.sampler = sampler_of(e)
            sizes = self.sampler.sizes(e._model.blueprint.layout.n_components)
            for name, size in zip(("noise", "uniform"), sizes, strict=True):
                known[name] = ((size,), number)
                left_out |= set() if size else {name}
        if e._conditions is None:
            left_out |= {"condition"}
        else:
            centre, width = e._conditions.centre_and_width()
            known["condition"] = ((len(centre),), number)
            scale = Scale(centre, width)
            self.condition_scaling = Scaling(scale, (-1,), number)
        names = dict.fromkeys(name for part in parts for name in part.inputs)
        self.known = {name: known[name] for name in known if name not in left_out}
        self.inputs = {name: known[name] for name in names if name in self.known}
        self.layout, self.pairs = e._model.blueprint.layout, e.circular_output == "cos_sin"
        self.sequential, self.has_target = e._sequential, e._has_target
        self.ignores, self.target_shape = e.missing == "ignore", e._target_shape
        self.scale = e._target_scale
        self.target_scaling = Scaling(self.scale, (-1,), dtype)
        self.reader = Reader(e._input_scale, e._input_mean, e._event_shape, e, dtype, number)
        same = not e._has_target and e._target_scale is e._input_scale
        target = e._target_scale, e._target_mean, e._target_shape
        self.target_reader = None if same else Reader(*target, e, dtype, number)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        found = Pass(self, dict(zip(self.inputs, given, strict=True)))
        with InOperators():
            return tuple(part.run(found) for part in self.parts)

    def to_data(self, outputs: Float[Tensor, "row output"]) -> Float[Tensor, "row ..."]:
        """Return outputs of the decoder in the units and shape of the data."""
        means = self.model.blueprint.likelihood.link(outputs).to(self.dtype)
        return self.target_scaling.invert(means).unflatten(1, self.target_shape)

    def decoded(
        self,
        features: Float[Tensor, "row feature"],
        condition: Float[Tensor, "row condition"] | None,
    ) -> Float[Tensor, "row output"]:
        """Return what the decoder makes of features, before the link."""
        return self.model.decode(features[None], self.level, condition)[0, -1]


class Pass:
    """What a graph computes on the way, each thing once.

    Parameters
    ----------
    graph : Graph
    given : dict
        Inputs by name.
    """

    def __init__(self, graph: Graph, given: Mapping[str, Tensor]) -> None:
        self.graph = graph
        self.given = given

    @cached_property
    def read(self) -> Read:
        """The rows."""
        return self.graph.reader(self.given["rows"])

    @cached_property
    def x(self) -> Float[Tensor, "row value"]:
        """What the encoder reads: NaN where a sequence has ended."""
        padding = self.read.padding
        return self.read.x if padding is None else self.read.x.masked_fill(padding, torch.nan)

    @cached_property
    def condition(self) -> Float[Tensor, "row condition"] | None:
        """What is known of rows besides, as networks read it."""
        if "condition" not in self.given:
            return None
        return self.graph.condition_scaling.apply_to(self.given["condition"])

    @cached_property
    def unknown(self) -> Bool[Tensor, " row"] | bool:
        """Rows whose condition is not finite."""
        known = self.condition
        return False if known is None else ~known.isfinite().all(1)

    @cached_property
    def features(self) -> Float[Tensor, "row feature"]:
        """The features of the code."""
        return self.graph.model.encode(self.x, self.condition)[0]

    def codes(self) -> Float[Tensor, "row code"]:
        """Return what `transform` gives."""
        layout = self.graph.layout
        view = layout.pairs if self.graph.pairs else layout.angles
        return without(self.read.refused | self.unknown, view(self.features))

    def reconstruction(self) -> Float[Tensor, "row ..."]:
        """Return what `reconstruct` gives."""
        outputs = self.graph.decoded(self.features, self.condition)
        if self.read.padding is not None and not self.graph.has_target:
            outputs = outputs.masked_fill(self.read.padding, torch.nan)
        return without(self.read.refused | self.unknown, self.graph.to_data(outputs))

    def decoded_codes(self) -> Float[Tensor, "row ..."]:
        """Return what `inverse_transform` gives."""
        codes = self.given["codes"]
        refused = (codes.isnan() | codes.isinf()).any(1)
        outputs = self.graph.decoded(self.graph.layout.features(codes), self.condition)
        return without(refused | self.unknown, self.graph.to_data(outputs))

    def score(self) -> Float[Tensor, " row"]:
        """Return what `score_samples` gives."""
        batch, refused = self.batch
        return without(refused | self.unknown, self._scored(batch))

    @cached_property
    def batch(self) -> tuple[Batch, Bool[Tensor, " row"]]:
        """Rows beside their targets, and which of them are refused."""
        target, reader = self.read, self.graph.target_reader
        if reader is not None:
            target = reader(self.given["target" if self.graph.has_target else "rows"])
        full = not (self.graph.ignores or self.graph.sequential)
        observed = None if full else ~target.missing
        batch = Batch(self.x, target.x, None, observed, self.condition)
        return batch, self.read.refused | target.refused

    def _scored(self, batch: Batch) -> Float[Tensor, " row"]:
        """Return minus the losses of rows, or their bound if the code is a distribution."""
        graph = self.graph
        if graph.model.prior is None:
            return -graph.model.losses(batch)[0, -1]
        reconstruction, divergence = _bound.terms(graph.model, batch, graph.points, graph.scale)
        return reconstruction - divergence

    def samples(self) -> Float[Tensor, "row ..."]:
        """Return the means that codes of the prior, made of noise, are decoded to."""
        features, refused = self.drawn
        outputs = self.graph.decoded(features, self.condition)
        return without(refused | self.unknown, self.graph.to_data(outputs))

    @cached_property
    def drawn(self) -> tuple[Float[Tensor, "row feature"], Bool[Tensor, " row"]]:
        """Features of codes of the prior, made of noise, and which of them are refused."""
        graph, given = self.graph, self.given
        any_of = given["noise" if "noise" in given else "uniform"]
        blank = any_of.new_zeros(any_of.shape[0], 0)
        noise, uniform = given.get("noise", blank), given.get("uniform", blank)
        within = (uniform >= 0) & (uniform <= 1)
        refused = ~noise.isfinite().all(1)
        refused = refused | ~(within if within.ndim == 1 else within.all(1))
        if graph.sampler is not None:
            return graph.layout.features(graph.sampler.made(noise, uniform)), refused
        member = noise.new_zeros(noise.shape[0]).long()
        if "uniform" in given:
            member = _member(uniform, graph.cumulated)
        return _from_prior(graph.model, member, noise), refused


def _cumulated(members: Members) -> Float[Tensor, " member"]:
    """Return the shares of the members, each with those before it."""
    return members.log_weight[0].double().exp().cumsum(0).to(members.log_weight)


def _member(
    uniform: Float[Tensor, " row"], cumulated: Float[Tensor, " member"]
) -> Int[Tensor, " row"]:
    """Return the first member whose cumulated share exceeds each number; or the last one."""
    return (uniform[:, None] >= cumulated[:-1]).sum(1)


def _from_prior(
    model: Model, member: Int[Tensor, " row"], noise: Float[Tensor, "row noise"]
) -> Float[Tensor, "row feature"]:
    """Return features of codes that noise makes of members of the prior."""
    posterior = model.blueprint.posterior
    if posterior is None or model.prior is None:
        raise TypeError(f"{model.blueprint.code!r} has no prior.")
    raw = model.prior(model.encoder).raw[:, member]
    return posterior.draw(raw, model.blueprint.layout, noise[None])[0]


def without(refused: Bool[Tensor, " row"], values: Float[Tensor, "row ..."]) -> Tensor:
    """Return NaN for the rows that an estimator refuses."""
    while refused.ndim < values.ndim:
        refused = refused.unsqueeze(-1)
    return values.masked_fill(refused, torch.nan)


# What estimators give, in double precision where offsets may be large


def condition_of(estimator: Any, given: Mapping[str, Array]) -> Any:
    """Return the condition as the estimator takes it."""
    numbers = given.get("condition")
    return None if numbers is None else estimator._conditions.named(numbers.astype(np.float64))


def _expected_codes(estimator: Any, given: Mapping[str, Array], level: int | None) -> Array:
    return estimator.transform(source(given["rows"]), condition=condition_of(estimator, given))


def _expected_rows(estimator: Any, given: Mapping[str, Array], level: int | None) -> Array:
    condition = condition_of(estimator, given)
    return estimator._reconstructed(source(given["rows"]), level, condition)


def _expected_decoded(estimator: Any, given: Mapping[str, Array], level: int | None) -> Array:
    codes = given["codes"]
    known = estimator._known_condition(condition_of(estimator, given), len(codes))
    return estimator._decoded(codes, level, known)


def _expected_score(estimator: Any, given: Mapping[str, Array], level: int | None) -> Array:
    rows = estimator._known_rows(source(given["rows"]))
    targets = source(given["target"]) if "target" in given else rows
    known = estimator._known_condition(condition_of(estimator, given), len(rows))
    with torch.no_grad():
        batches = list(estimator._batches(Given(rows, targets, known)))
        return np.concatenate([estimator._score_rows(batch) for batch in batches])


def _expected_samples(estimator: Any, given: Mapping[str, Array], level: int | None) -> Array:
    features = features_of_draws(estimator, given)
    known = estimator._known_condition(condition_of(estimator, given), len(features))
    return estimator._to_data(estimator._outputs(features, level, known))


def features_of_draws(estimator: Any, given: Mapping[str, Array]) -> Float[Tensor, "row feature"]:
    """Return features of codes that an estimator's prior makes of noise."""
    model = estimator._model
    numbers = {
        name: torch.from_numpy(given[name]) for name in ("noise", "uniform") if name in given
    }
    blank = next(iter(numbers.values())).new_zeros(len(next(iter(numbers.values()))), 0)
    noise, uniform = numbers.get("noise", blank), numbers.get("uniform", blank)
    if model.prior is None:
        made = sampler_of(estimator).made(noise, uniform)
        return model.blueprint.layout.features(made).to(estimator._dtype)
    uniform = uniform if uniform.ndim == 1 else noise.new_zeros(len(noise))
    with torch.no_grad():
        member = _member(uniform, _cumulated(model.prior(model.encoder)))
        return _from_prior(model, member, noise.to(estimator._dtype))


def prediction(single: bool) -> Part:
    """Return the part that predicts: values of shape (row,) if there is a single one a row."""

    def run(found: Pass) -> Tensor:
        values = found.reconstruction()
        return values[:, 0] if single else values

    def expected(estimator: Any, given: Mapping[str, Array], level: int | None) -> Array:
        values = estimator._reconstructed(source(given["rows"]), level)
        return values[:, 0] if single else values

    return Part(("rows",), "prediction", run, expected)


PARTS = {
    "encoder": Part(("rows", "condition"), "codes", Pass.codes, _expected_codes),
    "decoder": Part(
        ("codes", "condition"), "reconstruction", Pass.decoded_codes, _expected_decoded
    ),
    "reconstruction": Part(
        ("rows", "condition"), "reconstruction", Pass.reconstruction, _expected_rows
    ),
    "score": Part(("rows", "target", "condition"), "score", Pass.score, _expected_score),
    "sampler": Part(("noise", "uniform", "condition"), "samples", Pass.samples, _expected_samples),
}
