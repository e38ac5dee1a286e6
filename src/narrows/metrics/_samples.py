"""Two sets of rows of the same features, checked."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike


def both(
    real: ArrayLike, generated: ArrayLike, least: int = 1
) -> tuple[Float[np.ndarray, "row feature"], Float[np.ndarray, "generated_row feature"]]:
    """Return both sets as tables of finite numbers; events of any shape become rows."""
    first, second = (np.asarray(rows, dtype=np.float64) for rows in (real, generated))
    for name, rows in (("real", first), ("generated", second)):
        if rows.ndim < 2 or 0 in rows.shape[1:]:
            raise ValueError(
                f"{name} has shape {rows.shape}. "
                f"Pass an array of shape (row, feature), {name}[:, None] for a single feature."
            )
        if len(rows) < least:
            raise ValueError(f"{name} has {len(rows)} rows. Pass at least {least}.")
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(
            f"rows of real have shape {first.shape[1:]}, those of generated {second.shape[1:]}. "
            "Pass both with the same features."
        )
    for name, rows in (("real", first), ("generated", second)):
        if not np.isfinite(rows).all():
            count = rows.size - np.isfinite(rows).sum()
            raise ValueError(
                f"{name} holds {count} values that are not finite. Pass finite {name}."
            )
    return first.reshape(len(first), -1), second.reshape(len(second), -1)
