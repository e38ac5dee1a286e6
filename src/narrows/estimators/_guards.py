"""What a fit refuses, warns of, or undoes."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from narrows._errors import NonFiniteLossError
from narrows._types import Array
from narrows.adversarial import accuracy
from narrows.data.batches import Batch
from narrows.data.source import Source
from narrows.engine.loop import History
from narrows.engine.saver import one_fit
from narrows.estimators import _rows
from narrows.model import Model

# Nats of divergence below which a component says nothing; share of codes and draws told apart
# above which codes do not follow their prior
_COLLAPSED, _TOLD_APART = 0.01, 0.95
_AGAINST_COLLAPSE = "Write a smaller beta, warm_up=0.3, free_bits=0.1, or noise='learned'."


@contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """Leave a fitted estimator as it was if it cannot be fitted again; all within is one fit."""
    before = dict(estimator.__dict__)
    try:
        with one_fit():
            yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise


def refuse_failure(history: History) -> None:
    """Raise NonFiniteLossError if a run failed."""
    if history.failure:
        raise NonFiniteLossError(
            f"{history.failure} The best weights before it are kept. The likely cause is too "
            "large a step: write a smaller learning_rate, or training=Training(clip_norm=1.0)."
        )


def refuse_holes(rows: Source, estimator: Any) -> None:
    """Raise ValueError if layers that rebuild X, under another target, have entries missing."""
    if _rows.check_finite("X", rows, estimator.missing):
        raise ValueError(
            "X has missing entries, and its layers learn to rebuild X while the target is another. "
            "Fill them first: Autoencoder(5, missing='ignore').fit(X).impute(X), say."
        )


def warn_constant(constant: Array, rows: Source, sequential: bool = False) -> None:
    """Warn of features that do not vary, naming the first; of sequences once for all steps."""
    if sequential:
        constant = constant[: math.prod(rows.shape[1:])]
    count = int(constant.sum())
    if not count:
        return
    first = int(np.flatnonzero(constant)[0])
    name = repr(rows.names[first]) if rows.names else str(first)
    warnings.warn(
        f"{count} of {len(constant)} features are constant, the first is {name}; "
        "they carry no information and are only centred.",
        stacklevel=5,
    )


def warn_collapse(model: Model, rows: Batch, remedy: str = _AGAINST_COLLAPSE) -> None:
    """Warn if all components of a code are like their prior, whatever the row.

    The remedy is a sentence that says what to write instead.
    """
    with torch.no_grad():
        found = model.divergences(rows)
    if found is None or bool((found.mean(1) > _COLLAPSED).any()):
        return
    n = model.blueprint.layout.n_components
    which = f"All {n} components have" if n > 1 else "The component has"
    warnings.warn(
        f"{which} collapsed: their posteriors are the prior, so codes tell nothing of rows. "
        f"{remedy}",
        stacklevel=5,
    )


def warn_told_apart(model: Model, rows: Batch) -> None:
    """Warn if the critic of a model that was trained against it tells codes from draws."""
    b = model.blueprint
    if b.critic is None or not model.keeps_last:
        return
    with torch.no_grad():
        codes = model.encode(rows.x, rows.condition)
    own = torch.Generator().manual_seed(0)
    share = float(accuracy(model, codes, b.critic.sampler.features(len(rows), b.layout, [own])))
    if share > _TOLD_APART:
        warnings.warn(
            f"The critic tells {share:.0%} of codes and draws of the prior apart: codes do not "
            "follow it. Write a larger max_epochs or strength, a smaller critic_learning_rate, or "
            "fewer components.",
            stacklevel=5,
        )
