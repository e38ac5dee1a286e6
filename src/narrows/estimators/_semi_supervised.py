"""What classifiers for few labels share: labels, the course of a fit, and predictions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped
from sklearn.base import ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from narrows import _ranks
from narrows._types import Array
from narrows.blueprint import Blueprint
from narrows.data.batches import Batch, Batches
from narrows.engine import devices, loop
from narrows.engine.callbacks import Progress
from narrows.estimators import _checks, _fitting, _guards, _labels
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._chunks import over_chunks
from narrows.estimators._conditions import Column, Conditions
from narrows.estimators._settings import Settings
from narrows.estimators._starting import start_as_pca
from narrows.nn.modules import Modules
from narrows.nn.scale import Scale
from narrows.semi_supervised import Classifying, Pairs

Draw = Callable[[Tensor | slice, torch.Generator], Tensor]
PRIORS = ("labelled", "uniform")
_AGAINST_COLLAPSE = (
    "That is right where the class tells all; else write noise='learned' or a smaller noise, or a "
    "larger max_epochs."
)


def _no_shares(estimator: "SemiSupervisedClassifier") -> Array:
    return np.empty((0, len(estimator.classes_)), estimator.autoencoder_._number)


class SemiSupervisedClassifier(
    ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Settings, ABC
):
    """Base of classifiers beside an autoencoder whose condition is the class."""

    autoencoder_: Any
    # The autoencoder's class, and the settings that are not its own
    _kind: type[BaseAutoencoder]
    _further: tuple[str, ...]

    @abstractmethod
    def _fit(self, X: Any, y: Any) -> loop.History:
        """Fit, and return the history."""

    @abstractmethod
    def _new_learner(
        self, blueprint: Blueprint, log_prior: Float[Tensor, " class"], n_restarts: int
    ) -> Classifying:
        """Return what is trained."""

    @abstractmethod
    def _columns(self) -> Sequence[Column]:
        """Return the condition of the autoencoder."""

    @abstractmethod
    def _condition_of(self, shares: Float[Tensor, "row class"]) -> Float[Tensor, "row condition"]:
        """Return what the autoencoder reads besides, of rows of such class shares."""

    @abstractmethod
    def _read(self, X: Any) -> Any:
        """Return what the autoencoder reads of rows."""

    @abstractmethod
    def _sampled(
        self, numbers: Int64[np.ndarray, " row"], noise: bool, seeds: list[np.random.SeedSequence]
    ) -> Array:
        """Return new rows of classes, by two seeds: of their codes, and of noise besides."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        first = getattr(self, "features", None) or self
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = getattr(first, "missing", "error") != "error"
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from all rows and the labels that are known.

        Parameters
        ----------
        X : array, frame, sparse matrix, tensor, path or Source, shape (rows, ...)
        y : array or path of shape (rows,)
            Labels; -1 where one is not known. A path may select: "table.csv:label".

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If no label is known, or those of one class alone, if they are of several kinds or not
            one for each row, if a setting is out of range, or the data are not finite, too few, or
            outside the range of the likelihood.
        NonFiniteLossError
            If the losses of all restarts became NaN or infinite.
        """
        with _guards.all_or_nothing(self):
            history = self._fit(X, y)
        _guards.refuse_failure(history)
        return self

    @over_chunks(_no_shares)
    def predict_proba(self, X: Any) -> Float[np.ndarray, "row class"]:
        """Return the probability of every class, q(y | x); with features, of their locations.

        Parameters
        ----------
        X : like `fit`, shape (rows, ...)

        Returns
        -------
        array of shape (rows, classes)
            In the order of ``classes_``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If rows are of another shape than those of the fit, or not finite.
        """
        check_is_fitted(self)
        return self._shares(self._read(X))

    @over_chunks(lambda self: self.classes_[:0])
    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : like `fit`, shape (rows, ...)

        Returns
        -------
        array of shape (rows,)

        Raises
        ------
        NotFittedError, ValueError
            As of `predict_proba`.
        """
        best = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[best])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on the rows whose label is known.

        Parameters
        ----------
        X : like `fit`, shape (rows, ...)
        y : array of shape (rows,)
            Labels; rows of -1 do not count.
        sample_weight : array of shape (rows,), optional

        Returns
        -------
        float

        Raises
        ------
        NotFittedError, ValueError
            As of `predict_proba`, or if no label is known.
        """
        labels, known = self._labels_in(y)
        if not known.any():
            raise ValueError("y holds no label: all entries are -1. Pass labels to score by.")
        weight = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(accuracy_score(labels[known], self.predict(X)[known], sample_weight=weight))

    def sample(
        self,
        n_samples: int = 1,
        *,
        label: Any = None,
        noise: bool = True,
        random_state: Any = None,
    ) -> Array:
        """Return new rows of a class, in the units and shape of the data.

        Parameters
        ----------
        n_samples : int, default=1
            At least 1.
        label : label, or array of shape (n_samples,), optional
            Class of the rows; None draws classes from ``class_prior_``.
        noise : bool, default=True
            Whether to draw each value from the likelihood, or give its mean.
        random_state : int, RandomState, Generator or None, default=None

        Returns
        -------
        array of shape (n_samples, ...)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If a label is none of ``classes_``, or there are other than one or `n_samples`.
        """
        check_is_fitted(self)
        _checks.check_count("n_samples", n_samples)
        of_labels, *seeds = _fitting.seeds(random_state, 3)
        if label is None:
            rng = np.random.default_rng(of_labels)
            numbers = rng.choice(len(self.classes_), n_samples, p=self.class_prior_)
        else:
            numbers = _labels.asked_for(label, n_samples, self.classes_)
        return self._sampled(numbers, noise, seeds)

    def _shares(self, read: Any) -> Float[np.ndarray, "row class"]:
        """Return the probability of every class, of rows as the autoencoder reads them."""
        rows = self.autoencoder_._known_rows(read, any_length=True)
        with torch.no_grad():
            parts = [self._learner.log_shares(x)[0] for x in self.autoencoder_._blocks(rows)]
        return torch.cat(parts).exp().numpy()

    def _inner(self) -> Any:
        """Return an autoencoder of the settings that it shares."""
        settings = self.get_params(deep=False)
        own = {name: value for name, value in settings.items() if name not in self._further}
        return self._kind(**own)

    def _check_labelling(self) -> None:
        """Check the settings of labels and of rows held out."""
        _checks.check_name("class_prior", self.class_prior, PRIORS)
        if isinstance(self.architecture, Modules):
            raise ValueError(
                "Modules are of the sizes that they are written for, but here one architecture is "
                "both encoders, of different sizes. Write architecture=Dense((128,)), say."
            )
        if getattr(self.architecture, "tied", False):
            raise ValueError(
                "tied=True leaves the decoder no weights for the class. Write "
                "architecture=Dense((128,)), say."
            )
        training = _checks.training_of(self)
        _checks.refuse_stream(training)
        if training.split != "random":
            raise ValueError(
                f"split={training.split!r} has no place here: rows are held out at random, class "
                "by class. Write Training(split='random')."
            )

    def _numbered(self, y: Any) -> Int64[np.ndarray, " row"]:
        """Return the number of each row's class, or -1, after learning which classes there are."""
        self.classes_, numbers = _labels.numbered(*self._labels_in(y), self._kind.__name__)
        counts = np.bincount(numbers[numbers >= 0])
        shares = counts if self.class_prior == "labelled" else np.ones(len(counts))
        self.class_prior_ = shares / shares.sum()
        return numbers

    def _labels_in(self, y: Any) -> tuple[Shaped[np.ndarray, " row"], Bool[np.ndarray, " row"]]:
        """Return labels, and which of them are known."""
        return _labels.read(y, type(self).__name__, self._kind.__name__)

    def _learn(
        self,
        inner: Any,
        X: Any,
        numbers: Int64[np.ndarray, " row"],
        settings: _checks.Checked,
        seeds: list[np.random.SeedSequence],
        draw: Draw | None = None,
    ) -> loop.History:
        """Train from rows and the numbers of their classes, and set the fitted attributes.

        The seeds are for the rows held out, the order of batches, and each restart.
        """
        split, order, *starts = seeds
        given = inner._learn_rows(X, None, settings)
        _labels.check_length(numbers, len(given.rows))
        settings = settings.placed(given.targets)
        inner._conditions = Conditions(tuple(self._columns()))
        inner._learn_scales(given.rows, given.targets, None, settings)
        known = given._replace(condition=self._known(numbers, settings.dtype))
        rows = inner._batch(known, None, None, settings.dtype)
        recipe = settings.recipe(inner._event_shape, inner._target_shape, len(self.classes_))
        learner = self._built(recipe, rows, starts)
        parts = _labels.divided(numbers, recipe.training.validation_fraction, split)
        where = devices.device(recipe.training.device, recipe.training.precision)
        read = partial(_drawn, rows.to(where), inner._input_scale, draw)
        told = self.get_params(deep=False).items()
        aside = ("training", "verbose", "random_state")
        identity = {name: value for name, value in told if name not in aside}
        history = _train(learner, recipe, read, parts, [order, *starts], identity)
        self._keep(inner, learner, history, rows, parts)
        some = self._conditioned(rows[: _fitting.EVALUATION_ROWS])
        _guards.warn_collapse(inner._model, some, _AGAINST_COLLAPSE)
        if history.failure is None:
            _guards.warn_told_apart(inner._model, some)
        return history

    def _known(
        self, numbers: Int64[np.ndarray, " row"], dtype: torch.dtype
    ) -> Float[Tensor, "row class"]:
        """Return labels as ones and zeros; the shares of classes where they are not known."""
        ones = np.eye(len(self.classes_))[numbers]
        ones[numbers < 0] = ones[numbers >= 0].mean(0)
        return torch.as_tensor(ones, dtype=dtype)

    def _built(
        self, recipe: _fitting.Recipe, rows: Batch, seeds: list[np.random.SeedSequence]
    ) -> Classifying:
        """Return a learner of one restart per seed, at its start."""
        log_prior = torch.from_numpy(np.log(self.class_prior_)).float()
        learner = self._new_learner(recipe.blueprint, log_prior, len(seeds))
        learner.reset(devices.generators(seeds, torch.device("cpu")))
        b = recipe.blueprint
        # PCA of as many components as values would copy rows: no noise, and nothing left to the
        # class to tell.
        if b.architecture.init == "pca" and b.layout.n_features < b.n_outputs:
            weight = torch.ones(len(rows)).to(rows.x)
            start_as_pca(learner.model, rows.x, rows.target, weight, rows.condition)
        return learner.to(devices.dtype(recipe.training.precision))

    def _keep(
        self,
        inner: Any,
        learner: Classifying,
        history: loop.History,
        rows: Batch,
        parts: tuple[_labels.Split, _labels.Split],
    ) -> None:
        """Set the fitted attributes."""
        best = int(history.best_loss.argmin())
        self.n_iter_ = inner.n_iter_ = len(history.train_loss)
        found = self.history_ = _fitting.as_arrays(history, len(learner.terms))
        own = [learner.terms.index(name) for name in learner.model.blueprint.trained_names]
        inner.history_ = {**found, "train_loss": found["train_loss"][:, own]}
        train, held = parts
        known = rows[held.labelled if len(held.labelled) else train.labelled]
        inner.fve_restarts_ = inner._fve(learner.model, Batches(known, _fitting.EVALUATION_ROWS))
        self._learner = learner.select(best)
        inner._model = inner._ensemble = self._learner.model
        inner._best = 0
        self.autoencoder_ = inner

    def _conditioned(self, rows: Batch) -> Batch:
        """Return rows under the condition by which their codes are read."""
        with torch.no_grad():
            shares = self._learner.log_shares(rows.x)[0].exp()
        return replace(rows, condition=self._condition_of(shares))

    def _take_names(self, first: BaseAutoencoder) -> None:
        """Set the names and the number of features, as what read X knows them."""
        self.n_features_in_ = first.n_features_in_
        self.__dict__.pop("feature_names_in_", None)
        if hasattr(first, "feature_names_in_"):
            self.feature_names_in_ = first.feature_names_in_

    @property
    def _n_features_out(self) -> int:
        """Columns of codes, which scikit-learn names."""
        return int(self.autoencoder_._model.blueprint.layout.n_components)


def _drawn(
    rows: Batch, scale: Scale, draw: Draw | None, pick: Tensor, generator: torch.Generator
) -> Batch:
    """Return some rows: as they are, or new draws of their features."""
    some = rows[pick.to(rows.x.device)]
    if draw is None:
        return some
    x = scale.apply(draw(pick, generator).numpy(), rows.x.dtype).to(rows.x.device)
    return Batch(x, x, None, None, some.condition)


def _train(
    learner: Classifying,
    recipe: _fitting.Recipe,
    read: Callable[[Tensor, torch.Generator], Batch],
    parts: tuple[_labels.Split, _labels.Split],
    seeds: list[np.random.SeedSequence],
    identity: dict[str, Any],
) -> loop.History:
    """Train a learner in place; the first seed orders the rows, the others draw noise."""
    order, *noise = seeds
    train, held = parts
    where = devices.device(recipe.training.device, recipe.training.precision)
    n_classes = len(learner.log_prior)
    work = recipe.batch_size * n_classes * sum(tensor.numel() for tensor in learner.parameters())
    shares = len(train.unlabelled) / train.n_rows, len(train.labelled) / train.n_rows
    at_once = max(1, _fitting.EVALUATION_ROWS // n_classes)
    drawn = devices.generators(noise, where, stream=2)
    moving = devices.generators(noise, where, stream=1)
    learner.to(where).seed(moving)
    learner.model.mixed = devices.mixed(recipe.training.precision, work, where)
    with ExitStack() as stack:
        stack.callback(learner.to, "cpu")
        stack.callback(learner.seed, ())
        stack.callback(setattr, learner.model, "mixed", False)
        stack.enter_context(devices.threads(work))
        shown = recipe.verbose and _ranks.first()
        watching = [stack.enter_context(Progress())] if shown else []
        return loop.fit(
            learner,
            Pairs(read, *train, shares, recipe.batch_size),
            Pairs(read, *held, shares, at_once) if held.n_rows else None,
            phases=learner.phases(recipe.learning_rate, drawn),
            settings=recipe.training,
            learning_rate=recipe.learning_rate,
            max_epochs=recipe.max_epochs,
            generator=devices.generators([order], torch.device("cpu"))[0],
            noise=[*moving, *drawn],
            identity={**identity, "mixed": learner.model.mixed},
            callbacks=[*recipe.training.callbacks, *watching],
        )
