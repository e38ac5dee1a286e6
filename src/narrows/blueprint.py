"""What a model is built from: one part per axis, and the sizes."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from narrows.corruption import Corruption
from narrows.nn.activation import ACTIVATIONS
from narrows.nn.architecture import Architecture, Sizes
from narrows.nn.code import Code, Layout
from narrows.nn.critic import Critic
from narrows.nn.ordering import Ordering
from narrows.nn.posterior import Posterior
from narrows.nn.prior import Prior
from narrows.objective.likelihoods import Likelihood
from narrows.objective.penalties import Penalty
from narrows.parts import Part, snake_case


@dataclass(frozen=True)
class Disturbance:
    """What training does to the input, and how it weighs the values it hit.

    Attributes
    ----------
    corruption : Corruption
    emphasis : (float, float)
        Weights of the losses of values that were hit and of those that were not.
    """

    corruption: Corruption
    emphasis: tuple[float, float] = (1.0, 1.0)

    @property
    def emphasised(self) -> bool:
        """Whether values that were hit count differently."""
        return self.emphasis != (1.0, 1.0)


@dataclass(frozen=True)
class Blueprint:
    """The choice of one part per axis, and the sizes: all that is needed to build a model.

    `n_condition` is how many numbers encoder and decoder read beside a row and its code.
    `n_draws` is how many codes are drawn for each row while training, where the code is a
    distribution; more than one are weighed by their importance.
    """

    architecture: Architecture
    code: Code
    layout: Layout
    ordering: Ordering
    likelihood: Likelihood
    penalties: tuple[Penalty, ...]
    event_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    prior: Prior | None = None
    n_draws: int = 1
    n_condition: int = 0
    critic: Critic | None = None

    @property
    def posterior(self) -> Posterior | None:
        """The code, if it is a distribution."""
        return self.code if isinstance(self.code, Posterior) else None

    @property
    def n_values(self) -> int:
        """Values of one row of the input."""
        return math.prod(self.event_shape)

    @property
    def n_outputs(self) -> int:
        """Values of one row of the target."""
        return math.prod(self.target_shape)

    @property
    def n_read(self) -> int:
        """Values of one row that the encoder reads, its condition included."""
        if not self.n_condition:
            return self.n_values
        x, condition = torch.zeros(1, 1, self.n_values), torch.zeros(1, self.n_condition)
        return self.architecture.joined(x, condition, self.event_shape).shape[-1]

    def sizes(self, n_restarts: int) -> Sizes:
        """Return the shapes that networks are built for."""
        n_decoders = self.ordering.n_decoders(self.layout.n_components)
        shapes = self.event_shape, self.target_shape
        n_raw = self.code.n_raw(self.layout)
        return Sizes(
            *shapes, self.layout.n_features, n_restarts, n_decoders, n_raw, self.n_condition
        )

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms of the objective: "reconstruction", then the penalties."""
        last = ("importance",) if self.n_draws > 1 else ()
        return ("reconstruction", *(snake_case(type(p).__name__) for p in self.penalties), *last)

    @property
    def repeats(self) -> bool:
        """Whether all training steps take the same operations, given the shapes of rows."""
        axes = (self.architecture, self.code, self.ordering, self.likelihood, self.prior)
        parts: list[Any] = [p for p in (*axes, self.critic, *self.penalties) if p is not None]
        return repeats(parts)

    @property
    def trained_names(self) -> tuple[str, ...]:
        """Names of the terms that training reports: those of a contest with a critic as well."""
        return (*self.term_names, *(() if self.critic is None else ("critic", "adversarial")))


def repeats(setting: Any) -> bool:
    """Return whether a part, with all it holds, takes the same operations in each training step.

    A function of one's own may do anything, unseen: draw from NumPy, count its calls.

    Examples
    --------
    >>> from narrows.nn.dense import Dense
    >>> repeats(Dense((8,), "tanh")), repeats(Dense((8,), lambda x: x))
    (True, False)
    """
    if isinstance(setting, Part):
        return setting.repeats and repeats([*setting.get_params(deep=False).values()])
    if isinstance(setting, list | tuple):
        return all(map(repeats, setting))
    return not callable(setting) or setting in ACTIVATIONS.values()
