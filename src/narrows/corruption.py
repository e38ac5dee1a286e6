"""Corruptions: what a denoising autoencoder undoes.

A corruption acts on the scaled input, in training only, and draws anew at every step; the loss
compares with the clean target. A network that undoes it learns where the data are dense
(Vincent, Larochelle, Lajoie, Bengio & Manzagol 2010, JMLR 11, 3371-3408).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from narrows.parts import Part

Rows = Float[Tensor, "restart row value"]
Generators = Sequence[torch.Generator]


class Corruption(Part, ABC):
    """Base of all corruptions.

    Attributes
    ----------
    highest : float
        What `strength` must stay below: 1 for a share of the values.
    partial : bool
        Whether some values are hit and others are not.
    """

    highest: float = math.inf
    partial: bool = False

    @abstractmethod
    def __call__(
        self, x: Rows, generators: Generators
    ) -> tuple[Rows, Bool[Tensor, "restart row value"] | None]:
        """Return corrupted rows, and which values were hit; None if all were.

        Parameters
        ----------
        x : Tensor of shape (restart, row, value)
            Scaled rows.
        generators : sequence of torch.Generator, one per restart
        """


class Clean(Corruption):
    """No corruption."""

    def __call__(self, x: Rows, generators: Generators) -> tuple[Rows, None]:
        return x, None


class GaussianNoise(Corruption):
    """Add Gaussian noise of one width to every value, ``x + strength ε``.

    What it learns tells the slope of the density: ``(reconstruct(x) - x) / strength²``, in scaled
    units, estimates the gradient of ln p (Alain & Bengio 2014, JMLR 15, 3563-3593).

    Parameters
    ----------
    strength : float, default=0.3
        Standard deviation of the noise, in scaled units, > 0.

    Examples
    --------
    >>> from narrows import DenoisingAutoencoder, GaussianNoise
    >>> DenoisingAutoencoder(corruption=GaussianNoise(strength=0.1)).corruption.strength
    0.1
    """

    def __init__(self, strength: float = 0.3) -> None:
        self.strength = strength

    def __call__(self, x: Rows, generators: Generators) -> tuple[Rows, None]:
        return x + self.strength * _drawn(torch.randn, x, generators), None


class Masking(Corruption):
    """Set a share of the values to 0 in scaled units: to their mean, if they are standardised.

    Parameters
    ----------
    strength : float, default=0.3
        Probability, in (0, 1), that a value is masked.

    Examples
    --------
    >>> from narrows import DenoisingAutoencoder
    >>> DenoisingAutoencoder(corruption="masking").corruption
    'masking'
    """

    highest = 1.0
    partial = True

    def __init__(self, strength: float = 0.3) -> None:
        self.strength = strength

    def __call__(
        self, x: Rows, generators: Generators
    ) -> tuple[Rows, Bool[Tensor, "restart row value"]]:
        hit = _drawn(torch.rand, x, generators) < self.strength
        return x.masked_fill(hit, 0), hit


class Dropout(Corruption):
    """Mask a share of the values, and enlarge the others so that the mean input stays.

    Parameters
    ----------
    strength : float, default=0.3
        Probability, in (0, 1), that a value is masked; the others grow by ``1 / (1 - strength)``.

    Examples
    --------
    >>> from narrows import DenoisingAutoencoder, Dropout
    >>> DenoisingAutoencoder(corruption=Dropout(strength=0.5)).corruption.strength
    0.5
    """

    highest = 1.0
    partial = True

    def __init__(self, strength: float = 0.3) -> None:
        self.strength = strength

    def __call__(
        self, x: Rows, generators: Generators
    ) -> tuple[Rows, Bool[Tensor, "restart row value"]]:
        hit = _drawn(torch.rand, x, generators) < self.strength
        return x.masked_fill(hit, 0) / (1 - self.strength), hit


class SaltAndPepper(Corruption):
    """Set a share of the values to their feature's lowest or highest in the batch, by a coin.

    Parameters
    ----------
    strength : float, default=0.3
        Probability, in (0, 1), that a value is hit.

    Examples
    --------
    >>> from narrows import DenoisingAutoencoder, SaltAndPepper
    >>> DenoisingAutoencoder(corruption=SaltAndPepper(strength=0.1)).corruption.strength
    0.1
    """

    highest = 1.0
    partial = True

    def __init__(self, strength: float = 0.3) -> None:
        self.strength = strength

    def __call__(
        self, x: Rows, generators: Generators
    ) -> tuple[Rows, Bool[Tensor, "restart row value"]]:
        draw = _drawn(torch.rand, x, generators)
        low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
        hit = draw < self.strength
        extreme = torch.where(draw < self.strength / 2, low, high)
        return torch.where(hit, extreme, x), hit


class Custom(Corruption):
    """A corruption of one's own: any function of rows and a generator.

    Parameters
    ----------
    function : callable
        Maps scaled rows of shape (row, value) and a torch.Generator to corrupted rows.

    Examples
    --------
    >>> import torch
    >>> from narrows import DenoisingAutoencoder
    >>> def shift(x, generator):
    ...     return x.roll(1, 1)
    >>> model = DenoisingAutoencoder(corruption=shift)
    """

    def __init__(self, function: Callable[[Tensor, torch.Generator], Tensor]) -> None:
        self.function = function

    def __call__(self, x: Rows, generators: Generators) -> tuple[Rows, None]:
        return torch.stack([self.function(x[r].clone(), g) for r, g in enumerate(generators)]), None


class Unkept(Corruption):
    """What stands in a file for a corruption of one's own; scoring does not need it.

    Parameters
    ----------
    name : str
        What the corruption was called.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, x: Rows, generators: Generators) -> tuple[Rows, None]:
        raise NotImplementedError(f"{self.name} is not in the file")


def around_padding(
    corruption: Corruption, x: Rows, generators: Generators
) -> tuple[Rows, Bool[Tensor, "restart row value"] | None]:
    """Corrupt rows in which NaN, the padding of sequences, stays.

    The corruption sees the mean of the other rows there, which is no extreme.
    """
    padding = x.isnan()
    filled = torch.where(padding, x.nanmean(1, keepdim=True).nan_to_num(0.0), x)
    noisy, hit = corruption(filled, generators)
    return noisy.masked_fill(padding, math.nan), hit


def _drawn(kind: Callable[..., Tensor], like: Rows, generators: Generators) -> Rows:
    """Draw numbers for each restart from its own generator."""
    shape, kwargs = like.shape[1:], {"device": like.device, "dtype": like.dtype}
    return torch.stack([kind(shape, generator=g, **kwargs) for g in generators])
