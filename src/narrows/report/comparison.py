"""Autoencoders beside other methods, at equal dimension, on rows that chose nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import clone

from narrows import plots
from narrows._errors import nearest
from narrows._types import Array
from narrows.data.sequences import Sequences, listed
from narrows.data.source import Source, source
from narrows.data.split import split_rows
from narrows.data.views import Rows
from narrows.estimators import _checks, _rows
from narrows.metrics import fraction_of_variance_explained
from narrows.nn.scale import Moments, Scale, scale_from
from narrows.objective.likelihoods import Gaussian
from narrows.parts import ESTIMATORS, load, resolve
from narrows.report.baselines import BASELINES, LEAST_ROWS, MAPS, METRICS

if TYPE_CHECKING:
    import matplotlib.axes

Fitted = Callable[[str, int, int], None]
Figures = dict[str, Float[np.ndarray, " n"]]

MAX_COMPARED = 2000


@dataclass(frozen=True)
class Comparison:
    """Held-out FVE of several models against the number of components.

    Attributes
    ----------
    n_components : ndarray of int, shape (n,)
        Numbers of components, in increasing order.
    fve : dict of str to ndarray, shape (split, n)
        Fraction of variance explained of each model on the rows that a split held out.
    n_train, n_test : int
        Rows to learn from, and rows held out, in the first split.
    metrics : dict of str to dict of str to ndarray, shape (split, n)
        The other figures that were asked for, each as `fve`.

    Examples
    --------
    >>> fve = {"PCA": np.array([[0.3, 0.5], [0.5, 0.7]])}
    >>> found = Comparison(np.array([1, 2]), fve, n_train=80, n_test=20)
    >>> found.mean["PCA"], found.standard_error["PCA"]
    (array([0.4, 0.6]), array([0.1, 0.1]))
    """

    n_components: Int[np.ndarray, " n"]
    fve: dict[str, Float[np.ndarray, "split n"]]
    n_train: int
    n_test: int
    metrics: dict[str, dict[str, Float[np.ndarray, "split n"]]] = field(default_factory=dict)

    @property
    def n_splits(self) -> int:
        """Number of splits."""
        return len(next(iter(next(iter(self._figures().values())).values())))

    @property
    def mean(self) -> Figures:
        """Mean FVE over the splits."""
        return self.mean_of("fve")

    @property
    def standard_error(self) -> Figures:
        """Standard error of the mean FVE over the splits; NaN for one split."""
        return self.standard_error_of("fve")

    def mean_of(self, metric: str) -> Figures:
        """Return the mean of a metric, or of "fve", over the splits."""
        return {name: values.mean(axis=0) for name, values in self._figures()[metric].items()}

    def standard_error_of(self, metric: str) -> Figures:
        """Return the standard error of the mean of a metric; NaN for one split."""
        figures, root = self._figures()[metric], np.sqrt(self.n_splits)
        if self.n_splits == 1:
            return {name: np.full(len(self.n_components), np.nan) for name in figures}
        return {name: values.std(axis=0, ddof=1) / root for name, values in figures.items()}

    def _figures(self) -> dict[str, dict[str, Float[np.ndarray, "split n"]]]:
        return ({"fve": self.fve} if self.fve else {}) | self.metrics

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for JSON."""
        means = {metric: _plain(self.mean_of(metric)) for metric in self._figures()}
        errors: dict[str, Any] = {
            metric: _plain(self.standard_error_of(metric))
            if self.n_splits > 1
            else dict.fromkeys(means[metric])
            for metric in means
        }
        return {
            "n_components": self.n_components.tolist(),
            "n_train": self.n_train,
            "n_test": self.n_test,
            "n_splits": self.n_splits,
            "fve": means.pop("fve", {}),
            "standard_error": errors.pop("fve", {}),
            "metrics": {
                metric: {"mean": means[metric], "standard_error": errors[metric]}
                for metric in means
            },
        }

    def plot(
        self, ax: "matplotlib.axes.Axes | None" = None, *, metric: str = "fve"
    ) -> "matplotlib.axes.Axes":
        """Draw the curves of a metric, with standard errors where there are several splits."""
        spread = self.standard_error_of(metric) if self.n_splits > 1 else None
        named = {} if metric == "fve" else {"label": metric}
        return plots.comparison(self.mean_of(metric), self.n_components, spread, ax, **named)


def _plain(figures: Figures) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in figures.items()}


def compare(
    X: Any,
    models: Any = ("HierarchicalAutoencoder",),
    n_components: int | Sequence[int] = 5,
    *,
    baselines: Sequence[str] = ("PCA", "probabilistic PCA", "factor analysis"),
    metrics: Sequence[str] = (),
    test_fraction: float = 0.2,
    split: str = "random",
    n_splits: int = 1,
    groups: Any = None,
    random_state: int = 0,
    on_fit: Fitted | None = None,
) -> Comparison:
    r"""Compare autoencoders with other methods over a range of K, on rows that chose nothing.

    Use it to see whether a nonlinear code pays, and how many components are worth having. Every
    model learns from the same rows (of which autoencoders keep some to stop by) and is measured
    on the same others, in the same space: standardised by the training rows, unless the models
    say ``scale="none"`` or ``"global"``. A ranked model is fitted once, with the most components,
    and read at each level; an unranked one once per K. All rows are held in memory.

    With the mean μ, eigenvectors V and eigenvalues λ of the training covariance, and σ² the mean
    of the discarded eigenvalues, the linear reconstructions with K components are

    .. math:: \mu + V_K V_K^T (x - \mu), \qquad
              \mu + V_K\,\mathrm{diag}(1 - \sigma^2 / \lambda_k)\,V_K^T (x - \mu)

    for PCA and for probabilistic PCA, whose posterior mean shrinks; factor analysis decodes the
    posterior mean of its factors, and is NaN from as many factors as features on. Kernel PCA
    learns its way back by ridge regression (Bakir, Weston & Scholkopf 2004); kernel width and
    ridge are chosen on a fifth of at most 2000 training rows. t-SNE and UMAP rebuild nothing and
    are compared by `metrics` alone, t-SNE embedding the held-out rows themselves. All are measured
    by squared error, models with another likelihood by that of their means. Missing entries enter
    these methods and the metrics as means; t-SNE's divergence of a constant code is NaN.

    Parameters
    ----------
    X : array, frame, sparse matrix, tensor, path or Source, shape (rows, ...)
        The data; the test part is taken from it. For recurrent models also a list of sequences,
        which other methods read as rows of the length of the longest, means after their ends.
    models : str, estimator, sequence of these, or mapping of label to estimator
        A name such as "Autoencoder", or "HierarchicalAutoencoder:boosted" with an ordering.
        Estimators are cloned, and get their `n_components` here, and `random_state` if it is None.
    n_components : int or sequence of int, default=5
        K for 1..K, or the numbers to try.
    baselines : sequence of str
        Other methods to fit: "PCA", "probabilistic PCA" and "factor analysis", which are the
        default, "kernel PCA", "t-SNE", and "UMAP", which needs the package umap-learn.
    metrics : sequence of str
        What else to measure: "trustworthiness", "continuity", "neighbour overlap" and
        "t-SNE divergence", how well codes keep the neighbours of at most 2000 held-out rows, in
        the space of the FVE; see `narrows.metrics`.
    test_fraction : float, default=0.2
        Share of the rows held out, in (0, 1).
    split : {"random", "blocks", "groups"}, default="random"
        How they are chosen: see `narrows.data.split.split_rows`.
    n_splits : int, default=1
        Number of splits, each drawn anew, >= 1; two or more give standard errors.
    groups : array of shape (rows,), optional
        Which rows belong together, for ``split="groups"``; passed to the models as well.
    random_state : int, default=0
        Decides the splits, and the models' random numbers where they leave them open.
    on_fit : callable, optional
        Called with label, K and split before each fit, to show progress.

    Returns
    -------
    Comparison
        Held-out FVE, and metrics, of each model, split and K.

    Raises
    ------
    ValueError
        An unknown model, baseline or metric, a map without metrics, K below 1, a test fraction
        outside (0, 1), models that measure their error in different spaces, or metrics of fewer
        than 11 held-out rows.
    TypeError
        A model that is neither a name nor an autoencoder.
    ImportError
        UMAP is asked for and not installed.

    References
    ----------
    Bakir, G. H., Weston, J. and Scholkopf, B. (2004). Learning to find pre-images. Advances in
    Neural Information Processing Systems 16.

    Tipping, M. E. and Bishop, C. M. (1999). Probabilistic principal component analysis. Journal
    of the Royal Statistical Society B 61, 611. DOI: 10.1111/1467-9868.00196

    Examples
    --------
    >>> from narrows import HierarchicalAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(100, 3)) @ np.diag([3.0, 2.0, 1.0])
    >>> model = HierarchicalAutoencoder(max_epochs=2, scale="none")
    >>> found = compare(X, {"ranked": model}, n_components=2)
    >>> list(found.fve), found.fve["ranked"].shape
    (['PCA', 'probabilistic PCA', 'factor analysis', 'ranked'], (1, 2))
    """
    counts = _counts(n_components)
    named = {label: _seeded(model, random_state) for label, model in _labelled(models).items()}
    checked = {label: _checks.check(model) for label, model in named.items()}
    series = any(one.choice.architecture.sequential for one in checked.values())
    rows = Sequences(X) if series and listed(X) else source(X)
    _check(rows, series, named, baselines, metrics, test_fraction, n_splits)
    labels, space = None if groups is None else np.asarray(groups), _space(checked, rows.shape)
    rngs = [np.random.default_rng([random_state, number]) for number in range(n_splits)]
    splits = [
        split_rows(len(rows), test_fraction, split, rng=rng, groups=labels, segments=rows.segments)
        for rng in rngs
    ]
    if metrics:
        _check_neighbours(len(rows), min(len(test) for _, test in splits))
    found: list[dict[str, Figures]] = []
    for number, (train, test) in enumerate(splits):
        told = None if labels is None else labels[train]
        sides = Rows(rows, train), Rows(rows, test)
        task = _Task(*sides, told, space, counts, series, tuple(metrics), number, on_fit)
        others = {name: task.baseline(name, random_state) for name in baselines}
        found.append(others | {label: task.model(label, model) for label, model in named.items()})
    stacked = {metric: _stacked(found, metric) for metric in ("fve", *metrics)}
    return Comparison(np.array(counts), stacked.pop("fve"), len(train), len(test), stacked)


def _stacked(found: list[dict[str, Figures]], metric: str) -> dict[str, Array]:
    labels = [label for label, figures in found[0].items() if metric in figures]
    return {label: np.stack([one[label][metric] for one in found]) for label in labels}


def pca_fve(
    train: Any, test: Any, n_components: int, scale: str = "standard"
) -> Float[np.ndarray, " component"]:
    """Return the held-out FVE of PCA with 1..K components.

    Parameters
    ----------
    train, test : array, frame, path or Source, shape (rows, ...)
        Rows to learn from, and rows to measure on.
    n_components : int
        K; from min(rows, features) on nothing is added.
    scale : {"standard", "global", "none"}, default="standard"
        Whether features are standardised by the training rows first.

    Returns
    -------
    ndarray of shape (K,)

    Examples
    --------
    >>> line = np.outer(np.arange(6.0), [1.0, 2.0])
    >>> pca_fve(line[:4], line[4:], 1)
    array([1.])
    """
    counts = list(range(1, n_components + 1))
    space = partial(scale_from, kind=scale)
    return _Task(source(train), source(test), None, space, counts).baseline("PCA", 0)["fve"]


@dataclass(frozen=True)
class _Task:
    """The rows of one split, and what to measure on them."""

    train: Source
    test: Source
    groups: Array | None
    space: Callable[[Moments], Scale]
    counts: list[int]
    series: bool = False
    metrics: tuple[str, ...] = ()
    split: int = 0
    on_fit: Fitted | None = None

    def baseline(self, name: str, random_state: int) -> Figures:
        """Return the held-out figures of another method for each K."""
        self._tell(name, self.counts[-1])
        train, test = self._filled(self.train), self._filled(self.test)
        if name in MAPS:
            found = [*BASELINES[name](train, test[self._compared], self.counts, random_state)]
            return self._neighbours([one.codes for one in found])
        found = [*BASELINES[name](train, test, self.counts, random_state)]
        shown = [one.codes[self._compared] for one in found] if self.metrics else []
        rebuilt = [one.rows for one in found if one.rows is not None]
        return self._explained(rebuilt) | self._neighbours(shown)

    def model(self, label: str, model: Any) -> Figures:
        """Return the held-out figures of an autoencoder for each K: one fit if it is ranked."""
        last = self._fitted(label, model, self.counts[-1])
        if len(last.fve_) > 1 or self.counts == [1]:
            fve, fitted = self._levels(last)[np.array(self.counts) - 1], [last] * len(self.counts)
        else:
            fitted = [*(self._fitted(label, model, k) for k in self.counts[:-1]), last]
            fve = np.concatenate([self._levels(one) for one in fitted])
        codes = zip(fitted, self.counts, strict=True) if self.metrics else ()
        return {"fve": fve} | self._neighbours([_codes(one, self._shown, k) for one, k in codes])

    def _tell(self, label: str, n_components: int) -> None:
        if self.on_fit is not None:
            self.on_fit(label, n_components, self.split)

    def _fitted(self, label: str, model: Any, n_components: int) -> Any:
        self._tell(label, n_components)
        fitted = clone(model).set_params(n_components=n_components)
        return fitted.fit(self.train, groups=self.groups)

    def _levels(self, fitted: Any) -> Float[np.ndarray, " level"]:
        if isinstance(resolve("likelihood", fitted.likelihood), Gaussian):
            return np.asarray(fitted.fve(self.test), dtype=np.float64)
        levels = range(1, len(fitted.fve_) + 1) if len(fitted.fve_) > 1 else [None]
        rebuilt = [source(fitted._reconstructed(self.test, k)) for k in levels]
        return self._explained([_matrix(rows, self._learned[0]) for rows in rebuilt])["fve"]

    def _explained(self, rebuilt: Sequence[Array]) -> Figures:
        scale, mean = self._learned
        test = _matrix(self.test, scale)
        fve = [fraction_of_variance_explained(test, rows, mean) for rows in rebuilt]
        return {"fve": np.array(fve, dtype=np.float64)}

    def _neighbours(self, codes: Sequence[Array]) -> Figures:
        """Return every metric of the codes of the rows shown, NaN where there are none."""
        if not self.metrics:
            return {}
        X = self._filled(self._shown)
        return {
            name: np.array([METRICS[name](X, Z) if np.isfinite(Z).all() else np.nan for Z in codes])
            for name in self.metrics
        }

    @cached_property
    def _compared(self) -> Int[np.ndarray, " row"]:
        """Which of the held-out rows have their neighbours compared."""
        order = np.random.default_rng(self.split).permutation(len(self.test))
        return np.sort(order[:MAX_COMPARED])

    @cached_property
    def _shown(self) -> Source:
        return Rows(self.test, self._compared)

    def _filled(self, rows: Source) -> Float[np.ndarray, "row feature"]:
        """Return scaled rows, the mean where entries are missing."""
        scale, mean = self._learned
        values = _matrix(rows, scale)
        return np.where(np.isnan(values), mean, values)

    @cached_property
    def _learned(self) -> tuple[Scale, Float[np.ndarray, " feature"]]:
        """Return the scale of the training rows, and their mean after scaling."""
        found = _rows.moments_of(self.train, None, self.series)
        scale = self.space(found)
        return scale, (found.mean - scale.centre) / scale.width


def _matrix(rows: Source, scale: Scale) -> Float[np.ndarray, "row feature"]:
    values = rows.read(0, len(rows)).reshape(len(rows), -1).astype(np.float64)
    return (values - scale.centre) / scale.width


def _codes(fitted: Any, rows: Source, n_components: int) -> Float[np.ndarray, "row feature"]:
    """Return codes up to a component, cosine and sine for each angle."""
    circular = fitted._model.blueprint.layout.circular
    n_features = n_components + sum(j < n_components for j in circular)
    return np.asarray(fitted._pairs(rows)[:, :n_features])


# What the caller asked for


def _counts(n_components: int | Sequence[int]) -> list[int]:
    if isinstance(n_components, Iterable):
        counts = sorted({int(k) for k in n_components})
    else:
        counts = list(range(1, n_components + 1))
    if not counts or counts[0] < 1:
        raise ValueError(
            f"n_components={n_components!r} must be at least 1. Write 5 for 1 to 5, or (1, 2, 5)."
        )
    return counts


def _labelled(models: Any) -> dict[str, Any]:
    if isinstance(models, Mapping):
        return {str(label): named(model) for label, model in models.items()}
    several = isinstance(models, Sequence) and not isinstance(models, str)
    made = [named(model) for model in (models if several else [models])]
    labels = [_label(model) for model in made]
    twice = {label for label in labels if labels.count(label) > 1}
    if twice:
        raise ValueError(
            f"models has {twice.pop()!r} more than once. Write a mapping of labels to models."
        )
    return dict(zip(labels, made, strict=True))


def named(model: Any) -> Any:
    """Return the estimator that a name such as "HierarchicalAutoencoder:boosted" means.

    Parameters
    ----------
    model : str or estimator
        An estimator's name, and after a colon its ordering; an estimator is returned as it is.

    Raises
    ------
    ValueError
        No estimator has this name; the nearest is suggested.
    TypeError
        Neither a name nor an autoencoder.

    Examples
    --------
    >>> named("HierarchicalAutoencoder:boosted").ordering
    'boosted'
    """
    if not isinstance(model, str):
        if not all(hasattr(model, name) for name in ("get_params", "fve", "n_components")):
            raise TypeError(
                f"models has {model!r}, which is no autoencoder. Write a name such as "
                "'Autoencoder', or an estimator."
            )
        return model
    name, _, ordering = model.partition(":")
    if name not in ESTIMATORS:
        raise ValueError(
            f"There is no model {name!r}.{nearest(name, ESTIMATORS)} "
            f"Known are: {', '.join(ESTIMATORS)}."
        )
    return load(ESTIMATORS[name])(**({"ordering": ordering} if ordering else {}))


def _label(model: Any) -> str:
    ordering = model.get_params(deep=False).get("ordering", "none")
    ordering = ordering if isinstance(ordering, str) else type(ordering).__name__.lower()
    return type(model).__name__ + ("" if ordering == "none" else f" ({ordering})")


def _seeded(model: Any, random_state: int) -> Any:
    if model.random_state is not None:
        return model
    return clone(model).set_params(random_state=random_state)


def _check(
    rows: Source,
    series: bool,
    models: Mapping[str, Any],
    baselines: Sequence[str],
    metrics: Sequence[str],
    test_fraction: float,
    n_splits: int,
) -> None:
    for kind, names, known in (
        ("baseline", baselines, BASELINES),
        ("metric", metrics, METRICS),
    ):
        for name in names:
            if name not in known:
                raise ValueError(
                    f"There is no {kind} {name!r}.{nearest(name, known)} "
                    f"Known are: {', '.join(known)}."
                )
    maps = [name for name in baselines if name in MAPS]
    if maps and not metrics:
        raise ValueError(
            f"{' and '.join(maps)} cannot rebuild rows, so only neighbours can be compared. "
            "Write metrics=('trustworthiness', 'continuity')."
        )
    if not (models or baselines):
        raise ValueError("models and baselines are both empty. Write models='Autoencoder', say.")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction={test_fraction} must be between 0 and 1. Write 0.2.")
    if n_splits < 1:
        raise ValueError(f"n_splits={n_splits} must be at least 1. Write 5 for standard errors.")
    allowed = models and all(model.missing == "ignore" for model in models.values())
    _rows.check_finite("X", rows, "ignore" if allowed else "error", series)


def _check_neighbours(n_rows: int, n_held_out: int) -> None:
    """Raise ValueError unless enough rows are held out to have neighbours."""
    if n_held_out >= LEAST_ROWS:
        return
    enough = -(-100 * LEAST_ROWS // n_rows) / 100
    raise ValueError(
        f"metrics compare the neighbours of at least {LEAST_ROWS} held-out rows, but a split holds "
        f"out {n_held_out} of {n_rows}. Write "
        + (f"test_fraction={enough}, or metrics=()." if enough < 1 else "metrics=().")
    )


def _space(
    checked: Mapping[str, _checks.Checked], shape: tuple[int, ...]
) -> Callable[[Moments], Scale]:
    """Return how the models scale what they are measured on; a single width changes no FVE."""
    kinds = {label: settings.target_scale for label, settings in checked.items()}
    kinds = {label: "none" if kind == "global" else kind for label, kind in kinds.items()}
    if len(set(kinds.values())) > 1:
        shown = ", ".join(f"{label} {kind!r}" for label, kind in kinds.items())
        raise ValueError(
            f"The models measure their errors in different spaces: {shown}. "
            "Give all models the same scale."
        )
    n_channels = next((settings.n_channels(shape) for settings in checked.values()), 1)
    kind = next(iter(kinds.values()), "standard")
    return partial(scale_from, kind=kind, n_channels=n_channels)
