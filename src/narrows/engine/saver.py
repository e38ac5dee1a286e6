"""Saves a training as it goes: one that was killed goes on to the bits of one that was not."""

import hashlib
import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor

from narrows import _ranks
from narrows._errors import CheckpointError, warn
from narrows._files import digest
from narrows._types import PathLike
from narrows.engine.checkpoint import (
    SUFFIX,
    Checkpoint,
    described,
    header_of,
    read,
    seconds_of,
    write,
)
from narrows.engine.run import Run

_KEPT = 2
_AGREED_STEPS = 8  # steps after which several processes hear of a signal
_LOG = logging.getLogger(__name__)
_WARNED: set[Path] = set()  # folders whose other checkpoints this process has spoken of


@dataclass(frozen=True)
class Fit:
    """What is being fitted, with which seed, and the folders in which its runs looked."""

    estimator: str = ""
    random_state: int | None = None
    begun: set[Path] = field(default_factory=set)


_THIS_FIT: ContextVar[Fit | None] = ContextVar("this fit", default=None)


@contextmanager
def one_fit(estimator: Any) -> Iterator[None]:
    """Count all that is trained within, in several runs, as one fit that may go on or begin."""
    if _THIS_FIT.get() is not None:
        yield
        return
    seed = getattr(estimator, "random_state", None)
    own = int(seed) if isinstance(seed, Integral) else None
    token = _THIS_FIT.set(Fit(type(estimator).__name__, own))
    try:
        yield
    finally:
        _THIS_FIT.reset(token)


def this_fit() -> Fit:
    """Return what is being fitted; without a name where a run belongs to no fit."""
    return _THIS_FIT.get() or Fit()


class Saver:
    """Saves a run as it goes, and finds where one was left.

    Parameters
    ----------
    checkpoint : Checkpoint, str, PathLike or None
        None saves nothing; a path is a folder.
    settings : mapping
        All that the training depends on, besides its start and its rows.

    Attributes
    ----------
    settings : dict of str
        They as text, by dotted names; {} where nothing is saved.
    identity : str
        Name of the run once it has begun, from settings, start and rows; "" where nothing is saved.
    """

    def __init__(
        self, checkpoint: Checkpoint | PathLike | None, settings: Mapping[str, Any]
    ) -> None:
        if isinstance(checkpoint, str | os.PathLike):
            checkpoint = Checkpoint(checkpoint)
        self.saves = checkpoint is not None
        self.checkpoint = checkpoint or Checkpoint("")
        own = {"processes": _ranks.size(), **settings}
        self.settings = described(own) if self.saves else {}
        self.identity = ""
        self._folder = Path(self.checkpoint.folder)
        self._stop: int | None = None
        self._due = math.inf
        self._damaged: set[Path] = set()

    @property
    def hint(self) -> str:
        """Where a run that was interrupted goes on, as a sentence, if it is saved."""
        return f" The same fit goes on from '{self._folder}'." if self.saves else ""

    @contextmanager
    def watching(self, run: Run, batches: Sequence[Iterable[Any] | None]) -> Iterator[None]:
        """Bring a run to where it was left, and see to signals while it goes on.

        Raises
        ------
        CheckpointError
            If the checkpoints are damaged, or `resume` asks for others.
        OSError
            If the folder cannot be made.
        """
        if not self.saves and _ranks.size() == 1:
            yield
            return
        if self.saves:
            found = _ranks.from_first(lambda: self._begin(run, batches))
            if found is not None:
                run.load(found)
                self._tell_own(run)
        with _heeding(self._heed):
            yield

    def step(self, run: Run) -> None:
        """Save a run after a step if it is time, and stop it if a signal says so."""
        if not self._watches or (_ranks.size() > 1 and len(run.losses) % _AGREED_STEPS):
            return
        self._agree()
        if self._stop is not None or time.monotonic() >= self._due:
            self._save(run)
        self._obey()

    def epoch(self, run: Run, last: bool) -> None:
        """Save a run after an epoch if it is the last, or if it is time."""
        if not self._watches:
            return
        self._agree()
        every = self.checkpoint.epochs
        due = every is not None and run.n_epochs % every == 0
        due |= time.monotonic() >= self._due
        if last or due or self._stop is not None:
            self._save(run)
        self._obey()

    @property
    def _watches(self) -> bool:
        """Whether there is anything to see to: checkpoints, or a stop for all processes."""
        return self.saves or _ranks.size() > 1

    def _agree(self) -> None:
        """Stop if any process is to."""
        self._stop = _ranks.any_of(self._stop or 0) or None

    def _begin(self, run: Run, batches: Sequence[Iterable[Any] | None]) -> dict[str, Tensor] | None:
        """Return the state from which a run goes on, if there is one."""
        if self.checkpoint.resume and not self._folder.exists():
            raise CheckpointError(_none(f"'{self._folder}' holds no checkpoint."))
        _make(self._folder)
        self.identity = _identity(self.settings, run, batches)
        begun = this_fit().begun
        first = self._folder.resolve() not in begun
        begun.add(self._folder.resolve())
        for half_written in self._folder.glob(f".{self.identity}-*"):
            half_written.unlink(missing_ok=True)
        own = sorted(self._folder.glob(f"{self.identity}-*{SUFFIX}"))
        self._number = max((int(path.stem[-6:]) for path in own), default=0)
        if own and first and self.checkpoint.resume is False:
            raise CheckpointError(
                f"'{self._folder}' holds a checkpoint of this fit. Write resume=True to go on from "
                "it, or another folder."
            )
        self._wait()
        if own:
            return self._latest(own, run)
        if first:
            self._tell_others()
        return None

    def _latest(self, paths: Sequence[Path], run: Run) -> dict[str, Tensor]:
        """Return the newest state that is whole, and note how long it took."""
        reasons: list[str] = []
        for path in reversed(paths):
            try:
                tensors, header = read(path)
                _check_fit(tensors, run.tensors())
            except (OSError, ValueError) as error:
                reasons.append(str(error))
                self._damaged.add(path)
                continue
            if reasons:
                warn(f"{reasons[0]} The one before it is used.")
            run.seconds = seconds_of(header)
            return tensors
        raise CheckpointError(
            f"No checkpoint of this fit in '{self._folder}' can be read. {reasons[0]} Remove the "
            f"files {self.identity}-*{SUFFIX} to begin anew."
        )

    def _tell_own(self, run: Run) -> None:
        """Say where a training goes on."""
        if _ranks.first():
            done = "complete" if run.over else f"which goes on after epoch {run.n_epochs}"
            _LOG.info("'%s' holds a checkpoint of this training, %s.", self._folder, done)

    def _tell_others(self) -> None:
        """Say that there are checkpoints of other fits alone."""
        others = sorted(self._folder.glob(f"[!.]*{SUFFIX}"))
        must, where = self.checkpoint.resume, self._folder.resolve()
        if others and (must or (must is None and where not in _WARNED)):
            difference = _difference(self.settings, others)
            text = f"'{self._folder}' holds checkpoints, but none of this fit: {difference}."
        elif must:
            text = f"'{self._folder}' holds no checkpoint."
        else:
            return
        if must:
            raise CheckpointError(_none(text))
        _WARNED.add(where)
        warn(f"{text} Training begins anew.")

    def _save(self, run: Run) -> None:
        if not (self.saves and _ranks.first()):
            return
        path = self._folder / f"{self.identity}-{self._number + 1:06d}{SUFFIX}"
        done = {"n_epochs": run.n_epochs, "seconds": run.seconds}
        facts = {"estimator": this_fit().estimator, "settings": self.settings, **done}
        try:
            write(path, run.tensors(), facts)
        except OSError as error:
            warn(f"{error} Training goes on, and earlier checkpoints stay.")
            self._wait()
            return
        self._number += 1
        saved = sorted(self._folder.glob(f"{self.identity}-*{SUFFIX}"))
        kept = [own for own in saved if own not in self._damaged][-_KEPT:]
        for own in saved:
            if kept and own < kept[0]:
                own.unlink(missing_ok=True)
        self._wait()

    def _wait(self) -> None:
        minutes = self.checkpoint.minutes
        self._due = math.inf if minutes is None else time.monotonic() + 60 * minutes

    def _heed(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal until the step is over; a second one does not wait."""
        if self._stop is not None:
            self._obey()
        self._stop = number

    def _obey(self) -> None:
        """Stop, if a signal said so."""
        if self._stop is None:
            return
        if self._stop == signal.SIGINT:
            raise KeyboardInterrupt
        name = signal.Signals(self._stop).name
        warn(f"Training was stopped by {name}.{self.hint}")
        raise SystemExit(128 + self._stop)


def _none(text: str) -> str:
    return f"{text} To begin anew, do not ask to resume."


def _make(folder: Path) -> None:
    """Make a folder, or say why it cannot be one."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"checkpoint='{folder}' is a file. Name a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(f"Cannot make the folder '{folder}' for checkpoints: {reason}.") from error


def _identity(
    settings: Mapping[str, str], run: Run, batches: Sequence[Iterable[Any] | None]
) -> str:
    """Return a name of a run's settings, start and rows."""
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    start = {name: tensor.numpy() for name, tensor in run.tensors().items()}
    found.update(digest({}, start).encode())
    for own in batches:
        for batch in () if own is None else own:
            found.update(json.dumps(described(batch)).encode())
    return found.hexdigest()[:16]


def _check_fit(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError unless a state has the tensors of a run, of their shapes."""
    grown = ("losses", "train_loss", "validation_loss", "learning_rate")
    first = {n: t.shape for n, t in own.items() if not n.startswith("player.") and n not in grown}
    found = {n: t.shape for n, t in tensors.items() if not n.startswith("player.")}
    if any(found.get(name) != shape for name, shape in first.items()) or not found.keys() >= {
        *grown
    }:
        raise CheckpointError("A checkpoint does not fit the network.")


def _difference(settings: Mapping[str, str], others: Sequence[Path]) -> str:
    """Return how the settings differ from those of the checkpoint that is most like them."""
    found = []
    for path in others:
        try:
            theirs = header_of(path)["settings"]
        except (OSError, ValueError, KeyError):
            continue
        names = [name for name in {**settings, **theirs} if settings.get(name) != theirs.get(name)]
        found.append((len(names), names, theirs))
    if not found:
        return "they cannot be read"
    n_names, names, theirs = min(found, key=lambda item: item[0])
    if not n_names:
        return "the rows, their order or random_state differ"
    own, other = settings.get(names[0], "not set"), theirs.get(names[0], "not set")
    return f"{names[0]} is {own} here and {other} there"


@contextmanager
def _heeding(handler: Any) -> Iterator[None]:
    """Give SIGINT and SIGTERM to a function, where signals arrive: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)
