"""Dense networks: fully connected layers."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from jaxtyping import Float
from torch import Tensor

from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture, Network, Sizes, Stage, behind
from narrows.nn.layers import (
    Layered,
    Linear,
    TiedNetwork,
    check_dropout,
    check_start,
    refuse_tied_condition,
    stages,
)


class Dense(Architecture):
    """Fully connected layers, mirrored in the decoder, beside a linear path.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(128, 128)
        Widths of the encoder's hidden layers; () gives a linear model.
    activation : str or callable, default="silu"
        Nonlinearity of the hidden layers.
    dropout : float, default=0.0
        Share of hidden units, in [0, 1), that are zeroed for each training sample.
    decoder_layer_sizes : sequence of int or None, default=None
        Widths of the decoder's hidden layers; None mirrors the encoder.
    tied : bool, default=False
        Whether the decoder uses the encoder's weights, transposed, with biases of its own.
    unit_norm : bool, default=False
        Whether the decoder's first weights of each feature are a unit vector, so that a code cannot
        shrink while the decoder grows.
    linear_path : bool, default=True
        Whether a linear map runs beside the hidden layers.
    init : {"pca", "random", "xavier", "kaiming", "orthogonal"}, default="pca"
        Start as PCA (the hidden layers contribute nothing at first), or from random weights:
        normal of variance 1 / inputs ("random") or 2 / inputs ("kaiming"), uniform of variance
        2 / (inputs + outputs) ("xavier"), or at right angles.

    References
    ----------
    Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural
    networks, AISTATS. He, Zhang, Ren & Sun 2015, arXiv:1502.01852. Saxe, McClelland & Ganguli 2014,
    arXiv:1312.6120.

    Examples
    --------
    >>> from narrows import Autoencoder, Dense
    >>> Autoencoder(architecture=Dense(hidden_layer_sizes=(64,), tied=True)).architecture.tied
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        activation: str | Activation = "silu",
        dropout: float = 0.0,
        decoder_layer_sizes: Sequence[int] | None = None,
        tied: bool = False,
        unit_norm: bool = False,
        linear_path: bool = True,
        init: str = "pca",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.decoder_layer_sizes = decoder_layer_sizes
        self.tied = tied
        self.unit_norm = unit_norm
        self.linear_path = linear_path
        self.init = init

    def build(self, sizes: Sizes) -> tuple[Network, Network]:
        hidden = self._check(sizes)
        there = (sizes.n_values + sizes.n_condition, *hidden, sizes.n_encoded)
        encoder = DenseNetwork(there, sizes.n_restarts, 1, self)
        if self.tied:
            return encoder, TiedNetwork(encoder, sizes.n_decoders)
        back = (sizes.n_decoded, *self.decoder_widths(), sizes.n_outputs)
        n_unit = sizes.n_features if self.unit_norm else 0
        return encoder, DenseNetwork(back, sizes.n_restarts, sizes.n_decoders, self, n_unit)

    def joined(
        self,
        x: Float[Tensor, "network row value"],
        condition: Float[Tensor, "... row condition"],
        event: tuple[int, ...],
    ) -> Float[Tensor, "network row read"]:
        return behind(x, condition)

    def stages(self, sizes: Sizes) -> list[Stage]:
        units = (sizes.n_values, *widths(self.hidden_layer_sizes), sizes.n_encoded)
        return stages([Linear(below, above) for below, above in pairwise(units)], self)

    def decoder_widths(self) -> tuple[int, ...]:
        """Return the widths of the decoder's hidden layers."""
        if self.decoder_layer_sizes is None:
            return widths(self.hidden_layer_sizes)[::-1]
        return widths(self.decoder_layer_sizes, "decoder_layer_sizes")

    def _check(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the hidden widths, after checking that the settings go together."""
        hidden = widths(self.hidden_layer_sizes)
        check_dropout(self.dropout)
        check_start(self, bool(hidden), bool(self.decoder_widths()))
        refuse_tied_condition(self, sizes)
        if self.tied and sizes.n_values != sizes.n_outputs:
            raise ValueError(
                f"tied=True needs a target of the input's size, but the input has {sizes.n_values} "
                f"values and the target {sizes.n_outputs}. Write tied=False."
            )
        if self.tied and (self.unit_norm or self.decoder_layer_sizes is not None):
            raise ValueError(
                "tied=True leaves the decoder no weights of its own. Write unit_norm=False and "
                "decoder_layer_sizes=None, or tied=False."
            )
        return hidden


def widths(sizes: Any, name: str = "hidden_layer_sizes") -> tuple[int, ...]:
    """Return widths of hidden layers; a single number is one layer."""
    given = tuple(sizes) if isinstance(sizes, Iterable) else (sizes,)
    if not all(hasattr(width, "__index__") and width >= 1 for width in given):
        raise ValueError(
            f"{name}={sizes!r} must be whole numbers >= 1. "
            "Write (128, 128), or () for a linear model."
        )
    return tuple(int(width) for width in given)


class DenseNetwork(Layered):
    """`n_restarts` x `n_levels` dense networks of the same widths, side by side."""

    def __init__(
        self,
        sizes: Sequence[int],
        n_restarts: int,
        n_levels: int,
        settings: Dense,
        n_unit: int = 0,
    ) -> None:
        layers = [Linear(before, after) for before, after in pairwise(sizes)]
        super().__init__(layers, n_restarts, n_levels, settings, n_unit)
