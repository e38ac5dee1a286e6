"""Penalties on codes that are distributions."""

import math
from numbers import Real

import torch
from jaxtyping import Float
from torch import Tensor

from narrows.nn.latent import Latent
from narrows.nn.record import Record
from narrows.objective.penalties import Penalty, row_shares


class Divergence(Penalty):
    """How far posteriors are from the prior: ``strength KL(q(z | x) ‖ p(z))``.

    With a likelihood that is a density, such as "normal" or "bernoulli", reconstruction and
    divergence of strength 1 are minus the evidence lower bound, in nats. Under an ordering level k
    counts its own components alone. In closed form where the family has one and the prior is the
    standard one, else estimated at the draw.

    Parameters
    ----------
    strength : float, default=1.0
        β >= 0.
    warm_up : float, default=0.0
        Share of the training, in [0, 1), over which the strength rises from 0: the code learns to
        reconstruct before it is asked to be like the prior.
    n_cycles : int, default=1
        Number of times that the strength starts at 0 again; `warm_up` is a share of each cycle.
    free_bits : float, default=0.0
        Nats per component, averaged over the batch, that cost nothing: a component below them is
        not pulled to the prior any further. Of the whole code where components depend on each
        other, such as shares.

    References
    ----------
    Kingma & Welling 2014, arXiv:1312.6114. Higgins et al. 2017, β-VAE, ICLR. Bowman et al. 2016,
    arXiv:1511.06349 (warm-up). Fu et al. 2019, arXiv:1903.10145 (cycles). Kingma et al. 2016,
    arXiv:1606.04934 (free bits).

    Examples
    --------
    >>> from narrows import Divergence, VariationalAutoencoder
    >>> Divergence(strength=4.0, warm_up=0.25).settled
    0.25
    """

    bound = True
    of_distribution = True

    def __init__(
        self,
        strength: float = 1.0,
        warm_up: float = 0.0,
        n_cycles: int = 1,
        free_bits: float = 0.0,
    ) -> None:
        self.strength = strength
        self.warm_up = warm_up
        self.n_cycles = n_cycles
        self.free_bits = free_bits

    @property
    def settled(self) -> float:  # type: ignore[override]
        self._check()
        return (self.n_cycles - 1 + self.warm_up) / self.n_cycles if self.warm_up else 0.0

    def __call__(self, record: Record) -> Float[Tensor, "restart level row"]:
        latent = _latent(record)
        parts, seen = latent.divergence(), latent.masks
        if parts.shape[-1] < seen.shape[-1]:
            seen = seen.sum(-1, keepdim=True)
        if self.free_bits:
            share = row_shares(record)
            rows = record.total((share * seen.clamp_max(1)).sum(-2, keepdim=True)).clamp_min(1e-12)
            mean = record.total((share * parts).sum(2, keepdim=True)) / rows
            parts = torch.where(mean > self.free_bits * seen, parts, self.free_bits * seen)
        return self._weight(record.progress) * parts.sum(-1)

    def _weight(self, progress: float | None) -> float:
        """Return the strength at a progress from 0 to 1, or outside training."""
        if progress is None or not self.warm_up:
            return self.strength
        within = 1.0 if progress >= 1 else math.modf(progress * self.n_cycles)[0]
        return self.strength * min(1.0, within / self.warm_up)

    def _check(self) -> None:
        if not isinstance(self.warm_up, Real) or not 0 <= float(self.warm_up) < 1:
            raise ValueError(
                f"warm_up={self.warm_up!r} must be a share of the training in [0, 1). Write 0.2."
            )
        if not hasattr(self.n_cycles, "__index__") or self.n_cycles < 1:
            raise ValueError(f"n_cycles={self.n_cycles!r} must be a whole number, at least 1.")
        if not isinstance(self.free_bits, Real) or not float(self.free_bits) >= 0:
            raise ValueError(f"free_bits={self.free_bits!r} must be at least 0, in nats.")


class TotalCorrelation(Penalty):
    """How dependent the components of the code are: ``strength KL(q(z) ‖ Π_j q(z_j))``.

    q(z) is the mean of the posteriors of the rows of the batch. With a divergence beside it, a
    code of independent components is preferred (β-TCVAE).

    Parameters
    ----------
    strength : float, default=1.0
        λ >= 0; with a divergence of strength 1, β = 1 + λ in the paper's notation.

    References
    ----------
    Chen, Li, Grosse & Duvenaud 2018, arXiv:1802.04942.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import TotalCorrelation, VariationalAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = VariationalAutoencoder(penalties=[TotalCorrelation(3.0)], max_epochs=2).fit(X)
    >>> sorted(model.loss_terms(X))
    ['divergence', 'reconstruction', 'total_correlation']
    """

    of_distribution = True
    of_batch = True

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def __call__(self, record: Record) -> Float[Tensor, "restart row"]:
        latent = _latent(record)
        if not latent.posterior.factorised:
            raise ValueError(
                f"TotalCorrelation needs components that are independent given a row, but the code "
                f"is {type(latent.posterior).__name__}. Write posterior='gaussian' or 'laplace'."
            )
        between, log_share = latent.between_rows(), row_shares(record).log()
        joint = torch.logsumexp(between.sum(-1) + log_share[:, 0], 2)
        return self.strength * (joint - torch.logsumexp(between + log_share, 2).sum(-1))


class MMD(Penalty):
    """How far the codes of a batch, together, are from the prior: maximum mean discrepancy.

    ``strength (E k(z, z') - 2 E k(z, p) + E k(p, p'))`` over pairs of different draws, with the sum
    of inverse multiquadratic kernels ``c / (c + ‖z - z'‖²)`` of several widths. Instead of a
    divergence row by row (Wasserstein autoencoder), or beside it (InfoVAE).

    Parameters
    ----------
    strength : float, default=10.0
        λ >= 0.

    References
    ----------
    Tolstikhin, Bousquet, Gelly & Schölkopf 2018, arXiv:1711.01558. Zhao, Song & Ermon 2019,
    arXiv:1706.02262. Gretton et al. 2012, JMLR 13, 723-773.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import MMD, VariationalAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = VariationalAutoencoder(beta=0.1, penalties=[MMD()], max_epochs=2).fit(X)
    >>> sorted(model.loss_terms(X))
    ['divergence', 'mmd', 'reconstruction']
    """

    of_distribution = True
    of_batch = True

    def __init__(self, strength: float = 10.0) -> None:
        self.strength = strength

    def __call__(self, record: Record) -> Float[Tensor, " restart"]:
        latent = _latent(record)
        if not self.strength:  # draws nothing, so that the noise of the codes stays the same
            return record.features.new_zeros(len(record.features))
        codes, prior = latent.features, latent.sample(record.features.shape[1])
        n_features = codes.shape[-1]
        share = row_shares(record)[:, 0]
        even = torch.full_like(share, 1 / len(share))
        return self.strength * (
            _kernel_mean(codes, codes, share, share, n_features)
            - 2 * _kernel_mean(codes, prior, share, even, n_features)
            + _kernel_mean(prior, prior, even, even, n_features)
        )


def _latent(record: Record) -> Latent:
    if record.latent is None:
        raise TypeError("The record has no posteriors.")
    return record.latent


def _kernel_mean(
    one: Float[Tensor, "restart row feature"],
    two: Float[Tensor, "restart other feature"],
    share: Float[Tensor, " row"],
    other: Float[Tensor, " other"],
    n_features: int,
) -> Float[Tensor, " restart"]:
    """Return the weighted mean of the kernel over pairs, of a set with itself without the same."""
    squares = (one.unsqueeze(2) - two.unsqueeze(1)).square().sum(-1)
    scales = [2.0 * n_features * width for width in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
    kernel = sum(scale / (scale + squares) for scale in scales)
    pairs = share[:, None] * other
    if one is two:
        pairs = pairs * (1 - torch.eye(len(share)).to(pairs))
    return (torch.as_tensor(kernel) * pairs).sum((1, 2)) / pairs.sum().clamp_min(1e-12)
