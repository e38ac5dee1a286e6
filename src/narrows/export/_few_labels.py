"""Classifiers for few labels as functions of tensors, as graphs compute them."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from narrows._types import Array
from narrows.data.source import source
from narrows.estimators import _bound
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators.semi_supervised import SemiSupervisedVAE
from narrows.export._graph import Graph, Part, Pass, Read, features_of_draws, without
from narrows.export._operators import InOperators, in_operators
from narrows.objective.likelihoods import Normal


def reader_of(estimator: Any) -> BaseAutoencoder:
    """Return the autoencoder that reads rows: that of features, if there are any."""
    found: BaseAutoencoder = getattr(estimator, "features_", None) or estimator.autoencoder_
    return found


class LabelledGraph(nn.Module):
    """Parts of a fitted classifier for few labels as a function of tensors.

    Parameters
    ----------
    estimator : SemiSupervisedVAE or SemiSupervisedAAE
    parts : tuple of Part
    dtype : torch.dtype
        Of what is in the units of the data. In single precision, all is.

    Attributes
    ----------
    inputs : dict of str to (tuple of int, torch.dtype)
        Name, shape of a row and type of each argument.
    """

    log_prior: Tensor
    points: Tensor

    def __init__(self, estimator: Any, parts: tuple[Part, ...], dtype: torch.dtype) -> None:
        super().__init__()
        inner, first = estimator.autoencoder_, getattr(estimator, "features_", None)
        self.parts, self.of_shares = parts, estimator._condition_of
        self.second = Graph(inner, (), None, dtype)
        self.first = None if first is None else Graph(first, (), None, dtype)
        number = torch.float32 if dtype is torch.float32 else inner._dtype
        network = copy.deepcopy(estimator._learner.classifier).to(number)
        self.classifier = in_operators(network)
        self.register_buffer("log_prior", torch.from_numpy(np.log(estimator.class_prior_)))
        known = self.second.known | {"label": ((), torch.int64)}
        if self.first is not None:
            (n,), (further,) = known["noise"][0], self.first.known["codes"][0]
            known |= {"rows": self.first.known["rows"], "noise": ((n + further,), number)}
        self.register_buffer("points", _points(self.first, self.second).to(number))
        names = dict.fromkeys(name for part in parts for name in part.inputs)
        self.inputs = {name: known[name] for name in names if name in known}

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        found = LabelledPass(self, dict(zip(self.inputs, given, strict=True)))
        with InOperators():
            return tuple(part.run(found) for part in self.parts)

    def to_rows(self, outputs: Float[Tensor, "row output"]) -> Float[Tensor, "row ..."]:
        """Return rows from outputs of the second decoder, which may be of features."""
        made = self.second.to_data(outputs)
        return made if self.first is None else self.from_features(made)

    def from_features(self, features: Float[Tensor, "row feature"]) -> Float[Tensor, "row ..."]:
        """Return the rows that features are decoded to."""
        graph = self.first or self.second
        return graph.to_data(graph.decoded(features.to(self.log_weights), None))

    @property
    def log_weights(self) -> Tensor:
        """A tensor of the type of the networks."""
        return next(self.second.model.decoder.parameters())


class LabelledPass:
    """What a graph of a classifier for few labels computes on the way, each thing once.

    Parameters
    ----------
    graph : LabelledGraph
    given : dict
        Inputs by name.
    """

    def __init__(self, graph: LabelledGraph, given: Mapping[str, Tensor]) -> None:
        self.graph = graph
        self.given = given
        self.outer = Pass(graph.first or graph.second, given)

    @cached_property
    def inner(self) -> Pass:
        """What the second autoencoder computes: of rows, or of the locations of their features."""
        if self.graph.first is None:
            return self.outer
        codes = self.graph.first.layout.angles(self.outer.features)
        return Pass(self.graph.second, {**self.given, "rows": codes})

    @cached_property
    def refused(self) -> Bool[Tensor, " row"]:
        """Rows that the estimator would refuse."""
        read: Read = self.outer.read
        return read.refused

    @cached_property
    def log_shares(self) -> Float[Tensor, "row class"]:
        """The classifier's ln q(y | x)."""
        logits: Tensor = self.graph.classifier(self.inner.x[None])
        return logits.log_softmax(-1)[0]

    def probabilities(self) -> Float[Tensor, "row class"]:
        """Return what `predict_proba` gives."""
        return without(self.refused, self.log_shares.exp())

    def codes(self) -> Float[Tensor, "row code"]:
        """Return what `transform` gives."""
        second = self.graph.second
        condition = self.graph.of_shares(self.log_shares.exp())
        features = second.model.encode(self.inner.x, condition)[0]
        return without(self.refused, second.layout.angles(features))

    @cached_property
    def label(self) -> Float[Tensor, "row class"]:
        """A one in the place of the class that is asked for; zeros if there is no such class."""
        label: Int[Tensor, " row"] = self.given["label"]
        numbers = torch.arange(len(self.graph.log_prior), device=label.device)
        return (label[:, None] == numbers).to(self.graph.log_weights)

    def decoded_codes(self) -> Float[Tensor, "row ..."]:
        """Return the means that codes of a class are decoded to."""
        codes, second = self.given["codes"], self.graph.second
        outputs = second.decoded(second.layout.features(codes), self.label)
        refused = ~codes.isfinite().all(1) | ~self.label.bool().any(1)
        return without(refused, self.graph.to_rows(outputs))

    def samples(self) -> Float[Tensor, "row ..."]:
        """Return the means that codes of the prior, made of noise, are decoded to under a class."""
        graph, second, given = self.graph, self.graph.second, dict(self.given)
        unknown = ~self.label.bool().any(1)
        if graph.first is None:
            features, refused = self.outer.drawn
            outputs = second.decoded(features, self.label)
            return without(refused | unknown, graph.to_rows(outputs))
        n = second.known["noise"][0][0]
        given["noise"], further = given["noise"][:, :n], given["noise"][:, n:]
        features, refused = Pass(second, given).drawn
        likelihood, width = second.model.blueprint.likelihood, second.model.log_width
        mean = second.decoded(features, self.label)
        own = None if width is None else width[0, -1]
        made = mean + likelihood.log_width(mean, own).exp() * further
        features = second.target_scaling.invert(made.to(second.dtype))
        refused = refused | ~further.isfinite().all(1)
        return without(refused | unknown, graph.from_features(features))

    def score(self) -> Float[Tensor, " row"]:
        """Return the bound of each row, that of `elbo`."""
        log_share = self.log_shares.double()
        share = log_share.exp()
        labels = (share * (log_share - self.graph.log_prior)).sum(1)
        terms = self._bounds if self.graph.first is None else self._bounds_of_features
        outside, each = terms()
        _, refused = self.inner.batch
        bound = outside + (share * each).sum(1) - labels
        return without(self.refused | refused, bound.to(self.graph.log_weights))

    def _bounds(self) -> tuple[Float[Tensor, ""], Float[Tensor, "row class"]]:
        """Return nought, and the bound of each row under each class."""
        return self.graph.log_prior.new_zeros(()), self._under_classes(
            self.inner, self.graph.second.points
        )

    def _bounds_of_features(self) -> tuple[Float[Tensor, " row"], Float[Tensor, "row class"]]:
        """Return the terms of features alone, and the mean bound of their draws under each class.

        Draws of a row stand a number of rows apart.
        """
        graph, x = self.graph, self.outer.x
        first: Any = graph.first
        second = graph.second
        n, n_rows, n_first = len(graph.points), x.shape[0], first.points.shape[2]
        each_row = graph.points[:, None].expand(n, n_rows, -1).flatten(0, 1)
        outer, inner = each_row[:, :n_first], each_row[:, n_first:]
        latent = first.model.latent(x.repeat(n, 1), outer[None])
        draws = Pass(second, {"rows": latent.features[0]})
        each = self._under_classes(draws, inner[None])
        batch, _ = self.outer.batch
        inside = _bound.terms(first.model, batch, first.points, first.scale)[0].double()
        log_q = latent.log_posterior()[0, 0].double().unflatten(0, (n, n_rows)).mean(0)
        return inside - log_q, each.unflatten(0, (n, n_rows)).mean(0)

    def _under_classes(self, found: Pass, points: Tensor) -> Float[Tensor, "row class"]:
        """Return the bound of each row of a pass under each class."""
        batch, _ = found.batch
        second, n_rows, n = self.graph.second, batch.x.shape[0], len(self.graph.log_prior)
        ones = torch.eye(n, dtype=self.graph.log_weights.dtype)
        known = ones[:, None].expand(n, n_rows, n).flatten(0, 1)
        own = replace(batch.repeated(n), condition=known)
        points = points if points.shape[1] == 1 else points.repeat(1, n, 1)
        reconstruction, divergence = _bound.terms(second.model, own, points, second.scale)
        return (reconstruction - divergence).double().unflatten(0, (n, n_rows)).T


def _points(first: Graph | None, second: Graph) -> Float[Tensor, "point noise"]:
    """Return the noise of which bounds make a draw of the features, and one of the second code."""
    if first is None:
        return torch.zeros(0, 0)
    return _bound.normal_points(first.points.shape[2] + second.points.shape[2])


def labelled_parts(estimator: Any) -> dict[str, Part]:
    """Return the parts of a fitted classifier for few labels."""

    def part(
        inputs: tuple[str, ...], output: str, run: Any, expected: Callable[..., Array]
    ) -> Part:
        return Part(inputs, output, run, lambda _, given, level: expected(estimator, given))

    found = {
        "prediction": part(("rows",), "probabilities", LabelledPass.probabilities, _probabilities),
        "encoder": part(("rows",), "codes", LabelledPass.codes, _codes),
        "decoder": part(("codes", "label"), "reconstruction", LabelledPass.decoded_codes, _decoded),
        "score": part(("rows",), "score", LabelledPass.score, _score),
        "sampler": part(("noise", "uniform", "label"), "samples", LabelledPass.samples, _samples),
    }
    if not isinstance(estimator, SemiSupervisedVAE):
        del found["score"]
    return found


def _probabilities(estimator: Any, given: Mapping[str, Array]) -> Array:
    found: Array = estimator.predict_proba(source(given["rows"]))
    return found


def _codes(estimator: Any, given: Mapping[str, Array]) -> Array:
    found: Array = estimator.transform(source(given["rows"]))
    return found


def _score(estimator: Any, given: Mapping[str, Array]) -> Array:
    found: Array = estimator.elbo(source(given["rows"])).total
    return found


def _decoded(estimator: Any, given: Mapping[str, Array]) -> Array:
    first, second = getattr(estimator, "features_", None), estimator.autoencoder_
    made: Array = second._decoded(given["codes"], None, _ones(estimator, given))
    return made if first is None else first._decoded(made, None)


def _samples(estimator: Any, given: Mapping[str, Array]) -> Array:
    first, second = getattr(estimator, "features_", None), estimator.autoencoder_
    if first is None:
        features = features_of_draws(second, given)
        made: Array = second._to_data(second._outputs(features, None, _ones(estimator, given)))
        return made
    n = second._model.blueprint.posterior.n_noise(second._model.blueprint.layout)
    features = features_of_draws(second, {"noise": given["noise"][:, :n]})
    mean = second._outputs(features, None, _ones(estimator, given))
    likelihood, width = second._model.blueprint.likelihood, second._model.log_width
    own = None if width is None else width[0, -1]
    with torch.no_grad():
        spread = likelihood.log_width(mean, own).exp().double().numpy()
    scaled = mean.double().numpy() + spread * given["noise"][:, n:]
    return first._decoded(second._target_scale.invert(torch.from_numpy(scaled)).numpy(), None)


def _ones(estimator: Any, given: Mapping[str, Array]) -> Float[Tensor, "row class"]:
    ones = np.eye(len(estimator.classes_))[given["label"]]
    return torch.as_tensor(ones, dtype=estimator.autoencoder_._dtype)


def refuse_sampler(estimator: Any) -> None:
    """Raise ValueError unless draws of features, if there are any, are means and normal noise."""
    likelihood = estimator.autoencoder_._model.blueprint.likelihood
    if getattr(estimator, "features_", None) is not None and not isinstance(likelihood, Normal):
        raise ValueError(
            f"Features under {likelihood!r} have no draws in a graph. Write part='decoder', and "
            "give it codes, or fit with likelihood='gaussian'."
        )
