"""How good a fitted autoencoder is, on the rows of its fit and on others."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted

from narrows._types import Array
from narrows.data.batches import Batch
from narrows.estimators import _bound, _rows
from narrows.estimators._chunks import over_chunks
from narrows.metrics import Dependence, agreement, dependence, elbow
from narrows.model import Model
from narrows.nn.scale import Scale


def _no_scores(estimator: Any) -> Array:
    bounded = estimator._model.blueprint.posterior is not None
    return np.empty(0, "float32" if bounded else estimator._number)


class Measured(ABC):
    """What autoencoders tell of their quality: variance explained, losses, agreement."""

    _model: Model
    _target_scale: Scale
    history_: dict[str, Any]
    fve_restarts_: Array

    @property
    @abstractmethod
    def restarts_(self) -> list[Any]:
        """All restarts that were kept, each as a fitted estimator."""

    @abstractmethod
    def _given(self, X: Any, target: Any, condition: Any = None) -> _rows.Given:
        """Return checked rows, their targets and their condition."""

    @abstractmethod
    def _batches(self, given: _rows.Given, weight: Array | None = None) -> Iterator[Batch]:
        """Yield scaled rows, in order."""

    @abstractmethod
    def _fve(self, model: Model, batches: Any) -> Float[np.ndarray, "restart level"]:
        """Return the fraction of variance explained."""

    @abstractmethod
    def _angles(self, X: Any, condition: Any = None) -> Array:
        """Return codes in double precision, circular components as angles."""

    @property
    def fve_(self) -> Float[np.ndarray, " level"]:
        """Fraction of variance explained per level, on the rows that chose epoch and restart."""
        check_is_fitted(self)
        return np.asarray(self.fve_restarts_[int(self.history_["best_loss"].argmin())])

    @property
    def explained_variance_ratio_(self) -> Float[np.ndarray, " level"]:
        """Increments of `fve_`: what each component adds; negative ones are shown as they are."""
        return np.diff(self.fve_, prepend=0.0)

    @property
    def elbow_(self) -> int:
        """Number of components after which `fve_` gains little more (L-method)."""
        return elbow(self.fve_)

    def fve(
        self, X: Any, *, target: Any = None, condition: Any = None, sample_weight: Any = None
    ) -> Float[np.ndarray, " level"]:
        """Return the fraction of variance explained per level: held out, if X is.

        ``1 - Σ‖t - t̂‖² / Σ‖t - mean‖²`` with the mean of the training rows, over observed
        entries, in the space in which the model measures error (after its scaling); the same
        with deviance for likelihoods other than the gaussian. The mean of sequences is that of
        each feature over all steps.
        """
        given = self._given(X, target, condition)
        weight = _rows.weights_of(sample_weight, given.rows)
        return np.asarray(self._fve(self._model, self._batches(given, weight))[0])

    def score(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        target: Any = None,
        condition: Any = None,
    ) -> float:
        """Return the fraction of variance explained by all components."""
        found = self.fve(X, target=target, condition=condition, sample_weight=sample_weight)
        return float(found[-1])

    @over_chunks(_no_scores)
    def score_samples(
        self, X: Any, *, target: Any = None, condition: Any = None
    ) -> Float[np.ndarray, " row"]:
        """Return minus the reconstruction loss of each row: higher is more normal.

        Where the code is a distribution, the evidence lower bound, in nats: with a likelihood that
        is a density, of the data as given.
        """
        batches = self._batches(self._given(X, target, condition))
        with torch.no_grad():
            return np.concatenate([self._score_rows(batch) for batch in batches])

    def _score_rows(self, batch: Batch) -> Float[np.ndarray, " row"]:
        if self._model.blueprint.posterior is None:
            return -self._model.losses(batch)[0, -1].numpy()
        return _bound.elbo(self._model, batch, self._target_scale).total.astype(np.float32)

    def _excess(self, X: Any, *, checked: bool = True) -> Float[np.ndarray, "row value"]:
        """Return the loss of each value above that of a perfect reconstruction.

        Rows of a Source that are not `checked` may lie out of the likelihood's range.
        """
        batches = self._batches(self._given(X, None) if checked else _rows.Given(X, X))
        with torch.no_grad():
            blocks = [self._model.excess(batch)[0, -1].double().numpy() for batch in batches]
        return np.concatenate(blocks)

    def loss_terms(self, X: Any, *, target: Any = None, condition: Any = None) -> dict[str, float]:
        """Return each term of the objective by name, averaged over rows.

        Terms are those of the methods: reconstruction is summed over the event, in scaled units;
        statistics of the batch are averaged over batches. Where the code is a distribution, at one
        draw for each row, the same ones each time.
        """
        given = self._given(X, target, condition)
        with torch.no_grad():
            sums = [
                torch.stack(self._model.terms(batch))[:, 0] * len(batch)
                for batch in self._batches(given)
            ]
        means = (torch.stack(sums).sum(0) / len(given.rows)).tolist()
        return dict(zip(self._model.blueprint.term_names, means, strict=True))

    def agreement(self, X: Any, *, condition: Any = None) -> Float[np.ndarray, " component"]:
        """Return how well restarts agree on each component, from 0 to 1.

        The mean over pairs of restarts of the absolute rank correlation of their codes of X
        (circular correlation for angles); needs ``n_init`` of at least 2. Restarts that start as
        PCA share its ranking; whether other rankings do as well, ``Dense(init="random")`` tells.
        """
        restarts = self.restarts_
        if len(restarts) < 2:
            raise ValueError("agreement compares restarts. Write n_init=8, say, and fit again.")
        codes = np.stack([restart._angles(X, condition) for restart in restarts])
        return agreement(codes, tuple(self._model.blueprint.layout.circular))

    def dependence(self, X: Any, *, condition: Any = None) -> Dependence:
        """Return the dependence between components on X: rank correlation, mutual information.

        Nonlinear components are not independent, unlike those of PCA.
        """
        check_is_fitted(self)
        circular = tuple(self._model.blueprint.layout.circular)
        return dependence(self._angles(X, condition), circular)
