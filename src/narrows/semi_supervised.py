"""A classifier beside a conditional autoencoder, learned from rows of which few have labels."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, islice
from operator import attrgetter
from typing import Self

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from narrows import _ranks
from narrows._ranks import Share
from narrows.blueprint import Blueprint
from narrows.data.batches import Batch
from narrows.engine.learner import Learner
from narrows.engine.player import Phase
from narrows.model import Model
from narrows.nn.architecture import Network, Sizes


@dataclass(frozen=True)
class Pair:
    """Rows without labels beside rows with them: what one step reads.

    Attributes
    ----------
    unlabelled, labelled : Batch or None
        The condition of a labelled row is a one in the column of its class.
    weights : (float, float, float)
        What counts in the loss, by row: the bound of an unlabelled row, the bound of a labelled
        one, and how well that is classified.
    """

    unlabelled: Batch | None
    labelled: Batch | None
    weights: tuple[float, float, float]

    def __len__(self) -> int:
        """Return one: the mean of the losses of all pairs is that of all rows."""
        return 1

    @property
    def total_weight(self) -> float:
        """What a pair counts, as a whole."""
        return 1.0

    def divided(self, number: int, n_processes: int) -> "Pair":
        """Return the share of one process, of either kind."""
        given = self.unlabelled, self.labelled
        one, two = (None if own is None else own.divided(number, n_processes) for own in given)
        return Pair(one, two, self.weights)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Tensors of the rows of either kind, by name."""
        given = {"unlabelled": self.unlabelled, "labelled": self.labelled}
        kinds = {kind: rows for kind, rows in given.items() if rows is not None}
        return {f"{kind}.{n}": t for kind, rows in kinds.items() for n, t in rows.inputs.items()}

    @cached_property
    def together(self) -> Batch:
        """All rows at once, weighed by what their bounds count in the mean; no labels."""
        both = zip((self.unlabelled, self.labelled), self.weights, strict=False)
        parts = [(rows, weight) for rows, weight in both if rows is not None]
        share = _joined([rows.share for rows, _ in parts if rows.share is not None])
        n_rows = sum(len(rows) for rows, _ in parts) if share is None else share.n_rows
        parts = [part for part in parts if _counts(part[0])] or parts[:1]
        weights = [torch.full((len(rows),), n_rows * weight).to(rows.x) for rows, weight in parts]
        x = torch.cat([rows.x for rows, _ in parts])
        given = all(rows.target is rows.x for rows, _ in parts)
        target = x if given else torch.cat([rows.target for rows, _ in parts])
        seen = [rows.observed for rows, _ in parts if rows.observed is not None]
        return Batch(x, target, torch.cat(weights), torch.cat(seen) if seen else None, share=share)


@dataclass(frozen=True)
class Pairs:
    """Unlabelled and labelled rows in steps, each of as many rows of either kind.

    A step takes rows of either kind in proportion, `batch_size` in all; of labelled ones at least
    half as many as `batch_size`, or all where there are fewer, which then come on top. Either kind
    comes in one random order after another, so that every step's loss is an unbiased estimate of
    that of all rows.

    Attributes
    ----------
    rows : callable
        Maps numbers of rows and a random generator to these rows: the same ones every time, or
        drawn anew.
    unlabelled, labelled : Tensor of int
        The numbers of those that are read.
    shares : (float, float)
        What the mean bounds of both kinds count in the loss.
    batch_size : int
    """

    rows: Callable[[Tensor, torch.Generator], Batch]
    unlabelled: Int64[Tensor, " unlabelled"]
    labelled: Int64[Tensor, " labelled"]
    shares: tuple[float, float]
    batch_size: int

    def __len__(self) -> int:
        return -(-(len(self.unlabelled) + len(self.labelled)) // self.batch_size)

    def __iter__(self) -> Iterator[Pair]:
        """Yield all rows once, in order."""
        kinds = self.unlabelled, self.labelled
        n = min(len(self), max(map(len, kinds)))
        one, two = (own.tensor_split(n) for own in kinds)
        sizes = len(self.unlabelled) / n, len(self.labelled) / n
        return self._paired(torch.Generator().manual_seed(0), one, two, sizes)

    def shuffled(self, generator: torch.Generator, done: int = 0) -> Generator[Pair, None, None]:
        """Yield as many pairs, in new random orders, after the first `done`."""
        one = _steps(self.unlabelled, len(self), 0, generator)
        two = _steps(self.labelled, len(self), self.batch_size // 2, generator)
        sizes = len(one[0]), len(two[0])
        with closing(self._paired(generator, one, two, sizes)) as pairs:  # all draw in turn
            yield from islice(pairs, done, None)

    def _paired(
        self,
        generator: torch.Generator,
        unlabelled: Sequence[Tensor],
        labelled: Sequence[Tensor],
        sizes: tuple[float, float],
    ) -> Generator[Pair, None, None]:
        """Yield the rows of each step, of as many as `sizes` on average."""
        first, second = (
            s / size if size else 0.0 for s, size in zip(self.shares, sizes, strict=True)
        )
        weights = first, second, 1 / sizes[1] if sizes[1] else 0.0
        for picks in zip(unlabelled, labelled, strict=True):
            one, two = (self.rows(pick, generator) if len(pick) else None for pick in picks)
            yield Pair(one, two, weights)


def _counts(rows: Batch) -> bool:
    return rows.share is None or rows.share.counted


def _joined(shares: Sequence[Share]) -> Share | None:
    """Return the share of rows of several kinds, one kind after another; those that count."""
    if not shares:
        return None
    *before, n_rows = accumulate((share.n_rows for share in shares), initial=0)
    numbered = zip(shares, before, strict=True)
    rows = [share.rows + first for share, first in numbered if share.counted]
    return Share(torch.cat(rows) if rows else shares[0].rows, n_rows, bool(rows))


def _steps(
    rows: Int64[Tensor, " row"], n_steps: int, least: int, generator: torch.Generator
) -> Sequence[Tensor]:
    """Return as many rows for each step, all of them before one comes again."""
    n = len(rows)
    if not n:
        return [rows] * n_steps
    size = max(-(-n // n_steps), min(n, least))
    n_orders = -(-size * n_steps // n)
    order = torch.cat([torch.randperm(n, generator=generator) for _ in range(n_orders)])
    return rows[order[: size * n_steps]].split(size)


def one_hot(
    classes: Int64[Tensor, "restart row"], n_classes: int
) -> Bool[Tensor, "restart row class"]:
    """Return a one in the column of each row's class; torch's own looks at the values first."""
    return classes.unsqueeze(-1) == torch.arange(n_classes, device=classes.device)


def summed(term: Float[Tensor, "restart row"], rows: Batch) -> Float[Tensor, " restart"]:
    """Return the sum over rows, of those that count."""
    whole = term.sum(1)
    return whole if _counts(rows) else whole * 0


def _labels_of(rows: Batch) -> Float[Tensor, "row class"]:
    if rows.condition is None:
        raise TypeError("The rows have no labels.")
    return rows.condition


class Classifying(Learner, ABC):
    """Restarts of a conditional autoencoder beside a classifier, which guesses the condition.

    Parameters
    ----------
    blueprint : Blueprint
        Of an autoencoder whose condition is the class.
    log_prior : Tensor of shape (class,)
        ln p(y).
    n_restarts : int

    Attributes
    ----------
    terms : sequence of str
        Names of the terms that training reports, those of all phases.
    further : sequence of Network
        Networks besides these two that start from random weights.
    """

    terms: Sequence[str]
    log_prior: Tensor
    further: Sequence[Network] = ()

    def __init__(
        self, blueprint: Blueprint, log_prior: Float[Tensor, " class"], n_restarts: int
    ) -> None:
        super().__init__()
        self.model = Model(blueprint, n_restarts)
        b, n_classes = blueprint, len(log_prior)
        sizes = Sizes(b.event_shape, b.event_shape, n_classes, n_restarts)
        self.classifier, _ = b.architecture.build(sizes)
        self.register_buffer("log_prior", log_prior, persistent=False)

    @abstractmethod
    def alone(self) -> Self:
        """Return a new learner of the same settings with one restart."""

    @abstractmethod
    def phases(
        self, learning_rate: float, generators: Sequence[torch.Generator] = ()
    ) -> list[Phase]:
        """Return what a training step consists of; draws come from one generator per restart."""

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Draw initial weights, one generator per restart."""
        self.model.reset(generators)
        for network in (self.classifier, *self.further):
            network.reset(generators)

    def seed(self, generators: Sequence[torch.Generator]) -> None:
        """Set where training draws its noise from, one generator per restart; () for none."""
        self.model.seed(generators)
        self.classifier.generators = tuple(generators)

    def log_shares(
        self, x: Float[Tensor, "row value"], share: Share | None = None
    ) -> Float[Tensor, "restart row class"]:
        """Return ln q(y | x), of rows that may be one process's share."""
        with _ranks.drawing(share):
            logits: Tensor = self.classifier(x.expand(self.model.n_restarts, *x.shape))
        return logits.log_softmax(-1)

    def missed(self, rows: Batch) -> Float[Tensor, "restart row"]:
        """Return ``-ln q(y | x)`` of rows with labels."""
        return -(self.log_shares(rows.x, rows.share) * _labels_of(rows)).sum(-1)

    def select(self, restart: int) -> Self:
        """Return one restart as a learner of its own."""
        one = self.alone()
        own = one.to(next(self.parameters())).state_dict()
        for name, tensor in self.state_dict().items():
            own[name].copy_(tensor.chunk(self.model.n_restarts)[restart])
        return one.eval()


class SemiSupervised(Classifying):
    """Restarts of the model M2: rows come of a class and a code; a classifier guesses the class.

    With ``L(x, y) = E_q[ln p(x | y, z)] - KL(q(z | x, y) ‖ p(z)) + ln p(y)``, a labelled row costs
    ``-L(x, y)``, an unlabelled one ``-Σ_y q(y | x) (L(x, y) - ln q(y | x))``, and the loss is the
    mean of these over all rows, plus α times the mean of ``-ln q(y | x)`` over labelled rows.

    Parameters
    ----------
    blueprint, log_prior, n_restarts : as of `Classifying`
    alpha : float
    n_guesses : int
        Classes of each row that the sum takes: the most probable ones, whose shares are scaled to
        add to one. A posterior so cut off gives a bound as any other does.

    References
    ----------
    Kingma, Rezende, Mohamed & Welling 2014, arXiv:1406.5298, equations 6 to 9, where α is 0.1 N.
    """

    terms = ("reconstruction", "divergence", "labels", "classification")

    def __init__(
        self,
        blueprint: Blueprint,
        log_prior: Float[Tensor, " class"],
        alpha: float,
        n_guesses: int,
        n_restarts: int,
    ) -> None:
        super().__init__(blueprint, log_prior, n_restarts)
        self.alpha = alpha
        self.n_guesses = n_guesses

    def alone(self) -> "SemiSupervised":
        """Return a new learner of the same settings with one restart."""
        return SemiSupervised(self.model.blueprint, self.log_prior, self.alpha, self.n_guesses, 1)

    def phases(
        self, learning_rate: float, generators: Sequence[torch.Generator] = ()
    ) -> list[Phase]:
        """Return the one phase of a training step: all terms move all parameters."""
        inputs = attrgetter("inputs") if self.model.repeats else None
        course = self.model.idle.begin
        return [Phase(self, list(self.parameters()), self.terms, inputs=inputs, course=course)]

    def forward(self, pair: Pair) -> list[Float[Tensor, " restart"]]:
        """Return each term of the loss, per value of the data."""
        unlabelled, labelled, classified = pair.weights
        found = []
        if pair.unlabelled is not None:
            terms = self._expected(pair.unlabelled)
            found.append([summed(term, pair.unlabelled) * unlabelled for term in terms])
        if pair.labelled is not None:
            *bound, missed = self._known(pair.labelled)
            terms = [summed(term, pair.labelled) * labelled for term in bound]
            found.append([*terms, summed(missed, pair.labelled) * (self.alpha * classified)])
        n_outputs = self.model.blueprint.n_outputs
        return [torch.stack(own).sum(0) / n_outputs for own in zip(*found, strict=True)]

    def _expected(self, rows: Batch) -> list[Float[Tensor, "restart row"]]:
        """Return the terms of rows without labels: expectations over classes."""
        n, n_classes, k = len(rows), len(self.log_prior), self.n_guesses
        log_share, log_prior = self.log_shares(rows.x, rows.share), self.log_prior
        if k < n_classes:
            guesses = log_share.topk(k).indices.sort().values
            log_share = log_share.gather(-1, guesses).log_softmax(-1)
            known = one_hot(guesses.mT.flatten(1), n_classes).to(rows.x)
            log_prior = log_prior[guesses]
        else:
            known = torch.eye(n_classes, dtype=rows.x.dtype, device=rows.x.device)
            known = known.repeat_interleave(n, 0)
        share = log_share.exp()
        every = self.model.row_terms(replace(rows.repeated(k), condition=known))
        means = [(share.mT * term.unflatten(1, (k, n))).sum(1) for term in every]
        gap = (share * (log_share - log_prior)).sum(-1)
        return [*means, gap, torch.zeros_like(gap)]

    def _known(self, rows: Batch) -> list[Float[Tensor, "restart row"]]:
        """Return the terms of rows with labels, and how badly they are classified."""
        missed = self.missed(rows)
        surprise = -(self.log_prior * _labels_of(rows)).sum(-1)
        return [*self.model.row_terms(rows), surprise.expand_as(missed), missed]
