"""What the components are: how much they explain, what they do, how far they can be trusted."""

from typing import Any

import numpy as np
from jaxtyping import Float

from narrows import plots
from narrows.data.views import Rows
from narrows.metrics import dependence
from narrows.report import blocks
from narrows.report.blocks import Bar, Block, Section, Table, Text, bar, number, share
from narrows.report.subject import Subject, squared_fve, starts_as_pca

MAX_ROWS_DRAWN = 2000
MAX_TRAVERSED = 8
MAX_DEPENDENCE = 10
MAX_RESTARTS = 20
QUANTILES = (0.02, 0.98)
DEVIATIONS = "standard deviations from the mean"


def scree(s: Subject, pca: Float[np.ndarray, " level"] | None) -> Section:
    """Draw FVE against the number of components."""
    fve = s.fve.astype(np.float64)
    name = type(s.estimator).__name__
    found: list[Block] = []
    if s.ranked and len(fve[s.used]) > 1:
        spread = fve.std(axis=0, ddof=1) if len(fve) > 1 else None
        reference = pca if s.gaussian else None
        ax = plots.scree(fve[s.used], spread, reference, elbow=s.elbow)
        found.append(blocks.figure(ax, "scree", "FVE against components", _scree_caption(s)))
    if s.n_components == 1:
        found.append(Text("One component is one figure, which stands above.", True))
    elif pca is not None and not (s.ranked and s.gaussian):
        one = fve[s.used] if s.gaussian else squared_fve(s)
        curve = one if s.ranked else np.append(np.full(s.n_components - 1, np.nan), one)
        ax = plots.comparison({"PCA": pca, name: curve}, np.arange(1, s.n_components + 1))
        caption = "Held-out FVE in squared error, the model's beside that of PCA."
        found.append(blocks.figure(ax, "comparison", "FVE beside PCA", caption))
    if not s.ranked and s.n_components > 1:
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
    if s.elbow:
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
    steps = 41 if s.event_shape is None else 9
    values = np.stack([_range(s, k, steps) for k in range(n)])
    grid = np.tile(s.middle, (*values.shape, 1))
    for k in range(n):
        grid[k, :, k] = values[k]
    decoded = s.decode(grid).astype(np.float64)
    if s.event_shape is None:
        names = [blocks.drawable(name) for name in s.feature_names]
        style: Any = {"circular": [k for k in s.circular if k < n], "label": DEVIATIONS}
        fig = plots.responses(s.standardised(decoded), values, s.names[:n], names, **style)
    else:
        limits = _limits(s, decoded)
        fig = plots.traversal(decoded, values, s.names[:n], s.event_shape, limits=limits)
    caption = (
        "One component runs from its 2 % to its 98 % quantile over the held-out rows (an angle "
        "once around) while the others stay at their median (angles at their mean direction); "
        f"decoded from all components.{_table_note(s)}{_cut(n, s.n_components)}"
    )
    picture = blocks.figure(fig, "traversals", "Decoded rows along each component", caption)
    hint = Text("Are rows images or curves? Write event_shape=(height, width) or (length,).", True)
    hints = [hint] if s.event_shape is None and len(s.feature_names) > 20 else []
    return Section("traversals", "Along each component", [picture, *hints])


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
        style: Any = {"circular": [k for k in s.circular if k < 2], "label": DEVIATIONS}
        flat = s.standardised(decoded)
        fig = plots.feature_maps(flat, first, second, s.names[:2], names, **style)
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
        f" Features in standard deviations from the mean of the {which} rows; those that move most."
    )


def _range(s: Subject, k: int, n: int) -> Float[np.ndarray, " step"]:
    if k in s.circular:
        return np.linspace(-np.pi, np.pi, n)
    low, high = np.quantile(s.codes[:, k], QUANTILES)
    pad = 0.0 if high - low > 1e-9 * max(1.0, abs(low)) else 0.5  # a collapsed component
    return np.linspace(low - pad, high + pad, n)


# Rows


def reconstructions(s: Subject) -> Section:
    """Draw the rows that are reconstructed best and worst."""
    n = max(1, min(5, len(s.rows) // 2))
    order = np.argsort(s.loss, kind="stable")
    chosen = np.concatenate([order[:n], order[-n:]])
    shown = Rows(s.rows, chosen)
    original = _flat(Rows(s.targets, chosen).read(0, len(chosen)))
    found = _flat(np.asarray(s.estimator.reconstruct(shown)))
    names = None
    if s.event_shape is None:
        original, found = s.standardised(original), s.standardised(found)
        names = [blocks.drawable(name, 16) for name in s.feature_names]
    fig = plots.reconstructions(
        original, found, s.loss[chosen], n_events=n, event_shape=s.event_shape, feature_names=names
    )
    units = ""
    if s.event_shape is None:
        units = " Features in the order of the columns, in standard deviations from the mean."
    caption = (
        f"The {n} held-out rows of least and of greatest loss, beside their reconstructions from "
        f"all components. Error: the loss of the row, summed over its values, {s.space}; median "
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
    rows: list[list[str | Bar]] = [
        [s.names[k], bar(float(pairs[:, k].mean())), share(float(pairs[:, k].min()))]
        for k in range(s.n_components)
    ]
    caption = (
        "Absolute rank correlation (for angles circular correlation) of the codes of the held-out "
        "rows by two restarts: 1 is the same component up to sign and monotone stretching, 0 no "
        f"relation.{_easy(s)}"
    )
    found: list[Block] = [Table(["component", "mean over pairs", "lowest pair"], rows, caption)]
    if s.n_distinct < len(s.fve):
        why = f"Only {s.n_distinct} of {len(s.fve)} restarts differ: the others kept a common start"
        found.insert(0, Text(f"{why}, and agree with each other for that reason.", True))
    return Section("agreement", title, [*found, *_restart_matrix(s.agreement)])


def _easy(s: Subject) -> str:
    """Say what agreement owes to a common start."""
    if not starts_as_pca(s.estimator):
        return ""
    return (
        " Restarts share the PCA start, so agreement near 1 is easier to reach than with "
        'Dense(init="random").'
    )


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
        "nats). PCA's components are uncorrelated (not necessarily independent); a nonlinear "
        "model's need be neither."
        f"{_cut(n, s.n_components)}"
    )
    picture = blocks.figure(figure, "dependence", "Dependence between components", caption)
    return Section("dependence", title, [picture])


def swaps(s: Subject, asked: bool, random_state: int) -> Section | None:
    """Check the order of neighbouring components, if the estimator can."""
    check: Any = getattr(s.estimator, "swap_check", None)
    if check is None:
        return None
    title = "Swap check"
    if not asked or s.n_components < 2:
        how = "Not run; write report(..., swap_check=True), or narrows report --swap-check."
        return Section("swaps", title, [Text("One component." if asked else how, True)])
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
