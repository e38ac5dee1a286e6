"""A classifier and an autoencoder against two critics, learned from rows of few labels.

Each step has four phases, each with an optimiser of its own (Makhzani, Shlens, Jaitly, Goodfellow
& Frey 2015, arXiv:1511.05644, section 5): reconstruction; the critics of codes and of class shares;
the encoder and the classifier against them; classification of the rows with labels. In the paper
the encoder of the style reads the row alone, and rows with labels enter the last phase alone; here
it reads the class shares as well, and all rows enter all phases but the last.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from narrows import _ranks
from narrows.adversarial import Contest, judged, network_of, passed
from narrows.blueprint import Blueprint
from narrows.data.batches import Batch
from narrows.engine.player import Phase
from narrows.nn.code import Layout
from narrows.nn.critic import Critic
from narrows.semi_supervised import Classifying, Pair, one_hot, summed


class SemiSupervisedAdversarial(Classifying):
    """Restarts of an autoencoder of codes and class shares, each kind beside a critic of its own.

    Parameters
    ----------
    blueprint, log_prior, n_restarts : as of `Classifying`
        The condition of the autoencoder is the shares q(y | x).
    label_strength : float
        Speed of the steps on labelled rows, as a multiple of the learning rate.
    """

    keeps_last = True
    terms = (
        "reconstruction",
        "critic",
        "class_critic",
        "adversarial",
        "class_adversarial",
        "classification",
    )

    def __init__(
        self,
        blueprint: Blueprint,
        log_prior: Float[Tensor, " class"],
        label_strength: float,
        n_restarts: int,
    ) -> None:
        super().__init__(blueprint, log_prior, n_restarts)
        self.label_strength = label_strength
        self.class_critic = _critic_of(blueprint).build(Layout(len(log_prior)), n_restarts)
        self.further = (self.class_critic,)

    def alone(self) -> "SemiSupervisedAdversarial":
        """Return a new learner of the same settings with one restart."""
        b = self.model.blueprint
        return SemiSupervisedAdversarial(b, self.log_prior, self.label_strength, 1)

    def phases(
        self, learning_rate: float, generators: Sequence[torch.Generator] = ()
    ) -> list[Phase]:
        """Return the four phases of a training step.

        The first moves encoder, classifier and decoder, the second both critics, the third encoder
        and classifier, the last the classifier.
        """
        critic = _critic_of(self.model.blueprint)
        contest = Contest(self.model, critic.sampler, generators)
        encoder = list(self.model.encoder.parameters())
        classifier = list(self.classifier.parameters())
        judges = [*network_of(self.model).parameters(), *self.class_critic.parameters()]
        apart = {*encoder, *classifier, *judges}
        rest = [parameter for parameter in self.parameters() if parameter not in apart]
        both, rate = [*encoder, *classifier], critic.rate(learning_rate)
        inputs = _tensors if self.model.repeats else None
        return [
            Phase(self, [*both, *rest], self.terms[:1], 1.0, inputs, self.model.idle.begin),
            Phase(partial(self.critics, contest), judges, self.terms[1:3], rate, inputs),
            Phase(partial(self.against, contest), both, self.terms[3:5], critic.strength, inputs),
            Phase(self.classified, classifier, self.terms[5:], self.label_strength, inputs),
        ]

    def forward(self, pair: Pair) -> list[Float[Tensor, " restart"]]:
        """Return how badly rows come back from codes and class shares, per value of the data."""
        rows, _ = self._read(pair)
        terms: list[Tensor] = self.model(rows)
        return terms

    def critics(self, contest: Contest, pair: Pair) -> list[Float[Tensor, " restart"]]:
        """Return how badly draws are told from codes, and from class shares."""
        with torch.no_grad():
            rows, shares = self._quietly_read(pair)
        with _ranks.drawing(rows.share):
            draws = self.class_draws(len(rows), contest.generators)
        told = judged(self.class_critic, shares, draws, rows.weight)
        return [*contest.critic(rows), rows.portion_of(told)]

    def against(self, contest: Contest, pair: Pair) -> list[Float[Tensor, " restart"]]:
        """Return how little codes pass for draws, and class shares, each by its own network."""
        rows, shares = self._quietly_read(pair)
        fixed = replace(rows, condition=shares.detach())
        told = passed(self.class_critic, shares, rows.weight)
        return [*contest.encoder(fixed), rows.portion_of(told)]

    def classified(self, pair: Pair) -> list[Float[Tensor, " restart"]]:
        """Return the mean of ``-ln q(y | x)`` over rows with labels."""
        if pair.labelled is None:
            raise TypeError("The step has no rows with labels.")
        return [summed(self.missed(pair.labelled), pair.labelled) * pair.weights[2]]

    def class_draws(
        self, n: int, generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "restart {n} class"]:
        """Return a one for a class drawn from p(y), and zeros, one generator per restart."""
        share, n_drawn = self.log_prior.exp(), _ranks.n_drawn(n)
        numbers = [torch.multinomial(share, n_drawn, True, generator=own) for own in generators]
        return one_hot(_ranks.own_rows(torch.stack(numbers), 1, n), len(share)).to(share)

    def _read(self, pair: Pair) -> tuple[Batch, Float[Tensor, "restart row class"]]:
        """Return the rows of both kinds, conditioned on their class shares, and these."""
        rows = pair.together
        shares = self.log_shares(rows.x, rows.share).exp()
        return replace(rows, condition=shares), shares

    def _quietly_read(self, pair: Pair) -> tuple[Batch, Float[Tensor, "restart row class"]]:
        """Return the same without the noise of training."""
        self.classifier.eval()
        found = self._read(pair)
        self.classifier.train()
        return found


def _tensors(pair: Pair) -> dict[str, Tensor]:
    together = pair.together.tensors
    return pair.inputs | {f"together.{name}": tensor for name, tensor in together.items()}


def _critic_of(blueprint: Blueprint) -> Critic:
    if blueprint.critic is None:
        raise TypeError("The autoencoder has no critic.")
    return blueprint.critic
