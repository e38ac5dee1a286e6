"""Codes: what passes the narrows, as components for the user and features for the decoder.

A plain component is one feature. A circular component is two, the cosine and sine of its angle:
the encoder's pair (p, q) divided by its length (Kirby & Miranda 1996, 10.1162/neco.1996.8.2.390).
Features are laid out as all plain components, then all cosines, then all sines.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from narrows.nn.activation import ACTIVATIONS, RANGES, Activation, activation, identity
from narrows.parts import Part


class Layout:
    """Where the features of each component stand.

    Parameters
    ----------
    n_components : int
        Number of components K.
    circular : sequence of int
        Which components, from 0, are circular.

    Attributes
    ----------
    component : list of int, one per feature
        The component that each feature belongs to.
    """

    def __init__(self, n_components: int, circular: tuple[int, ...] = ()) -> None:
        self.n_components = n_components
        self.circular = sorted(circular)
        self.plain = [j for j in range(n_components) if j not in self.circular]
        self.component = [*self.plain, *self.circular, *self.circular]

    @property
    def n_features(self) -> int:
        """Number of features: one per plain component, two per circular one."""
        return len(self.component)

    def split(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return plain components, cosines and sines."""
        n = [len(self.plain), len(self.circular), len(self.circular)]
        plain, cosine, sine = features.split(n, dim=-1)
        return plain, cosine, sine

    def angles(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch code"]:
        """Return components, circular ones as angles in (-π, π]."""
        if not self.circular:
            return features
        plain, cosine, sine = self.split(features)
        return torch.cat([plain, torch.atan2(sine, cosine)], -1)[..., self._order(1)]

    def pairs(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch feature"]:
        """Return components in their order, circular ones as (cos, sin) next to each other."""
        return features[..., self._order(2)] if self.circular else features

    def features(self, codes: Float[Tensor, "*batch code"]) -> Float[Tensor, "*batch feature"]:
        """Return features from components, whose circular ones are angles or pairs."""
        if not self.circular:
            return codes
        if codes.shape[-1] == self.n_features:
            return codes[..., torch.argsort(torch.tensor(self._order(2)))]
        angle = codes[..., self.circular]
        return torch.cat([codes[..., self.plain], angle.cos(), angle.sin()], -1)

    def _order(self, width: int) -> list[int]:
        """Return positions of features in the order of components, `width` per circular one."""
        n_plain, n_circular = len(self.plain), len(self.circular)
        where = {j: [i] for i, j in enumerate(self.plain)}
        for i, j in enumerate(self.circular):
            where[j] = [n_plain + i + n_circular * side for side in range(width)]
        return [position for j in range(self.n_components) for position in where[j]]


class Code(Part, ABC):
    """Base of all codes."""

    @abstractmethod
    def n_raw(self, layout: Layout) -> int:
        """Return how many raw outputs of the encoder a code is made of."""

    @abstractmethod
    def check(self, layout: Layout, ranked: bool) -> None:
        """Raise ValueError unless the code goes with a layout, and with an ordering if there is."""

    @property
    @abstractmethod
    def settled(self) -> float:
        """The share of the training after which the code changes no more."""

    @property
    @abstractmethod
    def linear(self) -> bool:
        """Whether plain components are the encoder's raw output."""

    @property
    @abstractmethod
    def elementwise(self) -> bool:
        """Whether each plain component is known to depend on one raw output alone."""

    @abstractmethod
    def __call__(
        self,
        raw: Float[Tensor, "restart row raw"],
        layout: Layout,
        progress: float | None = None,
    ) -> Float[Tensor, "restart row feature"]:
        """Map the encoder's raw output to the features that the decoder sees.

        `progress` is the share of the training that is over; None outside training.
        """

    @abstractmethod
    def project(
        self, features: Float[Tensor, "*batch feature"], layout: Layout
    ) -> Float[Tensor, "*batch feature"]:
        """Move features that are no code, such as those between two codes, to where codes lie."""


class Plain(Code):
    """Real-valued components, circular where the layout says so.

    Parameters
    ----------
    activation : str or callable, default="identity"
        Applied to plain components; `tanh` or `sigmoid` bound the code.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder, Plain
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> codes = Autoencoder(code=Plain(activation="tanh"), max_epochs=2).fit_transform(X)
    >>> bool(np.abs(codes).max() <= 1)
    True
    """

    def __init__(self, activation: str | Activation = "identity") -> None:
        self.activation = activation

    @property
    def settled(self) -> float:
        return 0.0

    @property
    def linear(self) -> bool:
        return activation(self.activation) is identity

    @property
    def elementwise(self) -> bool:
        return activation(self.activation) in ACTIVATIONS.values()

    def n_raw(self, layout: Layout) -> int:
        return layout.n_features

    def check(self, layout: Layout, ranked: bool) -> None:
        """Accept all layouts and orderings."""

    def __call__(
        self,
        raw: Float[Tensor, "restart row feature"],
        layout: Layout,
        progress: float | None = None,
    ) -> Float[Tensor, "restart row feature"]:
        return with_pairs(raw, layout, activation(self.activation))

    def project(
        self, features: Float[Tensor, "*batch feature"], layout: Layout
    ) -> Float[Tensor, "*batch feature"]:
        low, high = RANGES.get(activation(self.activation), (-math.inf, math.inf))
        return with_pairs(features, layout, lambda plain: plain.clamp(low, high))


class TopK(Code):
    """Only the k largest plain components of each row survive, the others are 0.

    Circular components do not take part.

    Parameters
    ----------
    k : int, default=8
        How many survive, at least 1.
    k_start : int or None, default=None
        How many survive when training starts: the number falls to k over the first half, so that
        all units learn something before few may speak. None for k from the start.
    k_encode : int or None, default=None
        How many survive outside training; None for k. Codes with some more of them, up to 3k, tell
        a classifier more.

    References
    ----------
    Makhzani & Frey 2013, k-sparse autoencoders, arXiv:1312.5663.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder, TopK
    >>> X = np.random.default_rng(0).normal(size=(200, 6))
    >>> codes = Autoencoder(5, code=TopK(2), max_epochs=2).fit_transform(X)
    >>> int((codes != 0).sum(1).max())
    2
    """

    def __init__(self, k: int = 8, k_start: int | None = None, k_encode: int | None = None) -> None:
        self.k = k
        self.k_start = k_start
        self.k_encode = k_encode

    @property
    def settled(self) -> float:
        return 0.0 if self.k_start is None else 0.5

    @property
    def linear(self) -> bool:
        return False

    @property
    def elementwise(self) -> bool:
        return False

    def n_raw(self, layout: Layout) -> int:
        return layout.n_features

    def check(self, layout: Layout, ranked: bool) -> None:
        """Accept all layouts and orderings."""

    def __call__(
        self,
        raw: Float[Tensor, "restart row feature"],
        layout: Layout,
        progress: float | None = None,
    ) -> Float[Tensor, "restart row feature"]:
        k = self._kept(progress)
        return with_pairs(raw, layout, lambda plain: _largest(plain, k))

    def project(
        self, features: Float[Tensor, "*batch feature"], layout: Layout
    ) -> Float[Tensor, "*batch feature"]:
        k = self._kept(None)
        return with_pairs(features, layout, lambda plain: _largest(plain, k, plain.abs()))

    def _kept(self, progress: float | None) -> int:
        """Return how many units survive at a progress from 0 to 1, or outside training."""
        k = self.k
        if not hasattr(k, "__index__") or k < 1:
            raise ValueError(f"k={k!r} of TopK must be a whole number, at least 1.")
        for name in ("k_start", "k_encode"):
            other = getattr(self, name)
            if other is not None and (not hasattr(other, "__index__") or other < k):
                raise ValueError(
                    f"{name}={other!r} of TopK must be a whole number, at least k={k}, or None "
                    "for k."
                )
        if progress is None:
            return k if self.k_encode is None else self.k_encode
        if self.k_start is None:
            return k
        return round(self.k_start + (k - self.k_start) * min(1.0, progress / self.settled))


def _largest(raw: Tensor, k: int, by: Tensor | None = None) -> Tensor:
    """Return the k features of each row that are largest, or whose `by` is, 0 for the others."""
    if k >= raw.shape[-1]:
        return raw
    kept = (raw if by is None else by).topk(k, -1).indices
    return torch.zeros_like(raw).scatter(-1, kept, raw.gather(-1, kept))


def with_pairs(raw: Tensor, layout: Layout, function: Activation) -> Tensor:
    """Apply a function to plain components, and divide circular pairs by their length."""
    if not layout.circular:
        return function(raw)
    plain, p, q = layout.split(raw)
    inverse = torch.rsqrt(p.square() + q.square() + 1e-12)
    return torch.cat([function(plain), p * inverse, q * inverse], -1)
