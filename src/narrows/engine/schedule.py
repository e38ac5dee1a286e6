"""How the learning rate falls."""

import math


def schedule(kind: str, progress: float) -> float:
    """Return the share of the full learning rate at a progress from 0 to 1."""
    shape = {
        "cosine": 0.5 * (1 + math.cos(math.pi * min(progress, 1))),
        "linear": 1 - min(progress, 1),
        "constant": 1.0,
    }[kind]
    return max(shape, 0.01)
