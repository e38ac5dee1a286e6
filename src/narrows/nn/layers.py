"""Networks of layers, many side by side, with a linear path beside them.

All layers carry a leading axis of networks: the restarts, times the decoders of an ordering.
Small networks are bound by the number of operations, not by arithmetic, so eight cost little more
than one. The linear path runs from input to output, so that a network starts as PCA and learns
what is not linear.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from narrows import _ranks
from narrows._errors import nearest
from narrows.nn.activation import activation
from narrows.nn.architecture import Architecture, Network, Sizes, Stage, behind
from narrows.nn.start import INITS, draw


class Layer(ABC):
    """Base of the maps that networks are made of; weights and biases are given to them.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Values of one row before and after the layer.
    weight : tuple of int
        Shape of one network's weights.
    n_biases : int
        Biases where the layer is followed by an activation.
    fan_in : float
        Inputs that one output depends on.
    """

    def __init__(
        self, n_inputs: int, n_outputs: int, weight: tuple[int, ...], n_biases: int, fan_in: float
    ) -> None:
        self.n_inputs = n_inputs
        self.n_outputs = n_outputs
        self.weight = weight
        self.n_biases = n_biases
        self.fan_in = fan_in

    @abstractmethod
    def add(self, out: Tensor, x: Tensor, weight: Tensor) -> Float[Tensor, "network row output"]:
        """Return the layer's map of x, of shape (network, row, input), added to `out`."""

    @abstractmethod
    def spread(self, bias: Tensor) -> Float[Tensor, "network 1 output"]:
        """Return the bias of every output."""

    @abstractmethod
    def mirrored(self) -> "Layer":
        """Return the layer that goes the other way."""

    @abstractmethod
    def turned(self, weight: Tensor) -> Tensor:
        """Return these weights as those of the mirrored layer."""


class Linear(Layer):
    """A fully connected layer."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__(n_inputs, n_outputs, (n_inputs, n_outputs), n_outputs, n_inputs)

    def add(self, out: Tensor, x: Tensor, weight: Tensor) -> Float[Tensor, "network row output"]:
        return torch.baddbmm(out, x, weight)

    def spread(self, bias: Tensor) -> Float[Tensor, "network 1 output"]:
        return bias

    def mirrored(self) -> Layer:
        return Linear(self.n_outputs, self.n_inputs)

    def turned(self, weight: Tensor) -> Tensor:
        return weight.transpose(1, 2)


class Layered(Network):
    """`n_restarts` x `n_levels` networks of the same layers, side by side.

    Parameters
    ----------
    layers : sequence of Layer
    n_restarts, n_levels : int
    settings : Architecture
        With `activation`, `dropout`, `linear_path`, `init` and `tied`.
    n_unit : int
        How many inputs, the first ones, have first weights that are a unit vector.
    per_output : bool
        Whether every output has a bias of its own, or the last layer's biases are of its kind.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        n_restarts: int,
        n_levels: int,
        settings: Any,
        n_unit: int = 0,
        per_output: bool = True,
    ) -> None:
        super().__init__()
        self.layers = layers
        self.per_output = per_output
        self.n_levels = n_levels
        self.settings = settings
        self.n_unit = n_unit
        self.n_hidden = len(layers) - 1
        self.activation = activation(settings.activation)
        n = n_restarts * n_levels
        self.weights = registered(self, "weight", [(n, *layer.weight) for layer in layers])
        self.biases = registered(self, "bias", _bias_shapes(n, layers, per_output))
        beside = settings.linear_path and self.n_hidden
        ends = layers[0].n_inputs, layers[-1].n_outputs
        self.path = nn.Parameter(torch.zeros(n, *ends)) if beside else None

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        for layer, weight in zip(self.layers, self.weights, strict=True):
            draw(weight, self.settings.init, generators, layer.fan_in)
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
        pick = picker(self.n_levels, levels)
        if self.n_unit:
            x = x / pick(self._lengths())
        out = pick(_last_bias(self))
        if self.path is not None:
            out = torch.baddbmm(out, x, pick(self.path))
        return _through(self, x, out, [pick(weight) for weight in self.weights], pick, kept)

    def adopt(self, layer: int, stage: Any, restart: int) -> None:
        for own, other in ((self.weights, stage.weights), (self.biases, stage.biases)):
            restarts = own[layer].data.chunk(len(own[layer]) // self.n_levels)
            restarts[restart].copy_(other[0].data)

    def _lengths(self) -> Float[Tensor, "network 1 value"]:
        """Return the length of each input's weights, in the first layer and the path together."""
        first = self.weights[0] if self.path is None else torch.cat([self.weights[0], self.path], 2)
        lengths = first[:, : self.n_unit].norm(dim=2).clamp_min(1e-12).unsqueeze(1)
        n_more = first.shape[1] - self.n_unit
        return torch.cat([lengths, lengths.new_ones(len(first), 1, n_more)], -1)


class TiedNetwork(Network):
    """A decoder that reads its encoder's weights, turned; only its biases are its own."""

    def __init__(self, encoder: Layered, n_levels: int, per_output: bool = True) -> None:
        super().__init__()
        self.per_output = per_output
        self.n_levels = n_levels
        self.activation = encoder.activation
        self.settings = encoder.settings
        self.n_hidden = encoder.n_hidden
        # In a tuple, so that the encoder's parameters are not registered twice.
        self._encoder = (encoder,)
        self.layers = [layer.mirrored() for layer in reversed(encoder.layers)]
        n = len(encoder.weights[0]) * n_levels
        self.biases = registered(self, "bias", _bias_shapes(n, self.layers, per_output))

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Do nothing: biases start at 0, weights are the encoder's."""

    def start(self, weight: Tensor, bias: Tensor) -> None:
        self.biases[-1].data.copy_(bias)

    def adopt(self, layer: int, stage: Any, restart: int) -> None:
        restarts = self.biases[layer].data.chunk(len(self.biases[layer]) // self.n_levels)
        restarts[restart].copy_(stage.biases[0].data)

    @property
    def weights(self) -> list[Tensor]:
        """The encoder's weights, turned, in the order in which they are applied."""
        encoder = self._encoder[0]
        ways = zip(encoder.layers, encoder.weights, strict=True)
        return [layer.turned(weight) for layer, weight in ways][::-1]

    def forward(
        self, x: Tensor, levels: slice | None = None, kept: list[Tensor] | None = None
    ) -> Tensor:
        encoder = self._encoder[0]
        pick = picker(self.n_levels, levels)

        def shared(weight: Tensor) -> Tensor:
            return pick(weight.repeat_interleave(self.n_levels, 0))

        # Of an encoder with more outputs than the code has features, the first are turned.
        n_features, (first, *more) = x.shape[-1], self.weights
        out = pick(_last_bias(self))
        if encoder.path is not None:
            back = encoder.path.transpose(1, 2)[:, :n_features]
            out = torch.baddbmm(out, x, shared(back))
        weights = [shared(weight) for weight in (first[:, :n_features], *more)]
        return _through(self, x, out, weights, pick, kept)


def _through(
    network: Layered | TiedNetwork,
    x: Tensor,
    out: Tensor,
    weights: Sequence[Tensor],
    pick: Callable[[Tensor], Tensor],
    kept: list[Tensor] | None,
) -> Float[Tensor, "network row output"]:
    """Return what the layers make of x, added to `out`."""
    generators = network.generators if network.training else ()
    for layer, weight, bias in zip(network.layers, weights, network.biases[:-1], strict=False):
        x = network.activation(layer.add(layer.spread(pick(bias)), x, weight))
        if kept is not None:
            kept.append(x)
        x = dropout(x, network.settings.dropout, generators)
    return network.layers[-1].add(out, x, weights[-1])


def _bias_shapes(n: int, layers: Sequence[Layer], per_output: bool) -> list[tuple[int, ...]]:
    """Return the shapes of biases: of each layer's own kind, at the end one per output."""
    sizes = [layer.n_biases for layer in layers[:-1]]
    last = layers[-1].n_outputs if per_output else layers[-1].n_biases
    return [(n, 1, size) for size in (*sizes, last)]


def _last_bias(network: "Layered | TiedNetwork") -> Float[Tensor, "network 1 output"]:
    """Return the bias of every output."""
    bias = network.biases[-1]
    return bias if network.per_output else network.layers[-1].spread(bias)


class Single(Architecture):
    """One layer and its mirror: a stage of layer-wise training.

    Parameters
    ----------
    layer : Layer
    settings : Architecture
        That the layer belongs to.
    first : bool
        Whether the layer reads the data.
    tied : bool
        Whether the mirror uses the same weights.
    """

    def __init__(
        self, layer: Layer, settings: Architecture, first: bool, tied: bool = False
    ) -> None:
        self.layer = layer
        self.settings = settings
        self.first = first
        self.tied = tied

    def build(self, sizes: Sizes) -> tuple[Network, Network]:
        n, m = sizes.n_restarts, sizes.n_decoders
        encoder = Layered([self.layer], n, 1, self.settings, per_output=False)
        if self.tied:
            return encoder, TiedNetwork(encoder, m, self.first)
        mirrored = self.layer.mirrored()
        if sizes.n_features < mirrored.n_inputs:
            mirrored = Linear(sizes.n_features, mirrored.n_outputs)
        back = [mirrored]
        return encoder, Layered(back, n, m, self.settings, per_output=self.first)

    def stages(self, sizes: Sizes) -> list[Stage]:
        return [Stage(self, sizes.event, sizes.n_features)]

    def joined(
        self,
        x: Float[Tensor, "network row value"],
        condition: Float[Tensor, "... row condition"],
        event: tuple[int, ...],
    ) -> Float[Tensor, "network row read"]:
        return behind(x, condition)


def stages(layers: Sequence[Layer], settings: Architecture) -> list[Stage]:
    """Return layers as autoencoders of their own."""
    return [
        Stage(Single(layer, settings, not i, settings.tied), (layer.n_inputs,), layer.n_outputs)
        for i, layer in enumerate(layers)
    ]


def check_start(settings: Any, encoder_hidden: bool, decoder_hidden: bool) -> None:
    """Raise ValueError unless the start is known, and PCA has a linear path, of its own length."""
    if settings.init not in INITS:
        raise ValueError(
            f"init={settings.init!r} is not known.{nearest(str(settings.init), INITS)} "
            f"Known are: {', '.join(INITS)}."
        )
    if settings.init == "pca" and not settings.linear_path and encoder_hidden:
        raise ValueError(
            "init='pca' starts the linear path, but linear_path=False. Write init='random'."
        )
    if settings.init == "pca" and settings.unit_norm and decoder_hidden:
        raise ValueError(
            "unit_norm=True shares the unit length between the hidden layers and the linear "
            "path, which then is not PCA. Write init='random'."
        )


def refuse_tied_condition(settings: Any, sizes: Sizes) -> None:
    """Raise ValueError for a condition that a decoder without weights of its own cannot read."""
    if settings.tied and sizes.n_condition:
        raise ValueError(
            "tied=True leaves the decoder no weights for a condition. Write "
            "architecture=Dense(tied=False), say, or leave condition= out."
        )


def check_dropout(rate: float) -> None:
    """Raise ValueError unless a share of units remains."""
    if not 0 <= rate < 1:
        raise ValueError(f"dropout={rate} must be in [0, 1). Write 0.1, say.")


def dropout(
    x: Float[Tensor, "network row unit"], rate: float, generators: Sequence[torch.Generator]
) -> Float[Tensor, "network row unit"]:
    """Zero a share of the units, each restart from its own generator; none in evaluation."""
    if not rate or not generators:
        return x
    n_rows = x.shape[1]
    shape = (len(x) // len(generators), _ranks.n_drawn(n_rows), x.shape[2])
    draws = [torch.rand(shape, generator=g, device=x.device) for g in generators]
    kept = [_ranks.own_rows(draw, 1, n_rows) >= rate for draw in draws]
    return x * torch.cat(kept) / (1 - rate)


def registered(
    module: nn.Module, name: str, shapes: Sequence[tuple[int, ...]]
) -> list[nn.Parameter]:
    """Register parameters by name; a plain list of them is read faster than a ParameterList."""
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for i, parameter in enumerate(parameters):
        module.register_parameter(f"{name}{i}", parameter)
    return parameters


def picker(n_levels: int, levels: slice | None) -> Callable[[Tensor], Tensor]:
    """Return what takes the tensors of a range of each restart's levels; None takes all."""
    if levels is None:
        return lambda tensor: tensor
    return lambda tensor: tensor.unflatten(0, (-1, n_levels))[:, levels].flatten(0, 1)
