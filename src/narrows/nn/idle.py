"""How long the units of a code have been silent."""

from collections.abc import Hashable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from narrows import _ranks
from narrows._ranks import Share


class Idle(nn.Module):
    """Counts the training rows since each feature of a code was last other than 0.

    Parameters
    ----------
    patience : sequence of float
        After how many rows penalties want to know of it; nothing is counted for none.
    n_restarts, n_features : int

    Attributes
    ----------
    rows : Tensor of shape (restart, 1, feature)
    longest : float
        The largest of these at the beginning of the step.
    """

    rows: Tensor

    def __init__(self, patience: Sequence[float], n_restarts: int, n_features: int) -> None:
        super().__init__()
        self.patience = patience
        self.longest = 0.0
        self.register_buffer("rows", torch.zeros(n_restarts, 1, n_features), persistent=False)

    def begin(self) -> Hashable:
        """Look, at the beginning of a step, for whom there are silent units."""
        if self.patience:
            self.longest = float(self.rows.max())
        return tuple(self.longest >= patience for patience in self.patience)

    def counted(
        self, features: Float[Tensor, "restart row feature"], share: Share | None
    ) -> Float[Tensor, "restart 1 feature"]:
        """Return the rows before these, and count these."""
        if not (self.patience and self.training):
            return self.rows
        before, n_rows = self.rows.clone(), features.shape[1]
        fired = (features.detach() != 0).any(1, keepdim=True)
        if share is not None:
            fired = _ranks.summed(fired.float()) > 0
            n_rows = share.of_all(n_rows)
        self.rows.copy_(torch.where(fired, 0, before + n_rows))
        return before
