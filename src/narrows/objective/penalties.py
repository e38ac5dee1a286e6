"""Penalties on the code, added to the reconstruction loss.

A penalty reads one record of the forward pass and returns a number per restart and sample, or,
where it is a statistic of the batch, one per restart. Weights and the mean are applied in one
place, by the model.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from narrows import _ranks
from narrows.nn.record import Encoding, Record
from narrows.parts import Part


class Penalty(Part, ABC):
    """Base of all penalties.

    Attributes
    ----------
    layer : int or None
        The encoder's hidden layer that is penalised, from 1; None for the code.
    silent_after : float
        Training rows without firing after which a unit counts as silent, where that matters.
    bound : bool
        Whether it belongs, with the reconstruction, to a bound on the likelihood.
    of_distribution : bool
        Whether it needs a code that is a distribution.
    of_batch : bool
        Whether it is a statistic of the batch, of the code or a hidden layer: then it sees the rows
        of all processes.
    settled : float
        The share of the training after which it changes no more.
    """

    layer: int | None = None
    silent_after: float = math.inf
    bound: bool = False
    of_distribution: bool = False
    of_batch: bool = False
    settled: float = 0.0

    def check(self, n_hidden: int, distribution: bool) -> None:
        """Raise ValueError unless there is what is penalised: the layer, or a distribution."""
        if self.of_distribution and not distribution:
            raise ValueError(
                f"{type(self).__name__} needs a code that is a distribution, but this one is a "
                "point for each row. Write code='gaussian', or VariationalAutoencoder(...)."
            )
        if self.layer is None or self.layer in range(1, n_hidden + 1):
            return
        known = f"from 1 to {n_hidden}" if n_hidden else "left out: the encoder has no hidden layer"
        raise ValueError(
            f"layer={self.layer!r} of {type(self).__name__} must be {known}. "
            "Layers are counted from the input; write layer=None for the code."
        )

    def activations(self, record: Record) -> Float[Tensor, "restart row unit"]:
        """Return what is penalised: the code, or a hidden layer."""
        return record.features if self.layer is None else record.hidden[self.layer - 1]

    @abstractmethod
    def __call__(self, record: Record) -> Tensor:
        """Return the penalty, of shape (restart, row), or (restart,) for a batch statistic.

        A penalty that differs from level to level has the shape (restart, level, row).
        """


class L1(Penalty):
    """Absolute size of the code, or of a hidden layer: ``strength Σ_k |h_k|``.

    Parameters
    ----------
    strength : float, default=1e-3
        λ >= 0, in the units of the loss of methods: one sum over the event's values.
    layer : int or None, default=None
        The encoder's hidden layer to penalise, from 1; None for the code.

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

    def __init__(self, strength: float = 1e-3, layer: int | None = None) -> None:
        self.strength = strength
        self.layer = layer

    def __call__(self, record: Record) -> Float[Tensor, "restart row"]:
        return self.strength * self.activations(record).abs().sum(-1)


class KLSparsity(Penalty):
    """How far units are from firing at a given rate: ``strength Σ_k KL(rate ‖ mean_k)``.

    The mean is over the rows of the batch, of units between 0 and 1: those of a sigmoid. A
    statistic of the batch, weighted where the rows are.

    Parameters
    ----------
    strength : float, default=1.0
        β >= 0, in the units of the loss of methods: one sum over the event's values.
    rate : float, default=0.05
        ρ, the mean activation asked for, in (0, 1).
    layer : int or None, default=None
        The encoder's hidden layer to penalise, from 1; None for the code.

    References
    ----------
    Lee, Ekanadham & Ng 2008, Sparse deep belief net model for visual area V2, NIPS 20.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder, KLSparsity, Plain
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = Autoencoder(
    ...     4, code=Plain("sigmoid"), penalties=[KLSparsity()], max_epochs=2, random_state=0
    ... ).fit(X)
    >>> sorted(model.loss_terms(X))
    ['kl_sparsity', 'reconstruction']
    """

    of_batch = True

    def __init__(self, strength: float = 1.0, rate: float = 0.05, layer: int | None = None) -> None:
        self.strength = strength
        self.rate = rate
        self.layer = layer

    def __call__(self, record: Record) -> Float[Tensor, " restart"]:
        units = self.activations(record)
        # Before the first step and after each epoch, so that steps do not wait for it
        if not torch.is_grad_enabled() and (units.amin() < 0 or units.amax() > 1):
            raise ValueError(
                "KLSparsity needs units between 0 and 1, but they range from "
                f"{float(units.min()):.3g} to {float(units.max()):.3g}. Write "
                "code=Plain('sigmoid') for the code, activation='sigmoid' for hidden layers."
            )
        mean = (row_shares(record) * units).sum(1).clamp(1e-6, 1 - 1e-6)
        on, off = self.rate * torch.log(self.rate / mean), torch.log((1 - self.rate) / (1 - mean))
        return self.strength * (on + (1 - self.rate) * off).sum(-1)


class Revival(Penalty):
    """Wakes silent units by asking them for what the others miss: ``strength loss(t, D(h + u))``.

    u are the largest raw values among the units that have been 0 for too many training rows before
    this step, and the code h is held fixed; 0 as long as no unit is silent, and in evaluation.

    Parameters
    ----------
    strength : float, default=0.03125
        Weight of the loss, >= 0.
    patience : int, default=5000
        Training rows without firing after which a unit counts as silent, at least 1.

    References
    ----------
    Gao, la Tour, Tillman, Goh, Troll, Radford, Sutskever, Leike & Wu 2024, arXiv:2406.04093.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder, Revival, TopK
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = Autoencoder(
    ...     4, code=TopK(2), penalties=[Revival()], max_epochs=2, random_state=0
    ... ).fit(X)
    >>> sorted(model.loss_terms(X))
    ['reconstruction', 'revival']
    """

    def __init__(self, strength: float = 0.03125, patience: int = 5000) -> None:
        self.strength = strength
        self.patience = patience

    @property
    def silent_after(self) -> float:  # type: ignore[override]
        """The patience."""
        return self.patience

    def __call__(self, record: Record) -> Float[Tensor, "restart row"]:
        units = record.units
        if not torch.is_grad_enabled() or units.longest < self.patience:
            return torch.zeros_like(record.features[..., 0])
        silent = (units.idle >= self.patience).expand_as(units.raw)
        wanted = units.raw.masked_fill(~silent, -torch.inf)
        lowest = wanted.topk(-(-wanted.shape[-1] // 2), -1).values[..., -1:]
        woken = torch.where(silent & (wanted >= lowest), units.raw, 0)
        loss = units.loss(record.features.detach() + woken)
        return self.strength * loss * silent.any(-1)


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
    n_rows = x.shape[1]
    shape = (_ranks.n_drawn(n_rows), n, n_features)
    draws = [torch.randint(2, shape, generator=g, device=x.device) for g in encoding.generators]
    return _ranks.own_rows(torch.stack(draws), 1, n_rows).to(x) * 2 - 1


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

    of_batch = True

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def __call__(self, record: Record) -> Float[Tensor, " restart"]:
        share = row_shares(record)
        centred = record.features - (share * record.features).sum(1, keepdim=True)
        centred = centred * share.sqrt()
        unit = centred / centred.square().sum(1, keepdim=True).clamp_min(1e-12).sqrt()
        correlation = unit.transpose(1, 2) @ unit
        return self.strength * torch.triu(correlation, diagonal=1).square().sum((1, 2))


def row_shares(record: Record) -> Float[Tensor, "row 1"]:
    """Return the share of each row in a mean over the batch, that of all processes."""
    features = record.features
    ones = features.new_ones(features.shape[1]) if record.weight is None else record.weight
    return (ones / record.total(ones.sum()))[:, None]
