"""What was fitted, to which rows, how training went, and how to do it again."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from narrows import plots
from narrows.data.source import Source
from narrows.estimators._checks import training_of
from narrows.report import blocks
from narrows.report.blocks import Block, Code, Section, Table, Text, Tiles, bar, number, share
from narrows.report.settings import as_code, versions
from narrows.report.subject import (
    Subject,
    moments_of,
    n_repeated,
    names_of,
    squared_fve,
    went_back,
)

MAX_RESTARTS = 20
MAX_FEATURES = 40

Curve = Float[np.ndarray, " component"]
Levels = Float[np.ndarray, " level"]


def result(s: Subject, pca: Curve | None) -> Section:
    """Say what was fitted and how much each component explains."""
    squared = None if s.gaussian else squared_fve(s)
    return Section(
        "result", "Result", [_tiles(s, pca), Text(_sentence(s)), _ranking(s, pca, squared)]
    )


def _tiles(s: Subject, pca: Curve | None) -> Tiles:
    fve = s.fve[s.used]
    what = "variance" if s.gaussian else "deviance"
    tiles = [(share(fve[-1]), f"of the {what} explained by {_count(s)}, held out")]
    if pca is not None and s.gaussian:
        tiles.append((share(pca[-1]), f"by PCA with {s.n_components}, same rows"))
    if s.elbow is not None:
        tiles.append((str(s.elbow), "components up to the elbow"))
    if s.mean_agreement is not None:
        tiles.append((share(s.mean_agreement.min()), "lowest agreement between restarts"))
    return Tiles([*tiles, (f"{len(s.rows):,}".replace(",", " "), "held-out rows")])


def _count(s: Subject) -> str:
    return f"{s.n_components} component{'s' if s.n_components > 1 else ''}"


def _sentence(s: Subject) -> str:
    ranked = ", ranked by importance" if s.ranked and s.n_components > 1 else ""
    restarts = f"{len(s.fve)} restarts" if len(s.fve) > 1 else "one restart"
    return (
        f"{type(s.estimator).__name__} describes {s.n_values} values per row by {_count(s)}"
        f"{ranked}; {restarts} kept. All figures are measured on held-out rows ({len(s.rows)}), "
        "which should have chosen nothing: no gradient, no stopping epoch, no restart. This page "
        "cannot check that they were kept apart."
    )


def _ranking(s: Subject, pca: Curve | None, squared: Levels | None) -> Table:
    """Return one row per level: FVE, increment, and PCA beside it."""
    fve = s.fve[s.used]
    spread = s.fve.std(axis=0, ddof=1) if len(s.fve) > 1 else None
    n_levels = len(fve)
    last = [k if s.ranked else s.n_components for k in range(1, n_levels + 1)]
    columns: dict[str, list[Any]] = {
        "components": [f"1–{k}" if k > 1 else "1" for k in last],
        "held-out FVE": [
            bar(value, None if spread is None else float(spread[k])) for k, value in enumerate(fve)
        ],
    }
    if n_levels > 1:
        columns["increment"] = [share(value) for value in np.diff(fve, prepend=0.0)]
    if squared is not None:
        columns["squared error"] = [share(value) for value in squared]
    if pca is not None:
        columns["PCA" if squared is None else "PCA, squared"] = [share(pca[k - 1]) for k in last]
    if s.mean_agreement is not None:
        columns["agreement"] = [share(value) for value in s.mean_agreement]
    rows = list(zip(*columns.values(), strict=True))
    return Table(list(columns), rows, _ranking_caption(s, squared))


def _ranking_caption(s: Subject, squared: Levels | None) -> str:
    error = "‖t − t̂‖²" if s.gaussian else "deviance(t, t̂)"
    null = "‖t − mean‖²" if s.gaussian else "deviance(t, mean)"
    parts = [
        f"FVE: fraction of variance explained on the held-out rows, 1 − Σ {error} / Σ {null}, with "
        f"the mean of the rows of the fit, {s.space}."
    ]
    if len(s.fve) > 1:
        chooser = "validation" if _chosen(s) else "training"
        parts.append(
            f"±: standard deviation over the {len(s.fve)} restarts; the figure itself is of the "
            f"restart that the {chooser} rows chose."
        )
    if s.fve.shape[1] > 1:
        parts.append(
            "Increment: what the last component adds; negative ones are shown as they are."
        )
    if squared is not None:
        parts.append("Squared error: the same fraction in squared error, to stand beside PCA's.")
    parts.append(_pca_caption(s))
    if s.agreement is not None:
        parts.append("Agreement: see below.")
    return " ".join(parts)


def _pca_caption(s: Subject) -> str:
    pairs = "; a circular component is two numbers on a circle" if s.circular else ""
    return s.no_pca or (
        "PCA: as many principal components, fitted to the training rows, in the same space on the "
        f"same held-out rows{pairs}."
    )


# Data


def data(s: Subject) -> Section:
    """Summarise the rows."""
    parts = [_row_of("held out, X", s.rows)]
    if s.target is not None:
        parts.append(_row_of("held out, target", s.targets))
    if s.train is not None:
        parts.append(_row_of("training, X", s.train[0]))
        if s.target is not None:
            parts.append(_row_of("training, target", s.train[1]))
    head = ["rows", "number", "event", "missing", "constant", "least", "greatest"]
    caption = (
        "Event: shape of one row. Missing: entries that are NaN. Constant: values of a row that "
        "are the same in all rows."
    )
    found: list[Block] = [Table(head, parts, caption), *_repeated(s), *_features(s)]
    return Section("data", "Data", found)


def _row_of(name: str, rows: Source) -> list[str]:
    m = moments_of(rows)
    shape = " × ".join(map(str, rows.shape))
    missing = len(rows) * len(m.mean) - m.weight.sum()
    return [
        name, str(len(rows)), shape, number(missing, 12), str(int(m.constant.sum())),
        number(m.low.min()), number(m.high.max()),
    ]  # fmt: skip


def _repeated(s: Subject) -> list[Block]:
    if s.train is None:
        return []
    n = n_repeated(s.rows, s.train[0])
    if not n:
        return [Text("None of the held-out rows occurs among the rows passed as training rows.")]
    which = f"{n} of {len(s.rows)} held-out rows"
    return [Text(f"{which} also occur among the rows passed as training rows.", True)]


def _features(s: Subject) -> list[Block]:
    """Return a table of the features; for images and curves, mean and spread as events."""
    which = "held-out" if s.train is None else "training"
    if s.event_shape is not None:
        return [_moments_figure(s, s.event_shape, which)]
    source = s.rows if s.train is None else s.train[0]
    m, names = moments_of(source), names_of(source)
    spread = np.sqrt(m.variance)
    rows = [
        [names[j], *map(number, (m.mean[j], spread[j], m.low[j], m.high[j])),
         number(len(source) - m.weight[j], 12)]
        for j in range(min(len(names), MAX_FEATURES))
    ]  # fmt: skip
    head = ["feature", "mean", "standard deviation", "least", "greatest", "missing"]
    caption = (
        f"Features of X in the {which} rows, in the units of the data.{_cut(len(rows), len(names))}"
    )
    return [Table(head, rows, caption, summary=f"{len(names)} features" if len(rows) > 12 else "")]


def _moments_figure(s: Subject, shape: tuple[int, ...], which: str) -> blocks.Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.2), layout="constrained")
    events = {"mean": s.moments.mean, "standard deviation": np.sqrt(s.moments.variance)}
    for ax, (name, event) in zip(figure.subplots(1, 2), events.items(), strict=True):
        plots.draw_event(event, ax, event_shape=shape)
        ax.set_title(name, fontsize=9)
        if ax.images:
            plots.style.colour_bar(figure, ax.images[0], ax)
    caption = f"Mean and standard deviation of each value over the {which} rows."
    return blocks.figure(figure, "moments", "Mean and standard deviation of the rows", caption)


# Training


def training(s: Subject) -> Section:
    """Draw the losses of all restarts."""
    history, chosen, b = s.estimator.history_, _chosen(s), s.estimator._model.blueprint
    ax = plots.training_curves(
        history["train_loss"][:, : len(b.term_names)].sum(axis=1, dtype=np.float64),
        history["validation_loss"].astype(np.float64) if chosen else None,
        history["best_epoch"] if chosen else None,
    )
    caption = (
        "Objective per value of the data, penalties included, after each epoch and, for validation "
        "rows, before the first. Training: mean over the steps of the epoch, while weights moved."
    )
    picture = blocks.figure(ax, "training", "Loss against epoch", caption)
    back = went_back(s.estimator)
    said = [
        Text(_choice(chosen, s.estimator._model.keeps_last)),
        *([Text(back, True)] if back else []),
    ]
    return Section("training", "Training", [picture, *said, _restarts(s)])


def _in_passes(s: Subject) -> bool:
    """Return whether the last training was a pass of `partial_fit`."""
    history = s.estimator.history_
    return len(history["validation_loss"]) == len(history["train_loss"])


def _chosen(s: Subject) -> bool:
    """Return whether validation rows chose the epoch."""
    return training_of(s.estimator).validation_fraction > 0 and not _in_passes(s)


def _choice(chosen: bool, keeps_last: bool) -> str:
    if not chosen:
        return (
            "No rows were kept apart while training: the weights are those of the last epoch, and "
            "the restart was chosen on the training rows."
        )
    if keeps_last:
        return (
            "The weights are those of the last epoch. Validation rows, a part of the rows of the "
            "fit, chose the restart that is used, so its figures are a little too good. The "
            "held-out rows should have chosen nothing."
        )
    return (
        "Validation rows, a part of the rows of the fit, chose the epoch of each restart and the "
        "restart that is used, so their figures are a little too good. The held-out rows should "
        "have chosen nothing."
    )


def _restarts(s: Subject) -> Table:
    """Return a table of the restarts that were kept."""
    n = min(len(s.fve), MAX_RESTARTS)
    rows = [_restart_row(s, r) for r in range(n)]
    where = "validation" if _chosen(s) else "training"
    head = ["restart", "epoch kept", f"{where} loss", f"{where} FVE", "held-out FVE"]
    caption = (
        "Epoch 0 is the start, PCA by default; a restart goes back to it where its gain on the "
        "validation rows is in doubt (a paired test at 1 %). Loss: objective per value with "
        f"the weights kept. FVE of all components.{_cut(n, len(s.fve))}"
    )
    return Table(head, rows, caption, marked=s.used if s.used < n else None)


def _restart_row(s: Subject, r: int) -> list[str]:
    one = s.estimator._restart(r)
    history = one.history_
    last = not (_chosen(s) or _in_passes(s))
    epoch = one.n_iter_ if last else int(history["best_epoch"][0])
    loss = history["best_loss" if _chosen(s) else "validation_loss"].ravel()[-1]
    name = f"{r + 1} (used)" if r == s.used else str(r + 1)
    fve = share(float(one.fve_[-1])), share(float(s.fve[r, -1]))
    return [name, str(epoch), number(float(loss)), *fve]


def _cut(n: int, n_all: int) -> str:
    return f" The first {n} of {n_all}." if n < n_all else ""


# Objective and settings


def terms(s: Subject) -> Section:
    """List the terms of the objective."""
    held = s.estimator.loss_terms(s.rows, target=s.target)
    n_values = math.prod(s.targets.shape)
    columns = {
        "term": list(held),
        "held out, per row": [number(value) for value in held.values()],
        "held out, per value": [number(value / n_values) for value in held.values()],
    }
    if s.train is not None:
        target = None if s.target is None else s.train[1]
        seen = s.estimator.loss_terms(s.train[0], target=target)
        columns["training, per row"] = [number(value) for value in seen.values()]
    levels = " as its mean over the levels" if s.fve.shape[1] > 1 else ""
    caption = (
        f"Terms of the objective, averaged over rows; reconstruction is summed over the {n_values} "
        f"values{levels}, {s.space}."
    )
    rows = list(zip(*columns.values(), strict=True))
    return Section("terms", "Terms of the objective", [Table(list(columns), rows, caption)])


def reproduce(s: Subject) -> Section:
    """Show how to make it again."""
    found: list[Block] = [Code(f"{as_code(s.estimator)}\n{_calls(s)}")]
    if not isinstance(getattr(s.estimator, "random_state", None), int | np.integer):
        why = "random_state is not a whole number, so another fit differs. Write random_state=0."
        found.append(Text(why, True))
    same = (
        "Same versions, device, number of threads and settings give the same bits. sample_weight, "
        "groups and validation are not kept by a model: pass them to fit again if there were any."
    )
    made = ", ".join(f"{name} {version}" for name, version in versions())
    return Section("settings", "Settings", [*found, Text(f"Made with {made}."), Text(same)])


def _calls(s: Subject) -> str:
    fit, fve = ("X_train", "X_test")
    if s.target is not None:
        fit, fve = f"{fit}, target=target_train", f"{fve}, target=target_test"
    figures = " ".join(f"{value:.3f}" for value in s.fve[s.used][:10])
    more = " ..." if s.fve.shape[1] > 10 else ""
    return f"model.fit({fit})\nmodel.fve({fve})  # {figures}{more}"
