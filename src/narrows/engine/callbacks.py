"""What may watch a run: functions of the epoch just finished."""

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn


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
    """

    number: int
    n_epochs: int
    train_loss: Float[Tensor, " restart"]
    validation_loss: Float[Tensor, " restart"]
    learning_rate: float
    model: nn.Module = field(repr=False)


class Progress:
    """A progress bar with the losses of the best restart and the time left.

    Use as a context: ``with Progress() as progress: ...``.
    """

    def __enter__(self) -> "Progress":
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("training"),
            BarColumn(bar_width=24),
            TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[losses]}"),
            TimeRemainingColumn(),
        )
        self._bar.start()
        self._task: Any = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, epoch: Epoch) -> None:
        """Show an epoch."""
        best = int(epoch.validation_loss.argmin())
        train, held = float(epoch.train_loss[best]), float(epoch.validation_loss[best])
        losses = f"loss {train:.4g}, validation {held:.4g}"
        if self._task is None:
            self._task = self._bar.add_task("training", total=epoch.n_epochs, losses=losses)
        self._bar.update(self._task, completed=epoch.number, losses=losses)


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
