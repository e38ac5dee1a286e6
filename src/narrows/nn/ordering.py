"""Orderings: what makes component 1 the most important one, component 2 the next, and so on.

Nodes of an ordinary code layer are interchangeable. An ordering decodes K levels, of which level
k sees components 1..k only, and the objective is their mean, ``(1/K) Σ_k loss(t, q_k)``.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from narrows import _ranks
from narrows.parts import Part


@dataclass(frozen=True)
class Levels:
    """What an objective decodes: which components each level sees, and how much it counts.

    Attributes
    ----------
    masks : Tensor, shape (level, 1, component), or (restart, 1, row, component) if drawn per sample
        1 where a component is seen, 0 where it is masked.
    weights : Tensor of shape (level,)
        Weight of each level in the objective.
    index : Tensor of int, shape (level,), or (restart, row) if drawn per sample
        The level, from 0, whose learned width applies.
    reach : Tensor of shape (component,)
        Weight of the levels that see each component; exactly 1 where all do.
    """

    masks: Float[Tensor, "..."]
    weights: Float[Tensor, " level"]
    index: Int[Tensor, "..."]
    reach: Float[Tensor, " component"]

    def of_features(self, component: Sequence[int]) -> "Levels":
        """Return masks and reach of features, given the component of each."""
        masks, reach = self.masks[..., component], self.reach[component]
        return Levels(masks, self.weights, self.index, reach)


class Ordering(Part, ABC):
    """Base of all orderings.

    Attributes
    ----------
    per_level : bool
        Whether every level has a decoder of its own.
    additive : bool
        Whether levels are sums of the decoders' outputs.
    prefix : bool
        Whether training decodes one level per sample, drawn with the weights of the levels. Levels
        see the first components then, each no fewer than the one before.
    centring : float
        Weight of the loss of ``D(0, z_2..z_K)`` in the objective.
    """

    per_level: bool = False
    additive: bool = False
    prefix: bool = False
    centring: float = 0.0

    @abstractmethod
    def masks(self, n_components: int) -> Float[Tensor, "level component"]:
        """Return which components each level's decoder sees."""

    @abstractmethod
    def weights(self, n_levels: int) -> Float[Tensor, " level"]:
        """Return the weight of each level in the objective; they sum to one."""

    def n_decoders(self, n_components: int) -> int:
        """Return how many decoders there are: one, or one per level."""
        return len(self.masks(n_components)) if self.per_level else 1

    def needed(self, level: int) -> slice:
        """Return the levels to decode in order to have one level, counted from 0."""
        return slice(0 if self.additive else level, level + 1)

    def combine(
        self, outputs: Float[Tensor, "restart level row output"]
    ) -> Float[Tensor, "restart level row output"]:
        """Return the outputs of the levels from those of their decoders."""
        if not self.additive:
            return outputs
        earlier = outputs.new_ones(outputs.shape[1], outputs.shape[1]).tril()
        sums = earlier @ outputs.flatten(2)  # a product takes a fraction of the time of cumsum
        return sums.unflatten(2, outputs.shape[2:])

    def objective(self, n_components: int) -> Levels:
        """Return what the objective decodes."""
        masks = self.masks(n_components)[:, None]
        weights, index = self.weights(len(masks)), torch.arange(len(masks))
        reach = 1 - weights @ (1 - masks[:, 0])
        if self.prefix and not _grow(masks[:, 0]):
            raise ValueError(
                f"The masks of {type(self).__name__} are no prefixes, which it draws (prefix = "
                "True): each level must see the first components, and no fewer than the one before."
            )
        if not self.centring:
            return Levels(masks, weights, index, reach)
        centre = torch.ones(1, 1, n_components)
        centre[..., 0] = 0
        return Levels(
            torch.cat([masks, centre]),
            torch.cat([weights, torch.tensor([self.centring])]),
            torch.cat([index, index[-1:]]),
            reach,
        )

    def draw(self, levels: Levels, n_rows: int, generators: Sequence[torch.Generator]) -> Levels:
        """Return what a training step decodes.

        Parameters
        ----------
        levels : Levels
            The objective, on the device of the model.
        n_rows : int
        generators : sequence of torch.Generator, one per restart
        """
        if not self.prefix:
            return levels
        shape = (_ranks.n_drawn(n_rows), 1)
        drawn = [torch.rand(shape, generator=own, device=own.device) for own in generators]
        own = _ranks.own_rows(torch.stack(drawn), 1, n_rows)
        masks = (own < levels.reach).to(levels.masks).unsqueeze(1)
        weights = levels.weights
        index = (own < 1 - (weights.cumsum(0) - weights)).sum(-1) - 1
        return Levels(masks, weights.new_ones(1), index, levels.reach)


def _grow(masks: Float[Tensor, "level component"]) -> bool:
    """Return whether levels see the first components, none fewer than the level before."""
    return bool((masks.diff(dim=0) >= 0).all() and (masks.diff(dim=1) <= 0).all())


def _prefixes(n_components: int) -> Float[Tensor, "level component"]:
    return torch.tril(torch.ones(n_components, n_components))


def _normalised(level_weights: Sequence[float] | None, n_levels: int) -> Float[Tensor, " level"]:
    if level_weights is None:
        return torch.full((n_levels,), 1.0 / n_levels)
    weights = torch.as_tensor(tuple(level_weights), dtype=torch.float32)
    if len(weights) != n_levels or not (weights >= 0).all() or weights.sum() <= 0:
        raise ValueError(
            f"level_weights={tuple(level_weights)} must be {n_levels} numbers >= 0, "
            "one per component, not all 0."
        )
    return weights / weights.sum()


class Unordered(Ordering):
    """One decoder that sees all components: nothing ranks them."""

    def masks(self, n_components: int) -> Float[Tensor, "level component"]:
        return torch.ones(1, n_components)

    def weights(self, n_levels: int) -> Float[Tensor, " level"]:
        return torch.ones(1)


class Collective(Ordering):
    """One decoder per level: ``q_k = D_k(z_1..z_k)``.

    The most faithful ranking; its cost grows with the number of components.

    Parameters
    ----------
    level_weights : sequence of float, one per component, or None
        Weight of each level in the objective, normalised to sum to one; None weighs all alike.

    References
    ----------
    Chen, Tan & Ferguson 2018, 10.1063/1.5023804.

    Examples
    --------
    >>> from narrows import Collective
    >>> Collective().masks(3)
    tensor([[1., 0., 0.],
            [1., 1., 0.],
            [1., 1., 1.]])
    """

    per_level = True

    def __init__(self, level_weights: Sequence[float] | None = None) -> None:
        self.level_weights = level_weights

    def masks(self, n_components: int) -> Float[Tensor, "level component"]:
        return _prefixes(n_components)

    def weights(self, n_levels: int) -> Float[Tensor, " level"]:
        return _normalised(self.level_weights, n_levels)


class Boosted(Ordering):
    """Each component's decoder adds what earlier ones missed: ``q_k = Σ_{j<=k} d_j(z_j)``.

    Contributions are additive, before the output link, so that each can be looked at alone.

    Parameters
    ----------
    level_weights : sequence of float, one per component, or None
        Weight of each level in the objective, normalised to sum to one; None weighs all alike.

    References
    ----------
    Chen, Tan & Ferguson 2018, 10.1063/1.5023804.

    Examples
    --------
    >>> from narrows import Boosted
    >>> Boosted().masks(2)
    tensor([[1., 0.],
            [0., 1.]])
    """

    per_level = True
    additive = True

    def __init__(self, level_weights: Sequence[float] | None = None) -> None:
        self.level_weights = level_weights

    def masks(self, n_components: int) -> Float[Tensor, "level component"]:
        return torch.eye(n_components)

    def weights(self, n_levels: int) -> Float[Tensor, " level"]:
        return _normalised(self.level_weights, n_levels)


class Shared(Ordering):
    """One decoder for all levels, with the components after k masked by 0.

    The objective adds 0.01 times the loss of ``D(0, z_2..z_K)``, which centres component 1, so
    that 0 is a meaningful mask.

    Parameters
    ----------
    level_weights : sequence of float, one per component, or None
        Weight of each level in the objective, normalised to sum to one; None weighs all alike.

    References
    ----------
    Scholz & Vigário 2002, Nonlinear PCA: a new hierarchical approach, ESANN.

    Examples
    --------
    >>> from narrows import Shared
    >>> Shared().objective(2).weights
    tensor([0.5000, 0.5000, 0.0100])
    """

    centring = 0.01

    def __init__(self, level_weights: Sequence[float] | None = None) -> None:
        self.level_weights = level_weights

    def masks(self, n_components: int) -> Float[Tensor, "level component"]:
        return _prefixes(n_components)

    def weights(self, n_levels: int) -> Float[Tensor, " level"]:
        return _normalised(self.level_weights, n_levels)


class Nested(Ordering):
    """One decoder, and a random prefix of the code for each training sample.

    Costs the same for any number of components. The uniform prefix has the same expectation as
    the mean over levels; a geometric one favours early components.

    Parameters
    ----------
    rate : float or None, default=None
        Probability, in (0, 1), that the prefix ends after each component; None draws all lengths
        alike.

    References
    ----------
    Rippel, Gelbart & Adams 2014, arXiv:1402.0915.

    Examples
    --------
    >>> from narrows import Nested
    >>> Nested(rate=0.5).weights(2)
    tensor([0.6667, 0.3333])
    """

    prefix = True

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate

    def masks(self, n_components: int) -> Float[Tensor, "level component"]:
        return _prefixes(n_components)

    def weights(self, n_levels: int) -> Float[Tensor, " level"]:
        if self.rate is None:
            return _normalised(None, n_levels)
        if not 0 < self.rate < 1:
            raise ValueError(f"rate={self.rate} must be in (0, 1). Write None for equal lengths.")
        return _normalised([(1 - self.rate) ** k for k in range(n_levels)], n_levels)
