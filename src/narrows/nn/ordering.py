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
    """

    masks: Float[Tensor, "..."]
    weights: Float[Tensor, " level"]
    index: Int[Tensor, "..."]


class Ordering(Part, ABC):
    """Base of all orderings.

    Parameters
    ----------
    level_weights : sequence of float, one per component, or None
        Weight of each level in the objective, normalised to sum to one; None weighs all alike.

    Attributes
    ----------
    additive : bool
        Whether levels are sums of the decoders' outputs.
    """

    additive: bool = False

    def __init__(self, level_weights: Sequence[float] | None = None) -> None:
        self.level_weights = level_weights

    @abstractmethod
    def n_decoders(self, n_components: int) -> int:
        """Return how many decoders there are: one, or one per level."""

    def masks(self, n_components: int) -> Float[Tensor, "level component"]:
        """Return what each level sees."""
        return torch.tril(torch.ones(n_components, n_components))

    def needed(self, level: int) -> slice:
        """Return the levels to decode in order to have one level, counted from 0."""
        return slice(level, level + 1)

    def combine(
        self, outputs: Float[Tensor, "restart level row output"]
    ) -> Float[Tensor, "restart level row output"]:
        """Return the outputs of the levels from those of their decoders."""
        return outputs

    def weights(self, n_components: int) -> Float[Tensor, " level"]:
        """Return the weight of each level in the objective."""
        n_levels = len(self.masks(n_components))
        if self.level_weights is None:
            return torch.full((n_levels,), 1.0 / n_levels)
        weights = torch.as_tensor(tuple(self.level_weights), dtype=torch.float32)
        if len(weights) != n_levels or not (weights >= 0).all() or weights.sum() <= 0:
            raise ValueError(
                f"level_weights={tuple(self.level_weights)} must be {n_levels} numbers >= 0, "
                "one per component, not all 0."
            )
        return weights / weights.sum()

    def objective(self, n_components: int) -> Levels:
        """Return what the objective decodes."""
        masks = self.masks(n_components)
        return Levels(masks[:, None], self.weights(n_components), torch.arange(len(masks)))

    def draw(self, levels: Levels, n_rows: int, generators: Sequence[torch.Generator]) -> Levels:
        """Return what a training step decodes; orderings that draw at random do it here.

        Parameters
        ----------
        levels : Levels
            The objective, on the device of the model.
        n_rows : int
        generators : sequence of torch.Generator, one per restart
        """
        return levels


class Unordered(Ordering):
    """One decoder that sees all components: nothing ranks them."""

    def __init__(self) -> None:
        super().__init__()

    def n_decoders(self, n_components: int) -> int:
        return 1

    def masks(self, n_components: int) -> Float[Tensor, "level component"]:
        return torch.ones(1, n_components)


class Collective(Ordering):
    """One decoder per level: ``q_k = D_k(z_1..z_k)``.

    The most faithful ranking; its cost grows with the number of components.

    References
    ----------
    Chen, Tan & Ferguson 2018, 10.1063/1.5023804.
    """

    def n_decoders(self, n_components: int) -> int:
        return n_components


class Boosted(Ordering):
    """Each component's decoder adds what earlier ones missed: ``q_k = Σ_{j<=k} d_j(z_j)``.

    Contributions are additive, before the output link, so that each can be looked at alone.

    References
    ----------
    Chen, Tan & Ferguson 2018, 10.1063/1.5023804.
    """

    additive = True

    def n_decoders(self, n_components: int) -> int:
        return n_components

    def masks(self, n_components: int) -> Float[Tensor, "level component"]:
        return torch.eye(n_components)

    def needed(self, level: int) -> slice:
        return slice(0, level + 1)

    def combine(
        self, outputs: Float[Tensor, "restart level row output"]
    ) -> Float[Tensor, "restart level row output"]:
        return outputs.cumsum(1)


class Shared(Ordering):
    """One decoder for all levels, with the components after k masked by 0.

    The objective adds 0.01 times the loss of ``D(0, z_2..z_K)``, which centres component 1.

    References
    ----------
    Scholz & Vigário 2002, Nonlinear PCA: a new hierarchical approach, ESANN.
    """

    def n_decoders(self, n_components: int) -> int:
        return 1

    def objective(self, n_components: int) -> Levels:
        levels = super().objective(n_components)
        centre = torch.ones(1, 1, n_components)
        centre[..., 0] = 0
        return Levels(
            torch.cat([levels.masks, centre]),
            torch.cat([levels.weights, torch.tensor([0.01])]),
            torch.cat([levels.index, levels.index[-1:]]),
        )


class Nested(Ordering):
    """One decoder, and a random prefix of the code for each training sample.

    Costs the same for any number of components. The uniform prefix has the same expectation as
    the mean over levels; the geometric one, with the given rate, favours early components.

    Parameters
    ----------
    prefix : {"uniform", "geometric"}, default="uniform"
        Distribution of the length of the prefix.
    rate : float, default=0.1
        Probability, in (0, 1), that the geometric prefix ends after each component.

    References
    ----------
    Rippel, Gelbart & Adams 2014, arXiv:1402.0915.
    """

    def __init__(self, prefix: str = "uniform", rate: float = 0.1) -> None:
        super().__init__()
        self.prefix = prefix
        self.rate = rate

    def n_decoders(self, n_components: int) -> int:
        return 1

    def weights(self, n_components: int) -> Float[Tensor, " level"]:
        if self.prefix == "uniform":
            return torch.full((n_components,), 1.0 / n_components)
        if self.prefix != "geometric" or not 0 < self.rate < 1:
            raise ValueError(
                f"Nested(prefix={self.prefix!r}, rate={self.rate}) is not known. Write "
                "prefix='uniform', or prefix='geometric' with a rate between 0 and 1."
            )
        weights = (1 - self.rate) ** torch.arange(n_components)
        return weights / weights.sum()

    def draw(self, levels: Levels, n_rows: int, generators: Sequence[torch.Generator]) -> Levels:
        drawn = [torch.multinomial(levels.weights, n_rows, True, generator=g) for g in generators]
        prefix = torch.stack(drawn)
        return Levels(levels.masks[prefix, 0].unsqueeze(1), levels.weights.new_ones(1), prefix)
