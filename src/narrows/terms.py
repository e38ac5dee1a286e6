"""Means of terms over the rows of a batch, which one process computes or several."""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from narrows import _ranks
from narrows.data.batches import Batch
from narrows.nn.record import Record
from narrows.objective.penalties import Penalty


def added(
    penalty: Penalty,
    record: Record,
    batch: Batch,
    level_weights: Float[Tensor, " level"],
    n_draws: int,
) -> Tensor:
    """Return a penalty for every row, or for the batch where it is a statistic of it.

    Of several processes, each returns what it adds to the mean of such a statistic.

    Raises
    ------
    ValueError
        If a batch is shared, and its statistic does not say that it is one.
    """
    if batch.share is not None and penalty.of_batch:
        return _statistic(penalty, record, batch, level_weights, n_draws)
    term = penalty(record)
    if batch.share is not None and term.ndim == 1:
        name = type(penalty).__name__
        raise ValueError(
            f"{name} is one number for a batch, which several processes share. Write "
            f"of_batch = True in the class {name}, so that it sees the rows of all."
        )
    return term


def _statistic(
    penalty: Penalty,
    record: Record,
    batch: Batch,
    level_weights: Float[Tensor, " level"],
    n_draws: int,
) -> Float[Tensor, " restart"]:
    """Return what this process adds to a penalty that reads the rows of all.

    Its value is the same in all, so that each adds one part of it; its gradient is what goes
    through own rows, and, in the first process, through the prior.
    """
    latent, whole = record.latent, batch.whole
    if whole is None:
        raise TypeError("The batch has no rows of other processes.")

    def of_all(own: Tensor) -> Tensor:
        return _ranks.gathered(own, batch.share, 1)

    features, every = of_all(record.features), whole
    if latent is not None:
        members = latent.members if _ranks.first() else latent.members.detached()
        latent = replace(latent, raw=of_all(latent.raw), features=features, members=members)
        every = whole.repeated(n_draws)
    record = replace(
        record,
        x=every.x,
        target=every.target,
        observed=every.observed,
        weight=every.weight,
        features=features,
        hidden=[of_all(layer) for layer in record.hidden],
        latent=latent,
        share=None,
    )
    with _ranks.drawing_for_all():
        term = penalty(record)
    if term.ndim > 1 and latent is not None:
        term = term.unflatten(-1, (n_draws, -1)).mean(-2)
    found = _weighted(term, whole.weight, level_weights)
    return found - found.detach() * (1 - 1 / _ranks.size())


def averaged(
    entries: Float[Tensor, "restart level row output"],
    level_weights: Float[Tensor, " level"],
    row_weight: Float[Tensor, " row"] | None,
) -> Float[Tensor, " restart"]:
    """Average over rows and outputs, row weights acting linearly; sum over levels by weight."""
    if row_weight is not None:
        return ((entries.mean(-1) * row_weight).mean(-1) * level_weights).sum(1)
    if len(level_weights) == 1:
        return entries.mean((1, 2, 3))
    return (entries.mean((2, 3)) * level_weights).sum(1)


def by_row(term: Tensor, level_weights: Float[Tensor, " level"]) -> Tensor:
    """Return a term as (restart, row), or (restart, 1), summed over levels by weight."""
    if term.ndim == 1:
        return term[:, None]
    return term if term.ndim == 2 else (term * level_weights[:, None]).sum(1)


def mean(
    term: Tensor, batch: Batch, level_weights: Float[Tensor, " level"]
) -> Float[Tensor, " restart"]:
    """Return what a term of these rows adds to its mean; statistics of the batch are complete."""
    if batch.share is not None and term.ndim == 1:
        return term
    return batch.portion_of(_weighted(term, batch.weight, level_weights))


def _weighted(
    term: Tensor, weight: Tensor | None, level_weights: Float[Tensor, " level"]
) -> Float[Tensor, " restart"]:
    """Average a term over the rows; weights, of mean one over the training set, act linearly."""
    if term.ndim == 1:
        return term if weight is None else term * weight.mean()
    term = by_row(term, level_weights)
    return term.mean(1) if weight is None else (term * weight).mean(1)


def total(entries: Tensor, weight: Tensor | None) -> Float[Tensor, "restart level"]:
    """Return the sum over outputs and rows, by weight."""
    rows = entries.sum(-1)
    return (rows if weight is None else rows * weight).sum(-1)
