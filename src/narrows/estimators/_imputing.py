"""Missing entries, filled by what the model makes of them."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from sklearn.exceptions import ConvergenceWarning

from narrows._errors import warn

Rows = Float[torch.Tensor, "row value"]
LEAST_SHARE = 2**-10  # of a move: below it, a row has no fixed point nearby


def check(
    max_iter: int, tol: float, event_shape: tuple[int, ...], target_shape: tuple[int, ...]
) -> None:
    """Raise ValueError unless rounds can be taken with these settings and shapes."""
    if max_iter < 1 or tol < 0:
        raise ValueError(
            f"max_iter={max_iter} must be at least 1 and tol={tol} at least 0. "
            "Write max_iter=1000, tol=1e-5."
        )
    if event_shape != target_shape:
        raise ValueError(
            f"impute fills rows of shape {event_shape} by reconstructions of them, but the model "
            f"was fitted on a target of shape {target_shape}. Fit without target=."
        )


def refilled(
    x: Rows,
    missing: Bool[torch.Tensor, "row value"],
    rebuild: Callable[[Rows, torch.Tensor], Rows],
    max_iter: int,
    tol: float,
) -> Rows:
    """Return rows whose missing entries are replaced by what `rebuild` makes of them, until still.

    Each row goes on until none of its entries moves by more than `tol`, whatever the others do. A
    row whose moves grow takes half of them from then on, and stops where that does not help. The
    second argument of `rebuild` is the rows' numbers.
    """
    x = x.clone()
    share = missing.any(1).to(x.dtype)
    last = torch.full_like(share, torch.inf)
    for _ in range(max_iter):
        rows = (share > LEAST_SHARE).nonzero().flatten()
        if not len(rows):
            break
        move = torch.where(missing[rows], rebuild(x[rows], rows) - x[rows], 0)
        size = move.abs().amax(1)
        share[rows] = torch.where(size > last[rows], share[rows] / 2, share[rows])
        x[rows] += share[rows, None] * move
        share[rows] = torch.where(size > tol, share[rows], 0)
        last[rows] = size
    unsettled = share > 0
    if unsettled.any():
        warn(
            f"Missing entries of {int(unsettled.sum())} rows still move, by up to "
            f"{float(last[unsettled].max()):.2g} scaled units, above tol={tol}. Write a larger "
            "max_iter or tol, or fit with more epochs or stronger corruption.",
            ConvergenceWarning,
        )
    return x
