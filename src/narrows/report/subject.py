"""What a report is about: a fitted estimator, the rows it is shown on, and its figures there."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Shaped

from narrows.data.source import Source
from narrows.data.views import Rows
from narrows.estimators import _checks, _rows
from narrows.estimators._base import BaseAutoencoder
from narrows.metrics import ExplainedVariance, agreement_matrix, elbow
from narrows.nn.scale import Moments, Scale, moments
from narrows.objective.likelihoods import Gaussian, Normal
from narrows.objective.mixed import Mixed
from narrows.report.comparison import pca_fve

Pair = tuple[Source, Source]


@dataclass(frozen=True)
class Subject:
    """A fitted estimator and held-out rows, with all that is computed from them once.

    Attributes
    ----------
    rows, targets : Source
        The held-out rows and what they are compared with: the same object unless a target was
        given.
    train : pair of Source, or None
        The rows of the fit and their targets.
    event_shape : tuple of int, or None
        How events are drawn; None for the rows of a table.
    """

    estimator: BaseAutoencoder
    rows: Source
    targets: Source
    train: Pair | None
    labels: Shaped[np.ndarray, " row"] | None
    event_shape: tuple[int, ...] | None

    @property
    def target(self) -> Source | None:
        """The target, if it is not the input."""
        return None if self.targets is self.rows else self.targets

    @property
    def n_components(self) -> int:
        """Number of components K."""
        return int(self.estimator.n_components)

    @property
    def n_values(self) -> int:
        """Number of values in a row."""
        return math.prod(self.rows.shape)

    @property
    def circular(self) -> list[int]:
        """Which components, from 0, are angles."""
        return list(self.estimator._model.blueprint.layout.circular)

    @property
    def names(self) -> list[str]:
        """Names of the components."""
        angles = [" (angle)" if k in self.circular else "" for k in range(self.n_components)]
        return [f"component {k + 1}{angle}" for k, angle in enumerate(angles)]

    @property
    def gaussian(self) -> bool:
        """Whether the error is the squared error, as it is PCA's."""
        likelihood = self.estimator._model.blueprint.likelihood
        alike = isinstance(likelihood, Normal) and likelihood.learns != "feature"
        return alike or isinstance(likelihood, Gaussian)

    @property
    def ranked(self) -> bool:
        """Whether there is one level per component."""
        return self.fve.shape[1] == self.n_components

    @property
    def used(self) -> int:
        """Which of the restarts kept is used."""
        return self.estimator._best

    @cached_property
    def fve(self) -> Float[np.ndarray, "restart level"]:
        """Held-out FVE of every restart and level."""
        each = self.estimator.restarts_
        return np.stack([one.fve(self.rows, target=self.target) for one in each])

    @property
    def elbow(self) -> int | None:
        """Number of components at the elbow of FVE, from four components on."""
        fve = self.fve[self.used].astype(np.float64)
        return elbow(fve) if len(fve) > 3 and np.isfinite(fve).all() else None

    @property
    def space(self) -> str:
        """In which space the model measures its error, as a phrase."""
        if self.estimator._target_scale.trivial:
            return "in the units of the data"
        widths = {"global": "one width for all values", "channel": "each channel by its own width"}
        kind = widths.get(self.estimator.scale, "each value by its own width")
        return f"in the space in which the model measures its error (standardised, {kind})"

    @cached_property
    def restart_codes(self) -> Float[np.ndarray, "restart row component"]:
        """Codes of the held-out rows by every restart, angles in radians."""
        return np.stack([restart._angles(self.rows) for restart in self.estimator.restarts_])

    @cached_property
    def n_distinct(self) -> int:
        """Number of restarts that are not copies of one another, such as a start they share."""
        return len({codes.tobytes() for codes in self.restart_codes})

    @property
    def codes(self) -> Float[np.ndarray, "row component"]:
        """Codes of the held-out rows, angles in radians."""
        return self.restart_codes[self.used]

    @property
    def middle(self) -> Float[np.ndarray, " component"]:
        """Median of each component, of an angle its mean direction."""
        middle = np.median(self.codes, axis=0)
        middle[self.circular] = np.angle(np.exp(1j * self.codes[:, self.circular]).mean(axis=0))
        return np.asarray(middle)

    @cached_property
    def agreement(self) -> Float[np.ndarray, "restart restart component"] | None:
        """Agreement of restarts, where components can be compared; see `no_agreement`."""
        if self.no_agreement:
            return None
        return agreement_matrix(self.restart_codes, self.circular)

    @property
    def mean_agreement(self) -> Float[np.ndarray, " component"] | None:
        """Agreement of each component, mean over pairs of restarts."""
        matrix = self.agreement
        return None if matrix is None else matrix[np.triu_indices(len(matrix), k=1)].mean(axis=0)

    @property
    def no_agreement(self) -> str:
        """Why restarts are not compared, or an empty string."""
        if len(self.fve) < 2:
            return (
                "One restart was kept, so there is nothing to compare. Write n_init=8, say, and "
                "Training(keep_restarts=True), and fit again."
            )
        if not self.ranked:
            return (
                "Nothing ranks the components, so restarts may find them in any order and "
                "mixture. HierarchicalAutoencoder ranks them."
            )
        if self.n_distinct == 1:
            return "All restarts kept the same weights, their common start, so they must agree."
        return "" if len(self.rows) > 4 else "Fewer than five held-out rows compare nothing."

    @property
    def no_pca(self) -> str:
        """Why PCA is left out, or an empty string."""
        if self.target is not None:
            return "PCA is left out: it describes its input, and the target here is another."
        if isinstance(self.estimator._model.blueprint.likelihood, Mixed):
            return (
                "PCA is left out: it measures all columns alike, and the likelihood here is mixed."
            )
        if self.train is None:
            return (
                "PCA is left out: it needs the rows of the fit. Write report(..., train=X_train)."
            )
        return ""

    @cached_property
    def loss(self) -> Float[np.ndarray, " row"]:
        """Reconstruction loss of each held-out row."""
        scores = self.estimator.score_samples(self.rows, target=self.target)
        return -np.asarray(scores, dtype=np.float64)

    @cached_property
    def moments(self) -> Moments:
        """Moments of the targets of the fit, or without these of the held-out ones."""
        return moments_of(self.targets if self.train is None else self.train[1])

    @property
    def feature_names(self) -> list[str]:
        """Names of the values of an event that is reconstructed."""
        return names_of(self.targets)

    def standardised(self, flat: Shaped[np.ndarray, "... value"]) -> Float[np.ndarray, "... value"]:
        """Return values as standard deviations from the mean of `moments`."""
        width = np.sqrt(self.moments.variance)
        return np.asarray((flat - self.moments.mean) / np.where(width > 0, width, 1.0))

    def decode(
        self, codes: Float[np.ndarray, "*grid component"], level: int | None = None
    ) -> Shaped[np.ndarray, "*grid value"]:
        """Return what codes on a grid decode to, flat."""
        rows = self.estimator.inverse_transform(codes.reshape(-1, codes.shape[-1]), level)
        return np.asarray(rows.reshape(*codes.shape[:-1], -1))


def names_of(rows: Source) -> list[str]:
    """Return the names of the values of a row."""
    if rows.names is not None and len(rows.shape) == 1:
        return list(rows.names)
    return [f"column {j}" for j in range(math.prod(rows.shape))]


def moments_of(rows: Source) -> Moments:
    """Return mean, variance, range and count of each value."""
    return moments(((block, None) for _, block in _rows.chunks(rows)), math.prod(rows.shape))


def n_repeated(rows: Source, train: Source) -> int:
    """Return how many rows also occur, bit for bit, among the training rows."""
    seen = {key for block in _rows.chunks(train) for key in _keys(block[1])}
    return sum(key in seen for block in _rows.chunks(rows) for key in _keys(block[1]))


def _keys(block: np.ndarray) -> Iterator[int]:
    return (hash(row.tobytes()) for row in np.ascontiguousarray(block, dtype=np.float64))


# Starts


def starts_as_pca(estimator: BaseAutoencoder) -> bool:
    """Return whether all restarts of an estimator begin as PCA."""
    return getattr(estimator._model.blueprint.architecture, "init", None) == "pca"


def went_back(estimator: BaseAutoencoder) -> str:
    """Say how many restarts of the fit went back to their start, or an empty string."""
    epochs = estimator.history_["best_epoch"]
    n, n_back = len(epochs), int((epochs == 0).sum())
    start = "PCA start" if starts_as_pca(estimator) else "start"
    if not n_back:
        return ""
    if n_back < n:
        whose = "its" if n_back == 1 else "their"
        return f"{n_back} of {n} restarts went back to {whose} {start}."
    who = "The restart went back to its" if n == 1 else f"All {n} restarts went back to their"
    return f"{who} {start}: no gain on the validation rows that is beyond doubt."


# Explained variance in squared error, where PCA and a model meet


def linear_fve(subject: Subject) -> Float[np.ndarray, " level"] | None:
    """Return the held-out FVE of PCA with 1..K components, unless `no_pca` says why not."""
    if subject.train is None or subject.no_pca:
        return None
    scale = _checks.check(subject.estimator).target_scale
    return pca_fve(subject.train[0], subject.rows, subject.n_components, scale)


def squared_fve(subject: Subject) -> Float[np.ndarray, " level"]:
    """Return the held-out FVE of every level in squared error, whatever the likelihood."""
    estimator, n_levels = subject.estimator, subject.fve.shape[1]
    scale = estimator._target_scale
    mean = _scaled(estimator._target_mean[None], scale)[0]
    levels = range(1, n_levels + 1) if n_levels > 1 else [None]
    explained = [ExplainedVariance(mean) for _ in levels]
    for start in range(0, len(subject.rows), _rows.CHUNK):
        index = np.arange(start, min(start + _rows.CHUNK, len(subject.rows)))
        target = _scaled(Rows(subject.targets, index).read(0, len(index)), scale)
        for level, sums in zip(levels, explained, strict=True):
            found = estimator._reconstructed(Rows(subject.rows, index), level)
            sums.update(target, _scaled(found, scale))
    return np.array([float(sums.compute()) for sums in explained])


def _scaled(rows: Shaped[np.ndarray, "row ..."], scale: Scale) -> Float[np.ndarray, "row value"]:
    return np.asarray(scale.apply(rows.reshape(len(rows), -1), torch.float64).numpy())
