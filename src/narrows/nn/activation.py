"""Activations by name."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows._errors import nearest

Activation = Callable[[Tensor], Tensor]


def identity(x: Tensor) -> Tensor:
    """Return x."""
    return x


ACTIVATIONS: dict[str, Activation] = {
    "identity": identity,
    "silu": F.silu,
    "elu": F.elu,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "selu": F.selu,
    "softplus": F.softplus,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
}

# Lowest and highest values of those that have any
RANGES: dict[Activation, tuple[float, float]] = {
    F.silu: (-0.2785, math.inf),
    F.elu: (-1.0, math.inf),
    F.relu: (0.0, math.inf),
    F.gelu: (-0.17, math.inf),
    F.selu: (-1.7581, math.inf),
    F.softplus: (0.0, math.inf),
    torch.tanh: (-1.0, 1.0),
    torch.sigmoid: (0.0, 1.0),
    torch.sin: (-1.0, 1.0),
}


def activation(choice: Any) -> Activation:
    """Return the activation of that name, or the function itself if one is given."""
    if callable(choice):
        return choice
    if not isinstance(choice, str) or choice not in ACTIVATIONS:
        raise ValueError(
            f"activation={choice!r} is not known.{nearest(str(choice), ACTIVATIONS)} "
            f"Known are: {', '.join(ACTIVATIONS)}; or give a function of a tensor."
        )
    return ACTIVATIONS[choice]
