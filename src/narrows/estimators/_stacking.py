"""Layer-wise training: each layer an autoencoder of its own, then all of them together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from narrows._errors import NonFiniteLossError
from narrows._types import Array
from narrows.blueprint import Blueprint, Disturbance
from narrows.data.batches import Batch, Batches
from narrows.engine.loop import History
from narrows.estimators import _fitting
from narrows.model import Model
from narrows.nn.activation import activation
from narrows.nn.architecture import Stage
from narrows.nn.code import Layout, Plain
from narrows.nn.ordering import Unordered
from narrows.objective.likelihoods import Entries, Gaussian, Likelihood, Link
from narrows.objective.penalties import Penalty

LAYERS = ("plain", "denoising", "contractive")


class Units(Likelihood):
    """Squared error of a layer's units, rebuilt through the layer's own activation."""

    def __init__(self, name: Any) -> None:
        self.name = name

    @property
    def canonical(self) -> Link:  # type: ignore[override]
        """From outputs to units; there is no way back."""
        return Link(activation(self.name), lambda mean: mean)

    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        return (target - activation(self.name)(output)).square()

    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        return torch.zeros_like(target)

    def draw(
        self, output: Entries, log_width: Tensor | None, generators: Sequence[torch.Generator]
    ) -> Entries:
        return self.link(output)

    def check(self, target: Array) -> None:
        """Accept what a layer gives."""


@dataclass(frozen=True)
class LayerWise:
    """How layers are trained one by one.

    Attributes
    ----------
    disturbance : Disturbance or None
        What each layer undoes.
    penalties : tuple of Penalty
        Of each layer's code.
    tied : bool
        Whether each layer is undone by its own weights, transposed.
    max_epochs : int
        Of each layer.
    learning_rate : float
    fine_tune : bool
        Whether the whole is trained afterwards.
    """

    disturbance: Disturbance | None
    penalties: tuple[Penalty, ...]
    tied: bool
    max_epochs: int
    learning_rate: float
    fine_tune: bool

    def start(
        self,
        model: Model,
        recipe: _fitting.Recipe,
        task: _fitting.Task,
        seeds: list[np.random.SeedSequence],
    ) -> list[dict[str, Array]]:
        """Train the layers of every restart, and return their histories."""
        found = [self._layers(model, r, recipe, task, seed) for r, seed in enumerate(seeds[1:])]
        return [_side_by_side(own) for own in zip(*found, strict=True)]

    def tune(
        self,
        model: Model,
        recipe: _fitting.Recipe,
        task: _fitting.Task,
        seeds: list[np.random.SeedSequence],
    ) -> History:
        """Train the whole, if it is to be, and return its history."""
        last = recipe if self.fine_tune else replace(recipe, max_epochs=0)
        return _fitting.train(model, last, task, seeds)

    def _layers(
        self,
        model: Model,
        restart: int,
        recipe: _fitting.Recipe,
        task: _fitting.Task,
        seed: np.random.SeedSequence,
    ) -> list[dict[str, Array]]:
        """Train the layers of one restart, each on the clean output of the one below."""
        b, histories = recipe.blueprint, []
        same = b.event_shape == b.target_shape
        rows = task if same else _each(_own_target, task)
        stages = b.architecture.stages(b.sizes(1))
        for layer, stage in enumerate(stages):
            own = self._recipe(recipe, layer, len(stages), stage)
            order, start = (_child(seed, 2 * layer + i) for i in (0, 1))
            single = _fitting.build(own, rows, [start])
            history = _fitting.train(single, own, rows, [order, start])
            if history.failure:
                raise NonFiniteLossError(
                    f"{history.failure} This was layer {layer + 1}, trained by itself. Write a "
                    "smaller learning rate of the layers, or training=Training(clip_norm=1.0)."
                )
            histories.append(_fitting.as_arrays(history, len(own.blueprint.term_names)))
            model.encoder.adopt(layer, single.encoder, restart)
            if layer or same:
                model.decoder.adopt(len(stages) - 1 - layer, single.decoder, restart)
            rows = _each(partial(_coded, single), rows)
        return histories

    def _recipe(
        self, recipe: _fitting.Recipe, layer: int, n_layers: int, stage: Stage
    ) -> _fitting.Recipe:
        """Return how one layer is trained."""
        b, last = recipe.blueprint, layer == n_layers - 1
        kind = getattr(b.architecture, "activation", "identity")
        first = b.likelihood if b.event_shape == b.target_shape else Gaussian()
        own = Blueprint(
            clone(stage.architecture).set_params(tied=True) if self.tied else stage.architecture,
            b.code if last else Plain(kind),
            b.layout if last else Layout(stage.n_features),
            Unordered(),
            Units(kind) if layer else first,
            self.penalties,
            stage.event,
            stage.event,
            b.prior if last else None,
            b.n_draws if last else 1,
        )
        return replace(
            recipe,
            blueprint=own,
            disturbance=self.disturbance,
            max_epochs=self.max_epochs,
            learning_rate=self.learning_rate,
            is_part=True,
        )


def _child(seed: np.random.SeedSequence, number: int) -> np.random.SeedSequence:
    """Return a seed that belongs to another, without changing that one."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number))


def _each(function: Callable[[Batch], Batch], task: _fitting.Task) -> _fitting.Task:
    """Return a task with a function applied to its rows."""
    held = None if task.validation is None else task.validation.applied(function)
    return _fitting.Task(task.train.applied(function), held, task.given)


def _own_target(batch: Batch) -> Batch:
    return Batch(batch.x, batch.x, batch.weight)


def _coded(model: Model, batch: Batch) -> Batch:
    """Return rows whose inputs and targets are the codes of one restart."""
    with torch.no_grad():
        blocks = [model.encode(part.x)[0] for part in Batches(batch, _fitting.EVALUATION_ROWS)]
    codes = torch.cat(blocks)
    return Batch(codes, codes, batch.weight)


def _side_by_side(restarts: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Join the histories of a layer along the restarts; NaN after one that stopped early."""
    return {
        name: np.concatenate(_filled([own[name] for own in restarts]), axis=-1)
        for name in ("train_loss", "validation_loss", "best_epoch", "best_loss")
    }


def _filled(arrays: Sequence[Array]) -> list[Array]:
    """Give arrays of one axis or more the same length, with NaN at the end."""
    if arrays[0].ndim < 2:
        return list(arrays)
    longest = max(map(len, arrays))
    return [
        np.pad(
            array,
            [(0, longest - len(array)), *[(0, 0)] * (array.ndim - 1)],
            constant_values=np.nan,
        )
        for array in arrays
    ]
