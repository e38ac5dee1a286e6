"""Convolutional networks for series, images and volumes of any size, channels first."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture, Network, Sizes, Stage, behind
from narrows.nn.layers import (
    Layer,
    Layered,
    Linear,
    TiedNetwork,
    check_dropout,
    check_start,
    refuse_tied_condition,
    stages,
)

_FEW_CHANNELS = 4
_DOWN = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_UP = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class Convolutional(Architecture):
    """Strided convolutions, mirrored in the decoder, beside a linear path.

    For events whose neighbouring values belong together, wherever they stand: series, images,
    volumes. The encoder is convolutions that shrink every axis from L to ⌈L / stride⌉, then one
    linear layer; the decoder is a linear layer, then transposed convolutions that restore each
    size on the way, odd ones too. The output has a bias per value. With few rows or no neighbours,
    take `Dense`.

    Parameters
    ----------
    channels : sequence of int, default=(32, 64)
        Channels after each convolution of the encoder.
    kernel_size : int, default=3
        Width of the kernels along every axis, odd.
    stride : int, default=2
        Step of the kernels along every axis.
    n_dims : {1, 2, 3} or None, default=None
        Axes that are convolved. Events with one axis more have their channels first. None reads
        events of one axis as series, of two as images, of three as images and of four as volumes,
        these two with channels.
    activation : str or callable, default="silu"
        Nonlinearity of the hidden layers.
    dropout : float, default=0.0
        Share of hidden units, in [0, 1), that are zeroed for each training sample.
    tied : bool, default=False
        Whether the decoder uses the encoder's weights, transposed, with biases of its own.
    unit_norm : bool, default=False
        Whether the decoder's first weights of each feature are a unit vector, so that a code cannot
        shrink while the decoder grows.
    linear_path : bool, default=True
        Whether a linear map runs beside the hidden layers.
    init : {"pca", "random", "xavier", "kaiming", "orthogonal"}, default="pca"
        Start as PCA (the hidden layers contribute nothing at first), or from random weights, as in
        `Dense`.

    References
    ----------
    Masci, Meier, Ciresan & Schmidhuber 2011, Stacked convolutional auto-encoders for hierarchical
    feature extraction, 10.1007/978-3-642-21735-7_7.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder, Convolutional
    >>> images = np.random.default_rng(0).normal(size=(100, 9, 7))
    >>> model = Autoencoder(architecture=Convolutional((4, 8)), max_epochs=2).fit(images)
    >>> model.reconstruct(images).shape
    (100, 9, 7)
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        kernel_size: int = 3,
        stride: int = 2,
        n_dims: int | None = None,
        activation: str | Activation = "silu",
        dropout: float = 0.0,
        tied: bool = False,
        unit_norm: bool = False,
        linear_path: bool = True,
        init: str = "pca",
    ) -> None:
        self.channels = channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.n_dims = n_dims
        self.activation = activation
        self.dropout = dropout
        self.tied = tied
        self.unit_norm = unit_norm
        self.linear_path = linear_path
        self.init = init

    def build(self, sizes: Sizes) -> tuple[Network, Network]:
        channels = self._check(sizes)
        n_channels, *space = grid(sizes.event, self.n_dims)
        event = (n_channels + sizes.n_condition, *space)
        encoder = Layered(
            self._layers(event, sizes.event, channels, sizes.n_encoded), sizes.n_restarts, 1, self
        )
        if self.tied:
            return encoder, TiedNetwork(encoder, sizes.n_decoders)
        target = grid(sizes.target, len(event) - 1, "target")
        there = self._layers(target, sizes.target, channels, sizes.n_decoded)
        back = [layer.mirrored() for layer in reversed(there)]
        n_unit = sizes.n_features if self.unit_norm else 0
        return encoder, Layered(back, sizes.n_restarts, sizes.n_decoders, self, n_unit)

    def joined(
        self,
        x: Float[Tensor, "network row value"],
        condition: Float[Tensor, "... row condition"],
        event: tuple[int, ...],
    ) -> Float[Tensor, "network row read"]:
        _, *space = grid(event, self.n_dims)
        channels = condition.repeat_interleave(math.prod(space), -1)
        return behind(x, channels)

    def stages(self, sizes: Sizes) -> list[Stage]:
        event, channels = grid(sizes.event, self.n_dims), self._check(sizes)
        return stages(self._layers(event, sizes.event, channels, sizes.n_encoded), self)

    def _layers(
        self,
        start: tuple[int, ...],
        shape: tuple[int, ...],
        channels: tuple[int, ...],
        n_features: int,
    ) -> list[Layer]:
        """Return the layers from an event to the features."""
        grids = [start]
        for n_channels in channels:
            space = grids[-1][1:]
            if min(space) < self.kernel_size:
                raise ValueError(_too_small(shape, grids, channels, self.kernel_size))
            grids.append((n_channels, *(-(-size // self.stride) for size in space)))
        steps = [
            Convolution(fine, coarse, self.kernel_size, self.stride)
            for fine, coarse in pairwise(grids)
        ]
        return [*steps, Linear(math.prod(grids[-1]), n_features)]

    def _check(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the channels, after checking that the settings go together."""
        given = tuple(self.channels) if isinstance(self.channels, Iterable) else (self.channels,)
        if not given or not all(_whole(n) for n in given):
            raise ValueError(
                f"channels={self.channels!r} must be whole numbers >= 1, one per convolution. "
                "Write (32, 64), or architecture=Dense(()) for a linear model."
            )
        if not _whole(self.kernel_size) or self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size={self.kernel_size!r} must be an odd whole number >= 1. Write 3."
            )
        if not _whole(self.stride):
            raise ValueError(f"stride={self.stride!r} must be a whole number >= 1. Write 2.")
        check_dropout(self.dropout)
        check_start(self, True, True)
        refuse_tied_condition(self, sizes)
        if self.tied and sizes.event != sizes.target:
            raise ValueError(
                f"tied=True needs a target of the input's shape, but the input has the shape "
                f"{sizes.event} and the target {sizes.target}. Write tied=False."
            )
        if self.tied and self.unit_norm:
            raise ValueError(
                "tied=True leaves the decoder no weights of its own. Write unit_norm=False or "
                "tied=False."
            )
        return tuple(int(n) for n in given)


def grid(shape: tuple[int, ...], n_dims: int | None, name: str = "event") -> tuple[int, ...]:
    """Return the channels of an event and the sizes of the axes that are convolved.

    Parameters
    ----------
    shape : tuple of int
        Shape of one row.
    n_dims : int or None
        As in `Convolutional`.
    name : str
        What has this shape, for the messages.

    Raises
    ------
    ValueError
        If `n_dims` is not 1, 2 or 3, or the shape has other than `n_dims` axes, or one more.

    Examples
    --------
    >>> grid((28, 28), None), grid((6, 100), 1)
    ((1, 28, 28), (6, 100))
    """
    if n_dims not in (None, 1, 2, 3):
        raise ValueError(
            f"n_dims={n_dims!r} must be 1, 2 or 3 axes to convolve, or None. Write n_dims=1 for "
            "events of shape (channels, length)."
        )
    n = len(shape)
    if n_dims is None and not 1 <= n <= 4:
        raise ValueError(
            f"Events of shape {shape} have {n} axes, but convolutions take 1 to 4, channels first. "
            "Reshape the rows, or write architecture='dense'."
        )
    n_spatial = {1: 1, 2: 2, 3: 2, 4: 3}[n] if n_dims is None else n_dims
    if n not in (n_spatial, n_spatial + 1):
        raise ValueError(
            f"The {name} has the shape {shape}, but convolutions along {n_spatial} axes take "
            f"{n_spatial} axes, or {n_spatial + 1} with channels first. Reshape it, or write "
            "n_dims=1 for events of shape (channels, length)."
        )
    return shape if n > n_spatial else (1, *shape)


def _whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and value >= 1


def _too_small(
    shape: tuple[int, ...],
    grids: Sequence[tuple[int, ...]],
    channels: tuple[int, ...],
    kernel_size: int,
) -> str:
    """Return what is wrong with an event that shrinks below the kernel, and the depth that fits."""
    fits = len(grids) - 1
    layers = f"{fits} convolution{'' if fits == 1 else 's'}"
    write = f"channels={channels[:fits]}" if fits else "kernel_size=1, or architecture='dense'"
    if not fits and shape[-1] <= _FEW_CHANNELS < min(shape[:-1], default=0):
        write = "np.moveaxis(X, -1, 1), if the last axis is that of channels: they come first"
    return (
        f"Events of shape {shape} are too small for {len(channels)} convolutions: {layers} "
        f"of kernel_size={kernel_size} fit. Write {write}."
    )


class Convolution(Layer):
    """A convolution from a fine grid to a coarse one, or its transpose back.

    Networks side by side are groups of one convolution.

    Parameters
    ----------
    fine, coarse : tuple of int
        Channels, then sizes of the axes; of each axis, coarse is ⌈fine / stride⌉.
    kernel_size, stride : int
    back : bool
        Whether to go from coarse to fine.
    """

    def __init__(
        self,
        fine: tuple[int, ...],
        coarse: tuple[int, ...],
        kernel_size: int,
        stride: int,
        back: bool = False,
    ) -> None:
        self.fine = fine
        self.coarse = coarse
        self.kernel_size = kernel_size
        self.stride = stride
        self.back = back
        self.before, self.after = (coarse, fine) if back else (fine, coarse)
        n_dims = len(fine) - 1
        super().__init__(
            math.prod(self.before),
            math.prod(self.after),
            (coarse[0], fine[0], *[kernel_size] * n_dims),
            self.after[0],
            self.before[0] * max(kernel_size / (stride if back else 1), 1) ** n_dims,
        )

    def add(self, out: Tensor, x: Tensor, weight: Tensor) -> Float[Tensor, "network row output"]:
        n = len(x)
        groups = x.unflatten(2, self.before).transpose(0, 1).flatten(1, 2)
        options: dict[str, Any] = {
            "stride": self.stride,
            "padding": self.kernel_size // 2,
            "groups": n,
        }
        if self.back:
            sizes = zip(self.fine[1:], self.coarse[1:], strict=True)
            options["output_padding"] = [f - (c - 1) * self.stride - 1 for f, c in sizes]
        function = (_UP if self.back else _DOWN)[len(self.fine) - 1]
        convolved = function(groups, weight.flatten(0, 1), **options)
        return convolved.unflatten(1, (n, self.after[0])).transpose(0, 1).flatten(2) + out

    def spread(self, bias: Tensor) -> Float[Tensor, "network 1 output"]:
        return bias.repeat_interleave(math.prod(self.after[1:]), 2)

    def mirrored(self) -> Layer:
        return Convolution(self.fine, self.coarse, self.kernel_size, self.stride, not self.back)

    def turned(self, weight: Tensor) -> Tensor:
        return weight
