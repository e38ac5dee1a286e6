"""Penalties on the code, added to the reconstruction loss.

A penalty reads one record of the forward pass and returns a number per restart and sample, or,
where it is a statistic of the batch, one per restart. Weights and the mean are applied in one
place, by the model.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from narrows.nn.record import Encoding, Record
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


class Contractive(Penalty):
    """How much the code answers to small changes of the input: ``strength Σ_k ‖∂h_k/∂x‖²``.

    With respect to the scaled input. In closed form for an encoder of one layer, by vector-Jacobian
    products on K copies of the rows for deeper ones: exact, unless fewer probes than features are
    asked for. Under dropout each copy has its own mask.

    Parameters
    ----------
    strength : float, default=0.1
        λ >= 0, in the units of the loss of methods: one sum over the event's values.
    n_probes : int or None, default=None
        Number of random ±1 vectors v in Hutchinson's unbiased estimate, the mean of ``‖vᵀJ‖²``, for
        deep encoders of large codes; None computes the whole Jacobian J.

    References
    ----------
    Rifai, Vincent, Muller, Glorot & Bengio 2011, Contractive auto-encoders, ICML.
    Hutchinson 1989, 10.1080/03610918908812806.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Contractive, Autoencoder
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = Autoencoder(penalties=[Contractive(0.1)], max_epochs=2, random_state=0).fit(X)
    >>> sorted(model.loss_terms(X))
    ['contractive', 'reconstruction']
    """

    def __init__(self, strength: float = 0.1, n_probes: int | None = None) -> None:
        self.strength = strength
        self.n_probes = n_probes

    def __call__(self, record: Record) -> Float[Tensor, "restart row"]:
        n_restarts, _, n_features = record.features.shape
        x = record.x.expand(n_restarts, *record.x.shape)
        return self.strength * squared_jacobian(record.encoding, x, n_features, self.n_probes)


def squared_jacobian(
    encoding: Encoding,
    x: Float[Tensor, "restart row value"],
    n_features: int,
    n_probes: int | None = None,
) -> Float[Tensor, "restart row"]:
    """Return ``Σ_k ‖∂h_k/∂x‖²`` of each row, or an estimate by fewer probes than features."""
    learning = torch.is_grad_enabled()
    with torch.enable_grad():
        if encoding.layer is not None:
            squares = _of_one_layer(encoding, x, encoding.layer)
        elif n_probes is None or n_probes >= n_features:
            squares = _in_directions(encoding, x, torch.eye(n_features).to(x), learning)
        else:
            signs = _signs(encoding, x, n_features, n_probes)
            squares = _in_directions(encoding, x, signs, learning) / n_probes
    return squares if learning else squares.detach()


def _of_one_layer(encoding: Encoding, x: Tensor, weight: Tensor) -> Float[Tensor, "restart row"]:
    """Return ``Σ_k s'(a_k)² ‖w_k‖²`` for the code ``s(a)`` with ``a = x w + b``."""
    raw = encoding.network(x)
    (slope,) = torch.autograd.grad(encoding.code(raw).sum(), raw, create_graph=True)
    return (slope.square() * weight.square().sum(1, keepdim=True)).sum(-1)


def _signs(encoding: Encoding, x: Tensor, n_features: int, n: int) -> Tensor:
    """Return `n` random vectors of signs for every row, of shape (restart, row, n, feature)."""
    shape = (x.shape[1], n, n_features)
    draws = [torch.randint(2, shape, generator=g, device=x.device) for g in encoding.generators]
    return torch.stack(draws).to(x) * 2 - 1


def _in_directions(
    encoding: Encoding,
    x: Float[Tensor, "restart row value"],
    directions: Tensor,
    learning: bool,
) -> Float[Tensor, "restart row"]:
    """Return ``Σ_v ‖vᵀJ‖²``, for all rows and directions at once, by copies of the rows."""
    n_directions, n_features = directions.shape[-2:]
    copies = x.detach().repeat_interleave(n_directions, 1).requires_grad_()
    features = encoding.code(encoding.network(copies))
    along = features.reshape(*x.shape[:2], n_directions, n_features) * directions
    (slope,) = torch.autograd.grad(along.sum(), copies, create_graph=learning)
    return slope.square().sum(-1).reshape(*x.shape[:2], n_directions).sum(-1)


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
