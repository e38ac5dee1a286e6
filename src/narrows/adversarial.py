"""Adversarial training: a critic tells codes from draws of a prior, the encoder learns to pass.

Each step has three phases, each with an optimiser of its own (Makhzani, Shlens, Jaitly, Goodfellow
& Frey 2015, arXiv:1511.05644): the autoencoder's objective; the critic; the encoder against it.
"""

from collections.abc import Sequence
from operator import attrgetter

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from narrows import _ranks
from narrows.data.batches import Batch
from narrows.engine.player import Phase
from narrows.model import Model
from narrows.nn.critic import Critic
from narrows.nn.dense import DenseNetwork
from narrows.nn.sampler import Sampler


class Contest:
    """The losses of a critic and of the encoder that it judges, for restarts side by side.

    Parameters
    ----------
    model : Model
    sampler : Sampler
    generators : sequence of torch.Generator, one per restart
        Where draws from the prior come from.
    """

    def __init__(
        self, model: Model, sampler: Sampler, generators: Sequence[torch.Generator]
    ) -> None:
        self.model = model
        self.sampler = sampler
        self.generators = generators

    def critic(self, batch: Batch) -> list[Float[Tensor, " restart"]]:
        """Return ``-½ E[ln σ(c(z))] - ½ E[ln(1 - σ(c(e(x))))]`` with draws z, as many as codes x.

        c is the critic's logit; the encoder is left out of the gradient. ln 2 where the critic
        cannot tell.
        """
        codes = self._codes(batch).detach()
        draws = self._draws(batch).to(codes)
        told = judged(network_of(self.model), codes, draws, batch.weight)
        return [batch.portion_of(told)]

    def encoder(self, batch: Batch) -> list[Float[Tensor, " restart"]]:
        """Return ``-E[ln σ(c(e(x)))]``: how little codes pass for draws."""
        told = passed(network_of(self.model), self._codes(batch), batch.weight)
        return [batch.portion_of(told)]

    def _draws(self, batch: Batch) -> Float[Tensor, "restart row feature"]:
        """Return draws from the prior, as many as rows."""
        layout, n = self.model.blueprint.layout, len(batch)
        with _ranks.drawing(batch.share):
            draws = self.sampler.features(_ranks.n_drawn(n), layout, self.generators)
            return _ranks.own_rows(draws, 1, n)

    def _codes(self, batch: Batch) -> Float[Tensor, "restart row feature"]:
        """Return codes as `transform` gives them: without the noise of training."""
        self.model.encoder.eval()
        codes = self.model.encode(batch.x, batch.condition)
        self.model.encoder.train()
        return codes


def phases(
    model: Model,
    critic: Critic | None,
    learning_rate: float,
    generators: Sequence[torch.Generator] = (),
) -> list[Phase]:
    """Return what a training step of a model consists of: its objective, then a critic's phases.

    Parameters
    ----------
    model : Model
    critic : Critic or None
        None for an ordinary model, whose objective is all.
    learning_rate : float
        Of the autoencoder.
    generators : sequence of torch.Generator, one per restart
    """
    names = model.blueprint.term_names
    inputs = attrgetter("inputs") if model.repeats else None
    if critic is None:
        return [Phase(model, list(model.parameters()), names, 1.0, inputs, model.idle.begin)]
    contest = Contest(model, critic.sampler, generators)
    encoder, judge = list(model.encoder.parameters()), list(network_of(model).parameters())
    apart = {*encoder, *judge}
    rest = [parameter for parameter in model.parameters() if parameter not in apart]
    return [
        Phase(model, [*encoder, *rest], names, 1.0, inputs, model.idle.begin),
        Phase(contest.critic, judge, ("critic",), critic.rate(learning_rate), inputs),
        Phase(contest.encoder, encoder, ("adversarial",), critic.strength, inputs),
    ]


def judged(
    network: DenseNetwork,
    codes: Float[Tensor, "restart row feature"],
    draws: Float[Tensor, "restart draw feature"],
    weight: Float[Tensor, " row"] | None = None,
) -> Float[Tensor, " restart"]:
    """Return how badly a critic tells draws from codes, which may have weights of mean one."""
    told = softplus(-network(draws)[..., 0]).mean(1)
    return 0.5 * (told + _mean(softplus(network(codes)[..., 0]), weight))


def passed(
    network: DenseNetwork,
    codes: Float[Tensor, "restart row feature"],
    weight: Float[Tensor, " row"] | None = None,
) -> Float[Tensor, " restart"]:
    """Return how little codes pass for draws with a critic."""
    return _mean(softplus(-network(codes)[..., 0]), weight)


def network_of(model: Model) -> DenseNetwork:
    """Return a model's critic."""
    if model.critic is None:
        raise TypeError(f"{type(model).__name__} has no critic.")
    return model.critic


def logits(
    model: Model, features: Float[Tensor, "restart row feature"]
) -> Float[Tensor, "restart row"]:
    """Return the critic's logit that features are those of a draw from the prior."""
    return network_of(model)(features)[..., 0]


def accuracy(model: Model, codes: Tensor, draws: Tensor) -> Float[Tensor, " restart"]:
    """Return the share that the critic tells rightly, of codes and of draws alike, as features."""
    with torch.no_grad():
        found = (logits(model, codes) < 0, logits(model, draws.to(codes)) > 0)
    first, second = (part.float().mean(1) for part in found)
    return (first + second) / 2


def _mean(loss: Float[Tensor, "restart row"], weight: Tensor | None) -> Float[Tensor, " restart"]:
    return loss.mean(1) if weight is None else (loss * weight).mean(1)
