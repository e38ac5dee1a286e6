"""Is the order right? Swap neighbouring components and see what is lost."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import clone
from torch import Tensor

from narrows.blueprint import Blueprint
from narrows.data.batches import Batch
from narrows.data.split import split_rows
from narrows.estimators import _fitting
from narrows.model import explained
from narrows.nn.architecture import Architecture, Network, Sizes, Stage
from narrows.nn.code import Layout, Plain
from narrows.nn.dense import Dense, DenseNetwork
from narrows.nn.ordering import Ordering


@dataclass(frozen=True)
class SwapCheck:
    """What is lost when component k gives way to component k + 1.

    Attributes
    ----------
    difference : array of shape (components - 1,)
        Held-out fraction of variance explained at level k, by components 1..k, minus that by
        components 1..k-1 and k+1. Positive: component k ranks rightly before the next.
    spread : array of shape (components - 1,)
        Standard deviation of the difference over splits.
    """

    difference: Float[np.ndarray, " neighbour"]
    spread: Float[np.ndarray, " neighbour"]

    @property
    def in_order(self) -> bool:
        """Whether no neighbours stand in the wrong order by more than the spread."""
        return bool((self.difference > -self.spread).all())


def check_order(
    blueprint: Blueprint,
    recipe: _fitting.Recipe,
    rows: Batch,
    *,
    test_fraction: float,
    n_splits: int,
    seed: np.random.SeedSequence,
) -> SwapCheck:
    """Refit decoders from frozen codes, with and without each swap of neighbours.

    Parameters
    ----------
    blueprint : Blueprint
        Of the model whose codes are checked.
    recipe : Recipe
        How decoders are trained.
    rows : Batch
        Codes as inputs, in the layout of the blueprint, and what to decode.
    test_fraction : float
        Share of the rows that decoders never see, in (0, 1).
    n_splits : int
        Splits to average over, at least 2.
    seed : SeedSequence
    """
    masks = _prefixes(blueprint.layout)
    n_features = blueprint.layout.n_features
    frozen = replace(
        blueprint,
        architecture=_Frozen(blueprint.architecture),
        code=Plain(),
        layout=Layout(n_features),
        ordering=_Prefixes(masks),
        penalties=(),
        event_shape=(n_features,),
    )
    quiet = clone(recipe.training).set_params(callbacks=())
    recipe = replace(recipe, blueprint=frozen, training=quiet, verbose=0)
    losses = [_held_out(recipe, rows, test_fraction, child) for child in seed.spawn(n_splits)]
    kept, swapped = np.stack(losses).reshape(n_splits, 2, -1).swapaxes(0, 1)
    return SwapCheck((kept - swapped).mean(0), (kept - swapped).std(0, ddof=1))


def _prefixes(layout: Layout) -> Float[Tensor, "level feature"]:
    """Return which features decoders see: all prefixes but the whole, then these swapped."""
    n = layout.n_components
    kept = torch.tril(torch.ones(n, n))[:-1]
    swapped = kept - torch.eye(n)[:-1] + torch.eye(n)[1:]
    return torch.cat([kept, swapped])[:, layout.component]


def _held_out(
    recipe: _fitting.Recipe, rows: Batch, fraction: float, seed: np.random.SeedSequence
) -> Float[np.ndarray, " level"]:
    """Return the fraction of variance explained by each set of components, held out."""
    split, order, start = seed.spawn(3)
    rng = np.random.default_rng(split)
    learn, test = split_rows(len(rows), fraction, "random", rng=rng)
    train, choose = split_rows(len(learn), 0.15, "random", rng=rng)
    known = rows[torch.from_numpy(learn[train])]
    task = _fitting.Task(known, rows[torch.from_numpy(learn[choose])])
    model = _fitting.build(recipe, task, [start])
    _fitting.train(model, recipe, task, [order, start])
    mean = known.target.mean(0, keepdim=True)
    null = recipe.blueprint.likelihood.unlink(mean)[0]
    with torch.no_grad():
        error, spread = model.deviance(rows[torch.from_numpy(test)], null)
    return explained(error, spread)[0].double().numpy()


class _Prefixes(Ordering):
    """One decoder per set of components."""

    per_level = True

    def __init__(self, sets: Float[Tensor, "level feature"]) -> None:
        self.sets = sets

    def masks(self, n_components: int) -> Float[Tensor, "level feature"]:
        return self.sets

    def weights(self, n_levels: int) -> Float[Tensor, " level"]:
        return torch.full((n_levels,), 1.0 / n_levels)


class _Frozen(Architecture):
    """Codes are given; only decoders, those of a dense architecture, learn."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def build(self, sizes: Sizes) -> tuple[Network, Network]:
        like = self.architecture if isinstance(self.architecture, Dense) else Dense()
        settings = clone(like).set_params(tied=False, init="random")
        back = (sizes.n_decoded, *like.decoder_widths(), sizes.n_outputs)
        return _Identity(), DenseNetwork(back, sizes.n_restarts, sizes.n_decoders, settings)

    def stages(self, sizes: Sizes) -> list[Stage]:
        return []

    def joined(
        self,
        x: Float[Tensor, "network row value"],
        condition: Float[Tensor, "row condition"],
        event: tuple[int, ...],
    ) -> Float[Tensor, "network row value"]:
        return x


class _Identity(Network):
    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Do nothing."""

    def start(self, weight: Tensor, bias: Tensor) -> None:
        """Do nothing."""

    def adopt(self, layer: int, stage: Any, restart: int) -> None:
        """Do nothing."""

    def forward(
        self, x: Tensor, levels: slice | None = None, kept: list[Tensor] | None = None
    ) -> Tensor:
        return x
