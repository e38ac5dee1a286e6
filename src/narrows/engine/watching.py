"""What watches a run from its beginning to its end."""

import importlib.metadata
import math
import platform
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from narrows import _ranks
from narrows._errors import warn
from narrows.engine.agreement import stopped
from narrows.engine.callbacks import Epoch
from narrows.engine.checkpoint import described
from narrows.engine.history import History
from narrows.engine.run import Run
from narrows.engine.saver import Saver, this_fit
from narrows.parts import Part


@dataclass(frozen=True)
class Start:
    """What a watcher is told when a run begins, or goes on.

    Attributes
    ----------
    run : str
        Name of the run; the same one when it goes on from a checkpoint.
    n_done, n_epochs : int
        Epochs done, more than 0 where it goes on, and at most to do.
    estimator : str
        What is fitted; a fit may be several runs, one a layer for instance.
    random_state : int or None
        Its seed, if that is a number.
    terms : tuple of str
        Names of the terms of the loss.
    n_steps, n_weights : int
        Steps an epoch; weights of all restarts.
    validation_loss : Tensor of shape (restart,)
        Of the start, per value of the data.
    settings : mapping
        All that the training depends on, as text, by dotted names.
    versions : mapping
        Of narrows, python, torch and numpy.
    """

    run: str
    n_done: int
    n_epochs: int
    estimator: str
    random_state: int | None
    terms: tuple[str, ...]
    n_steps: int
    n_weights: int
    validation_loss: Float[Tensor, " restart"]
    settings: Mapping[str, str] = field(repr=False)
    versions: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class End:
    """What a watcher is told when a run ends.

    Attributes
    ----------
    reason : str
        "max_epochs", "patience", "callback", "interrupted" (Ctrl-C), "terminated" (SIGTERM), or
        what went wrong.
    n_epochs : int
        Epochs done.
    best_epoch, best_loss : Tensor of shape (restart,)
        Of the weights that are kept; epoch 0 is the start.
    seconds : float
        Of all epochs, those before a checkpoint included.
    """

    reason: str
    n_epochs: int
    best_epoch: Tensor
    best_loss: Tensor
    seconds: float


class Watcher(Part, ABC):
    """Base of callbacks that are also told when a run begins and ends.

    A fit may be several runs, one after another; each begins and ends.
    """

    @abstractmethod
    def begin(self, start: Start) -> None:
        """Take note of a run that begins, or goes on after `start.n_done` epochs."""

    @abstractmethod
    def __call__(self, epoch: Epoch) -> str | None:
        """Take note of an epoch; return "stop" to end the run."""

    @abstractmethod
    def end(self, end: End) -> None:
        """Take note of the end, however it came."""


class Watch:
    """Tells callbacks what happens to a run, and times it.

    Parameters
    ----------
    callbacks : sequence of callable
    run : Run
    names : sequence of sequence of str
        Of the terms, phase by phase.
    max_epochs : int
    """

    def __init__(
        self,
        callbacks: Sequence[Callable[[Epoch], str | None]],
        run: Run,
        names: Sequence[Sequence[str]],
        max_epochs: int,
    ) -> None:
        first = _ranks.first()
        self._callbacks = [each for each in callbacks if first or not isinstance(each, Watcher)]
        self._begun: list[Watcher] = []
        self._run = run
        self._terms = _distinct([name for own in names for name in own])
        self._n_objective = len(names[0])
        self._max_epochs = max_epochs
        self._reason = "callback"
        self._last = time.monotonic()

    @contextmanager
    def over(self, saver: Saver, settings: Mapping[str, Any], n_steps: int) -> Iterator[None]:
        """Tell watchers of the beginning, and note how the run ends."""
        try:
            _ranks.alike(lambda: self._begin(saver, settings, n_steps))
            self._last = time.monotonic()
            yield
        except BaseException as error:
            told = {KeyboardInterrupt: "interrupted", SystemExit: "terminated"}
            self._reason = told.get(type(error), f"{type(error).__name__}: {error}")
            raise
        if self._run.history.failure is not None:
            self._reason = self._run.history.failure
        elif self._run.n_epochs == self._max_epochs:
            self._reason = "max_epochs"
        elif self._run.over:
            self._reason = "patience"

    def epoch(self) -> bool:
        """Tell callbacks of the epoch just closed; return whether one of them says stop."""
        run, now = self._run, time.monotonic()
        history, seconds = run.history, now - self._last
        run.seconds += seconds
        self._last = now
        terms = dict(zip(self._terms, history.train_loss[-1], strict=True))
        epoch = Epoch(
            run.n_epochs,
            self._max_epochs,
            history.train_loss[-1][: self._n_objective].sum(0),
            history.validation_loss[-1],
            history.learning_rate[-1],
            run.model,
            terms,
            seconds,
        )
        return stopped(epoch, self._callbacks)

    def end(self, history: History) -> None:
        """Tell watchers of the end; what they raise is a warning, since the run is over."""
        best = history.best_epoch, history.best_loss
        for watcher in self._begun:
            try:
                watcher.end(End(self._reason, self._run.n_epochs, *best, self._run.seconds))
            except Exception as error:
                warn(f"{watcher} did not end: {error}")

    def _begin(self, saver: Saver, settings: Mapping[str, Any], n_steps: int) -> None:
        watchers = [each for each in self._callbacks if isinstance(each, Watcher)]
        if watchers:
            start = self._start(saver, settings, n_steps)
            for watcher in watchers:
                watcher.begin(start)
                self._begun.append(watcher)

    def _start(self, saver: Saver, settings: Mapping[str, Any], n_steps: int) -> Start:
        run, fit = self._run, this_fit()
        return Start(
            saver.identity or secrets.token_hex(8),
            run.n_epochs,
            self._max_epochs,
            fit.estimator,
            fit.random_state,
            self._terms,
            n_steps,
            sum(parameter.numel() for parameter in run.model.parameters()),
            run.history.validation_loss[0],
            saver.settings or described(settings),
            versions(),
        )


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return names, of which those that came before have a number."""
    earlier = [names[:place].count(name) for place, name in enumerate(names)]
    pairs = zip(names, earlier, strict=True)
    return tuple(f"{name} {count + 1}" if count else name for name, count in pairs)


def versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    found = {name: importlib.metadata.version(name) for name in ("narrows", "numpy")}
    return {**found, "torch": str(torch.__version__), "python": platform.python_version()}


def scalars(epoch: Epoch) -> dict[str, float]:
    """Return the finite numbers of an epoch by name; of several restarts, each by its number."""
    losses = {"train_loss": epoch.train_loss, "validation_loss": epoch.validation_loss}
    losses |= {f"train_{name}": loss for name, loss in epoch.terms.items()}
    found = {"learning_rate": epoch.learning_rate, "seconds": epoch.seconds}
    for name, loss in losses.items():
        for restart, value in enumerate(loss.tolist()):
            found[f"{name}/{restart}" if len(loss) > 1 else name] = value
    return {name: value for name, value in found.items() if math.isfinite(value)}
