"""Penalties on the code, added to the reconstruction loss.

A penalty reads one record of the forward pass and returns a number per restart and sample, or,
where it is a statistic of the batch, one per restart. Weights and the mean are applied in one
place, by the model.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from narrows.nn.record import Record
from narrows.parts import Part


class Penalty(Part, ABC):
    """Base of all penalties."""

    @abstractmethod
    def __call__(self, record: Record) -> Tensor:
        """Return the penalty, of shape (restart, row), or (restart,) for a batch statistic."""


class L1(Penalty):
    """Absolute size of the code: ``strength Σ_k |h_k|``.

    Parameters
    ----------
    strength : float, default=1e-3
        λ >= 0, in the units of the loss of methods: one sum over the event's values.

    References
    ----------
    Olshausen & Field 1996, 10.1038/381607a0.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import L1, Autoencoder
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = Autoencoder(penalties=[L1(strength=0.1)], max_epochs=2, random_state=0).fit(X)
    >>> sorted(model.loss_terms(X))
    ['l1', 'reconstruction']
    """

    def __init__(self, strength: float = 1e-3) -> None:
        self.strength = strength

    def __call__(self, record: Record) -> Float[Tensor, "restart row"]:
        return self.strength * record.features.abs().sum(-1)


class Decorrelation(Penalty):
    """Squared Pearson correlations between components: ``strength Σ_{j<k} r_jk²`` of the batch.

    Correlations are weighted where the rows are.

    A statistic of the batch: small batches see noisy correlations, of size about 1/rows.

    Parameters
    ----------
    strength : float, default=1.0
        λ >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Decorrelation, Autoencoder
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = Autoencoder(
    ...     penalties=[Decorrelation(strength=0.1)], max_epochs=2, random_state=0
    ... ).fit(X)
    >>> sorted(model.loss_terms(X))
    ['decorrelation', 'reconstruction']
    """

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def __call__(self, record: Record) -> Float[Tensor, " restart"]:
        share = (
            torch.ones_like(record.x[:, :1]) if record.weight is None else record.weight[:, None]
        )
        share = share / share.sum()
        centred = record.features - (share * record.features).sum(1, keepdim=True)
        centred = centred * share.sqrt()
        unit = centred / centred.square().sum(1, keepdim=True).clamp_min(1e-12).sqrt()
        correlation = unit.transpose(1, 2) @ unit
        return self.strength * torch.triu(correlation, diagonal=1).square().sum((1, 2))
