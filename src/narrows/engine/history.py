"""What a training leaves behind: losses by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor


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
