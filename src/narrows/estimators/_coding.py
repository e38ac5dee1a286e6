"""Codes of rows and rows of codes: what a fitted autoencoder does."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from narrows._types import Array
from narrows.data import sequences
from narrows.data.batches import Batch
from narrows.data.source import Source
from narrows.data.streamed import Blocks, Streamed, TrainingRows
from narrows.data.views import Rows
from narrows.engine.calls import Found
from narrows.engine.repeated import Repeated
from narrows.estimators import _fitting, _imputing, _rows, _streaming
from narrows.estimators._chunks import over_chunks
from narrows.estimators._conditions import Conditions
from narrows.model import Model
from narrows.nn.scale import Scale
from narrows.objective.likelihoods import Likelihood


def _no_codes(estimator: "Coding") -> Array:
    layout = estimator._model.blueprint.layout
    pairs = estimator.circular_output == "cos_sin"
    n_columns = layout.n_features if pairs else layout.n_components
    return np.empty((0, n_columns), estimator._number)


def _no_rows(estimator: "Coding") -> Array:
    return estimator._stored(np.empty((0, *estimator._target_shape)))


def _as_found(function: Callable[..., torch.Tensor], *inputs: torch.Tensor | None) -> Found:
    return Found([function(*inputs)], [])


class Coding(TransformerMixin, ABC):
    """What autoencoders make of rows and of codes."""

    missing: str
    circular_output: str
    _model: Model
    _input_scale: Scale
    _target_scale: Scale
    _input_mean: Array
    _target_mean: Array
    _event_shape: tuple[int, ...]
    _target_shape: tuple[int, ...]
    _has_target: bool
    _sequential: bool
    _conditions: Conditions | None

    @abstractmethod
    def fit(self, X: Any, y: Any = None, *, condition: Any = None) -> Any:
        """Learn a code of the rows of X."""

    @over_chunks(_no_codes)
    def transform(self, X: Any, *, condition: Any = None) -> Float[np.ndarray, "row code"]:
        """Return the codes of rows; angles in radians for circular components.

        Draws nothing, and does not depend on how rows are batched, to rounding. Sequences may be
        longer than those of `fit`. A condition is passed as to `fit`, here as everywhere: one row
        of it for each row, or a single one for all. Of a Dask array the codes are one, computed
        when it is; so it is with `inverse_transform`, `reconstruct` and `score_samples`.
        """
        layout = self._model_of(self).blueprint.layout
        view = layout.pairs if self.circular_output == "cos_sin" else layout.angles
        return self._viewed(X, view, condition)

    def fit_transform(
        self, X: Any, y: Any = None, *, condition: Any = None, **fit_params: Any
    ) -> Any:
        """Fit to the rows of X and return their codes."""
        self.fit(X, y, condition=condition, **fit_params)
        return self.transform(X, condition=condition)

    @over_chunks(_no_rows, codes=True)
    def inverse_transform(
        self, Z: Any, level: int | None = None, *, condition: Any = None
    ) -> Array:
        """Return reconstructions, in the units and shape of the data, from codes.

        Parameters
        ----------
        Z : array of shape (rows, codes)
            Circular components as angles, or as (cos, sin) pairs.
        level : int, optional
            Use the first `level` components only, from 1; all by default.
        condition : like `fit`
        """
        self._model_of(self)
        known = self._known_condition(condition, len(Z) if np.ndim(Z) else 1)
        return self._stored(self._decoded(Z, level, known))

    def _decoded(self, Z: Any, level: int | None, condition: torch.Tensor | None = None) -> Array:
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
        return self._to_data(self._outputs(features, level, condition))

    def _outputs(
        self, features: torch.Tensor, level: int | None, condition: torch.Tensor | None
    ) -> torch.Tensor:
        model, index = self._model_of(self), self._level(level)
        self._refuse_missing_condition(condition)
        size = _fitting.EVALUATION_ROWS
        with torch.no_grad():
            parts = [
                model.decode(
                    features[None, start : start + size],
                    index,
                    None if condition is None else condition[start : start + size],
                )
                for start in range(0, len(features), size)
            ]
        return torch.cat(parts, 2)[0, -1]

    @over_chunks(_no_rows)
    def reconstruct(
        self, X: Any, level: int | None = None, *, condition: Any = None
    ) -> Array | list[Array]:
        """Return reconstructions of rows, in the units and shape of the data.

        Parameters
        ----------
        X : like `fit`
        level : int, optional
            Use the first `level` components only, from 1; all by default.
        condition : like `fit`

        Returns
        -------
        array of the shape of the target
            In single precision like the network, or in double precision if some offset is over
            1000 times the width or some value is beyond the range of single precision. Of
            sequences, NaN after the end of each; a list of arrays for a list of arrays.
        """
        values = self._stored(self._reconstructed(X, level, condition))
        return values if self._has_target else self._like(X, values)

    def impute(
        self, X: Any, *, condition: Any = None, max_iter: int = 1000, tol: float = 1e-5
    ) -> Array | list[Array]:
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
        condition : like `fit`
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
        known = self._known_condition(condition, len(rows))
        values = rows.read(0, len(rows))
        if not _rows.check_finite("X", rows, self.missing, self._sequential):
            return self._like(X, values.copy())
        x, seen = _rows.scaled(rows, self._input_scale, self._input_mean, self._dtype)
        if self._sequential:
            x = _rows.ended(x, seen, rows.shape[0])

        def rebuild(x: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
            own = None if known is None else known[which]
            outputs = self._until_end(x, model.decode(model.encode(x, own), index, own))
            return self._input_scale.apply(self._to_data(outputs).reshape(x.shape), self._dtype)

        missing = torch.from_numpy(np.isnan(values)).reshape(x.shape) & ~x.isnan()
        with torch.no_grad():
            x = _imputing.refilled(x, missing, rebuild, max_iter, tol)
        filled: Array = self._input_scale.invert(x.double()).numpy().reshape(values.shape)
        return self._like(X, np.where(np.isnan(values), filled, values).astype(values.dtype))

    def _like(self, X: Any, values: Array) -> Array | list[Array]:
        return sequences.like(X, values) if self._sequential else values

    def _reconstructed(self, X: Any, level: int | None, condition: Any = None) -> Array:
        """Return reconstructions in double precision, which large offsets need."""
        model, index = self._model_of(self), self._level(level)
        outputs = self._map(
            self._known_rows(X),
            lambda x, c: self._until_end(x, model.decode(model.encode(x, c), index, c)),
            condition,
            repeats=True,
        )
        return self._to_data(torch.from_numpy(outputs))

    def _until_end(self, x: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return outputs of one restart and level, NaN after the ends of sequences."""
        outputs = outputs.reshape(len(x), -1)
        if not self._sequential or self._has_target:
            return outputs
        return outputs.masked_fill(x.isnan(), torch.nan)

    def contribution(self, X: Any, level: int, *, condition: Any = None) -> Array | list[Array]:
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
            lambda x, c: self._until_end(x, model.contribution(model.encode(x, c), index, c)),
            condition,
        )
        values = self._stored(self._shaped(added * self._target_scale.width))
        return values if self._has_target else self._like(X, values)

    # Between the data and the model

    def _known_rows(self, X: Any, any_length: bool = False) -> Source:
        rows = _rows.rows_of(self, X, reset=False, sequential=self._sequential)
        shape = self._event_shape
        if any_length and self._sequential:
            shape = rows.shape[:1] + shape[1:]
        return _rows.of_shape("X", rows, shape, self._sequential)

    def _known_condition(
        self, condition: Any, n_rows: int, dtype: torch.dtype | None = None
    ) -> torch.Tensor | None:
        """Return a condition as numbers, if the model has one."""
        self._refuse_missing_condition(condition)
        if self._conditions is None:
            return None
        return self._conditions.encoded(condition, n_rows, dtype or self._dtype)

    def _refuse_missing_condition(self, condition: Any) -> None:
        """Raise ValueError unless there is a condition exactly if the model was fitted with one."""
        if self._conditions is None and condition is not None:
            raise ValueError(
                "The model was fitted without a condition. Leave condition= out, or fit it again "
                "with one."
            )
        if self._conditions is not None and condition is None:
            names = ", ".join(column.name for column in self._conditions.columns)
            raise ValueError(
                f"The model was fitted with a condition, of the columns {names}. Pass condition= "
                "as well; methods without it are for models without one."
            )

    @property
    def _n_condition(self) -> int:
        return 0 if self._conditions is None else self._conditions.size

    def _given(self, X: Any, target: Any, condition: Any = None) -> _rows.Given:
        check_is_fitted(self)
        return self._pair(X, target, condition, self._model.blueprint.likelihood)

    def _pair(
        self,
        X: Any,
        target: Any,
        condition: Any,
        likelihood: Likelihood,
        name: str = "X",
        dtype: torch.dtype | None = None,
    ) -> _rows.Given:
        rows = self._known_rows(X)
        alone = None if self._has_target or target is not None else likelihood
        _rows.check_finite(name, rows, self.missing, self._sequential, alone)
        known = self._known_condition(condition, len(rows), dtype)
        if target is not None:
            targets = _rows.target_rows(target, len(rows), self._sequential)
            targets = _rows.of_shape("target", targets, self._target_shape, self._sequential)
            _rows.check_finite("target", targets, self.missing, self._sequential, likelihood)
            return _rows.Given(rows, targets, known)
        if self._has_target:
            raise ValueError(
                f"The model was fitted on a target of shape {self._target_shape}. "
                "Pass target= as well."
            )
        return _rows.Given(rows, rows, known)

    def _batches(self, given: _rows.Given, weight: Array | None = None) -> Iterator[Batch]:
        n_rows = len(given.rows)
        size = _fitting.evaluated_at_once(self._model)
        for start in range(0, n_rows, size):
            index = np.arange(start, min(start + size, n_rows))
            yield self._batch(given, weight, index, self._dtype)

    def _map(
        self,
        X: Any,
        function: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
        condition: Any = None,
        repeats: bool = False,
    ) -> Array:
        """Return what a function makes of scaled rows and their condition, piece by piece.

        Replays take its place if it `repeats`: where it takes the same operations of torch each
        time, and reads nothing that changes but what it is given.
        """
        rows = self._known_rows(X, any_length=True)
        known = self._known_condition(condition, len(rows))
        repeated = Repeated() if repeats and self._model.repeats else None
        found: list[torch.Tensor] = []
        start = 0
        with torch.no_grad():
            for block in self._blocks(rows):
                own = None if known is None else known[start : start + len(block)]
                compute = partial(_as_found, function, block, own)
                inputs = [block] if own is None else [block, own]
                found += (repeated(compute, inputs) if repeated else compute()).returned
                start += len(block)
            return torch.cat(found).numpy()

    def _viewed(
        self, X: Any, view: Callable[[torch.Tensor], torch.Tensor], condition: Any
    ) -> Array:
        """Return a view of the codes of rows."""
        model = self._model
        return self._map(X, lambda x, c: view(model.encode(x, c)[0]), condition, repeats=True)

    def _blocks(self, rows: Source) -> Iterator[torch.Tensor]:
        """Yield scaled rows piece by piece, missing entries filled."""
        check = _rows.Check("X", rows, self.missing, self._sequential)
        return _rows.scaled_blocks(check, self._input_scale, self._input_mean, self._dtype)

    def _pairs(self, X: Any, condition: Any = None) -> Array:
        return self._codes(X, self._model_of(self).blueprint.layout.pairs, condition)

    def _angles(self, X: Any, condition: Any = None) -> Array:
        return self._codes(X, self._model_of(self).blueprint.layout.angles, condition)

    def _codes(self, X: Any, view: Callable[[torch.Tensor], torch.Tensor], condition: Any) -> Array:
        return self._viewed(X, view, condition).astype(np.float64)

    def _batch(
        self,
        given: _rows.Given,
        weight: Array | None,
        index: Array | None,
        dtype: torch.dtype,
        place: torch.Tensor | None = None,
    ) -> Batch:
        """Return rows as the model sees them: some of them, if an index is given.

        Inputs may be written into a place for them, if there is one.
        """
        rows, targets, condition = given
        if index is not None and len(index) < len(rows):
            same = targets is rows
            rows = Rows(rows, index)
            targets = rows if same else Rows(targets, index)
            weight = None if weight is None else weight[index]
            condition = None if condition is None else condition[torch.from_numpy(index)]
        x, seen = _rows.scaled(rows, self._input_scale, self._input_mean, dtype, place)
        if targets is rows and self._target_scale is self._input_scale:
            target, observed = x, seen
        else:
            target, observed = _rows.scaled(targets, self._target_scale, self._target_mean, dtype)
        x = _rows.ended(x, seen, rows.shape[0]) if self._sequential else x
        w = None if weight is None else torch.as_tensor(weight, dtype=dtype)
        return Batch(x, target, w, observed, condition)

    def _read(
        self, given: _rows.Given, weight: Array | None, part: Array | Blocks, dtype: torch.dtype
    ) -> TrainingRows:
        """Return some rows as the model sees them: all at once, or block by block."""
        if not isinstance(part, Blocks):
            return self._batch(given, weight, part, dtype)
        load = partial(_streaming.loaded, given, weight)

        def make(loaded: _streaming.Loaded, place: torch.Tensor | None) -> Batch:
            return self._batch(*loaded, None, dtype, place)

        return Streamed(load, make, part, _streaming.row_bytes(given, dtype))

    def _to_data(self, outputs: torch.Tensor) -> Array:
        means = self._model.blueprint.likelihood.link(outputs)
        return self._shaped(self._target_scale.invert(means.double()).numpy())

    def _stored(self, rows: Array) -> Array:
        return self._target_scale.stored(rows, self._dtype)

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
        """Name of the type of codes and scores."""
        return str(self._dtype).removeprefix("torch.")

    @staticmethod
    def _model_of(estimator: Any) -> Model:
        check_is_fitted(estimator)
        return estimator._model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")
