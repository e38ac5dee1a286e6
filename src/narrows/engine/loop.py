"""The training loop: for any module whose forward pass returns terms of one loss per restart."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from narrows import _ranks
from narrows._errors import warn
from narrows.engine.agreement import agree
from narrows.engine.callbacks import Epoch
from narrows.engine.history import History as History
from narrows.engine.history import failure
from narrows.engine.learner import Batched, Learner, losses_of, own_part
from narrows.engine.player import Phase, Player, own_of, players_of
from narrows.engine.run import Run
from narrows.engine.saver import Saver
from narrows.engine.schedule import schedule
from narrows.engine.training import Training
from narrows.engine.watching import Watch


def mean_loss(model: Learner, batches: Batched) -> Float[Tensor, " restart"]:
    """Return the objective of each restart on all rows, as a model evaluates it."""
    model.eval()
    sums, weight = [], 0.0
    with torch.no_grad():
        for batch in batches:
            losses = losses_of(model, model, own_part(model, batch))
            sums.append(torch.as_tensor(sum(losses)) * len(batch))
            weight += batch.total_weight
    return _ranks.summed(torch.stack(sums).sum(0)).cpu() / weight


def steps(
    model: Learner,
    players: Sequence[Player],
    batches: Iterable[Any],
    progress: Iterable[float],
    kind: str,
) -> Iterator[Float[Tensor, "term restart"]]:
    """Take one step per batch, and yield its losses, which stay on the device.

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
    for batch, share in zip(batches, progress, strict=True):
        settled = share >= model.settled
        if not settled or model.progress < model.settled:
            model.progress = share
        own, found = own_part(model, batch), list[Tensor]()
        for player in players:
            found += player.step(own, schedule(kind, share), settled)
        yield torch.stack(found)


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
    noise: Sequence[torch.Generator] = (),
    identity: Mapping[str, Any] = MappingProxyType({}),
    callbacks: Sequence[Callable[[Epoch], str | None]] = (),
    is_part: bool = False,
) -> History:
    """Train the restarts of a model and leave each with its best weights, or its last.

    The terms of the first phase are the objective; validation rows are judged by what the model
    itself returns. A restart whose loss becomes NaN or infinite stops learning, with a warning; if
    all do, the run ends and the history says why. Patience counts from when the model has settled.
    Batches are ordered by `generator`; all else that training draws comes from `noise`. Where
    checkpoints are kept, `identity` holds the settings that tell this training from others. Ctrl-C
    ends the training with the weights so far; that of a part, which is of no use by itself, it
    ends with KeyboardInterrupt.
    """
    own = {"max_epochs": max_epochs, "learning_rate": learning_rate, "training": settings.decisive}
    told = {**own, **identity}
    agree(model, (train, validation), told, [generator, *noise])
    start = mean_loss(model, train if validation is None else validation)
    keeps_last = validation is None or model.keeps_last
    players = players_of(own_of(model, phases), len(start), settings, learning_rate)
    patience = None if keeps_last else settings.patience
    run = Run(model, players, start, patience, generator, noise)
    history, saver = run.history, Saver(settings.checkpoint, told)
    watch = Watch(callbacks, run, [phase.names for phase in phases], max_epochs)
    settled = math.ceil(model.settled * max_epochs)
    try:
        with saver.watching(run, (train, validation)), watch.over(saver, told, len(train)):
            while not run.over and run.n_epochs < max_epochs:
                losses = _trained(run, train, settings.lr_schedule, max_epochs, saver)
                if (lost := _bury(run, losses)) is not None:
                    history.failure = lost
                    break
                mean = losses.mean(0)
                objective = mean[: len(phases[0].names)].sum(0)
                held = objective if validation is None else mean_loss(model, validation)
                rate = players[0].optimizer.param_groups[0]["lr"]
                number = run.close_epoch(mean, held, rate)
                tired = run.best.update(held.nan_to_num(math.inf, math.inf), number, settled)
                stop = watch.epoch()
                run.over = tired or number == max_epochs
                saver.epoch(run, stop or run.over)
                if stop:
                    break
    except KeyboardInterrupt:
        if is_part:
            raise
        epochs = "1 epoch" if run.n_epochs == 1 else f"{run.n_epochs} epochs"
        warn(
            f"Training was interrupted after {epochs}; "
            f"the {'last' if keeps_last else 'best'} weights so far are kept.{saver.hint}",
        )
    finally:
        whole = run.alive & _finite(model, len(start)) & history.validation_loss[-1].isfinite()
        run.best.restore(~whole if keeps_last else torch.ones_like(whole))
        for player in players:
            player.release()
        model.eval()
        history.best_epoch, history.best_loss = run.best.epoch, run.best.loss
        if keeps_last:
            _count_last(history, whole)
        watch.end(history)
    return history


def _trained(
    run: Run, train: Batched, kind: str, max_epochs: int, saver: Saver
) -> Float[Tensor, "step term restart"]:
    """Take the steps of an epoch that are left; return the losses of all."""
    n, done = len(train), len(run.losses)
    progress = [(run.n_epochs * n + step) / (n * max_epochs) for step in range(n)]
    if done:
        run.go_to(progress[done - 1], schedule(kind, progress[done - 1]))
    with closing(train.shuffled(run.generator, done)) as batches:
        for losses in steps(run.model, run.players, batches, progress[done:], kind):
            run.losses.append(losses)
            saver.step(run)
    return torch.stack(run.losses).cpu()


def _bury(run: Run, losses: Float[Tensor, "step term restart"]) -> str | None:
    """Count out the restarts whose losses are not finite; say why if none is left."""
    still = run.alive & losses.isfinite().all(0).all(0)
    if still.equal(run.alive):
        return None
    names = [name for player in run.players for name in player.phase.names]
    lost = failure(losses[:, :, run.alive], run.n_epochs + 1, names)
    if still.any():
        warn(
            f"{lost} Restarts {(run.alive & ~still).nonzero().flatten().tolist()} stop "
            "learning; the others go on.",
        )
        lost = None
    run.alive = still
    return lost


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
