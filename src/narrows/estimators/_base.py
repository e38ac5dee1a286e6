"""What all autoencoders share: the whole behaviour of the public estimators."""

import copy
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from narrows._types import Array, PathLike
from narrows.data.source import Source
from narrows.data.streamed import Blocks, TrainingRows
from narrows.engine.agreement import agree_on_moments
from narrows.engine.loop import History
from narrows.estimators import _checks, _fitting, _guards, _rows, _streaming
from narrows.estimators._coding import Coding
from narrows.estimators._conditions import Conditions
from narrows.estimators._generating import Generating
from narrows.estimators._measured import Measured
from narrows.estimators._settings import Settings
from narrows.model import Model, explained


class BaseAutoencoder(Coding, Measured, Generating, Settings, ABC):
    """Base of all autoencoders. Public estimators add a constructor and choose parts."""

    history_: dict[str, Any]

    @abstractmethod
    def _choose_parts(self) -> _checks.Choice:
        """Return the parts that this estimator's settings name."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.missing != "error"
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    # Fitting

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        target: Any = None,
        condition: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
        validation: Any = None,
    ) -> Self:
        """Learn a code of the rows of X.

        Parameters
        ----------
        X : array, frame, sparse matrix, tensor, path or Source, shape (rows, ...)
            Rows of values, or of images, curves and the like: events of any shape. For a recurrent
            architecture also a list of arrays of shape (steps, features), one a row, or rows
            whose last steps are NaN, which is padding.
        y : ignored
            For pipelines; labels play no role.
        target : like X, optional
            What to reconstruct, if not X itself: one row per row of X.
        condition : array, frame or path of shape (rows,) or (rows, columns), optional
            What is known of each row besides: encoder and decoder read it, so that codes need not
            tell it, and rows can be generated for it. Columns of floats are numbers, which are
            standardised; all others, whole numbers too, are categories.
        sample_weight : array of shape (rows,), optional
            Weights >= 0, of any scale; in a full batch, weight 3 equals three copies.
        groups : array of shape (rows,), optional
            Which rows belong together, for ``Training(split="groups")``.
        validation : like X, or a tuple (X, target) or (X, target, condition), optional
            Rows that choose epoch and restart, instead of a part of X; target may be None.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a setting is out of range, or the data are not finite, too few, or outside the
            range of the likelihood; the message says where and what to write instead.
        NonFiniteLossError
            If the losses of all restarts became NaN or infinite; the weights before are kept.
        """
        with _guards.all_or_nothing(self):
            history = self._fit(X, target, sample_weight, groups, validation, condition=condition)
        _guards.refuse_failure(history)
        return self

    def _fit(
        self,
        X: Any,
        target: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
        validation: Any = None,
        source: "BaseAutoencoder | None" = None,
        condition: Any = None,
    ) -> History:
        """Fit; the scaling and the encoder's start are those of a source, if one is given."""
        settings = _checks.check(self)
        self.__dict__.pop("_stream", None)
        given = self._learn_rows(X, target, settings)
        rows, targets = given.rows, given.targets
        settings = settings.placed(targets)
        weight = _rows.weights_of(sample_weight, rows, minimum=2)
        given = self._learn_condition(given, condition, weight, settings)
        if settings.choice.schedule is not None and self._has_target:
            _guards.refuse_holes(rows, self)
        children = _fitting.seeds(self.random_state, 2 + self.n_init)
        train, held = _streaming.divided(
            given,
            weight,
            groups,
            _checks.training_of(self),
            settings.dtype,
            children[0],
            all_train=validation is not None,
        )
        self._held = held
        if weight is not None:
            weight *= len(train) / _streaming.weight_of(weight, train)
        self._learn_scales(rows, targets, weight, settings, source)
        task = _fitting.Task(
            self._read(given, weight, train, settings.dtype),
            self._validation(given, weight, held, validation, settings),
            given=validation is not None,
        )
        recipe = settings.recipe(self._event_shape, self._target_shape, self._n_condition)
        model = _fitting.build(recipe, task, children[2:])
        if source is not None:
            model.encoder.load_state_dict(source._ensemble.encoder.state_dict())
        if settings.choice.schedule is None:
            history = _fitting.learn(model, recipe, task, children[1:])
        else:
            self.phases_ = settings.choice.schedule.start(model, recipe, task, children[1:])
            history = settings.choice.schedule.tune(model, recipe, task, children[1:])
        self._keep(model, history, task)
        _guards.warn_collapse(self._model, task.train.head(_fitting.EVALUATION_ROWS))
        if history.failure is None:
            _guards.warn_told_apart(self._model, task.judged)
        return history

    def partial_fit(
        self, X: Any, y: Any = None, *, condition: Any = None, sample_weight: Any = None
    ) -> Self:
        """Take one pass over the rows of X, one epoch of the schedule.

        The first call learns the scaling, the categories of a condition and the start from its
        rows, and the layers that are trained one by one, unless the estimator is fitted already;
        all stay as they are, and later calls continue the optimiser and the schedule. No rows are
        held out: the weights are the last ones, and `fve_` is measured on the rows of the call.
        Callbacks and checkpoints are for `fit`.

        Parameters
        ----------
        X : like `fit`
        y : ignored
        condition : like `fit`
        sample_weight : array of shape (rows,), optional

        Returns
        -------
        self

        Raises
        ------
        NonFiniteLossError
            If the loss of a restart became NaN or infinite; the estimator stays as it was.
        """
        with _guards.all_or_nothing(self):
            self._pass_over(X, condition, sample_weight)
        return self

    def _pass_over(self, X: Any, condition: Any, sample_weight: Any) -> None:
        settings = _checks.check(self)
        first = not hasattr(self, "_model")
        given = self._learn_rows(X, None, settings) if first else self._given(X, None, condition)
        rows, targets = given.rows, given.targets
        settings = settings.placed(targets)
        weight = _rows.weights_of(sample_weight, rows, minimum=1)
        if first:
            given = self._learn_condition(given, condition, weight, settings)
            self._learn_scales(rows, targets, weight, settings)
        part = _streaming.part_of(given, weight, _checks.training_of(self), settings.dtype)
        task = _fitting.Task(self._read(given, weight, part, settings.dtype), None)
        recipe = settings.recipe(self._event_shape, self._target_shape, self._n_condition)
        if not hasattr(self, "_stream"):
            children = _fitting.seeds(self.random_state, 2 + self.n_init)
            model = _fitting.build(recipe, task, children[2:]) if first else self._ensemble
            if first and settings.choice.schedule is not None:
                self.phases_ = settings.choice.schedule.start(model, recipe, task, children[1:])
            self._stream = _fitting.Stream(model, children[1 : 2 + model.n_restarts])
        past = self.history_ if self._stream.n_passes else {}
        history = self._stream.pass_over(recipe, task)
        _guards.refuse_failure(history)
        self._keep(self._stream.model, history, task)
        self.n_iter_ = self._stream.n_passes
        for name in past.keys() & {"train_loss", "validation_loss", "learning_rate"}:
            self.history_[name] = np.concatenate([past[name], self.history_[name]])

    def _learn_rows(self, X: Any, target: Any, settings: _checks.Checked) -> _rows.Given:
        self._sequential = settings.choice.architecture.sequential
        rows = _rows.rows_of(self, X, reset=True, sequential=self._sequential)
        self._event_shape = rows.shape
        self._has_target = target is not None and target is not X
        targets = rows
        if self._has_target:
            targets = _rows.target_rows(target, len(rows), self._sequential)
        self._target_shape = targets.shape
        return _rows.Given(rows, targets)

    def _learn_condition(
        self,
        given: _rows.Given,
        condition: Any,
        weight: Array | None,
        settings: _checks.Checked,
    ) -> _rows.Given:
        """Return rows beside their condition, after learning its columns."""
        self._conditions = None
        if condition is None:
            return given
        if settings.choice.schedule is not None:
            raise ValueError(
                "Layers that are trained one by one read no condition. Leave condition= out, or "
                "write VariationalAutoencoder(...)."
            )
        n_rows = len(given.rows)
        self._conditions = Conditions.learned(condition, n_rows, weight)
        read = self._conditions.encoded(condition, n_rows, settings.dtype)
        return given._replace(condition=read)

    def _learn_scales(
        self,
        rows: Source,
        targets: Source,
        weight: Array | None,
        settings: _checks.Checked,
        source: "BaseAutoencoder | None" = None,
    ) -> None:
        """Learn the scaling of rows and targets, and check them in the same pass."""
        pool, how, likelihood = self._sequential, self.missing, settings.choice.likelihood
        check = _rows.Check("X", rows, how, pool, likelihood if targets is rows else None)
        inputs = outputs = _rows.moments_of(rows, weight, pool, check)
        if targets is not rows:
            check = _rows.Check("target", targets, how, pool, likelihood)
            outputs = _rows.moments_of(targets, weight, pool, check)
            agree_on_moments(outputs.mean, outputs.variance)
        agree_on_moments(inputs.mean, inputs.variance)
        self._input_scale = settings.scale_of(inputs, rows.shape)
        scaled = likelihood.scales_target
        same = targets is rows and bool(np.all(scaled))
        own = self._input_scale if targets is rows else settings.target_of(outputs, targets.shape)
        self._target_scale = own if same else own.only(scaled)
        if settings.scale == "none":
            _guards.refuse_unscaled("X", rows, inputs, settings.dtype)
        if source is None:
            _guards.refuse_range("X", rows, inputs, self._input_scale, settings)
            _guards.warn_constant(inputs, rows, pool)
        if targets is not rows:
            _guards.refuse_range("target", targets, outputs, self._target_scale, settings)
        self._input_mean, self._target_mean = inputs.mean, outputs.mean
        if source is not None:
            self._input_scale, self._input_mean = source._input_scale, source._input_mean

    def _validation(
        self,
        given: _rows.Given,
        weight: Array | None,
        held: Array | Blocks,
        validation: Any,
        settings: _checks.Checked,
    ) -> TrainingRows | None:
        if validation is None:
            return self._read(given, weight, held, settings.dtype) if len(held) else None
        several = isinstance(validation, tuple) or (
            isinstance(validation, list) and self._has_target and len(validation) == 2
        )
        X, target, condition = self._parts(validation) if several else (validation, None, None)
        if self._conditions is not None and condition is None:
            raise ValueError(
                "validation lacks its condition. Write validation=(X, None, condition), with the "
                "target in the middle if there is one."
            )
        likelihood, dtype = settings.choice.likelihood, settings.dtype
        known = self._pair(X, target, condition, likelihood, "validation", dtype)
        part = _streaming.part_of(known, None, _checks.training_of(self), dtype)
        return self._read(known, None, part, dtype)

    def _parts(self, validation: Any) -> tuple[Any, Any, Any]:
        """Return rows, target and condition, None for what there is not."""
        if len(validation) not in (2, 3):
            raise ValueError(
                f"validation has {len(validation)} parts. Write (X, target), or (X, target, "
                "condition), with None for what there is not."
            )
        X, target, *more = validation
        return X, target, more[0] if more else None

    def _keep(self, model: Model, history: History, task: _fitting.Task) -> None:
        """Set the fitted attributes."""
        self.__dict__.pop("density_", None)
        self._ensemble, self._best = model, int(history.best_loss.argmin())
        self.n_iter_ = len(history.train_loss)
        self.history_ = _fitting.as_arrays(history, len(model.blueprint.trained_names))
        rows = task.train if task.validation is None else task.validation
        self.fve_restarts_ = self._fve(model, rows.batches(_fitting.evaluated_at_once(model)))
        if not _checks.training_of(self).keep_restarts:
            self._ensemble, self._best = model.select(self._best), 0
        self._model = self._ensemble.select(self._best)

    # Fitted attributes

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Return names of codes: "autoencoder0", ...; of a pair "..0_cos" and "..0_sin".

        Parameters
        ----------
        input_features : object
            Ignored; there for the sake of the interface.
        """
        layout = self._model_of(self).blueprint.layout
        pairs = layout.circular if self.circular_output == "cos_sin" else ()
        name = type(self).__name__.lower()
        sides = [("_cos", "_sin") if j in pairs else ("",) for j in range(layout.n_components)]
        return np.array([f"{name}{j}{s}" for j, own in enumerate(sides) for s in own], dtype=object)

    @property
    def restarts_(self) -> "list[BaseAutoencoder]":
        """All restarts that were kept, each as a fitted estimator, in the order of their seeds."""
        check_is_fitted(self)
        return [self._restart(r) for r in range(self._ensemble.n_restarts)]

    def _restart(self, restart: int) -> Self:
        other = copy.copy(self)
        for own in ("_stream", "density_"):
            other.__dict__.pop(own, None)
        other._model = other._ensemble = self._ensemble.select(restart)
        other._best = 0
        if len(self.fve_restarts_) == self._ensemble.n_restarts:
            other.fve_restarts_ = self.fve_restarts_[restart : restart + 1]
            other.history_ = {
                name: values if name == "learning_rate" else values[..., restart : restart + 1]
                for name, values in self.history_.items()
            }
        return other

    def _fve(self, model: Model, batches: Any) -> Float[np.ndarray, "restart level"]:
        likelihood = model.blueprint.likelihood
        dtype = next(model.parameters()).dtype
        mean = self._target_scale.apply(self._target_mean[None], dtype)
        null = likelihood.unlink(mean)[0]
        with torch.no_grad():
            parts = [torch.stack(model.deviance(batch, null)).double() for batch in batches]
        return explained(*torch.stack(parts).sum(0)).numpy()

    # Files

    def save(self, path: PathLike) -> None:
        """Write the fitted estimator to one .safetensors file; `narrows.load` reads it."""
        from narrows import persist

        persist.save(self, path)
