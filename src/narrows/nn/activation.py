"""Activations by name."""

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
