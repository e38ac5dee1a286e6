"""A classifier beside a conditional autoencoder, learned from rows of which few have labels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from narrows.blueprint import Blueprint
from narrows.data.batches import Batch
from narrows.engine.loop import Learner
from narrows.model import Model
from narrows.nn.architecture import Sizes

TERMS = ("reconstruction", "divergence", "labels", "classification")


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


@dataclass(frozen=True)
class Pairs:
    """Unlabelled and labelled rows in steps, each of as many rows of either kind.

    A step takes `batch_size` rows in proportion, but at least half as many labelled rows, or all
    where there are fewer. Either kind comes in one random order after another, so that every
    step's loss is an unbiased estimate of that of all rows.

    Attributes
    ----------
    rows : callable
        Maps a random generator to all rows; the same ones every time, or drawn anew.
    unlabelled, labelled : Tensor of int
        The numbers of those that are read.
    shares : (float, float)
        What the mean bounds of both kinds count in the loss.
    batch_size : int
    """

    rows: Callable[[torch.Generator], Batch]
    unlabelled: Int64[Tensor, " unlabelled"]
    labelled: Int64[Tensor, " labelled"]
    shares: tuple[float, float]
    batch_size: int

    def __len__(self) -> int:
        return -(-(len(self.unlabelled) + len(self.labelled)) // self.batch_size)

    def __iter__(self) -> Iterator[Pair]:
        """Yield all rows once, in order."""
        one, two = (own.tensor_split(len(self)) for own in (self.unlabelled, self.labelled))
        sizes = len(self.unlabelled) / len(self), len(self.labelled) / len(self)
        return self._paired(torch.Generator().manual_seed(0), one, two, sizes)

    def shuffled(self, generator: torch.Generator) -> Iterator[Pair]:
        """Yield as many pairs, in new random orders."""
        one = _steps(self.unlabelled, len(self), 0, generator)
        two = _steps(self.labelled, len(self), self.batch_size // 2, generator)
        return self._paired(generator, one, two, (len(one[0]), len(two[0])))

    def _paired(
        self,
        generator: torch.Generator,
        unlabelled: Sequence[Tensor],
        labelled: Sequence[Tensor],
        sizes: tuple[float, float],
    ) -> Iterator[Pair]:
        """Yield the rows of each step, of as many as `sizes` on average."""
        one, two = (s / size if size else 0.0 for s, size in zip(self.shares, sizes, strict=True))
        weights = one, two, 1 / sizes[1] if sizes[1] else 0.0
        rows = self.rows(generator)
        for pick, known in zip(unlabelled, labelled, strict=True):
            yield Pair(_some(rows, pick), _some(rows, known), weights)


def _some(rows: Batch, pick: Int64[Tensor, " row"]) -> Batch | None:
    return rows[pick.to(rows.x.device)] if len(pick) else None


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


class SemiSupervised(Learner):
    """Restarts of the model M2: rows come of a class and a code; a classifier guesses the class.

    With ``L(x, y) = E_q[ln p(x | y, z)] - KL(q(z | x, y) ‖ p(z)) + ln p(y)``, a labelled row costs
    ``-L(x, y)``, an unlabelled one ``-Σ_y q(y | x) (L(x, y) - ln q(y | x))``, and the loss is the
    mean of these over all rows, plus α times the mean of ``-ln q(y | x)`` over labelled rows.

    Parameters
    ----------
    blueprint : Blueprint
        Of an autoencoder whose condition is the class.
    log_prior : Tensor of shape (class,)
        ln p(y).
    alpha : float
    n_restarts : int

    References
    ----------
    Kingma, Rezende, Mohamed & Welling 2014, arXiv:1406.5298, equations 6 to 9, where α is 0.1 N.
    """

    log_prior: Tensor

    def __init__(
        self,
        blueprint: Blueprint,
        log_prior: Float[Tensor, " class"],
        alpha: float,
        n_restarts: int,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.model = Model(blueprint, n_restarts)
        b, n_classes = blueprint, len(log_prior)
        sizes = Sizes(b.event_shape, b.event_shape, n_classes, n_restarts)
        self.classifier, _ = b.architecture.build(sizes)
        self.register_buffer("log_prior", log_prior, persistent=False)

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Draw initial weights, one generator per restart."""
        self.model.reset(generators)
        self.classifier.reset(generators)

    def seed(self, generators: Sequence[torch.Generator]) -> None:
        """Set where training draws its noise from, one generator per restart; () for none."""
        self.model.seed(generators)
        self.classifier.generators = tuple(generators)

    def log_shares(self, x: Float[Tensor, "row value"]) -> Float[Tensor, "restart row class"]:
        """Return ln q(y | x)."""
        logits: Tensor = self.classifier(x.expand(self.model.n_restarts, *x.shape))
        return logits.log_softmax(-1)

    def forward(self, pair: Pair) -> list[Float[Tensor, " restart"]]:
        """Return each term of the loss, per value of the data."""
        unlabelled, labelled, classified = pair.weights
        found = []
        if pair.unlabelled is not None:
            found.append([term.sum(1) * unlabelled for term in self._expected(pair.unlabelled)])
        if pair.labelled is not None:
            *bound, missed = self._known(pair.labelled)
            terms = [term.sum(1) * labelled for term in bound]
            found.append([*terms, missed.sum(1) * (self.alpha * classified)])
        n_outputs = self.model.blueprint.n_outputs
        return [torch.stack(own).sum(0) / n_outputs for own in zip(*found, strict=True)]

    def _expected(self, rows: Batch) -> list[Float[Tensor, "restart row"]]:
        """Return the terms of rows without labels: expectations over all classes."""
        n, n_classes = len(rows), len(self.log_prior)
        log_share = self.log_shares(rows.x)
        share = log_share.exp()
        known = torch.eye(n_classes).to(rows.x).repeat_interleave(n, 0)
        every = self.model.row_terms(replace(rows.repeated(n_classes), condition=known))
        means = [(share.mT * term.unflatten(1, (n_classes, n))).sum(1) for term in every]
        gap = (share * (log_share - self.log_prior)).sum(-1)
        return [*means, gap, torch.zeros_like(gap)]

    def _known(self, rows: Batch) -> list[Float[Tensor, "restart row"]]:
        """Return the terms of rows with labels, and how badly they are classified."""
        label = rows.condition
        if label is None:
            raise TypeError("The rows have no labels.")
        missed = -(self.log_shares(rows.x) * label).sum(-1)
        surprise = -(self.log_prior * label).sum(-1)
        return [*self.model.row_terms(rows), surprise.expand_as(missed), missed]

    def select(self, restart: int) -> "SemiSupervised":
        """Return one restart as a learner of its own."""
        n = self.model.n_restarts
        one = SemiSupervised(self.model.blueprint, self.log_prior, self.alpha, 1)
        own = one.to(next(self.parameters())).state_dict()
        for name, tensor in self.state_dict().items():
            own[name].copy_(tensor.chunk(n)[restart])
        return one.eval()
