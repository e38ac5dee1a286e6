"""Draws of a code that is a distribution, beside the prior: what variational terms read."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from narrows import _ranks
from narrows.nn.code import Layout
from narrows.nn.posterior import Features, Posterior, Raw
from narrows.nn.prior import Members


@dataclass(frozen=True)
class Latent:
    """The posterior of each row, a draw from it, and the prior.

    Attributes
    ----------
    posterior : Posterior
    layout : Layout
    raw : Tensor of shape (restart, row, raw)
        Parameters of the posteriors.
    features : Tensor of shape (restart, row, feature)
        A draw from each.
    masks : Tensor, broadcast against (restart, level, row, part)
        Which parts of the code each level sees.
    members : Members
        Of the prior.
    closed : bool
        Whether to take divergences in closed form, where the family has them.
    generators : sequence of torch.Generator, one per restart
        Where draws from the prior come from.
    """

    posterior: Posterior
    layout: Layout
    raw: Raw
    features: Features
    masks: Float[Tensor, "..."]
    members: Members
    closed: bool
    generators: Sequence[torch.Generator]

    def divergence(self) -> Float[Tensor, "restart level row part"]:
        """Return KL(q ‖ p) of each part, in nats: exact in closed form, else at the draw.

        A prior of several members has one part, and the divergence is that of all components that
        a level sees.
        """
        exact = self.posterior.divergence(self.raw, self.layout) if self.closed else None
        if exact is not None:
            return exact.unsqueeze(1) * self.masks
        log_q = self._own()
        if self.members.raw.shape[1] == 1:
            return log_q - self._members()[:, :, :, 0] * self.masks
        return (log_q.sum(-1) - self.log_prior()).unsqueeze(-1)

    def log_posterior(self) -> Float[Tensor, "restart level row"]:
        """Return the log-density of the draws, over the components that each level sees."""
        return self._own().sum(-1)

    def log_prior(self) -> Float[Tensor, "restart level row"]:
        """Return the prior's log-density of the components that each level sees."""
        each = (self._members() * self.masks.unsqueeze(-2)).sum(-1)
        return torch.logsumexp(each + self.members.log_weight[:, None, None], -1)

    def between_rows(self) -> Float[Tensor, "restart row other part"]:
        """Return the log-density of each row's draw under the posterior of every other row."""
        return self._pairwise(self.raw)

    def sample(self, n: int) -> Float[Tensor, "restart {n} feature"]:
        """Return draws from the prior."""
        return sample(self.posterior, self.layout, self.members, n, self.generators)

    def _own(self) -> Float[Tensor, "restart level row part"]:
        return self._parts(self.raw, self.features).unsqueeze(1) * self.masks

    def _members(self) -> Float[Tensor, "restart 1 row member part"]:
        return self._pairwise(self.members.raw).unsqueeze(1)

    def _pairwise(
        self, raw: Float[Tensor, "restart other raw"]
    ) -> Float[Tensor, "restart row other part"]:
        """Return the log-density of each draw under each of some posteriors."""
        return self._parts(raw.unsqueeze(1), self.features.unsqueeze(2))

    def _parts(self, raw: Float[Tensor, "..."], features: Float[Tensor, "..."]) -> Tensor:
        return self.posterior.log_density(features, raw, self.layout)


def sample(
    posterior: Posterior,
    layout: Layout,
    members: Members,
    n: int,
    generators: Sequence[torch.Generator],
) -> Float[Tensor, "restart {n} feature"]:
    """Return n draws from a prior, each restart from its own generator."""
    which = members.drawn(n, generators).unsqueeze(-1).expand(-1, -1, members.raw.shape[-1])
    return drawn(posterior, members.raw.gather(1, which), layout, generators)


def drawn(
    posterior: Posterior, raw: Raw, layout: Layout, generators: Sequence[torch.Generator]
) -> Features:
    """Return a draw from each posterior, each restart from its own generator."""
    n_rows = raw.shape[1]
    shape = (_ranks.n_drawn(n_rows), posterior.n_noise(layout))
    noise = [torch.randn(shape, generator=g, device=raw.device) for g in generators]
    return posterior.draw(raw, layout, _ranks.own_rows(torch.stack(noise), 1, n_rows).to(raw))
