"""What classifiers for few labels share: labels, the course of a fit, and predictions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.base import ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from narrows._types import Array
from narrows.blueprint import Blueprint
from narrows.data.batches import Batch, Batches
from narrows.engine import devices, loop
from narrows.engine.callbacks import Progress
from narrows.estimators import _checks, _fitting, _guards, _labels
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._conditions import Column, Conditions
from narrows.estimators._settings import Settings
from narrows.estimators._starting import start_as_pca
from narrows.nn.modules import Modules
from narrows.nn.scale import Scale
from narrows.semi_supervised import Classifying, Pairs

Draw = Callable[[torch.Generator], Tensor]
PRIORS = ("labelled", "uniform")


class SemiSupervisedClassifier(
    ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Settings, ABC
):
    """Base of classifiers beside an autoencoder whose condition is the class."""

    autoencoder_: Any

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
    def _read(self, X: Any) -> Any:
        """Return what the autoencoder reads of rows."""

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from all rows and the labels that are known.

        Parameters
        ----------
        X : array, frame, sparse matrix, tensor, path or Source, shape (rows, ...)
        y : array of shape (rows,)
            Labels; -1 where one is not known.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If no label is known, or those of one class alone, if there is not one for each row, or
            a setting is out of range.
        NonFiniteLossError
            If the losses of all restarts became NaN or infinite.
        """
        with _guards.all_or_nothing(self):
            history = self._fit(X, y)
        _guards.refuse_failure(history)
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "row class"]:
        """Return the probability of every class, q(y | x); with features, of their locations.

        Parameters
        ----------
        X : like `fit`
        """
        check_is_fitted(self)
        rows = self.autoencoder_._known_rows(self._read(X), any_length=True)
        with torch.no_grad():
            parts = [self._learner.log_shares(x)[0] for x in self.autoencoder_._blocks(rows)]
        return torch.cat(parts).exp().numpy()

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row."""
        best = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[best])

    def _inner(self, kind: type[BaseAutoencoder], own: Sequence[str]) -> Any:
        """Return an autoencoder of the settings that are not one's own."""
        settings = self.get_params(deep=False)
        return kind(**{name: value for name, value in settings.items() if name not in own})

    def _check_labelling(self) -> None:
        """Check the settings of labels and of rows held out."""
        _checks.check_name("class_prior", self.class_prior, PRIORS)
        if isinstance(self.architecture, Modules):
            raise ValueError(
                "Modules are of the sizes that they are written for, but here one architecture is "
                "both encoders, of different sizes. Write architecture=Dense((128,)), say."
            )
        training = _checks.training_of(self)
        if training.split != "random":
            raise ValueError(
                f"split={training.split!r} has no place here: rows are held out at random, class "
                "by class. Write Training(split='random')."
            )

    def _numbered(self, y: Any) -> Int64[np.ndarray, " row"]:
        """Return the number of each row's class, or -1, after learning which classes there are."""
        labels, known = _labels.read(self, y)
        self.classes_, numbers = np.unique(labels[known], return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class alone, {self.classes_.tolist()[0]!r}; a classifier needs two. "
                "Pass labels of all classes."
            )
        counts = np.bincount(numbers)
        shares = counts if self.class_prior == "labelled" else np.ones(len(counts))
        self.class_prior_ = shares / shares.sum()
        found = np.full(len(labels), -1)
        found[known] = numbers
        return found

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
        history = _train(learner, recipe, read, parts, [order, *starts])
        self._keep(inner, learner, history, rows[parts[0].labelled])
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
        # As many components as values would leave the start no noise.
        if b.architecture.init == "pca" and b.layout.n_features < b.n_outputs:
            weight = torch.ones(len(rows)).to(rows.x)
            start_as_pca(learner.model, rows.x, rows.target, weight, rows.condition)
        return learner.to(devices.dtype(recipe.training.precision))

    def _keep(
        self, inner: Any, learner: Classifying, history: loop.History, labelled: Batch
    ) -> None:
        """Set the fitted attributes."""
        best = int(history.best_loss.argmin())
        self.n_iter_ = inner.n_iter_ = len(history.train_loss)
        n_terms = sum(len(phase.names) for phase in learner.phases(1.0))
        self.history_ = inner.history_ = _fitting.as_arrays(history, n_terms)
        inner.fve_restarts_ = inner._fve(learner.model, Batches(labelled, _fitting.EVALUATION_ROWS))
        self._learner = learner.select(best)
        inner._model = inner._ensemble = self._learner.model
        inner._best = 0
        self.autoencoder_ = inner

    def _take_names(self, first: BaseAutoencoder) -> None:
        """Set the names and the number of features, as what read X knows them."""
        self.n_features_in_ = first.n_features_in_
        self.__dict__.pop("feature_names_in_", None)
        if hasattr(first, "feature_names_in_"):
            self.feature_names_in_ = first.feature_names_in_

    @property
    def _label_column(self) -> Column:
        """Labels as a condition."""
        return Column("label", categories=tuple(self.classes_.tolist()))

    def _drawn_labels(self, n: int, label: Any, seed: np.random.SeedSequence) -> Any:
        """Return the classes of rows to be drawn: those asked for, or draws from p(y)."""
        if label is not None:
            return label
        return np.random.default_rng(seed).choice(self.classes_, n, p=self.class_prior_)


def _drawn(rows: Batch, scale: Scale, draw: Draw | None, generator: torch.Generator) -> Batch:
    """Return the rows of an epoch: the same ones, or new draws of features."""
    if draw is None:
        return rows
    x = scale.apply(draw(generator).numpy(), rows.x.dtype).to(rows.x.device)
    return Batch(x, x, None, None, rows.condition)


def _train(
    learner: Classifying,
    recipe: _fitting.Recipe,
    read: Callable[[torch.Generator], Batch],
    parts: tuple[_labels.Split, _labels.Split],
    seeds: list[np.random.SeedSequence],
) -> loop.History:
    """Train a learner in place; the first seed orders the rows, the others draw noise."""
    order, *noise = seeds
    train, held = parts
    where = devices.device(recipe.training.device, recipe.training.precision)
    n_classes = len(learner.log_prior)
    work = recipe.batch_size * n_classes * sum(tensor.numel() for tensor in learner.parameters())
    shares = len(train.unlabelled) / train.n_rows, len(train.labelled) / train.n_rows
    at_once = max(1, _fitting.EVALUATION_ROWS // n_classes)
    learner.to(where).seed(devices.generators(noise, where, stream=1))
    with ExitStack() as stack:
        stack.callback(learner.to, "cpu")
        stack.callback(learner.seed, ())
        stack.enter_context(devices.threads(work))
        watching = [stack.enter_context(Progress())] if recipe.verbose else []
        return loop.fit(
            learner,
            Pairs(read, *train, shares, recipe.batch_size),
            Pairs(read, *held, shares, at_once) if held.n_rows else None,
            phases=learner.phases(recipe.learning_rate, devices.generators(noise, where, stream=2)),
            settings=recipe.training,
            learning_rate=recipe.learning_rate,
            max_epochs=recipe.max_epochs,
            generator=devices.generators([order], torch.device("cpu"))[0],
            callbacks=[*recipe.training.callbacks, *watching],
        )
