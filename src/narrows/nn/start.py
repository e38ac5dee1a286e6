"""The start of training: the linear path set to PCA.

A network whose hidden layers contribute nothing and whose linear path is PCA *is* PCA, at every
level of an ordering. Training leaves from there, and goes back to it where it gains nothing on
the validation rows: that is why a fit is not worse than PCA.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

INITS = ("pca", "random", "xavier", "kaiming", "orthogonal")

_EXACT = 1500
_FLOOR = 1e-3


def principal_axes(
    rows: Float[Tensor, "row value"], n_axes: int
) -> tuple[Float[Tensor, "value axis"], Float[Tensor, " axis"]]:
    """Return principal axes and standard deviations of centred rows, largest first.

    Axes beyond the rank are 0. Exact up to 1500 values, randomised beyond (Halko, Martinsson &
    Tropp 2011, 10.1137/090771806).
    """
    n_values = rows.shape[1]
    rank = min(n_axes, *rows.shape)
    if n_values <= _EXACT:
        covariance = torch.zeros(n_values, n_values, dtype=torch.float64)
        for block in rows.split(8192):
            covariance += block.double().T @ block.double()
        squares, vectors = torch.linalg.eigh(covariance)
        axes, strengths = vectors.flip(1)[:, :rank], squares.flip(0)[:rank].clamp_min(0).sqrt()
    else:
        _, values, vectors = randomized_svd(rows.numpy(), rank, random_state=0)
        axes = torch.from_numpy(np.ascontiguousarray(vectors.T)).double()
        strengths = torch.from_numpy(values).double()
    axes = axes * _signs(axes)
    spread = torch.zeros(n_axes, dtype=torch.float64)
    spread[:rank] = strengths / len(rows) ** 0.5
    out = torch.zeros(n_values, n_axes, dtype=torch.float64)
    out[:, :rank] = axes
    out[:, spread <= 1e-7 * spread[0]] = 0
    return out, spread


def _signs(axes: Float[Tensor, "value axis"]) -> Float[Tensor, " axis"]:
    """Return signs that make each axis's largest entry positive, so that starts are the same."""
    return axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()[0]


def linear_codes(
    rows: Float[Tensor, "row value"], n_features: int, whiten: bool
) -> tuple[Float[Tensor, "value feature"], Float[Tensor, " feature"]]:
    """Return the weights of the linear encoder, and the widths they divide by."""
    axes, spread = principal_axes(rows, n_features)
    width = spread.clamp_min(_FLOOR * float(spread[0])) if whiten else torch.ones_like(spread)
    width = torch.where(width > 0, width, 1.0)
    return axes / width, width


def loadings(
    codes: Float[Tensor, "row feature"], targets: Float[Tensor, "row output"]
) -> Float[Tensor, "feature output"]:
    """Return the regression of centred targets on uncorrelated, centred codes."""
    codes = codes.double()
    return codes.T @ targets.double() / codes.square().sum(0).clamp_min(1e-300)[:, None]


def draw(
    weight: Float[Tensor, "network ..."],
    kind: str,
    generators: Sequence[torch.Generator],
    fan_in: float,
) -> None:
    """Draw initial weights, each restart from its own generator; those beside PCA as random.

    Parameters
    ----------
    weight : Tensor
        Of networks side by side; of each the first axis are inputs, or outputs of a convolution.
    kind : str
        One of `INITS`.
    generators : sequence of torch.Generator, one per restart
    fan_in : float
        Inputs that one output depends on.
    """
    fan_out = weight[0].numel() / weight.shape[2] if weight.ndim > 3 else weight.shape[2]
    for part, generator in zip(weight.data.chunk(len(generators)), generators, strict=True):
        if kind == "orthogonal":
            for network in part:
                torch.nn.init.orthogonal_(network, generator=generator)
        elif kind == "xavier":
            bound = math.sqrt(6 / (fan_in + fan_out))
            part.copy_((torch.rand(part.shape, generator=generator) * 2 - 1) * bound)
        else:
            scale = math.sqrt((2 if kind == "kaiming" else 1) / fan_in)
            part.copy_(torch.randn(part.shape, generator=generator) * scale)
