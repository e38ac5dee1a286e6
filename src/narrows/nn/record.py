"""One record of a forward pass, which all terms of an objective read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from narrows import _ranks
from narrows._ranks import Share
from narrows.nn.latent import Latent


@dataclass(frozen=True)
class Encoding:
    """How a code comes about, for terms that differentiate it.

    Attributes
    ----------
    network : callable
        Maps inputs of shape (restart, row, value) to raw outputs, given the rows' condition.
    code : callable
        Maps raw outputs to features.
    layer : Tensor of shape (restart, value, feature), or None
        Weights of the network if it is one layer, and each feature depends on one raw output.
    generators : sequence of torch.Generator, one per restart
        Where random terms draw from.
    """

    network: Callable[[Tensor], Tensor]
    code: Callable[[Tensor], Tensor]
    layer: Float[Tensor, "restart value feature"] | None
    generators: Sequence[torch.Generator]


@dataclass(frozen=True)
class Units:
    """What wakes units of a code that have fallen silent.

    Attributes
    ----------
    raw : Tensor of shape (restart, row, feature)
        The encoder's output, before the code made features of it; draws of a distribution.
    idle : Tensor of shape (restart, 1, feature)
        Training rows before this step since each feature was last other than 0, where a penalty
        asks for them.
    longest : float
        The largest of these at the beginning of the step.
    loss : callable
        Maps other features to the reconstruction loss of each restart and row.
    """

    raw: Float[Tensor, "restart row feature"]
    idle: Float[Tensor, "restart 1 feature"]
    longest: float
    loss: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Record:
    """What a forward pass computed, with leading axes restart and level.

    Attributes
    ----------
    x : Tensor of shape (row, value)
        Scaled input.
    target : Tensor of shape (row, output)
        Scaled target; the input unless another was given.
    observed : Tensor of bool, shape (row, output), or None
        Which entries of the target were observed; None when all were.
    weight : Tensor of shape (row,), or None
        Weights of the rows, for statistics of the batch; None when all are alike.
    features : Tensor of shape (restart, row, feature)
        The code as the decoder sees it, before any ordering masks it.
    outputs : Tensor of shape (restart, level, row, output)
        The decoder's raw outputs, before the link of the likelihood.
    log_width : Tensor or None
        The logarithm of a learned width, broadcast against `outputs`.
    encoding : Encoding
        How the code came about.
    hidden : list of Tensor, each of shape (restart, row, unit)
        Activations of the encoder's hidden layers, where a penalty reads them.
    units : Units
    emphasis : Tensor of shape (restart, row, output), or None
        Weight of each value's loss, where a corruption asks for one.
    latent : Latent or None
        Posterior, draw and prior, where the code is a distribution.
    progress : float or None
        The share of the training that is over; None outside training.
    share : Share or None
        Which rows these are, where several processes compute a batch.
    """

    x: Float[Tensor, "row value"]
    target: Float[Tensor, "row output"]
    observed: Bool[Tensor, "row output"] | None
    weight: Float[Tensor, " row"] | None
    features: Float[Tensor, "restart row feature"]
    outputs: Float[Tensor, "restart level row output"]
    log_width: Tensor | None
    encoding: Encoding
    hidden: Sequence[Float[Tensor, "restart row unit"]]
    units: Units
    emphasis: Float[Tensor, "restart row output"] | None = None
    latent: Latent | None = None
    progress: float | None = None
    share: Share | None = None

    def total(self, tensor: Tensor) -> Tensor:
        """Return the sum over all processes, of sums over rows; without a gradient if several."""
        return tensor if self.share is None else _ranks.summed(tensor)
