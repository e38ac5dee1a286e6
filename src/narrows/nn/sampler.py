"""Samplers: what draws the codes that an adversarial autoencoder is to have.

A sampler needs no density. It draws codes of K components, circular ones as angles in radians,
each restart from its own generator.
"""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from narrows.nn.code import Layout
from narrows.parts import Part

Codes = Float[Tensor, "row component"]
Normal = Float[Tensor, "row normal"]
Uniform = Float[Tensor, "row uniform"]


class Sampler(Part, ABC):
    """Base of all samplers."""

    @abstractmethod
    def check(self, n_components: int) -> None:
        """Raise ValueError or TypeError unless codes of so many components can be drawn."""

    @abstractmethod
    def __call__(self, n: int, n_components: int, generator: torch.Generator) -> Codes:
        """Return n codes, on the device of the generator."""

    def features(
        self, n: int, layout: Layout, generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "restart {n} feature"]:
        """Return features of n codes for each restart, one generator each."""
        codes = [self(n, layout.n_components, generator) for generator in generators]
        return layout.features(torch.stack(codes))


@runtime_checkable
class MadeOfNoise(Protocol):
    """A sampler whose codes are functions of normal and uniform numbers, as graphs need them."""

    def sizes(self, n_components: int) -> tuple[int, int]:
        """Return how many standard normal numbers, and how many from 0 to 1, make a code."""

    def made(self, normal: Normal, uniform: Uniform) -> Codes:
        """Return the codes that numbers make."""


class NormalSampler(Sampler):
    """Independent components of mean 0 and variance 1.

    Examples
    --------
    >>> from narrows import AdversarialAutoencoder, NormalSampler
    >>> AdversarialAutoencoder(prior=NormalSampler()).prior
    NormalSampler()
    """

    def check(self, n_components: int) -> None:
        """Accept any number of components."""

    def sizes(self, n_components: int) -> tuple[int, int]:
        return n_components, 0

    def made(self, normal: Normal, uniform: Uniform) -> Codes:
        return normal

    def __call__(self, n: int, n_components: int, generator: torch.Generator) -> Codes:
        return _normal(n, n_components, generator)


class MixtureSampler(Sampler):
    """Gaussians of equal shares, their means at equal distances around a circle.

    The circle lies in the first two components; further ones have mean 0.

    Parameters
    ----------
    n_members : int, default=10
        Number of Gaussians, at least 1.
    radius : float, default=4.0
        Of the circle, >= 0.
    width : float, default=0.5
        Standard deviation of each Gaussian in every component, > 0.

    References
    ----------
    Makhzani, Shlens, Jaitly, Goodfellow & Frey 2015, arXiv:1511.05644.

    Examples
    --------
    >>> from narrows import AdversarialAutoencoder, MixtureSampler
    >>> AdversarialAutoencoder(prior=MixtureSampler(3)).prior.n_members
    3
    """

    def __init__(self, n_members: int = 10, radius: float = 4.0, width: float = 0.5) -> None:
        self.n_members = n_members
        self.radius = radius
        self.width = width

    def check(self, n_components: int) -> None:
        n = self.n_members
        if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
            raise ValueError(
                f"n_members={n!r} of MixtureSampler must be a whole number, at least 1. Write 10."
            )
        _check_shell(self, self.radius, self.width)
        if n_components < 2:
            raise ValueError(
                "MixtureSampler has its Gaussians around a circle, which needs two components, but "
                f"n_components={n_components}. Write n_components=2, or prior='normal'."
            )

    def sizes(self, n_components: int) -> tuple[int, int]:
        return n_components, 1

    def made(self, normal: Normal, uniform: Uniform) -> Codes:
        member = (uniform[:, 0] * self.n_members).floor().clamp_max(self.n_members - 1)
        return self._around(member, normal)

    def __call__(self, n: int, n_components: int, generator: torch.Generator) -> Codes:
        where = generator.device
        member = torch.randint(self.n_members, (n,), generator=generator, device=where)
        return self._around(member, _normal(n, n_components, generator))

    def _around(self, member: Tensor, normal: Normal) -> Codes:
        """Return codes of members, off their means by normal numbers."""
        angle = member * (2 * math.pi / self.n_members)
        codes = self.width * normal
        on_circle = self.radius * torch.stack([angle.cos(), angle.sin()], 1)
        return torch.cat([codes[:, :2] + on_circle, codes[:, 2:]], 1)


class UniformSampler(Sampler):
    """Independent components, each uniform between two bounds.

    Parameters
    ----------
    low, high : float, default=-1.0 and 1.0
        Bounds of every component, ``low < high``; of angles ``-math.pi`` and ``math.pi``.

    Examples
    --------
    >>> import math
    >>> from narrows import AdversarialAutoencoder, UniformSampler
    >>> model = AdversarialAutoencoder(1, circular=[0], prior=UniformSampler(-math.pi, math.pi))
    """

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        self.low = low
        self.high = high

    def check(self, n_components: int) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(
                f"low={self.low!r} of UniformSampler must be below high={self.high!r}, both finite."
                " Write UniformSampler(-1.0, 1.0)."
            )

    def sizes(self, n_components: int) -> tuple[int, int]:
        return 0, n_components

    def made(self, normal: Normal, uniform: Uniform) -> Codes:
        return self.low + (self.high - self.low) * uniform

    def __call__(self, n: int, n_components: int, generator: torch.Generator) -> Codes:
        draw = torch.rand(n, n_components, generator=generator, device=generator.device)
        return self.made(draw[:, :0], draw)


class RingSampler(Sampler):
    """A ring of two components, or the shell of a sphere of more, with Gaussian thickness.

    Directions are uniform, distances from the origin normal around the radius.

    Parameters
    ----------
    radius : float, default=1.0
        Mean distance from the origin, >= 0.
    width : float, default=0.05
        Standard deviation of the distance, > 0.

    Examples
    --------
    >>> from narrows import AdversarialAutoencoder, RingSampler
    >>> AdversarialAutoencoder(prior=RingSampler(radius=2.0)).prior.radius
    2.0
    """

    def __init__(self, radius: float = 1.0, width: float = 0.05) -> None:
        self.radius = radius
        self.width = width

    def check(self, n_components: int) -> None:
        _check_shell(self, self.radius, self.width)

    def sizes(self, n_components: int) -> tuple[int, int]:
        return n_components + 1, 0

    def made(self, normal: Normal, uniform: Uniform) -> Codes:
        direction = torch.nn.functional.normalize(normal[:, :-1], dim=1)
        return direction * (self.radius + self.width * normal[:, -1:])

    def __call__(self, n: int, n_components: int, generator: torch.Generator) -> Codes:
        parts = [_normal(n, size, generator) for size in (n_components, 1)]
        return self.made(torch.cat(parts, 1), parts[0][:, :0])


class CustomSampler(Sampler):
    """A sampler of one's own: any function of a number of codes and a generator.

    Parameters
    ----------
    function : callable
        Maps n and a numpy Generator to an array of shape (n, components).

    Examples
    --------
    >>> from narrows import AdversarialAutoencoder
    >>> def cross(n, rng):
    ...     codes = rng.normal(scale=0.1, size=(n, 2))
    ...     codes[range(n), rng.integers(2, size=n)] *= 20
    ...     return codes
    >>> model = AdversarialAutoencoder(prior=cross)
    """

    repeats = False

    def __init__(self, function: Callable[[int, np.random.Generator], Any]) -> None:
        self.function = function

    def check(self, n_components: int) -> None:
        try:
            inspect.signature(self.function).bind(5, None)
        except TypeError:
            name = getattr(self.function, "__name__", type(self.function).__name__)
            raise TypeError(
                f"The prior {name} does not take a number and a numpy Generator. Write "
                f"lambda n, rng: rng.normal(size=(n, {n_components})), say."
            ) from None
        except ValueError:  # built-in functions have no signature
            pass
        self(5, n_components, torch.Generator().manual_seed(0))

    def __call__(self, n: int, n_components: int, generator: torch.Generator) -> Codes:
        where = generator.device
        seed = int(torch.randint(2**62, (1,), generator=generator, device=where))
        given = self.function(n, np.random.default_rng(seed))
        instead = f"Write lambda n, rng: rng.normal(size=(n, {n_components})), say."
        try:
            codes = np.asarray(given, dtype=np.float32)
        except (TypeError, ValueError):
            raise TypeError(
                f"A sampler must return an array of numbers, but gave {given!r:.80}. {instead}"
            ) from None
        if codes.shape != (n, n_components):
            raise ValueError(
                f"A sampler must return (n, {n_components}) numbers for n codes, but gave shape "
                f"{codes.shape} for n={n}. {instead}"
            )
        if not np.isfinite(codes).all():
            raise ValueError(
                f"A sampler must return finite numbers, but gave {codes[~np.isfinite(codes)][0]}. "
                f"{instead}"
            )
        return torch.from_numpy(codes.copy()).to(where)


class UnkeptSampler(Sampler):
    """What stands in a file for a sampler of one's own; codes of rows do not need it.

    Parameters
    ----------
    name : str
        What the sampler was called.
    """

    repeats = False

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, n_components: int) -> None:
        raise ValueError(
            f"The sampler {self.name} was not kept in the file, which holds no code. "
            "Set it anew: model.set_params(prior=...)."
        )

    def __call__(self, n: int, n_components: int, generator: torch.Generator) -> Codes:
        raise NotImplementedError(f"{self.name} is not in the file")


def _normal(n: int, n_components: int, generator: torch.Generator) -> Codes:
    return torch.randn(n, n_components, generator=generator, device=generator.device)


def _check_shell(sampler: Sampler, radius: float, width: float) -> None:
    """Raise ValueError unless there is a radius, and a width that draws can have."""
    name = type(sampler).__name__
    if not 0 <= radius < math.inf:
        raise ValueError(f"radius={radius!r} of {name} must be at least 0 and finite. Write 1.0.")
    if not 0 < width < math.inf:
        raise ValueError(f"width={width!r} of {name} must be positive and finite. Write 0.1.")
