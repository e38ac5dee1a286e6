"""What may watch a run: functions of the epoch just finished."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

_BETWEEN_LINES = 30.0  # seconds


@dataclass(frozen=True)
class Epoch:
    """What a callback sees.

    Attributes
    ----------
    number, n_epochs : int
        Epochs done, and at most to do.
    train_loss, validation_loss : Tensor of shape (restart,)
        Mean loss per value of the data.
    learning_rate : float
        At the end of the epoch.
    model : nn.Module
        What is trained, a `narrows.model.Model`, to look at: its inputs are scaled rows, flat.
        Steps are recorded, so that a setting that is changed here has no effect on later ones.
    terms : mapping of str to Tensor of shape (restart,)
        What the train loss is the sum of, by name, and the losses of other players.
    seconds : float
        What the epoch took.
    """

    number: int
    n_epochs: int
    train_loss: Float[Tensor, " restart"]
    validation_loss: Float[Tensor, " restart"]
    learning_rate: float
    model: nn.Module = field(repr=False)
    terms: Mapping[str, Float[Tensor, " restart"]] = field(default_factory=dict)
    seconds: float = 0.0


class Progress:
    """Epochs, the losses of the best restart and the time left, at most.

    A bar where a person watches, in a terminal or a notebook that has ipywidgets; elsewhere, in
    the log file of a queue for instance, a line now and then. Use as a context:
    ``with Progress() as progress: ...``.
    """

    def __enter__(self) -> "Progress":
        from rich.console import Console

        console = Console()
        notebook = console.is_jupyter and find_spec("ipywidgets") is not None
        self._bar = _bar(console) if console.is_terminal or notebook else None
        self._task: Any = None
        self._n_timed, self._seconds = 0, 0.0
        self._line, self._due = "", -math.inf
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._print()

    def __call__(self, epoch: Epoch) -> None:
        """Show an epoch."""
        best = int(epoch.validation_loss.nan_to_num(math.inf).argmin())
        train, held = float(epoch.train_loss[best]), float(epoch.validation_loss[best])
        losses = f"loss {train:.4g}, validation {held:.4g}"
        self._n_timed, self._seconds = self._n_timed + 1, self._seconds + epoch.seconds
        left = self._seconds / self._n_timed * (epoch.n_epochs - epoch.number)
        time_left = f"at most {duration(left)} left"
        if self._bar is None:
            self._line = f"epoch {epoch.number}/{epoch.n_epochs}, {losses}, {time_left}"
            if time.monotonic() >= self._due:
                self._print()
            return
        told = {"losses": losses, "left": time_left}
        if self._task is None:
            self._task = self._bar.add_task("training", total=epoch.n_epochs, **told)
        self._bar.update(self._task, completed=epoch.number, **told)

    def _print(self) -> None:
        """Print the last line, if it was not printed."""
        if self._line:
            print(self._line, flush=True)
        self._line, self._due = "", time.monotonic() + _BETWEEN_LINES


def _bar(console: Any) -> Any:
    """Return a bar that is shown from now on, in 80 columns."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(bar_width=None),
        TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[losses]}"),
        TextColumn("{task.fields[left]}"),
        console=console,
    )
    bar.start()
    return bar


def duration(seconds: float) -> str:
    """Return a duration in hours, minutes and seconds.

    Examples
    --------
    >>> duration(3725.4)
    '1:02:05'
    """
    return str(timedelta(seconds=round(seconds)))


class TimeLimit:
    """Stop training after a number of seconds.

    Parameters
    ----------
    seconds : float
        Counted from the first epoch that ends.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start: float | None = None

    def __call__(self, epoch: Epoch) -> str | None:
        """Return "stop" once the time is over."""
        now = time.monotonic()
        self._start = now if self._start is None or epoch.number == 1 else self._start
        return "stop" if now - self._start >= self.seconds else None
