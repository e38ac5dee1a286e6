"""How training went."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from narrows.plots.style import INK, NEUTRAL, PALETTE, canvas, styled

if TYPE_CHECKING:
    import matplotlib.axes

KEPT: Any = {"s": 34, "color": PALETTE[1], "edgecolors": INK, "linewidths": 0.7, "zorder": 5}


@styled
def training_curves(
    train_loss: Float[np.ndarray, "epoch restart"],
    validation_loss: Float[np.ndarray, "point restart"] | None = None,
    best_epoch: int | np.integer[Any] | Int[np.ndarray, "restart"] | None = None,
    ax: "matplotlib.axes.Axes | None" = None,
) -> "matplotlib.axes.Axes":
    """Draw the losses of all restarts against the epoch.

    Use it to see whether training had ended, whether it overfitted and how far restarts differ.
    The scale is logarithmic where all losses are positive and span a factor of ten.

    Parameters
    ----------
    train_loss : array of shape (epoch, restart)
        Loss on the training rows; NaN after a restart has stopped.
    validation_loss : array of shape (epoch or epoch + 1, restart), default=None
        Loss on the validation rows, if there were any; one row more begins with the loss before
        the first epoch.
    best_epoch : int or array of shape (restart,), default=None
        Row of `validation_loss` (without it, of `train_loss`) whose weights were kept: of the
        restart that is best there, or of each restart.
    ax : matplotlib Axes, default=None
        Where to draw; a new figure if not given.

    Returns
    -------
    matplotlib Axes
        Where it was drawn.

    Examples
    --------
    >>> loss = 1 / np.arange(1.0, 21.0)[:, None] + np.array([[0.1, 0.2]])
    >>> training_curves(loss, loss + 0.05, best_epoch=19).get_xlabel()
    'epoch'
    """
    from matplotlib.ticker import MaxNLocator

    ax = canvas(ax)
    kept = train_loss if validation_loss is None else validation_loss
    _bundle(ax, np.arange(1, len(train_loss) + 1), train_loss, NEUTRAL, "training")
    epoch = np.arange(len(train_loss) - len(kept) + 1, len(train_loss) + 1)
    if validation_loss is not None:
        _bundle(ax, epoch, validation_loss, PALETTE[0], "validation")
    if best_epoch is not None:
        rows, restarts = _kept(kept, best_epoch)
        ax.scatter(epoch[rows], kept[rows, restarts], label="weights kept", **KEPT)
    if _spans_a_decade(train_loss, kept):
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", ylabel="loss")
    ax.legend(loc="best")
    return ax


def _bundle(
    ax: "matplotlib.axes.Axes", epoch: np.ndarray, loss: np.ndarray, colour: str, label: str
) -> None:
    """Draw one line a restart, and name the first only."""
    n_restarts = loss.shape[1]
    lines = ax.plot(epoch, loss, color=colour, linewidth=1.3, alpha=max(0.45, 0.95**n_restarts))
    lines[0].set_label(label if n_restarts == 1 else f"{label} ({n_restarts} restarts)")


def _kept(
    loss: np.ndarray, best_epoch: int | np.integer[Any] | Int[np.ndarray, "restart"]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and restarts to mark."""
    if np.ndim(best_epoch):
        return np.asarray(best_epoch), np.arange(loss.shape[1])
    return np.array([best_epoch]), np.array([np.nanargmin(loss[best_epoch])])


def _spans_a_decade(*losses: np.ndarray) -> bool:
    values = np.concatenate([loss.ravel() for loss in losses])
    low, high = np.nanmin(values), np.nanmax(values)
    return bool(low > 0 and high > 10 * low)
