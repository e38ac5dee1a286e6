"""The training loop: for any module whose forward pass returns terms of one loss per restart."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from narrows.engine.callbacks import Epoch
from narrows.engine.player import Best, Phase, Player, players_of
from narrows.engine.training import Training


@runtime_checkable
class Batched(Protocol):
    """Rows in batches: in order, or shuffled."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    def shuffled(self, generator: torch.Generator) -> Iterator[Any]:
        """Yield batches of a new random order."""


class Learner(nn.Module):
    """Base of what the loop trains: its forward pass returns one tensor of losses per term.

    Attributes
    ----------
    progress : float
        How much of the training is over, from 0 to 1: parts may change with it.
    settled : float
        The share of the training after which no part changes any more.
    keeps_last : bool
        Whether the last weights are the ones to keep, as where losses of different epochs do not
        compare; patience then does not count.
    """

    progress: float = 1.0
    settled: float = 0.0
    keeps_last: bool = False


@dataclass
class History:
    """Losses per value of the data, after each epoch.

    Attributes
    ----------
    train_loss : list of Tensor, each of shape (term, restart)
        Mean over the steps of the epoch, while the weights moved.
    validation_loss : list of Tensor, each of shape (restart,)
        At the end of the epoch; the first entry is the loss of the start. Without validation
        rows, the training loss.
    learning_rate : list of float
    best_epoch : Tensor of int, shape (restart,)
    best_loss : Tensor of shape (restart,)
    failure : str or None
        What happened if the losses of all restarts became NaN or infinite.
    """

    train_loss: list[Float[Tensor, "term restart"]] = field(default_factory=list)
    validation_loss: list[Float[Tensor, " restart"]] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    best_epoch: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    best_loss: Tensor = field(default_factory=lambda: torch.zeros(0))
    failure: str | None = None


def schedule(kind: str, progress: float) -> float:
    """Return the share of the full learning rate at a progress from 0 to 1."""
    shape = {
        "cosine": 0.5 * (1 + math.cos(math.pi * min(progress, 1))),
        "linear": 1 - min(progress, 1),
        "constant": 1.0,
    }[kind]
    return max(shape, 0.01)


def mean_loss(model: Learner, batches: Batched) -> Float[Tensor, " restart"]:
    """Return the objective of each restart on all rows, as a model evaluates it."""
    model.eval()
    with torch.no_grad():
        sums = [sum(model(batch)) * len(batch) for batch in batches]
    return torch.stack(sums).sum(0).cpu() / sum(batch.total_weight for batch in batches)


def train_epoch(
    model: Learner,
    players: Sequence[Player],
    batches: Iterable[Any],
    progress: Iterable[float],
    kind: str,
) -> Float[Tensor, "step term restart"]:
    """Take one step per batch; return the losses, read from the device once, at the end.

    Parameters
    ----------
    model : Learner
    players : sequence of Player
        They move in turn, each by losses computed after the moves of those before.
    batches : iterable
    progress : iterable of float
        Of each step, from 0 to 1.
    kind : str
        Of the schedule of the learning rate.
    """
    model.train()
    losses = []
    for batch, share in zip(batches, progress, strict=True):
        model.progress = share
        found: list[Tensor] = []
        for player in players:
            terms = player.phase.terms(batch)
            player.step(terms, schedule(kind, share))
            found += [term.detach() for term in terms]
        losses.append(torch.stack(found))
    return torch.stack(losses).cpu()


def fit(
    model: Learner,
    train: Batched,
    validation: Batched | None,
    *,
    phases: Sequence[Phase],
    settings: Training,
    learning_rate: float,
    max_epochs: int,
    generator: torch.Generator,
    callbacks: Sequence[Callable[[Epoch], str | None]] = (),
) -> History:
    """Train the restarts of a model and leave each with its best weights, or its last.

    The terms of the first phase are the objective; validation rows are judged by what the model
    itself returns. A restart whose loss becomes NaN or infinite stops learning, with a warning; if
    all do, the run ends and the history says why. Patience counts from when the model has settled.
    """
    start = mean_loss(model, train if validation is None else validation)
    history = History(validation_loss=[start])
    n_restarts = len(start)
    players = players_of(phases, n_restarts, settings, learning_rate)
    names, n_terms = [name for phase in phases for name in phase.names], len(phases[0].names)
    keeps_last = validation is None or model.keeps_last
    patience = None if keeps_last else settings.patience
    settled = math.ceil(model.settled * max_epochs)
    best = Best(list(model.state_dict().values()), start.nan_to_num(math.inf, math.inf), patience)
    n_steps = len(train) * max_epochs
    alive = torch.ones(n_restarts, dtype=torch.bool)
    try:
        for number in range(1, max_epochs + 1):
            steps = range((number - 1) * len(train), number * len(train))
            progress = [step / n_steps for step in steps]
            shuffled = train.shuffled(generator)
            losses = train_epoch(model, players, shuffled, progress, settings.lr_schedule)
            still = alive & losses.isfinite().all(0).all(0)
            if not still.equal(alive):
                lost = failure(losses[:, :, alive], number, names)
                if not still.any():
                    history.failure = lost
                    alive = still
                    break
                warnings.warn(
                    f"{lost} Restarts {(alive & ~still).nonzero().flatten().tolist()} stop "
                    "learning; the others go on.",
                    stacklevel=2,
                )
            alive = still
            mean = losses.mean(0)
            objective = mean[:n_terms].sum(0)
            held = objective if validation is None else mean_loss(model, validation)
            rate = players[0].optimizer.param_groups[0]["lr"]
            history.train_loss.append(mean)
            history.validation_loss.append(held)
            history.learning_rate.append(rate)
            out_of_patience = best.update(held.nan_to_num(math.inf, math.inf), number, settled)
            epoch = Epoch(number, max_epochs, objective, held, rate, model)
            if "stop" in [callback(epoch) for callback in callbacks] or out_of_patience:
                break
    except KeyboardInterrupt:
        warnings.warn(
            f"Training was interrupted after {len(history.train_loss)} epochs; "
            f"the {'last' if keeps_last else 'best'} weights so far are kept.",
            stacklevel=2,
        )
    finally:
        whole = alive & _finite(model, n_restarts) & history.validation_loss[-1].isfinite()
        best.restore(~whole if keeps_last else torch.ones_like(alive))
        for player in players:
            player.release()
        model.eval()
        history.best_epoch, history.best_loss = best.epoch, best.loss
        if keeps_last:
            _count_last(history, whole)
    return history


def _finite(model: Learner, n_restarts: int) -> Bool[Tensor, " restart"]:
    """Return which restarts have no weight that is NaN or infinite."""
    rows = [tensor.detach().reshape(n_restarts, -1) for tensor in model.parameters()]
    return torch.stack([row.isfinite().all(1) for row in rows]).all(0).cpu()


def _count_last(history: History, whole: Bool[Tensor, " restart"]) -> None:
    """Count the last epoch as the best of the restarts that are whole; others are not chosen."""
    if whole.any():
        history.best_epoch[whole] = len(history.train_loss)
        history.best_loss = torch.where(whole, history.validation_loss[-1], math.inf)
    elif history.failure is None:
        last = len(history.train_loss)
        history.failure = f"The loss became NaN or infinite by the last step of epoch {last}."


def failure(
    losses: Float[Tensor, "step term restart"], epoch: int, names: Sequence[str]
) -> str | None:
    """Return a sentence on the first loss of an epoch that is not finite, if there is one."""
    finite = losses.isfinite()
    if finite.all():
        return None
    step, term, restart = (~finite).nonzero()[0].tolist()
    return (
        f"The loss became {losses[step, term, restart].item()} in epoch {epoch}, "
        f"step {step + 1}, in the term {names[term]!r}."
    )
