"""The sections of a report, each from the figures of its subject."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from narrows import plots
from narrows.data.source import Source
from narrows.data.views import Rows
from narrows.metrics import dependence, elbow
from narrows.report import blocks
from narrows.report.blocks import Block, Code, Section, Table, Text, Tiles, bar, number, share
from narrows.report.settings import as_code, versions
from narrows.report.subject import Subject, moments_of, n_repeated, names_of, squared_fve

MAX_ROWS_DRAWN = 2000
MAX_TRAVERSED = 8
MAX_DEPENDENCE = 10
MAX_RESTARTS = 20
MAX_FEATURES = 40
QUANTILES = (0.02, 0.98)
DEVIATIONS = "standard deviations from the mean"

Curve = Float[np.ndarray, " level"]


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
    bend = _elbow(s)
    if bend:
        tiles.append((str(bend), "components up to the elbow"))
    if s.agreement is not None:
        tiles.append((share(_mean_agreement(s).min()), "lowest agreement between restarts"))
    return Tiles([*tiles, (f"{len(s.rows):,}".replace(",", " "), "held-out rows")])


def _count(s: Subject) -> str:
    return f"{s.n_components} component{'s' if s.n_components > 1 else ''}"


def _sentence(s: Subject) -> str:
    ranked = ", ranked by importance" if s.ranked and s.n_components > 1 else ""
    restarts = f"{len(s.fve)} restarts" if len(s.fve) > 1 else "one restart"
    return (
        f"{type(s.estimator).__name__} describes {s.n_values} values per row by {_count(s)}"
        f"{ranked}; {restarts} kept. All figures are of {len(s.rows)} rows that "
        "should have chosen nothing: no gradient, no stopping epoch, no restart. This page cannot "
        "check that they were kept apart."
    )


def _ranking(s: Subject, pca: Curve | None, squared: Curve | None) -> Table:
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
        "increment": [share(value) for value in np.diff(fve, prepend=0.0)],
    }
    if squared is not None:
        columns["squared error"] = [share(value) for value in squared]
    if pca is not None:
        columns["PCA" if squared is None else "PCA, squared"] = [share(pca[k - 1]) for k in last]
    if s.agreement is not None:
        columns["agreement"] = [share(value) for value in _mean_agreement(s)]
    rows = list(zip(*columns.values(), strict=True))
    return Table(list(columns), rows, _ranking_caption(s, squared))


def _ranking_caption(s: Subject, squared: Curve | None) -> str:
    error = "‖t − t̂‖²" if s.gaussian else "deviance(t, t̂)"
    null = "‖t − mean‖²" if s.gaussian else "deviance(t, mean)"
    parts = [
        f"FVE: fraction of variance explained on the held-out rows, 1 − Σ {error} / Σ {null}, with "
        f"the mean of the rows of the fit, {_space(s)}."
    ]
    if len(s.fve) > 1:
        parts.append(
            f"±: standard deviation over the {len(s.fve)} restarts; the figure itself is of the "
            "restart that the validation rows chose."
        )
    parts.append("Increment: what the last component adds; negative ones are shown as they are.")
    if squared is not None:
        parts.append("Squared error: the same fraction in squared error, to stand beside PCA's.")
    parts.append(_pca_caption(s))
    if s.agreement is not None:
        parts.append("Agreement: see below.")
    return " ".join(parts)


def _space(s: Subject) -> str:
    scale: Any = s.estimator.scale  # type: ignore[attr-defined]
    if s.estimator._target_scale.trivial:
        return "in the units of the data"
    kind = "one width for all values" if scale == "global" else "each value by its own width"
    return f"in the space in which the model measures its error (standardised, {kind})"


def _pca_caption(s: Subject) -> str:
    pairs = "; a circular component is two numbers on a circle" if s.circular else ""
    return s.no_pca or (
        "PCA: as many principal components, fitted to the training rows, in the same space on the "
        f"same held-out rows{pairs}."
    )


def _elbow(s: Subject) -> int | None:
    fve = s.fve[s.used]
    return elbow(fve.astype(np.float64)) if len(fve) > 2 and np.isfinite(fve).all() else None


def _mean_agreement(s: Subject) -> Float[np.ndarray, " component"]:
    matrix: Any = s.agreement
    return np.asarray(matrix[np.triu_indices(len(matrix), k=1)].mean(axis=0))


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
        return [Text("None of the held-out rows occurs among the training rows.")]
    return [Text(f"{n} of {len(s.rows)} held-out rows also occur among the training rows.", True)]


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
    cut = f" The first {MAX_FEATURES} of {len(names)}." if len(names) > MAX_FEATURES else ""
    head = ["feature", "mean", "standard deviation", "least", "greatest", "missing"]
    caption = f"Features of X in the {which} rows, in the units of the data.{cut}"
    return [Table(head, rows, caption, summary="Features" if len(rows) > 12 else "")]


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
    history: Any = s.estimator.history_
    chosen = _chosen(s)
    best = history["best_epoch"] if chosen else None
    ax = plots.training_curves(
        history["train_loss"].sum(axis=1, dtype=np.float64),
        history["validation_loss"].astype(np.float64) if chosen else None,
        best,
    )
    caption = (
        "Objective per value of the data, penalties included, after each epoch and, for validation "
        "rows, before the first. Training: mean over the steps of the epoch, while weights moved."
    )
    found = [blocks.figure(ax, "training", "Loss against epoch", caption), Text(_choice(chosen))]
    return Section("training", "Training", [*found, *_restarts(s)])


def _chosen(s: Subject) -> bool:
    """Return whether validation rows chose the epoch."""
    history: Any = s.estimator.history_
    from narrows.estimators._checks import training_of

    passes = len(history["validation_loss"]) == len(history["train_loss"])
    return training_of(s.estimator).validation_fraction > 0 and not passes


def _choice(chosen: bool) -> str:
    if not chosen:
        return (
            "No rows were kept apart while training: the weights are those of the last epoch, and "
            "the restart was chosen on the training rows."
        )
    return (
        "Validation rows, a part of the rows of the fit, chose the epoch of each restart and the "
        "restart that is used. Their figures are therefore a little too good; the held-out "
        "ones are not."
    )


def _restarts(s: Subject) -> list[Block]:
    """Return a table of the restarts that were kept."""
    shown = range(min(len(s.fve), MAX_RESTARTS))
    kept = [s.estimator._restart(r) for r in shown]
    rows = [
        [
            f"{r + 1}{' (used)' if r == s.used else ''}",
            str(int(one.history_["best_epoch"][0])),
            number(float(one.history_["best_loss"][0])),
            share(float(one.fve_[-1])),
            share(float(s.fve[r, -1])),
        ]
        for r, one in zip(shown, kept, strict=True)
    ]
    cut = f" The first {MAX_RESTARTS} of {len(s.fve)}." if len(s.fve) > MAX_RESTARTS else ""
    where = "validation" if _chosen(s) else "training"
    head = ["restart", "best epoch", f"{where} loss", f"{where} FVE", "held-out FVE"]
    caption = (
        "Epoch 0 is the start, which is PCA by default. Loss: objective per value at the best "
        f"epoch. FVE of all components.{cut}"
    )
    return [Table(head, rows, caption, marked=s.used if s.used in shown else None)]


# Components


def scree(s: Subject, pca: Curve | None) -> Section:
    """Draw FVE against the number of components."""
    fve = s.fve.astype(np.float64)
    name = type(s.estimator).__name__
    found: list[Block] = []
    if s.ranked:
        spread = fve.std(axis=0, ddof=1) if len(fve) > 1 else None
        reference = pca if s.gaussian else None
        ax = plots.scree(fve[s.used], spread, reference, elbow=_elbow(s))
        found.append(blocks.figure(ax, "scree", "FVE against components", _scree_caption(s)))
    if pca is not None and not (s.ranked and s.gaussian):
        one = fve[s.used] if s.gaussian else squared_fve(s)
        curve = one if s.ranked else np.append(np.full(s.n_components - 1, np.nan), one)
        ax = plots.comparison({name: curve, "PCA": pca}, np.arange(1, s.n_components + 1))
        caption = "Held-out FVE in squared error, the model's beside that of PCA."
        found.append(blocks.figure(ax, "comparison", "FVE beside PCA", caption))
    if not s.ranked:
        why = "Nothing ranks the components, so the model has one figure, that of all of them."
        found.append(Text(f"{why} HierarchicalAutoencoder gives one for each.", True))
    if s.no_pca:
        found.append(Text(s.no_pca, True))
    return Section("scree", "Scree plot", found)


def _scree_caption(s: Subject) -> str:
    bars = ""
    if len(s.fve) > 1:
        bars = f" Error bars: standard deviation over the {len(s.fve)} restarts."
    bend = ""
    if _elbow(s):
        bend = " Elbow: where two straight lines fit the curve best (Salvador and Chan 2004)."
    return f"Held-out FVE of components 1..k, and what component k adds.{bars}{bend}"


def codes(s: Subject, rng: np.random.Generator) -> Section:
    """Draw the codes of the held-out rows."""
    drawn = np.sort(rng.permutation(len(s.rows))[:MAX_ROWS_DRAWN])
    labels = None if s.labels is None else s.labels[drawn]
    n = min(s.n_components, plots.codes.MAX_COMPONENTS)
    circular = [k for k in s.circular if k < n]
    fig = plots.code_scatter(s.codes[drawn, :n], labels, circular, s.names[:n])
    caption = (
        f"Codes of the held-out rows{', coloured by label' if labels is not None else ''}; "
        f"on the diagonal their histograms.{_cut(n, s.n_components)}"
    )
    if len(drawn) < len(s.rows):
        caption += f" {len(drawn)} of {len(s.rows)} rows, drawn at random."
    return Section("codes", "Codes", [blocks.figure(fig, "codes", "Scatter of codes", caption)])


def _cut(n: int, n_all: int) -> str:
    return f" The first {n} of {n_all} components." if n < n_all else ""


def traversals(s: Subject) -> Section:
    """Draw what changes along each component."""
    n = min(s.n_components, MAX_TRAVERSED)
    values = np.stack([_range(s, k, 9) for k in range(n)])
    grid = np.tile(_middle(s), (*values.shape, 1))
    for k in range(n):
        grid[k, :, k] = values[k]
    decoded = s.decode(grid).astype(np.float64)
    if s.event_shape is None:
        names = [blocks.drawable(name) for name in s.feature_names]
        fig = plots.responses(s.standardised(decoded), values, s.names[:n], names, label=DEVIATIONS)
    else:
        limits = _limits(s, decoded)
        fig = plots.traversal(decoded, values, s.names[:n], s.event_shape, limits=limits)
    caption = (
        "One component runs from its 2 % to its 98 % quantile over the held-out rows (an angle "
        "once around) while the others stay at their median (angles at their mean direction); "
        f"decoded from all components.{_table_note(s)}{_cut(n, s.n_components)}"
    )
    picture = blocks.figure(fig, "traversals", "Decoded rows along each component", caption)
    return Section("traversals", "Along each component", [picture])


def plane(s: Subject) -> Section | None:
    """Draw the plane of the two components, or of the first two if they are ranked."""
    if s.n_components < 2 or (s.n_components > 2 and not s.ranked):
        return None
    size = 25 if s.event_shape is None else 9
    first, second = _range(s, 0, size), _range(s, 1, size)
    grid = np.zeros((size, size, s.n_components))
    grid[..., 0], grid[..., 1] = np.meshgrid(first, second, indexing="ij")
    decoded = s.decode(grid, 2 if s.ranked else None).astype(np.float64)
    if s.event_shape is None:
        names = [blocks.drawable(name) for name in s.feature_names]
        fig = plots.feature_maps(
            s.standardised(decoded), first, second, s.names[:2], names, label=DEVIATIONS
        )
    else:
        limits = _limits(s, decoded)
        fig = plots.decoded_grid(decoded, first, second, s.names[:2], s.event_shape, limits=limits)
    level = " by the level of two components" if s.n_components > 2 else ""
    caption = (
        "What each point of the plane decodes to"
        f"{level}, from the 2 % to the 98 % quantile of the held-out codes (angles once around). "
        f"Not every point need be near a row.{_table_note(s)}"
    )
    picture = blocks.figure(fig, "plane", "Decoded plane of two components", caption)
    return Section("plane", "The plane of two components", [picture])


def _limits(s: Subject, decoded: np.ndarray) -> tuple[float, float] | None:
    """Return the range of decoded values, for images within that of the data."""
    if s.event_shape is None or len(s.event_shape) < 2:
        return None
    low = max(float(decoded.min()), float(s.moments.low.min()))
    high = min(float(decoded.max()), float(s.moments.high.max()))
    return (low, high) if low < high else None


def _table_note(s: Subject) -> str:
    if s.event_shape is not None:
        return ""
    which = "held-out" if s.train is None else "training"
    return (
        f" Features in standard deviations from the mean of the {which} rows; those that move "
        "most. Images and curves are drawn as such with event_shape=(height, width) or (length,)."
    )


def _range(s: Subject, k: int, n: int) -> Float[np.ndarray, " step"]:
    if k in s.circular:
        return np.linspace(-np.pi, np.pi, n)
    return np.linspace(*np.quantile(s.codes[:, k], QUANTILES), n)


def _middle(s: Subject) -> Float[np.ndarray, " component"]:
    middle = np.median(s.codes, axis=0)
    middle[s.circular] = np.angle(np.exp(1j * s.codes[:, s.circular]).mean(axis=0))
    return middle


# Rows


def reconstructions(s: Subject) -> Section:
    """Draw the rows that are reconstructed best and worst."""
    n = max(1, min(5, len(s.rows) // 2))
    order = np.argsort(s.loss, kind="stable")
    chosen = np.concatenate([order[:n], order[-n:]])
    shown = Rows(s.rows, chosen)
    original = _flat(Rows(s.targets, chosen).read(0, len(chosen)))
    found = _flat(s.estimator.reconstruct(shown))
    names = None
    if s.event_shape is None:
        original, found = s.standardised(original), s.standardised(found)
        names = [blocks.drawable(name) for name in s.feature_names]
    fig = plots.reconstructions(
        original, found, s.loss[chosen], n_events=n, event_shape=s.event_shape, feature_names=names
    )
    units = "" if s.event_shape else " Features in standard deviations from the mean."
    caption = (
        f"The {n} held-out rows of least and of greatest loss, beside their reconstructions from "
        f"all components. Error: the loss of the row, summed over its values, {_space(s)}; median "
        f"{number(float(np.median(s.loss)))}.{units}"
    )
    picture = blocks.figure(fig, "rows", "Best and worst reconstructions", caption)
    return Section("rows", "Best and worst reconstructions", [picture])


def _flat(rows: np.ndarray) -> Float[np.ndarray, "row value"]:
    return rows.reshape(len(rows), -1).astype(np.float64)


# Restarts and components compared


def agreement(s: Subject) -> Section:
    """Compare restarts."""
    title = "Agreement between restarts"
    if s.agreement is None:
        return Section("agreement", title, [Text(s.no_agreement, True)])
    pairs = s.agreement[np.triu_indices(len(s.agreement), k=1)]
    rows = [
        [s.names[k], bar(float(pairs[:, k].mean())), share(float(pairs[:, k].min()))]
        for k in range(s.n_components)
    ]
    caption = (
        "Absolute rank correlation (for angles circular correlation) of the codes of the held-out "
        "rows by two restarts: 1 is the same component up to sign and monotone stretching, 0 no "
        "relation. Below about 0.9 a component has no settled meaning."
    )
    found: list[Block] = [Table(["component", "mean over pairs", "lowest pair"], rows, caption)]
    return Section("agreement", title, [*found, *_restart_matrix(s.agreement)])


def _restart_matrix(values: Float[np.ndarray, "restart restart component"]) -> list[Block]:
    n = min(len(values), MAX_RESTARTS)
    if n < 3:
        return []
    from matplotlib.figure import Figure

    side = 1.0 + 0.42 * n
    figure = Figure(figsize=(side + 1.1, side), layout="constrained")
    labels = [str(r + 1) for r in range(n)]
    mean = values[:n, :n].mean(axis=2)
    ax = plots.matrix(mean, labels, figure.subplots(), limits=(0, 1), label="agreement")
    ax.set(xlabel="restart", ylabel="restart")
    caption = "Agreement of each pair of restarts, mean over components: does one stand apart?"
    return [blocks.figure(ax, "restarts", "Agreement of restarts", caption)]


def dependences(s: Subject) -> Section:
    """Draw how components depend on each other."""
    title = "Dependence between components"
    n = min(s.n_components, MAX_DEPENDENCE)
    if n < 2 or len(s.rows) < 5:
        why = "There is one component." if n < 2 else "Fewer than five held-out rows say nothing."
        return Section("dependence", title, [Text(why, True)])
    from matplotlib.figure import Figure

    found = dependence(s.codes[:, :n], [k for k in s.circular if k < n])
    size = 2.0 + 0.5 * n
    figure = Figure(figsize=(2 * size + 1.8, size), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = s.names[:n]
    plots.matrix(found.rank_correlation, names, left, limits=(-1, 1), label="rank correlation")
    plots.matrix(found.mutual_information, names, right, label="mutual information (nats)")
    caption = (
        "Rank correlation sees monotone dependence (multiple correlation where one of two is an "
        "angle), mutual information every kind (nearest neighbours, Kraskov 2004; noise about 0.02 "
        "nats). Components of a nonlinear model, unlike PCA's, are not independent."
        f"{_cut(n, s.n_components)}"
    )
    picture = blocks.figure(figure, "dependence", "Dependence between components", caption)
    return Section("dependence", title, [picture])


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
        f"values{levels}, {_space(s)}."
    )
    rows = list(zip(*columns.values(), strict=True))
    return Section("terms", "Terms of the objective", [Table(list(columns), rows, caption)])


def swaps(s: Subject, asked: bool, random_state: int) -> Section | None:
    """Check the order of neighbouring components, if the estimator can."""
    check: Any = getattr(s.estimator, "swap_check", None)
    if check is None:
        return None
    title = "Swap check"
    if not asked or s.n_components < 2:
        why = "Not run; write report(..., swap_check=True)." if not asked else "One component."
        return Section("swaps", title, [Text(why, True)])
    found = check(s.rows, target=s.target, random_state=random_state)
    rows = [
        [f"{k + 1} against {k + 2}", f"{share(float(lost))} ± {share(float(spread))}"]
        for k, (lost, spread) in enumerate(zip(found.difference, found.spread, strict=True))
    ]
    caption = (
        "FVE lost at level k when a decoder sees component k + 1 instead of k; positive means that "
        "the order is right. Codes are frozen, and decoders are trained anew on a part of the "
        "held-out rows and measured on the rest; ±: standard deviation over such splits."
    )
    return Section("swaps", title, [Table(["components", "FVE lost"], rows, caption)])


# Settings


def reproduce(s: Subject) -> Section:
    """Show how to make it again."""
    found: list[Block] = [Code(f"{as_code(s.estimator)}\n{_calls(s)}")]
    if not isinstance(getattr(s.estimator, "random_state", None), int | np.integer):
        why = "random_state is not a whole number, so another fit differs. Write random_state=0."
        found.append(Text(why, True))
    caption = (
        "Same versions, device, number of threads and settings give the same bits. sample_weight, "
        "groups and validation are not kept by a model: pass them to fit again if there were any."
    )
    return Section(
        "settings", "Settings", [*found, Table(["package", "version"], versions(), caption)]
    )


def _calls(s: Subject) -> str:
    fit, fve = ("X_train", "X_test")
    if s.target is not None:
        fit, fve = f"{fit}, target=target_train", f"{fve}, target=target_test"
    figures = " ".join(f"{value:.3f}" for value in s.fve[s.used][:10])
    more = " ..." if s.fve.shape[1] > 10 else ""
    return f"model.fit({fit})\nmodel.fve({fve})  # {figures}{more}"
