"""Dense networks, many at once: one batched linear layer per depth.

All layers carry a leading axis of networks: the restarts, times the decoders of an ordering.
Small networks are bound by the number of operations, not by arithmetic, so eight cost little more
than one. A linear path runs beside the layers, from input to output, so that a network starts as
PCA and learns what is not linear.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from narrows._errors import nearest
from narrows.nn.activation import Activation, activation
from narrows.nn.architecture import Architecture, Network, Sizes, Stage
from narrows.nn.start import INITS, draw


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
        n = sizes.n_features
        hidden = self._check(sizes)
        encoder = DenseNetwork((sizes.n_values, *hidden, n), sizes.n_restarts, 1, self)
        if self.tied:
            return encoder, TiedNetwork(encoder, sizes.n_decoders)
        back = (n, *self.decoder_widths(), sizes.n_outputs)
        return encoder, DenseNetwork(
            back, sizes.n_restarts, sizes.n_decoders, self, unit_norm=self.unit_norm
        )

    def stages(self, sizes: Sizes) -> list[Stage]:
        init = "random" if self.init == "pca" else self.init
        one = Dense((), self.activation, tied=self.tied, init=init)
        units = (sizes.n_values, *widths(self.hidden_layer_sizes), sizes.n_features)
        return [Stage(one, (below,), above) for below, above in pairwise(units)]

    def decoder_widths(self) -> tuple[int, ...]:
        """Return the widths of the decoder's hidden layers."""
        if self.decoder_layer_sizes is None:
            return widths(self.hidden_layer_sizes)[::-1]
        return widths(self.decoder_layer_sizes, "decoder_layer_sizes")

    def _check(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the hidden widths, after checking that the settings go together."""
        hidden = widths(self.hidden_layer_sizes)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must be in [0, 1). Write 0.1, say.")
        check_start(self, bool(hidden))
        if self.unit_norm and self.init == "pca" and self.decoder_widths():
            raise ValueError(
                "unit_norm=True shares the unit length between the hidden layers and the linear "
                "path, which then is not PCA. Write init='random'."
            )
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


def check_start(settings: Any, hidden: bool) -> None:
    """Raise ValueError unless the start is known, and there is a linear path for PCA."""
    if settings.init not in INITS:
        raise ValueError(
            f"init={settings.init!r} is not known.{nearest(str(settings.init), INITS)} "
            f"Known are: {', '.join(INITS)}."
        )
    if settings.init == "pca" and not settings.linear_path and hidden:
        raise ValueError(
            "init='pca' starts the linear path, but linear_path=False. Write init='random'."
        )


def widths(sizes: Any, name: str = "hidden_layer_sizes") -> tuple[int, ...]:
    """Return widths of hidden layers; a single number is one layer."""
    given = tuple(sizes) if isinstance(sizes, Iterable) else (sizes,)
    if not all(hasattr(width, "__index__") and width >= 1 for width in given):
        raise ValueError(
            f"{name}={sizes!r} must be whole numbers >= 1. "
            "Write (128, 128), or () for a linear model."
        )
    return tuple(int(width) for width in given)


class DenseNetwork(Network):
    """`n_restarts` x `n_levels` dense networks side by side."""

    def __init__(
        self,
        sizes: Sequence[int],
        n_restarts: int,
        n_levels: int,
        settings: Dense,
        unit_norm: bool = False,
    ) -> None:
        super().__init__()
        self.n_levels = n_levels
        self.settings = settings
        self.unit_norm = unit_norm
        self.n_hidden = len(sizes) - 2
        self.activation = activation(settings.activation)
        n = n_restarts * n_levels
        self.weights = _registered(self, "weight", [(n, a, b) for a, b in pairwise(sizes)])
        self.biases = _registered(self, "bias", [(n, 1, b) for b in sizes[1:]])
        beside = settings.linear_path and len(self.weights) > 1
        self.path = nn.Parameter(torch.zeros(n, sizes[0], sizes[-1])) if beside else None

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        for weight in self.weights:
            draw(weight, self.settings.init, generators)
        if self.settings.init == "pca" and self.path is not None:
            # A tied network at rest is a saddle point: there it leaves a little to break the tie.
            self.weights[-1].data.mul_(0.1 if self.settings.tied else 0.0)

    def start(self, weight: Tensor, bias: Tensor) -> None:
        path = self.weights[0] if self.path is None else self.path
        path.data.copy_(weight)
        self.biases[-1].data.copy_(bias)

    def forward(
        self, x: Tensor, levels: slice | None = None, kept: list[Tensor] | None = None
    ) -> Tensor:
        pick = _picker(self.n_levels, levels)
        if self.unit_norm:
            x = x / pick(self._lengths())
        out = pick(self.biases[-1])
        if self.path is not None:
            out = torch.baddbmm(out, x, pick(self.path))
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = self.activation(torch.baddbmm(pick(bias), x, pick(weight)))
            if kept is not None:
                kept.append(x)
            x = dropout(x, self.settings.dropout, self.generators if self.training else ())
        return torch.baddbmm(out, x, pick(self.weights[-1]))

    def adopt(self, layer: int, stage: Any, restart: int) -> None:
        for own, other in ((self.weights, stage.weights), (self.biases, stage.biases)):
            own[layer].data.chunk(len(own[layer]) // self.n_levels)[restart].copy_(other[0].data)

    def _lengths(self) -> Float[Tensor, "network 1 value"]:
        """Return the length of each input's weights, in the first layer and the path together."""
        first = self.weights[0] if self.path is None else torch.cat([self.weights[0], self.path], 2)
        return first.norm(dim=2).clamp_min(1e-12).unsqueeze(1)


class TiedNetwork(Network):
    """A decoder that reads its encoder's weights, transposed; only its biases are its own."""

    def __init__(self, encoder: DenseNetwork, n_levels: int) -> None:
        super().__init__()
        self.n_levels = n_levels
        self.activation = encoder.activation
        self.settings = encoder.settings
        self.n_hidden = encoder.n_hidden
        # In a tuple, so that the encoder's parameters are not registered twice.
        self._encoder = (encoder,)
        n = len(encoder.weights[0]) * n_levels
        shapes = [(n, 1, weight.shape[1]) for weight in reversed(encoder.weights)]
        self.biases = _registered(self, "bias", shapes)

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Do nothing: biases start at 0, weights are the encoder's."""

    def start(self, weight: Tensor, bias: Tensor) -> None:
        self.biases[-1].data.copy_(bias)

    @property
    def weights(self) -> list[Tensor]:
        """The encoder's weights, transposed, in the order in which they are applied."""
        return [weight.transpose(1, 2) for weight in reversed(self._encoder[0].weights)]

    def adopt(self, layer: int, stage: Any, restart: int) -> None:
        parts = self.biases[layer].data.chunk(len(self.biases[layer]) // self.n_levels)
        parts[restart].copy_(stage.biases[0].data)

    def forward(
        self, x: Tensor, levels: slice | None = None, kept: list[Tensor] | None = None
    ) -> Tensor:
        encoder = self._encoder[0]
        pick = _picker(self.n_levels, levels)

        def turned(weight: Tensor) -> Tensor:
            return pick(weight.transpose(1, 2).repeat_interleave(self.n_levels, 0))

        out = pick(self.biases[-1])
        if encoder.path is not None:
            out = torch.baddbmm(out, x, turned(encoder.path))
        layers = list(zip(reversed(encoder.weights), self.biases, strict=True))
        for weight, bias in layers[:-1]:
            x = self.activation(torch.baddbmm(pick(bias), x, turned(weight)))
            x = dropout(x, self.settings.dropout, self.generators if self.training else ())
        return torch.baddbmm(out, x, turned(layers[-1][0]))


def dropout(
    x: Float[Tensor, "network row unit"], rate: float, generators: Sequence[torch.Generator]
) -> Float[Tensor, "network row unit"]:
    """Zero a share of the units, each restart from its own generator; none in evaluation."""
    if not rate or not generators:
        return x
    shape = (len(x) // len(generators), *x.shape[1:])
    kept = [torch.rand(shape, generator=g, device=x.device) >= rate for g in generators]
    return x * torch.cat(kept) / (1 - rate)


def _registered(
    module: nn.Module, name: str, shapes: Sequence[tuple[int, ...]]
) -> list[nn.Parameter]:
    """Register parameters by name; a plain list of them is read faster than a ParameterList."""
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for i, parameter in enumerate(parameters):
        module.register_parameter(f"{name}{i}", parameter)
    return parameters


def _picker(n_levels: int, levels: slice | None):  # type: ignore[no-untyped-def]
    if levels is None:
        return lambda tensor: tensor
    return lambda tensor: tensor.unflatten(0, (-1, n_levels))[:, levels].flatten(0, 1)
