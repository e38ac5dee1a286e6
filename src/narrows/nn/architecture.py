"""What an architecture is: it builds an encoder and a decoder for data of given shapes."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from narrows.parts import Part


@dataclass(frozen=True)
class Sizes:
    """The shapes that networks are built for.

    Attributes
    ----------
    event : tuple of int
        Shape of one row of the input.
    target : tuple of int
        Shape of one row of the target.
    n_features : int
        Features of the code.
    n_restarts, n_decoders : int
        Networks side by side: encoders, and decoders of each of them.
    n_raw : int or None
        Outputs of the encoder; None for one per feature.
    n_condition : int
        Values of one row's condition, which encoder and decoder read as well.
    """

    event: tuple[int, ...]
    target: tuple[int, ...]
    n_features: int
    n_restarts: int = 1
    n_decoders: int = 1
    n_raw: int | None = None
    n_condition: int = 0

    @property
    def n_decoded(self) -> int:
        """Inputs of the decoder: the features of the code, and the condition behind them."""
        return self.n_features + self.n_condition

    @property
    def n_encoded(self) -> int:
        """Outputs of the encoder."""
        return self.n_features if self.n_raw is None else self.n_raw

    @property
    def n_values(self) -> int:
        """Values of one row of the input."""
        return math.prod(self.event)

    @property
    def n_outputs(self) -> int:
        """Values of one row of the target."""
        return math.prod(self.target)


@dataclass(frozen=True)
class Stage:
    """One layer of an encoder, and what undoes it, to be trained as an autoencoder of its own.

    Attributes
    ----------
    architecture : Architecture
        Of one layer.
    event : tuple of int
        Shape of what the layer reads.
    n_features : int
        Units of the layer.
    """

    architecture: "Architecture"
    event: tuple[int, ...]
    n_features: int


class Architecture(Part, ABC):
    """Base of all architectures: builds an encoder and a decoder.

    Encoders map (network, row, value) to (network, row, feature), decoders the reverse; a network
    is a restart, or a restart's level, levels varying fastest.

    Attributes
    ----------
    init : str
        "pca" if the networks have a linear path that starts as PCA.
    tied : bool
        Whether the decoder uses the encoder's weights.
    n_dims : int or None
        Axes of an event after its channels; None reads events of one or two axes as one channel.
    unit_norm : bool
        Whether what each feature adds first in the decoder has length one.
    sequential : bool
        Whether events are sequences, of shape (steps,) or (steps, features), whose last steps may
        be padding: NaN in the input, and only there.
    """

    init: str = "random"
    tied: bool = False
    n_dims: int | None = None
    unit_norm: bool = False
    sequential: bool = False

    @abstractmethod
    def build(self, sizes: Sizes) -> "tuple[Network, Network]":
        """Return encoder and decoder."""

    @abstractmethod
    def stages(self, sizes: Sizes) -> list[Stage]:
        """Return the layers of the encoder, from the input, each to be trained alone."""

    @abstractmethod
    def joined(
        self,
        x: Float[Tensor, "network row value"],
        condition: Float[Tensor, "... row condition"],
        event: tuple[int, ...],
    ) -> Float[Tensor, "network row read"]:
        """Return rows beside their condition, as the encoder reads them, for events of a shape."""


class Network(nn.Module, ABC):
    """Base of encoders and decoders.

    Attributes
    ----------
    generators : sequence of torch.Generator, one per restart
        Where training draws its noise from; empty for none.
    n_hidden : int
        Hidden layers whose activations `forward` can keep.
    rowwise : bool
        Whether it maps each row by itself, with noise of our own.
    """

    generators: Sequence[torch.Generator] = ()
    n_hidden: int = 0
    rowwise: bool = True

    @abstractmethod
    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Draw initial weights, one generator per restart."""

    @abstractmethod
    def start(self, weight: Tensor, bias: Tensor) -> None:
        """Set the linear path, of shapes (network, value, output) and (network, 1, output)."""

    @abstractmethod
    def adopt(self, layer: int, stage: Any, restart: int) -> None:
        """Take a layer, counted from the input, of one restart from a network of that layer."""

    @abstractmethod
    def forward(
        self, x: Tensor, levels: slice | None = None, kept: list[Tensor] | None = None
    ) -> Tensor:
        """Apply the networks of all levels, or of a range of them.

        Parameters
        ----------
        x : Tensor of shape (network, row, value)
        levels : slice, optional
            Which of a restart's levels to apply.
        kept : list, optional
            Takes the activations of the hidden layers, of shape (network, row, unit).
        """


def behind(
    x: Float[Tensor, "network row value"], condition: Float[Tensor, "... row condition"]
) -> Float[Tensor, "network row read"]:
    """Return rows with their condition behind their values."""
    return torch.cat([x, condition.expand(len(x), -1, -1)], -1)


def indivisible(architecture: Architecture) -> ValueError:
    """Return the error for networks that cannot be trained layer by layer."""
    return ValueError(
        f"{type(architecture).__name__} has no layers that are autoencoders of their own. Write "
        "architecture='dense' or 'convolutional' for a stack."
    )
