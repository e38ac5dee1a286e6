"""What all autoencoders share: the whole behaviour of the public estimators."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from narrows._types import Array, PathLike
from narrows.data import sequences
from narrows.data.batches import Batch
from narrows.data.source import Source
from narrows.data.views import Rows
from narrows.engine.loop import History
from narrows.estimators import _checks, _fitting, _guards, _imputing, _rows
from narrows.estimators._generating import Generating
from narrows.estimators._measured import Measured
from narrows.estimators._settings import Settings
from narrows.model import Model, explained
from narrows.nn.scale import Scale
from narrows.objective.likelihoods import Likelihood


class BaseAutoencoder(Measured, Generating, TransformerMixin, Settings, ABC):
    """Base of all autoencoders. Public estimators add a constructor and choose parts."""

    history_: dict[str, Any]
    _input_scale: Scale
    _input_mean: Array

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
        sample_weight : array of shape (rows,), optional
            Weights >= 0, of any scale; in a full batch, weight 3 equals three copies.
        groups : array of shape (rows,), optional
            Which rows belong together, for ``Training(split="groups")``.
        validation : like X, or a pair (X, target), optional
            Rows that choose epoch and restart, instead of a part of X.

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
            history = self._fit(X, target, sample_weight, groups, validation)
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
    ) -> History:
        """Fit; the scaling and the encoder's start are those of a source, if one is given."""
        settings = _checks.check(self)
        self.__dict__.pop("_stream", None)
        rows, targets = self._learn_rows(X, target, settings)
        settings = settings.placed(targets)
        weight = _rows.weights_of(sample_weight, rows, minimum=2)
        if settings.choice.schedule is not None and self._has_target:
            _guards.refuse_holes(rows, self)
        children = _fitting.seeds(self.random_state, 2 + self.n_init)
        train, held = _rows.divided(
            rows,
            weight,
            groups,
            _checks.training_of(self),
            children[0],
            all_train=validation is not None,
        )
        self._held = held
        if weight is not None:
            weight *= len(train) / weight[train].sum()
        self._learn_scales(rows, targets, weight, settings, source)
        task = _fitting.Task(
            self._batch(rows, targets, weight, train, settings.dtype),
            self._validation(rows, targets, weight, held, validation, settings),
            given=validation is not None,
        )
        recipe = settings.recipe(self._event_shape, self._target_shape)
        model = _fitting.build(recipe, task, children[2:])
        if source is not None:
            model.encoder.load_state_dict(source._ensemble.encoder.state_dict())
        if settings.choice.schedule is None:
            history = _fitting.learn(model, recipe, task, children[1:])
        else:
            self.phases_ = settings.choice.schedule.start(model, recipe, task, children[1:])
            history = settings.choice.schedule.tune(model, recipe, task, children[1:])
        self._keep(model, history, task)
        for warn in (_guards.warn_collapse, _guards.warn_told_apart):
            warn(self._model, task.train[: _fitting.EVALUATION_ROWS])
        return history

    def partial_fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Take one pass over the rows of X, one epoch of the schedule.

        The first call learns the scaling and the start from its rows, and the layers that are
        trained one by one, unless the estimator is fitted already; all stay as they are, and later
        calls continue the optimiser and the schedule. No rows are held out: the weights are the
        last ones, and `fve_` is measured on the rows of the call.

        Parameters
        ----------
        X : like `fit`
        y : ignored
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
            self._pass_over(X, sample_weight)
        return self

    def _pass_over(self, X: Any, sample_weight: Any) -> None:
        settings = _checks.check(self)
        first = not hasattr(self, "_model")
        rows, targets = (
            self._learn_rows(X, None, settings) if first else self._checked_pair(X, None)
        )
        settings = settings.placed(targets)
        weight = _rows.weights_of(sample_weight, rows, minimum=1)
        if first:
            self._learn_scales(rows, targets, weight, settings)
        present = np.arange(len(rows)) if weight is None else np.flatnonzero(weight)
        batch = self._batch(rows, targets, weight, present, settings.dtype)
        task = _fitting.Task(batch, None)
        recipe = settings.recipe(self._event_shape, self._target_shape)
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

    def _learn_rows(self, X: Any, target: Any, settings: _checks.Checked) -> tuple[Source, Source]:
        self._sequential = settings.choice.architecture.sequential
        rows = _rows.rows_of(self, X, reset=True, sequential=self._sequential)
        _rows.check_finite("X", rows, self.missing, self._sequential)
        self._event_shape = rows.shape
        self._has_target = target is not None and target is not X
        if not self._has_target:
            self._target_shape = rows.shape
            return rows, rows
        targets = _rows.target_rows(target, len(rows), self._sequential)
        _rows.check_finite("target", targets, self.missing, self._sequential)
        self._target_shape = targets.shape
        return rows, targets

    def _learn_scales(
        self,
        rows: Source,
        targets: Source,
        weight: Array | None,
        settings: _checks.Checked,
        source: "BaseAutoencoder | None" = None,
    ) -> None:
        pool = self._sequential
        inputs = _rows.moments_of(rows, weight, pool)
        if source is None:
            _guards.warn_constant(inputs.constant, rows, pool)
        outputs = inputs if targets is rows else _rows.moments_of(targets, weight, pool)
        self._input_scale = settings.scale_of(inputs, rows.shape)
        scaled = settings.choice.likelihood.scales_target
        same = targets is rows and bool(np.all(scaled))
        own = self._input_scale if targets is rows else settings.target_of(outputs, targets.shape)
        self._target_scale = own if same else own.only(scaled)
        self._input_mean, self._target_mean = inputs.mean, outputs.mean
        if source is not None:
            self._input_scale, self._input_mean = source._input_scale, source._input_mean
        _guards.check_range(settings.choice.likelihood, targets)

    def _batch(
        self,
        rows: Source,
        targets: Source,
        weight: Array | None,
        index: Array | None,
        dtype: torch.dtype,
    ) -> Batch:
        if index is not None and len(index) < len(rows):
            same = targets is rows
            rows = Rows(rows, index)
            targets = rows if same else Rows(targets, index)
            weight = None if weight is None else weight[index]
        x, seen = _rows.scaled(rows, self._input_scale, self._input_mean, dtype)
        if targets is rows and self._target_scale is self._input_scale:
            target, observed = x, seen
        else:
            target, observed = _rows.scaled(targets, self._target_scale, self._target_mean, dtype)
        x = _rows.ended(x, seen, rows.shape[0]) if self._sequential else x
        w = None if weight is None else torch.as_tensor(weight, dtype=dtype)
        return Batch(x, target, w, observed)

    def _validation(
        self,
        rows: Source,
        targets: Source,
        weight: Array | None,
        held: Array,
        given: Any,
        settings: _checks.Checked,
    ) -> Batch | None:
        if given is None:
            whole = self._batch(rows, targets, weight, held, settings.dtype)
            return whole if len(held) else None
        pair = isinstance(given, tuple) or (
            isinstance(given, list) and self._has_target and len(given) == 2
        )
        X, target = given if pair else (given, None)
        known = self._pair(X, target, settings.choice.likelihood, "validation")
        return self._batch(*known, None, None, settings.dtype)

    def _keep(self, model: Model, history: History, task: _fitting.Task) -> None:
        """Set the fitted attributes."""
        self.__dict__.pop("density_", None)
        self._ensemble, self._best = model, int(history.best_loss.argmin())
        self.n_iter_ = len(history.train_loss)
        self.history_ = _fitting.as_arrays(history, len(model.blueprint.trained_names))
        batch = task.train if task.validation is None else task.validation
        self.fve_restarts_ = self._fve(model, [batch])
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

    # Codes

    def transform(self, X: Any) -> Float[np.ndarray, "row code"]:
        """Return the codes of rows; angles in radians for circular components.

        Draws nothing, and does not depend on how rows are batched, to rounding. Sequences may be
        longer than those of `fit`.
        """
        layout = self._model_of(self).blueprint.layout
        view = layout.pairs if self.circular_output == "cos_sin" else layout.angles
        return self._map(X, lambda x: view(self._model.encode(x)[0]))

    def inverse_transform(self, Z: Any, level: int | None = None) -> Array:
        """Return reconstructions, in the units and shape of the data, from codes.

        Parameters
        ----------
        Z : array of shape (rows, codes)
            Circular components as angles, or as (cos, sin) pairs.
        level : int, optional
            Use the first `level` components only, from 1; all by default.
        """
        return self._decoded(Z, level).astype(self._number)

    def _decoded(self, Z: Any, level: int | None) -> Array:
        """Return reconstructions in double precision, which large offsets need."""
        layout = self._model_of(self).blueprint.layout
        codes = np.asarray(Z, dtype=np.float64)
        if (
            codes.ndim != 2
            or not len(codes)
            or codes.shape[1] not in (layout.n_components, layout.n_features)
        ):
            raise ValueError(
                f"Z has shape {codes.shape}, but codes have {layout.n_components} components"
                + (f" (or {layout.n_features} with pairs)" if layout.circular else "")
                + ". Write Z of shape (rows, components), of at least one row."
            )
        if not np.isfinite(codes).all():
            raise ValueError("Z has NaN or infinite entries. Replace them, or drop their rows.")
        features = layout.features(torch.as_tensor(codes, dtype=self._dtype))
        return self._to_data(self._outputs(features, level))

    def _outputs(self, features: torch.Tensor, level: int | None) -> torch.Tensor:
        model, index = self._model_of(self), self._level(level)
        with torch.no_grad():
            blocks = features.split(_fitting.EVALUATION_ROWS)
            return torch.cat([model.decode(block[None], index)[0, -1] for block in blocks])

    def reconstruct(self, X: Any, level: int | None = None) -> Array | list[Array]:
        """Return reconstructions of rows, in the units and shape of the data.

        Parameters
        ----------
        X : like `fit`
        level : int, optional
            Use the first `level` components only, from 1; all by default.

        Returns
        -------
        array of the shape of the target
            Of sequences, NaN after the end of each; a list of arrays for a list of arrays.
        """
        values = self._reconstructed(X, level).astype(self._number)
        return values if self._has_target else self._like(X, values)

    def impute(self, X: Any, *, max_iter: int = 1000, tol: float = 1e-5) -> Array | list[Array]:
        """Return rows whose missing entries are filled by the reconstruction of the filled row.

        Repeats ``x_m ← D(e(x))_m`` for the missing entries m, from their feature's means on, until
        none moves by more than `tol`: imputation by a Markov chain, without its noise (Rezende,
        Mohamed & Wierstra 2014, arXiv:1401.4082). For a linear model that starts as PCA this is
        the least-squares fit to the observed entries, as in iterative PCA (Josse & Husson 2012,
        J. Soc. Fr. Stat. 153(2), 79-99). `reconstruct` is the first round.

        To learn from filled rows too, judged by the observed entries alone, repeat
        ``model.fit(model.impute(X), target=X)`` a few times.

        Parameters
        ----------
        X : like `fit`
            NaN where entries are missing, for a model with ``missing="ignore"``.
        max_iter : int, default=1000
            Rounds, at most.
        tol : float, default=1e-5
            In scaled units, >= 0.

        Returns
        -------
        array like X
            Observed entries, and the padding of sequences, are as they were.

        Raises
        ------
        ValueError
            If targets had another shape than X, or a setting is out of range.

        Examples
        --------
        >>> import numpy as np
        >>> from narrows import Autoencoder
        >>> X = np.linspace(-1, 1, 50)[:, None] * [1.0, 2.0, -1.0]
        >>> model = Autoencoder(1, hidden_layer_sizes=(), missing="ignore", random_state=0).fit(X)
        >>> model.impute([[0.5, np.nan, -0.5]]).round(3)
        array([[ 0.5,  1. , -0.5]])
        """
        model, index = self._model_of(self), self._level(None)
        _imputing.check(max_iter, tol, self._event_shape, self._target_shape)
        rows = self._known_rows(X)
        values = rows.read(0, len(rows))
        if not _rows.check_finite("X", rows, self.missing, self._sequential):
            return self._like(X, values.copy())
        x, seen = _rows.scaled(rows, self._input_scale, self._input_mean, self._dtype)
        if self._sequential:
            x = _rows.ended(x, seen, rows.shape[0])

        def rebuild(x: torch.Tensor) -> torch.Tensor:
            outputs = self._until_end(x, model.decode(model.encode(x), index))
            return self._input_scale.apply(self._to_data(outputs).reshape(x.shape), self._dtype)

        missing = torch.from_numpy(np.isnan(values)).reshape(x.shape) & ~x.isnan()
        with torch.no_grad():
            x = _imputing.refilled(x, missing, rebuild, max_iter, tol)
        filled: Array = self._input_scale.invert(x.double()).numpy().reshape(values.shape)
        return self._like(X, np.where(np.isnan(values), filled, values).astype(values.dtype))

    def _like(self, X: Any, values: Array) -> Array | list[Array]:
        return sequences.like(X, values) if self._sequential else values

    def _reconstructed(self, X: Any, level: int | None) -> Array:
        """Return reconstructions in double precision, which large offsets need."""
        model, index = self._model_of(self), self._level(level)
        outputs = self._map(
            self._known_rows(X), lambda x: self._until_end(x, model.decode(model.encode(x), index))
        )
        return self._to_data(torch.from_numpy(outputs))

    def _until_end(self, x: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return outputs of one restart and level, NaN after the ends of sequences."""
        outputs = outputs.reshape(len(x), -1)
        if not self._sequential or self._has_target:
            return outputs
        return outputs.masked_fill(x.isnan(), torch.nan)

    def contribution(self, X: Any, level: int) -> Array | list[Array]:
        """Return what the decoder of one component adds, for the boosted ordering.

        In the units of the data before the output link; the contributions of all components add
        up to the reconstruction, up to the centre of the scaling.
        """
        model = self._model_of(self)
        if not model.blueprint.ordering.additive:
            raise ValueError(
                "contribution needs ordering='boosted', where components add up. "
                "Write reconstruct(X, level=...) for other orderings."
            )
        index = self._level(level) or 0
        added = self._map(
            self._known_rows(X),
            lambda x: self._until_end(x, model.contribution(model.encode(x), index)),
        )
        values = self._shaped(added * self._target_scale.width.astype(added.dtype))
        return values if self._has_target else self._like(X, values)

    # Files

    def save(self, path: PathLike) -> None:
        """Write the fitted estimator to one .safetensors file; `narrows.load` reads it."""
        from narrows import persist

        persist.save(self, path)

    # Between the data and the model

    def _known_rows(self, X: Any, any_length: bool = False) -> Source:
        rows = _rows.rows_of(self, X, reset=False, sequential=self._sequential)
        shape = self._event_shape
        if any_length and self._sequential:
            shape = rows.shape[:1] + shape[1:]
        return _rows.of_shape("X", rows, shape, self._sequential)

    def _checked_pair(self, X: Any, target: Any) -> tuple[Source, Source]:
        check_is_fitted(self)
        return self._pair(X, target, self._model.blueprint.likelihood)

    def _pair(
        self, X: Any, target: Any, likelihood: Likelihood, name: str = "X"
    ) -> tuple[Source, Source]:
        rows = self._known_rows(X)
        _rows.check_finite(name, rows, self.missing, self._sequential)
        if target is not None:
            targets = _rows.target_rows(target, len(rows), self._sequential)
            targets = _rows.of_shape("target", targets, self._target_shape, self._sequential)
            _rows.check_finite("target", targets, self.missing, self._sequential)
            _guards.check_range(likelihood, targets)
            return rows, targets
        if self._has_target:
            raise ValueError(
                f"The model was fitted on a target of shape {self._target_shape}. "
                "Pass target= as well."
            )
        _guards.check_range(likelihood, rows)
        return rows, rows

    def _batches(self, rows: Source, targets: Source, weight: Array | None) -> Iterator[Batch]:
        for start in range(0, len(rows), _fitting.EVALUATION_ROWS):
            index = np.arange(start, min(start + _fitting.EVALUATION_ROWS, len(rows)))
            yield self._batch(rows, targets, weight, index, self._dtype)

    def _map(self, X: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Array:
        rows = self._known_rows(X, any_length=True)
        holes = _rows.check_finite("X", rows, self.missing, self._sequential)
        fill, scale = self._input_mean if holes else None, self._input_scale
        blocks = _rows.scaled_blocks(rows, scale, fill, self._dtype, self._sequential)
        with torch.no_grad():
            return torch.cat([function(block) for block in blocks]).numpy()

    def _pairs(self, X: Any) -> Array:
        layout = self._model_of(self).blueprint.layout
        return self._map(X, lambda x: layout.pairs(self._model.encode(x)[0])).astype(np.float64)

    def _angles(self, X: Any) -> Array:
        layout = self._model.blueprint.layout
        return self._map(X, lambda x: layout.angles(self._model.encode(x)[0])).astype(np.float64)

    def _fve(self, model: Model, batches: Any) -> Float[np.ndarray, "restart level"]:
        likelihood = model.blueprint.likelihood
        dtype = next(model.parameters()).dtype
        mean = self._target_scale.apply(self._target_mean[None], dtype)
        null = likelihood.unlink(mean)[0]
        with torch.no_grad():
            parts = [torch.stack(model.deviance(batch, null)).double() for batch in batches]
        return explained(*torch.stack(parts).sum(0)).numpy()

    def _to_data(self, outputs: torch.Tensor) -> Array:
        means = self._model.blueprint.likelihood.link(outputs)
        return self._shaped(self._target_scale.invert(means.double()).numpy())

    def _shaped(self, flat: Array) -> Array:
        return flat.reshape(len(flat), *self._target_shape)

    def _level(self, level: int | None) -> int | None:
        n_levels = self._model.n_levels
        if level is None:
            return n_levels - 1 if n_levels > 1 else None
        if n_levels == 1 and level == self._model.blueprint.layout.n_components:
            return None
        if not hasattr(level, "__index__") or not 1 <= level <= n_levels or n_levels == 1:
            wanted = f"from 1 to {n_levels}" if n_levels > 1 else "left out: nothing is ranked here"
            raise ValueError(
                f"level={level} must be {wanted}. Levels count components, of which level k uses "
                "the first k; they need an ordering, as in HierarchicalAutoencoder."
            )
        return level - 1

    @property
    def _dtype(self) -> torch.dtype:
        return next(self._model.parameters()).dtype

    @property
    def _number(self) -> str:
        """Name of the type of outputs."""
        return str(self._dtype).removeprefix("torch.")

    @staticmethod
    def _model_of(estimator: "BaseAutoencoder") -> Model:
        check_is_fitted(estimator)
        return estimator._model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")
