"""Classifiers and regressors whose layers were trained as autoencoders first."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Real
from os import PathLike
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from narrows._types import Array
from narrows.corruption import Corruption, Dropout
from narrows.data.source import Source, source
from narrows.data.views import Concatenated
from narrows.engine.training import Training
from narrows.estimators import _guards
from narrows.estimators._checks import stacked, training_of
from narrows.estimators._chunks import over_chunks
from narrows.estimators._docs import documented
from narrows.estimators._settings import Settings
from narrows.estimators.autoencoder import Autoencoder
from narrows.estimators.stacked import StackedAutoencoder
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.code import Plain
from narrows.nn.dense import widths
from narrows.nn.headed import Headed
from narrows.objective.likelihoods import Likelihood
from narrows.objective.mixed import Mixed

SHARED = ("scale", "missing", "batch_size", "n_init", "random_state", "verbose", "training")


class StackedPredictor(Settings, ABC):
    """What classifiers and regressors share: layers trained on X alone, then all of them on y."""

    network_: Autoencoder

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.missing != "error"
        tags.target_tags.multi_output = True
        return tags

    @abstractmethod
    def _targets(self, y: Any) -> tuple[Array, str | Likelihood]:
        """Return y as rows of numbers to predict, and their likelihood."""

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        unlabelled: Any = None,
        groups: Any = None,
        validation: Any = None,
    ) -> Self:
        """Train the layers on the rows of X, then the whole on y.

        Parameters
        ----------
        X : array, frame, sparse matrix, tensor, path or Source, shape (rows, ...)
        y : array of shape (rows,) or (rows, outputs)
            What to predict, known for all rows.
        sample_weight : array of shape (rows,), optional
            Weights >= 0 in the second phase.
        unlabelled : like X, optional
            More rows for the first phase, without anything to predict; with ``layer=None`` there is
            none.
        groups : array of shape (rows,), optional
            Which rows belong together, for ``Training(split="groups")``; layers that learn from
            unlabelled rows too are split at random.
        validation : pair (X, y), optional
            Rows that choose epoch and restart in the second phase, instead of a part of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If labels are missing or of one class, or a setting is out of range.
        NonFiniteLossError
            If the losses of all restarts became NaN or infinite.
        """
        if not widths(self.hidden_layer_sizes):
            raise ValueError("hidden_layer_sizes=() has no layer to train. Write (256,), say.")
        _check_dropout(self.input_dropout)
        with _guards.all_or_nothing(self):
            targets, likelihood = self._targets(y)
            check_consistent_length(_read(X), targets)
            if validation is not None:
                validation = (validation[0], self._known_targets(validation[1]))
            self.pretrained_ = self._pretrained(X, unlabelled, groups)
            self.network_ = self._network(likelihood)
            history = self.network_._fit(
                X, targets, sample_weight, groups, validation, self.pretrained_
            )
            self.n_features_in_ = self.network_.n_features_in_
            if hasattr(self.network_, "feature_names_in_"):
                self.feature_names_in_ = self.network_.feature_names_in_
        _guards.refuse_failure(history)
        return self

    @abstractmethod
    def _known_targets(self, y: Any) -> Array:
        """Return validation targets as rows of numbers, as `_targets` made them."""

    def _pretrained(self, X: Any, unlabelled: Any, groups: Any) -> StackedAutoencoder | None:
        """Return the layers, trained one by one on all rows; None if they are not to be."""
        if self.layer is None:
            return None
        *_, top = sizes = widths(self.hidden_layer_sizes)
        training = copy.copy(training_of(self)).set_params(keep_restarts=True)
        if unlabelled is not None and training.split == "groups":
            training.set_params(split="random")
        own = self._settings("layer", "corruption", "strength", "layer_epochs", "init", *SHARED)
        stack = StackedAutoencoder(
            top,
            hidden_layer_sizes=sizes[:-1],
            architecture=stacked(self, sizes[:-1]),
            code=Plain(self.activation),
            likelihood=self.layer_likelihood,
            fine_tune=False,
            **own | {"training": training, "learning_rate": self._layer_rate()},
        )
        if unlabelled is None:
            return stack.fit(X, groups=groups)
        known, more = source(X), source(unlabelled)
        if known.shape != more.shape:
            raise ValueError(
                f"unlabelled has rows of shape {more.shape}, X has {known.shape}. "
                "Pass the same features."
            )
        return stack.fit(Concatenated([known, more]))

    def _layer_rate(self) -> Any:
        rate = self.layer_learning_rate
        if rate is not None and not (isinstance(rate, Real) and float(rate) > 0):
            raise ValueError(
                f"layer_learning_rate={rate!r} must be a positive number, or None for "
                "learning_rate. Write 1e-3."
            )
        return self.learning_rate if rate is None else rate

    def _network(self, likelihood: str | Likelihood) -> Autoencoder:
        *_, top = sizes = widths(self.hidden_layer_sizes)
        return Autoencoder(
            top,
            architecture=Headed(stacked(self, sizes[:-1])),
            code=Plain(self.activation),
            likelihood=likelihood,
            corruption=Dropout(self.input_dropout) if self.input_dropout else "none",
            **self._settings("max_epochs", "learning_rate", *SHARED),
        )

    def _settings(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}

    @property
    def phases_(self) -> list[dict[str, Array]]:
        """Histories of the layers, from the input, as in `StackedAutoencoder`."""
        check_is_fitted(self)
        return [] if self.pretrained_ is None else self.pretrained_.phases_

    @property
    def history_(self) -> dict[str, Array]:
        """History of the training on y, as in `Autoencoder`."""
        check_is_fitted(self)
        return self.network_.history_

    @property
    def n_iter_(self) -> int:
        """Epochs trained on y."""
        check_is_fitted(self)
        return self.network_.n_iter_

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self)
        return self.network_._reconstructed(X, None)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_") and hasattr(self.network_, "_model")


def _no_shares(estimator: "StackedClassifier") -> Array:
    if isinstance(estimator.classes_, list):
        raise ValueError(
            "Shares of several questions are several arrays, which no Dask array holds. Write "
            "X.map_blocks of a function of one's own, or predict(X)."
        )
    return np.empty((0, len(estimator.classes_)))


def _no_labels(estimator: "StackedClassifier") -> Array:
    if isinstance(estimator.classes_, list):
        return np.column_stack([known[:0] for known in estimator.classes_])
    return estimator.classes_[:0]


def _no_values(estimator: "StackedRegressor") -> Array:
    shape = estimator.network_._target_shape
    return np.empty((0, *(() if estimator._single else shape)))


@documented
class StackedClassifier(ClassifierMixin, StackedPredictor):
    """Classifier whose layers were trained as autoencoders, one by one, before labels came in.

    Use it where labels are few and rows are many: pass rows without labels as ``unlabelled=``.
    Several questions at once are columns of y. (Vincent, Larochelle, Lajoie, Bengio & Manzagol
    2010, JMLR 11, 3371-3408; Rifai, Vincent, Muller, Glorot & Bengio 2011, ICML.)

    Parameters
    ----------
    <stack>

    Attributes
    ----------
    classes_ : array, or list of arrays for several questions
    <stack attributes>

    See Also
    --------
    StackedRegressor : For values.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from narrows import StackedClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = StackedClassifier(
    ...     (32,), layer_epochs=10, max_epochs=50, batch_size=16, learning_rate=0.01, random_state=0
    ... ).fit(X, y)
    >>> model.predict_proba(X).shape, model.score(X, y) > 0.9
    ((150, 3), True)
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (256,),
        *,
        layer: str | None = "denoising",
        corruption: str | Corruption | Callable[..., Any] = "masking",
        strength: float | None = None,
        layer_likelihood: str | Likelihood = "gaussian",
        layer_epochs: int = 50,
        layer_learning_rate: float | None = None,
        init: str = "xavier",
        activation: str | Activation = "silu",
        scale: str = "auto",
        missing: str = "error",
        architecture: str | Architecture | None = None,
        input_dropout: float = 0.0,
        max_epochs: int = 200,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        n_init: int = 1,
        random_state: Any = None,
        verbose: int = 0,
        training: Training | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.layer = layer
        self.corruption = corruption
        self.strength = strength
        self.layer_likelihood = layer_likelihood
        self.layer_epochs = layer_epochs
        self.layer_learning_rate = layer_learning_rate
        self.init = init
        self.activation = activation
        self.scale = scale
        self.missing = missing
        self.architecture = architecture
        self.input_dropout = input_dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.n_init = n_init
        self.random_state = random_state
        self.verbose = verbose
        self.training = training

    def _targets(self, y: Any) -> tuple[Array, str | Likelihood]:
        columns, single = _labels(self, y)
        classes = [np.unique(column) for column in columns.T]
        for known in classes:
            if len(known) < 2:
                raise ValueError(
                    f"y holds one class alone, {known.tolist()[0]!r}; a classifier needs two. "
                    "Pass rows of all classes."
                )
        self.classes_ = classes[0] if single else classes
        if single:
            return self._known_targets(y), "categorical"
        ends = np.cumsum([0, *map(len, classes)]).tolist()
        groups = [("categorical", tuple(range(first, last))) for first, last in pairwise(ends)]
        return self._known_targets(y), Mixed(groups)

    def _known_targets(self, y: Any) -> Array:
        """Return labels as ones and zeros, a column for every class of every question."""
        columns, single = _labels(self, y)
        classes = [self.classes_] if single else self.classes_
        for column, known in zip(columns.T, classes, strict=True):
            new = column[~np.isin(column, known)].tolist()
            if new:
                raise ValueError(
                    f"The label {new[0]!r} of the validation rows is not among those of y. "
                    "Pass validation rows of the classes that are learned."
                )
        hits = [c[:, None] == known for c, known in zip(columns.T, classes, strict=True)]
        return np.hstack(hits).astype(np.float32)

    @over_chunks(_no_shares)
    def predict_proba(self, X: Any) -> Any:
        """Return the probability of every class; of several questions, a list of them.

        Parameters
        ----------
        X : like `fit`

        Returns
        -------
        array of shape (rows, classes), or list of such arrays
        """
        outputs = self._outputs(X)
        if not isinstance(self.classes_, list):
            return outputs
        return np.split(outputs, np.cumsum([len(known) for known in self.classes_])[:-1], axis=1)

    @over_chunks(_no_labels)
    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row; of several questions, a column each."""
        shares = self.predict_proba(X)
        if not isinstance(self.classes_, list):
            return np.asarray(self.classes_[shares.argmax(1)])
        picked = zip(self.classes_, shares, strict=True)
        return np.column_stack([known[share.argmax(1)] for known, share in picked])


@documented
class StackedRegressor(RegressorMixin, StackedPredictor):
    """Regressor whose layers were trained as autoencoders, one by one, before values came in.

    Use it where values to predict are few and rows are many: pass rows without them as
    ``unlabelled=``. (Vincent, Larochelle, Lajoie, Bengio & Manzagol 2010, JMLR 11, 3371-3408.)

    Parameters
    ----------
    <stack>
    likelihood : str or Likelihood, default="gaussian"
        What a prediction is measured by: "gaussian", "laplace" and "student_t" (robust), "poisson"
        and "negative_binomial" (counts), "bernoulli" (values in [0, 1]).

    Attributes
    ----------
    <stack attributes>

    See Also
    --------
    StackedClassifier : For labels.
    CodeRegressor : For large outputs, through their code.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from narrows import StackedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = StackedRegressor((32,), layer_epochs=10, max_epochs=30, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.4
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (256,),
        *,
        layer: str | None = "denoising",
        corruption: str | Corruption | Callable[..., Any] = "masking",
        strength: float | None = None,
        layer_likelihood: str | Likelihood = "gaussian",
        layer_epochs: int = 50,
        layer_learning_rate: float | None = None,
        init: str = "xavier",
        activation: str | Activation = "silu",
        scale: str = "auto",
        missing: str = "error",
        architecture: str | Architecture | None = None,
        input_dropout: float = 0.0,
        likelihood: str | Likelihood = "gaussian",
        max_epochs: int = 200,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        n_init: int = 1,
        random_state: Any = None,
        verbose: int = 0,
        training: Training | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.layer = layer
        self.corruption = corruption
        self.strength = strength
        self.layer_likelihood = layer_likelihood
        self.layer_epochs = layer_epochs
        self.layer_learning_rate = layer_learning_rate
        self.init = init
        self.activation = activation
        self.scale = scale
        self.missing = missing
        self.architecture = architecture
        self.input_dropout = input_dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.n_init = n_init
        self.random_state = random_state
        self.verbose = verbose
        self.training = training
        self.likelihood = likelihood

    def _targets(self, y: Any) -> tuple[Array, str | Likelihood]:
        values = self._known_targets(y)
        self._single = np.asarray(y).ndim == 1
        return values, self.likelihood

    def _known_targets(self, y: Any) -> Array:
        _refuse_missing(self, y)
        values = check_array(
            y, ensure_2d=False, dtype="numeric", input_name="y", ensure_all_finite=True
        )
        return np.asarray(values, dtype=np.float64).reshape(len(values), -1)

    @over_chunks(_no_values)
    def predict(self, X: Any) -> Float[np.ndarray, "row ..."]:
        """Return the values of each row, of the shape of y."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._single else outputs


def _check_dropout(share: Any) -> None:
    """Raise ValueError unless a share of the inputs remains."""
    if not isinstance(share, Real) or not 0 <= float(share) < 1:
        raise ValueError(
            f"input_dropout={share!r} must be in [0, 1), the share of the inputs that each step "
            "masks. Write 0.2, or 0.0 for none."
        )


def _labels(estimator: Any, y: Any) -> tuple[Array, bool]:
    """Return labels as columns, and whether there is one question alone."""
    _refuse_missing(estimator, y)
    labels = np.asarray(y)
    check_classification_targets(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = column_or_1d(labels, warn=True)
    return labels.reshape(len(labels), -1), labels.ndim == 1


def _refuse_missing(estimator: Any, y: Any) -> None:
    """Raise ValueError unless there is something to predict for every row."""
    name = type(estimator).__name__
    if y is None:
        raise ValueError(
            f"{name} requires y to be passed, but the target y is None. Rows without labels are "
            "for unlabelled=; without any labels, fit a StackedAutoencoder."
        )
    labels = np.asarray(y)
    missing = np.isnan(labels) if labels.dtype.kind == "f" else np.zeros(labels.shape, bool)
    if labels.dtype.kind == "O":
        missing = np.vectorize(_absent, otypes=[bool])(labels)
    if missing.any():
        raise ValueError(
            f"y has missing entries (NaN): {missing.sum()}, the first in row "
            f"{np.argwhere(missing)[0][0]}. Pass rows without labels as unlabelled=."
        )
    if labels.dtype.kind == "f":
        assert_all_finite(y, input_name="y")


def _absent(label: Any) -> bool:
    """Return whether an object is None, NaN, or NA of pandas."""
    return label is None or type(label).__name__ == "NAType" or bool(label != label)


def _read(X: Any) -> Any:
    """Return rows that can be counted: those of files."""
    return np.empty(len(source(X))) if isinstance(X, str | PathLike | Source) else X
