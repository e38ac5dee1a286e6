"""How a probabilistic model explains the held-out rows, and what it makes of its own."""

import math
from contextlib import suppress
from typing import Any

import numpy as np

from narrows import plots
from narrows.data.views import Rows
from narrows.estimators._bound import PriorGap
from narrows.estimators._checks import sampler_of
from narrows.metrics import generative_precision_recall, two_sample_auc
from narrows.report import blocks
from narrows.report.blocks import Block, Section, Table, Text, number, share
from narrows.report.subject import Subject

MAX_ROWS = 1000
MAX_COMPONENTS = 20
_LEAST_ROWS = 20
_N_SAMPLES = 100


def generation(s: Subject, random_state: int) -> Section | None:
    """Show how a model with a prior fits it, and samples beside the rows.

    Of a distribution of codes, the bound by its terms and which components are active; of codes
    against a critic, what that tells and the test of the prior.
    """
    bounded, contested = (hasattr(s.estimator, name) for name in ("elbo", "critic_accuracy"))
    if not bounded and not contested:
        return None
    rng = np.random.default_rng(random_state)
    chosen = np.sort(rng.permutation(len(s.rows))[:MAX_ROWS])
    rows = Rows(s.rows, chosen)
    targets = None if s.target is None else Rows(s.targets, chosen)
    found: list[Block] = []
    if bounded:
        found += [_bound(s, rows, targets, random_state), _components(s, rows, targets)]
    else:
        found += _contest(s, rows, random_state)
    found.extend(_samples(s, Rows(s.targets, chosen), random_state))
    title = "Likelihood and samples" if bounded else "Prior and samples"
    return Section("generation", title, found)


def _contest(s: Subject, rows: Any, random_state: int) -> list[Block]:
    """Say what the critic tells, and draw codes beside the prior."""
    estimator = s.estimator
    sampler = sampler_of(estimator)
    accuracy = estimator.critic_accuracy(rows, random_state=random_state)
    lines = [
        ["prior", repr(sampler), "what codes are to follow"],
        ["critic's accuracy", share(accuracy), "0.5 where it cannot tell codes from draws"],
    ]
    if len(rows) > 1:
        test = estimator.prior_test(rows, random_state=random_state)
        lines.append(["p-value of the prior", number(test.p_value, 2), "small: codes miss it"])
    note = f"{len(rows)} held-out rows, and as many draws of the prior."
    codes = estimator._angles(rows)
    features = estimator._draws(len(codes), np.random.SeedSequence(random_state))
    draws = estimator._model.blueprint.layout.angles(features).numpy()
    both, kinds = np.vstack([codes, draws]), np.repeat(["codes", "prior"], len(codes))
    picture = plots.code_scatter(both, kinds, s.circular, s.names)
    caption = "Codes of held-out rows and draws of the prior, which codes are to follow."
    return [
        Table(["figure", "value", "meaning"], lines, note),
        blocks.figure(picture, "prior", "Codes and draws of the prior", caption),
    ]


def _bound(s: Subject, rows: Any, targets: Any, random_state: int) -> Block:
    try:
        bound = s.estimator.elbo(rows, target=targets)
    except ValueError as error:
        return Text(f"There is no bound. {error}", True)
    values = {
        "reconstruction": bound.reconstruction,
        "divergence": bound.divergence,
        "bound": bound.total,
    }
    with suppress(ValueError):  # where values have no density, the bound stands alone
        values["log-likelihood"] = s.estimator.log_likelihood(
            rows, target=targets, n_samples=_N_SAMPLES, random_state=random_state
        ).value
    lines = [
        [name, number(float(own.mean())), number(float(own.std() / len(own) ** 0.5))]
        for name, own in values.items()
    ]
    caption = (
        "Nats per row of the data as given, mean over "
        f"{len(bound.total)} held-out rows. The bound is reconstruction minus divergence; the "
        f"log-likelihood is estimated by importance sampling with {_N_SAMPLES} codes per row."
    )
    return Table(["term", "mean", "standard error"], lines, caption)


def _components(s: Subject, rows: Any, targets: Any) -> Block:
    active = s.estimator.active_units(rows)
    spread = s.estimator._pairs(rows).var(0)
    n = min(s.n_components, MAX_COMPONENTS)
    gap = s.estimator.prior_gap(rows) if targets is None else None
    lines = [
        [s.names[k], "yes" if active[k] else "no", number(float(v)) if not s.circular else ""]
        for k, v in zip(range(n), spread, strict=False)
    ]
    told = "" if gap is None else _told(gap, len(rows))
    caption = (
        f"{int(active.sum())} of {s.n_components} components are active: the location of their "
        f"posterior varies over the rows by more than 0.01.{told}"
    )
    return Table(["component", "active", "variance of the location"], lines, caption)


def _told(gap: PriorGap, n_rows: int) -> str:
    """Say how the divergence splits, if there are rows enough to tell."""
    if gap.mutual_information > math.log(n_rows) - 1:
        return (
            f" Codes tell more of rows than {n_rows} of them can show; how far all codes together "
            "are from the prior takes more rows."
        )
    return (
        f" Codes tell {number(gap.mutual_information, 3)} nats of rows; all codes together are "
        f"{number(gap.gap, 3)} nats from the prior, which samples suffer from."
    )


def _samples(s: Subject, targets: Any, random_state: int) -> list[Block]:
    """Draw samples, and say how well they mix with the rows."""
    if s.estimator._sequential or len(targets) < _LEAST_ROWS:
        few = f"Samples are drawn beside {_LEAST_ROWS} rows at least, of one length."
        return [Text(few, True)]
    real = targets.read(0, len(targets)).reshape(len(targets), -1).astype(np.float64)
    drawn = s.estimator.sample(len(real), random_state=random_state).reshape(len(real), -1)
    drawn = drawn.astype(np.float64)
    whole = ~np.isnan(real).any(1)
    shown = (real, drawn) if s.event_shape is not None else _standardised(real, drawn)
    picture = plots.samples(*shown, event_shape=s.event_shape)
    caption = "Held-out rows, and rows that the model draws, its noise included."
    found: list[Block] = [
        blocks.figure(picture, "samples", "Samples of the model beside rows", caption)
    ]
    if whole.sum() < _LEAST_ROWS:
        return found
    one, two = _standardised(real[whole], drawn[whole])
    quality = generative_precision_recall(one, two)
    auc = two_sample_auc(one, two, random_state=random_state)
    lines = [
        ["precision", share(quality.precision), "samples that lie among the rows"],
        ["recall", share(quality.recall), "rows that lie among the samples"],
        ["density", share(quality.density), "rows around a sample, over those expected"],
        ["coverage", share(quality.coverage), "rows with a sample nearby"],
        ["two-sample AUC", share(auc.auc), "0.5 where a classifier cannot tell them apart"],
    ]
    note = f"{int(whole.sum())} of each, every value in standard deviations of the rows."
    return [*found, Table(["figure", "value", "meaning"], lines, note)]


def _standardised(real: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both in standard deviations of the first from its mean."""
    mean, width = np.nanmean(real, 0), np.nanstd(real, 0)
    width = np.where(width > 0, width, 1.0)
    return (real - mean) / width, (drawn - mean) / width
