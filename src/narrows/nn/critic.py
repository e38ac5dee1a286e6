"""The critic: a network that tells codes from draws of the prior that they are to follow."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from narrows.nn.code import Layout
from narrows.nn.dense import Dense, DenseNetwork, widths
from narrows.nn.sampler import Sampler
from narrows.parts import Part


class Critic(Part):
    """How codes are made to follow a prior.

    Parameters
    ----------
    sampler : Sampler
        Draws from the prior.
    layer_sizes : sequence of int
        Widths of the critic's hidden layers.
    learning_rate : float or None
        Full speed of the critic's optimiser; None is that of the autoencoder.
    strength : float
        Speed of the encoder's steps against the critic, as a multiple of the learning rate.

    Examples
    --------
    >>> from narrows.nn.sampler import NormalSampler
    >>> Critic(NormalSampler()).strength
    1.0
    """

    def __init__(
        self,
        sampler: Sampler,
        layer_sizes: Sequence[int] = (128, 128),
        learning_rate: float | None = None,
        strength: float = 1.0,
    ) -> None:
        self.sampler = sampler
        self.layer_sizes = layer_sizes
        self.learning_rate = learning_rate
        self.strength = strength

    def check(self, n_components: int) -> None:
        """Raise ValueError for a setting out of range, or if the sampler cannot draw."""
        widths(self.layer_sizes, "critic_layer_sizes")
        strength: Any = self.strength
        if not isinstance(strength, Real) or not 0 <= float(strength) < math.inf:
            raise ValueError(f"strength={strength!r} must be a number, at least 0. Write 1.0.")
        rate: Any = self.learning_rate
        if rate is not None and not (isinstance(rate, Real) and 0 < float(rate) < math.inf):
            raise ValueError(
                f"critic_learning_rate={self.learning_rate!r} must be a positive number, or None "
                "for that of the autoencoder. Write 5e-3."
            )
        self.sampler.check(n_components)

    def rate(self, learning_rate: float) -> float:
        """Return the speed of the critic's optimiser as a multiple of the autoencoder's."""
        return 1.0 if self.learning_rate is None else self.learning_rate / learning_rate

    def build(self, layout: Layout, n_restarts: int) -> DenseNetwork:
        """Return networks that map features of codes to the logit of being a draw."""
        sizes = (layout.n_features, *widths(self.layer_sizes, "critic_layer_sizes"), 1)
        return DenseNetwork(sizes, n_restarts, 1, Dense(linear_path=False, init="kaiming"))
