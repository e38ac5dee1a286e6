"""Priors: what codes are like before any row is seen.

A prior is a mixture of members of the posterior's family, given by their raw parameters: a fixed
one (`StandardPrior`), free ones (`MixturePrior`), or those that the encoder gives to rows that are
learned (`VampPrior`). Its density and its draws are thus the family's own.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from narrows.nn.code import Layout
from narrows.nn.posterior import Posterior
from narrows.parts import Part


@dataclass(frozen=True)
class Members:
    """The members of a mixture.

    Attributes
    ----------
    raw : Tensor of shape (restart, member, raw)
        Their parameters, as an encoder would give them.
    log_weight : Tensor of shape (restart, member)
        Logarithms of their shares.
    """

    raw: Float[Tensor, "restart member raw"]
    log_weight: Float[Tensor, "restart member"]

    def detached(self) -> "Members":
        """Return the members without a gradient."""
        return Members(self.raw.detach(), self.log_weight.detach())

    def drawn(self, n: int, generators: Sequence[torch.Generator]) -> Int[Tensor, "restart {n}"]:
        """Return which member each of n draws comes from."""
        shares = self.log_weight.detach().exp()
        draws = [
            torch.multinomial(share, n, True, generator=generator)
            for share, generator in zip(shares, generators, strict=True)
        ]
        return torch.stack(draws)


class PriorNetwork(nn.Module, ABC):
    """What a prior learns, for restarts side by side."""

    @abstractmethod
    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Draw initial values, one generator per restart."""

    @abstractmethod
    def forward(self, encode: Callable[[Tensor], Tensor]) -> Members:
        """Return the members, given what maps rows (restart, row, value) to raw parameters."""


class Prior(Part, ABC):
    """Base of all priors.

    Attributes
    ----------
    standard : bool
        Whether it is the standard member of the posterior's family, from which many divergences
        have a closed form.
    """

    standard: bool = False

    @abstractmethod
    def build(
        self, posterior: Posterior, layout: Layout, n_values: int, n_restarts: int
    ) -> PriorNetwork:
        """Return what it learns, for rows of `n_values` values."""


class StandardPrior(Prior):
    """The standard member of the posterior's family: normal, uniform on a sphere, and so on.

    Examples
    --------
    >>> from narrows import StandardPrior
    >>> StandardPrior().standard
    True
    """

    standard = True

    def build(
        self, posterior: Posterior, layout: Layout, n_values: int, n_restarts: int
    ) -> PriorNetwork:
        return Fixed(posterior.standard(layout), n_restarts)


class MixturePrior(Prior):
    """A mixture of members of the posterior's family, learned with the network.

    Parameters
    ----------
    n_members : int, default=10

    References
    ----------
    Jiang, Zheng, Tan, Tang & Zhou 2017, arXiv:1611.05148.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import MixturePrior, VariationalAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = VariationalAutoencoder(prior=MixturePrior(3), max_epochs=2).fit(X)
    >>> model.sample(4, random_state=0).shape
    (4, 5)
    """

    def __init__(self, n_members: int = 10) -> None:
        self.n_members = n_members

    def build(
        self, posterior: Posterior, layout: Layout, n_values: int, n_restarts: int
    ) -> PriorNetwork:
        _check_count("n_members", self.n_members)
        return Free(posterior.standard(layout), self.n_members, n_restarts)


class VampPrior(Prior):
    """The mean of the posteriors of rows that are learned: what the encoder makes of typical rows.

    Parameters
    ----------
    n_rows : int, default=50
        Number of rows that are learned.

    References
    ----------
    Tomczak & Welling 2018, arXiv:1705.07120.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import VampPrior, VariationalAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = VariationalAutoencoder(prior=VampPrior(5), max_epochs=2).fit(X)
    >>> model.sample(4, random_state=0).shape
    (4, 5)
    """

    def __init__(self, n_rows: int = 50) -> None:
        self.n_rows = n_rows

    def build(
        self, posterior: Posterior, layout: Layout, n_values: int, n_restarts: int
    ) -> PriorNetwork:
        _check_count("n_rows", self.n_rows)
        return Rows(self.n_rows, n_values, n_restarts)


class Fixed(PriorNetwork):
    """One member, which nothing moves."""

    _raw: Tensor

    def __init__(self, standard: Float[Tensor, " raw"], n_restarts: int) -> None:
        super().__init__()
        self.register_buffer("_raw", standard.expand(n_restarts, 1, -1).clone(), persistent=False)

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Do nothing."""

    def forward(self, encode: Callable[[Tensor], Tensor]) -> Members:
        return Members(self._raw, self._raw.new_zeros(self._raw.shape[:2]))


class Free(PriorNetwork):
    """Members around the standard one, with shares of their own.

    They start where all their parameters have a gradient, which limits such as a uniform density
    on a circle or a sphere have not.
    """

    _start: Tensor

    def __init__(self, standard: Float[Tensor, " raw"], n_members: int, n_restarts: int) -> None:
        super().__init__()
        self.register_buffer("_start", standard.clamp(-1.0, 0.5), persistent=False)
        self.raw = nn.Parameter(self._start.repeat(n_restarts, n_members, 1))
        self.logit = nn.Parameter(torch.zeros(n_restarts, n_members))

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        for own, generator in zip(self.raw.data, generators, strict=True):
            own.copy_(self._start + 0.5 * torch.randn(own.shape, generator=generator))

    def forward(self, encode: Callable[[Tensor], Tensor]) -> Members:
        return Members(self.raw, self.logit.log_softmax(-1))


class Rows(PriorNetwork):
    """Rows, in the space of scaled inputs, of which the encoder makes members."""

    def __init__(self, n_rows: int, n_values: int, n_restarts: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(n_restarts, n_rows, n_values))

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        for own, generator in zip(self.rows.data, generators, strict=True):
            own.copy_(torch.randn(own.shape, generator=generator))

    def forward(self, encode: Callable[[Tensor], Tensor]) -> Members:
        raw = encode(self.rows)
        return Members(raw, raw.new_full(raw.shape[:2], -math.log(raw.shape[1])))


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{name}={value!r} of a prior must be a whole number, at least 1.")
