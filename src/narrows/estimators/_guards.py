"""What a fit refuses, warns of, or undoes."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from narrows import _ranks
from narrows._errors import NonFiniteLossError, warn
from narrows._types import Array
from narrows.adversarial import accuracy
from narrows.data.batches import Batch
from narrows.data.source import Source
from narrows.engine.loop import History
from narrows.engine.saver import one_fit
from narrows.estimators import _rows
from narrows.estimators._checks import Checked
from narrows.model import Model
from narrows.nn.code import Layout
from narrows.nn.scale import Moments, Scale

# Nats of divergence below which a component says nothing; share of codes and draws told apart, and
# energy coefficient of the two, above which codes do not follow their prior
_COLLAPSED, _TOLD_APART, _APART = 0.01, 0.95, 0.2
_SUMMED = 1e4  # the root of how many of the largest squares may be summed
_FEWEST, _MOST = 50, 2000
_AGAINST_COLLAPSE = "Write a smaller beta, warm_up=0.3, free_bits=0.1, or noise='learned'."


@contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """Leave a fitted estimator as it was if it cannot be fitted again; all within is one fit."""
    before = dict(estimator.__dict__)
    try:
        with _ranks.fitting(), one_fit(estimator):
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


def refuse_range(
    name: str, rows: Source, moments: Moments, scale: Scale, settings: Checked
) -> None:
    """Raise ValueError for features whose squares, scaled, are beyond the network's numbers."""
    dtype, remedy = settings.dtype, ", or write scale='auto'." if settings.scale == "none" else "."
    seen, largest = moments.weight > 0, torch.finfo(dtype).max ** 0.5 / _SUMMED
    ends = np.where(seen, [moments.low, moments.high], 0)
    with np.errstate(over="ignore", invalid="ignore"):
        reach = np.abs((ends - scale.centre) / scale.width).max(0)
        held = np.isfinite(moments.variance) & np.isfinite(scale.width) & (reach <= largest)
    if held[seen].all():
        return
    first, feature = _first(seen & ~held, rows)
    size = f"{np.abs(ends[:, first]).max():.0e}"
    raise ValueError(
        f"{name} is too large for the squares that training sums: feature {feature} reaches "
        f"{size}. Divide it by {size}{remedy}"
    )


def refuse_unscaled(name: str, rows: Source, moments: Moments, dtype: torch.dtype) -> None:
    """Raise ValueError for rows, not to be scaled, that the network's numbers cannot tell apart.

    Their squares vanish, or they lie so far from zero that numbers there are a width apart.
    """
    kind, seen = torch.finfo(dtype), moments.weight > 0
    size = np.where(seen, np.maximum(np.abs(moments.low), np.abs(moments.high)), 0)
    if 0 < size.max() < 10 * kind.tiny**0.5:
        raise ValueError(
            f"{name} is too small for the squares that training sums: it reaches "
            f"{size.max():.0e}. Write scale='auto'."
        )
    blurred = size * kind.eps > np.sqrt(moments.variance)
    if (bad := blurred & seen & ~moments.constant).any():
        first, feature = _first(bad, rows)
        raise ValueError(
            f"{name} lies too far from zero: feature {feature} reaches {size[first]:.0e}, where "
            f"{kind.dtype} cannot tell its values apart. Write scale='auto'."
        )


def warn_constant(moments: Moments, rows: Source, sequential: bool = False) -> None:
    """Warn of features that do not vary or are never seen; of sequences once for all steps."""
    absent, varied = moments.weight == 0, moments.high > moments.low
    for which, what, so in (
        (~varied & ~absent, "constant", "carry no information and are only centred"),
        (absent, "missing in all rows", "carry no information and are taken as 0"),
        (varied & moments.constant, "too small to be squared", "are taken as constant"),
    ):
        own = which[: math.prod(rows.shape[1:])] if sequential else which
        if own.any():
            count = f"{int(own.sum())} of {len(own)} features are {what}"
            warn(f"{count}, the first is {_first(own, rows)[1]}; they {so}.")


def _first(which: Array, rows: Source) -> tuple[int, str]:
    """Return the first of some features, and what it is called."""
    first = int(np.flatnonzero(which)[0])
    return first, repr(rows.names[first % len(rows.names)]) if rows.names else str(first)


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
    warn(
        f"{which} collapsed: their posteriors are the prior, so codes tell nothing of rows. "
        f"{remedy}",
    )


def warn_told_apart(model: Model, rows: Batch) -> None:
    """Warn if codes of a model that was trained against a critic do not follow its prior.

    A critic that tells them from draws says so; one that learnt nothing does not, so that the two
    are compared by themselves too, by an effect size: large sets always differ a little.
    """
    b = model.blueprint
    if b.critic is None or not model.keeps_last:
        return
    rows = rows.spread(_MOST)
    with torch.no_grad():
        codes = model.encode(rows.x, rows.condition)
    own = torch.Generator().manual_seed(0)
    draws = b.critic.sampler.features(len(rows), b.layout, [own])
    share = float(accuracy(model, codes, draws))
    miss = _miss(codes[0].double().numpy(), draws[0].double().numpy(), b.layout)
    if miss and len(rows) >= _FEWEST:
        warn(
            f"Codes do not follow the prior: {miss}. Its critic tells {share:.0%} of both apart. "
            "Write a larger max_epochs, strength or batch_size, another critic_learning_rate, or a "
            "prior about as wide as the codes.",
        )
    elif share > _TOLD_APART:
        warn(
            f"The critic tells {share:.0%} of codes and draws of the prior apart: codes do not "
            "follow it. Write a larger max_epochs or strength, a smaller critic_learning_rate, or "
            "fewer components.",
        )


def _miss(codes: Array, draws: Array, layout: Layout) -> str:
    """Return where codes lie elsewhere than draws, both as features; nothing if they do not."""
    each = [energy_coefficient(*pair) for pair in zip(codes.T, draws.T, strict=True)]
    worst = int(np.argmax(each))
    if each[worst] <= _APART:
        return ""
    (a, b), component = (part[:, worst] for part in (codes, draws)), layout.component[worst]
    if component in layout.circular:
        return f"the angles of component {component} lie elsewhere"
    return (
        f"component {component} has mean {a.mean():.2g} and standard deviation {a.std():.2g}, "
        f"draws {b.mean():.2g} and {b.std():.2g}"
    )


def energy_coefficient(a: Float[np.ndarray, " row"], b: Float[np.ndarray, " draw"]) -> float:
    """Return ``1 - (E|a - a'| + E|b - b'|) / 2 E|a - b|`` of two sets of numbers.

    From 0, alike, to 1: 0.19 for normal distributions one standard deviation apart, 0.20 if one is
    seven times as wide. (Székely & Rizzo 2013, doi:10.1016/j.jspi.2013.03.018.)

    Examples
    --------
    >>> energy_coefficient(np.zeros(3), np.ones(3))
    1.0
    """
    # E|a - b| is the integral of F (1 - G) + G (1 - F) with distribution functions F and G.
    ends = np.sort(np.concatenate([a, b]))
    f, g = (np.searchsorted(np.sort(own), ends[:-1], "right") / len(own) for own in (a, b))
    between = (np.diff(ends) * (f * (1 - g) + g * (1 - f))).sum()
    return float((np.diff(ends) * (f - g) ** 2).sum() / between) if between > 0 else 0.0
