"""How well codes keep neighbours, serve a simple classifier, and come back after decoding."""

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import circstd
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from narrows._types import Array
from narrows.data.arrays import ArraySource
from narrows.data.source import Source
from narrows.data.views import Rows
from narrows.metrics import clustering_agreement, label_efficiency, round_trip
from narrows.report import blocks
from narrows.report.baselines import METRICS
from narrows.report.blocks import Block, Section, Table, Text, number, share
from narrows.report.subject import Subject

MAX_ROWS = 2000
MAX_UNITS = 20
MAX_CLASSES = 50
N_LABELS = (50, 100, 500)
_LEAST_ROWS = 12
_NAMED = 3
_STEPS = 64


def quality(s: Subject, rng: np.random.Generator) -> Section:
    """Measure the codes of the held-out rows."""
    if len(s.rows) < _LEAST_ROWS:
        few = f"Fewer than {_LEAST_ROWS} held-out rows: neighbours are not compared."
        return Section("quality", "Quality of the code", [Text(few, True), _units(s)])
    drawn = np.sort(rng.permutation(len(s.rows))[:MAX_ROWS])
    X, codes = _scaled(s, Rows(s.rows, drawn)), _pairs(s)[drawn]
    found: list[Block] = [_neighbours(s, X, codes, drawn), *_labels(s, X, codes, drawn)]
    found.append(_units(s))
    return Section("quality", "Quality of the code", found)


def _scaled(s: Subject, rows: Source) -> Float[np.ndarray, "row value"]:
    """Return rows as the network reads them, the mean where entries are missing."""
    scale, mean = s.estimator._input_scale, s.estimator._input_mean
    flat = rows.read(0, len(rows)).reshape(len(rows), -1).astype(np.float64)
    return np.asarray((np.where(np.isnan(flat), mean, flat) - scale.centre) / scale.width)


def _pairs(s: Subject) -> Array:
    return np.asarray(s.estimator._pairs(s.rows))


def _neighbours(s: Subject, X: Array, codes: Array, drawn: Array) -> Table:
    """Return every metric of neighbours, of PCA too where the rows of the fit are known."""
    columns = {type(s.estimator).__name__: codes}
    if s.train is not None and s.target is None:
        train = _scaled(s, s.train[0])
        n = min(s.n_components, *train.shape)
        columns["PCA"] = PCA(n, random_state=0).fit(train).transform(X)
    rows = [[name, *(share(METRICS[name](X, Z)) for Z in columns.values())] for name in METRICS]
    few = (
        f" {len(drawn)} of {len(s.rows)} rows, drawn at random." if len(drawn) < len(s.rows) else ""
    )
    caption = (
        "How well codes keep the neighbours of the held-out rows, in the space that the network "
        "reads. Trustworthiness: neighbours in the code are neighbours in the data; continuity: "
        "the other way round; overlap: share of the 5 nearest that are the same; all three at most "
        f"1. t-SNE's divergence, in nats, is better small.{few}"
    )
    return Table(["figure", *columns], rows, caption)


def _labels(s: Subject, X: Array, codes: Array, drawn: Array) -> list[Block]:
    """Return what the codes tell of the classes, beside the data themselves."""
    if s.labels is None or s.labels.dtype.kind == "f":
        return []
    y = s.labels[drawn]
    classes, counts = np.unique(y, return_counts=True)
    if not 2 <= len(classes) <= min(MAX_CLASSES, len(y) // 4) or counts.min() < 2:
        return []
    sides = {"codes": codes, "data": X}
    with warnings.catch_warnings():
        # Of a constant code k-means finds one cluster, and complains.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = [clustering_agreement(Z, y) for Z in sides.values()]
    rows = [
        ["clusters and classes, mutual information",
         *(share(one.normalised_mutual_information) for one in clusters)],
        ["clusters and classes, adjusted Rand index",
         *(share(one.adjusted_rand_index) for one in clusters)],
    ]  # fmt: skip
    sizes = [n for n in N_LABELS if len(classes) <= n <= 0.7 * len(y)]
    if sizes:
        found = label_efficiency(codes, X, y, sizes, n_draws=5)
        for i, size in enumerate(sizes):
            each = [(side.mean[i], side.standard_error[i]) for side in (found.codes, found.raw)]
            cells = [f"{share(mean)} ± {share(error)}" for mean, error in each]
            rows.append([f"accuracy from {size} labels", *cells])
    caption = (
        "Clusters: k-means with as many clusters as classes; mutual information over the mean "
        "entropy. Accuracy: logistic regression on the codes, and on the data as the network reads "
        "them, on a quarter of these rows; mean and standard error of 5 draws."
    )
    return [Table(["figure", *sides], rows, caption)]


def _units(s: Subject) -> Block:
    """Return what becomes of each component after decoding, and what it changes most."""
    codes = s.codes.astype(np.float64)
    if s.target is not None:
        return Text("Codes cannot be decoded and encoded again: the target is not the input.", True)
    back = round_trip((s.estimator.inverse_transform, lambda x: _angles(s, x)), codes, s.circular)
    n = min(s.n_components, MAX_UNITS)
    fires = (codes != 0).mean(0)
    fires[s.circular] = np.nan
    sparse = bool((fires < 1).any())
    head = ["component", "standard deviation", "round trip, R²", "changes most"]
    rows: list[list[Any]] = []
    for k in range(n):
        row = [s.names[k], number(_deviation(s, k)), share(float(back.r2[k])), _changes(s, k)]
        rows.append([*row, share(float(fires[k]))] if sparse else row)
    cut = f" The first {n} of {s.n_components}." if n < s.n_components else ""
    caption = (
        "Round trip: share of the variance of a code that comes back when it is decoded and "
        "encoded again. Changes most: the values of a row with the widest range of reconstructions "
        "from the 2 % to the 98 % quantile of the component, in standard deviations, the others at "
        f"their medians{' (angles at their mean direction)' if s.circular else ''}.{cut}"
    )
    if s.circular:
        caption += (
            " Of an angle: the circular standard deviation √(−2 ln R) in radians, R the length of "
            "the mean direction, and the range of each value once around."
        )
    if sparse:
        caption += " Fires: share of the rows on which it is not 0."
    return Table([*head, "fires"] if sparse else head, rows, caption)


def _angles(s: Subject, rows: Array) -> Array:
    return np.asarray(s.estimator._angles(ArraySource(rows)))


def _deviation(s: Subject, k: int) -> float:
    """Return the standard deviation of a component, of an angle the circular one."""
    code = s.codes[:, k].astype(np.float64)
    return float(circstd(code, high=np.pi, low=-np.pi) if k in s.circular else code.std())


def _changes(s: Subject, k: int) -> str:
    """Return the values of a row that a component changes most, and by how much."""
    low, high = np.quantile(s.codes[:, k], (0.02, 0.98)).tolist()
    low, high = (-np.pi, np.pi) if k in s.circular else (low, high)
    steps = np.linspace(low, high, _STEPS)
    grid = np.tile(s.middle, (len(steps), 1))
    grid[:, k] = steps
    decoded = s.standardised(s.decode(grid).astype(np.float64))
    change = np.ptp(decoded, axis=0)
    most = np.argsort(-change, kind="stable")[:_NAMED]
    names = [blocks.drawable(s.feature_names[j]) for j in most]
    return ", ".join(f"{name} {change[j]:.2f}" for name, j in zip(names, most, strict=True))
