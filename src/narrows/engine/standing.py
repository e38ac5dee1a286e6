"""How far the runs of a folder of checkpoints are."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from narrows._errors import CheckpointError
from narrows._types import PathLike
from narrows.engine.checkpoint import SUFFIX, read, seconds_of

_NAME = re.compile(rf"([0-9a-f]{{16}})-\d{{6}}{re.escape(SUFFIX)}")


@dataclass(frozen=True)
class Standing:
    """What the last whole checkpoint of a run tells.

    Attributes
    ----------
    path : Path
        The checkpoint.
    run, estimator : str
        Name of the run, and what is fitted.
    n_epochs, max_epochs : int
        Epochs done, and at most to do.
    over : bool
        Whether training has ended.
    validation_loss : Tensor of shape (epoch, restart)
        Per value of the data, the first of the start; without validation rows, the training loss.
    best_epoch : Tensor of int, shape (restart,)
    best_loss : Tensor of shape (restart,)
    learning_rate : float
        At the end of the last epoch; NaN before.
    seconds : float
        What the epochs took.
    saved : float
        When, in seconds since 1970.
    settings : mapping
        All that the training depends on, as text, by dotted names.
    """

    path: Path
    run: str
    estimator: str
    n_epochs: int
    max_epochs: int
    over: bool
    validation_loss: Float[Tensor, "epoch restart"]
    best_epoch: Int[Tensor, " restart"]
    best_loss: Float[Tensor, " restart"]
    learning_rate: float
    seconds: float
    saved: float
    settings: Mapping[str, str] = field(repr=False)

    @property
    def seconds_left(self) -> float:
        """What the epochs left take at most, at the pace of those done; NaN if that is unknown."""
        if self.over:
            return 0.0
        pace = self.seconds / self.n_epochs if self.n_epochs and self.seconds else math.nan
        return pace * (self.max_epochs - self.n_epochs)


def standings(folder: PathLike) -> tuple[list[Standing], list[str]]:
    """Return the runs that have checkpoints in a folder, the one saved last at the end.

    Checkpoints that cannot be read give way to the ones before them.

    Returns
    -------
    list of Standing
    list of str
        A sentence for each checkpoint that could not be read.

    Raises
    ------
    CheckpointError
        If the folder holds no checkpoint, or none that can be read.
    """
    named = sorted(path for path in Path(folder).iterdir() if _NAME.fullmatch(path.name))
    if not named:
        raise CheckpointError(
            f"The folder '{folder}' holds no checkpoints, or none yet: "
            "the first comes after ten minutes, unless the fit was told otherwise."
        )
    found: dict[str, Standing] = {}
    reasons = []
    for path in reversed(named):
        run = path.name[:16]
        if run in found:
            continue
        try:
            found[run] = _standing(path, run)
        except FileNotFoundError:
            continue  # a run that goes on has put newer ones in its place
        except (CheckpointError, OSError) as error:
            reasons.append(str(error))
    if not found:
        more = reasons[0] if reasons else "They vanished while they were read."
        raise CheckpointError(f"No checkpoint in '{folder}' can be read. {more}")
    return sorted(found.values(), key=lambda standing: standing.saved), reasons


def _standing(path: Path, run: str) -> Standing:
    saved = path.stat().st_mtime
    tensors, header = read(path)
    try:
        return _told(path, run, saved, tensors, header)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise CheckpointError(f"The checkpoint '{path}' lacks what a run has.") from error


def _told(
    path: Path, run: str, saved: float, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
) -> Standing:
    rates, settings = tensors["learning_rate"], header["settings"]
    losses, best = tensors["validation_loss"], tensors["best.epoch"]
    n_epochs, wanted = len(rates), (len(rates) + 1, len(best))
    if losses.shape != wanted or best.ndim != 1 or tensors["best.loss"].shape != best.shape:
        raise ValueError("Losses do not fit together.")
    return Standing(
        path,
        run,
        str(header.get("estimator") or "Model"),
        n_epochs,
        int(settings["max_epochs"]),
        bool(tensors["over"]),
        losses.double(),
        best.to(torch.int64),
        tensors["best.loss"].double(),
        float(rates[-1]) if n_epochs else math.nan,
        seconds_of(header),
        saved,
        {str(name): str(text) for name, text in settings.items()},
    )
