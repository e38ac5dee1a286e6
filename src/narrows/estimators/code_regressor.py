"""Regression of large outputs through their code."""

from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import RidgeCV
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.validation import (
    _num_samples,
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)
from torch import nn

from narrows._types import Array
from narrows.data.arrays import ArraySource, in_chunks
from narrows.data.source import Source, source
from narrows.data.streamed import Blocks
from narrows.data.views import Rows
from narrows.estimators import _checks, _fitting, _guards, _rows
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._chunks import over_chunks
from narrows.estimators._spread import draws, innermost, normal_draws, tells_deviation
from narrows.estimators.autoencoder import Autoencoder
from narrows.estimators.module_regressor import ModuleRegressor

_ALPHAS = tuple(np.logspace(-6, 6, 25))
_SAMPLE = 1000  # rows on which the effect of codes is measured
_APART = (MultiOutputRegressor, RegressorChain)
_NO_EFFECT = 1e-6  # of the largest: rounding in single precision


class CodeRegressor(RegressorMixin, BaseEstimator):
    """Regression of large outputs (spectra, images, fields) through their code.

    Use it where y has many values that vary in few ways, and rows are few: the regressor learns a
    handful of numbers, and the decoder, which knows how values go together, makes the rest. It
    fails where what X tells of y is not what varies most in y: the code keeps the largest
    variation, not the predictable one. Compare with the same regressor on y itself.

    Predicts ``D(f(x))``: the autoencoder is fitted on the rows of y, f on (x, e(y)), with encoder
    e and decoder D. Circular components are learned as (cos, sin) pairs, brought back to unit
    length before they are decoded. With a linear network this is regression on principal
    components of the output.

    The regressor is given standardised codes. One that learns all codes together (trees, networks,
    neighbours) is given each times its effect on y, `code_weight_`, so that an error costs there
    what it costs in y: with PCA as the code, these are the principal component scores. One fitted
    per code, or that tells a standard deviation, which Gaussian processes share over outputs, is
    given them as they are.

    The standard deviation of ``predict(X, return_std=True)`` follows from the law of total
    variance, for each value of y: the variance of ``D(z)`` over codes z as the regressor spreads
    them, and the residual variance ``<(y - D(e(y)))²>`` of the code, taken as the same for all x.

    Parameters
    ----------
    regressor : regressor, torch.nn.Module or None, default=None
        Learns codes from X: a scikit-learn regressor, pipeline or search (one for single outputs
        is fitted per code), or a module, trained by `ModuleRegressor` at its defaults. None is
        ridge regression, its penalty chosen per code by leaving one row out. A search over all
        codes scores by R², which weighs them equally; ``scoring="neg_mean_squared_error"`` weighs
        them as their effects do.
    autoencoder : autoencoder or None, default=None
        Any of this package, for the rows of y; with ``missing="ignore"`` these may have missing
        entries, which contribute nothing to its loss. None is ``Autoencoder()``.
    n_draws : int, default=100
        Codes drawn per row, at least 2, for the spread of a regressor that gives a standard
        deviation. A linear decoder's is exact if there are more draws than features of the code.
    include_residual : bool, default=True
        Whether the spread has the residual variance in it.
    random_state : int, RandomState, Generator or None, default=None
        Seed of draws, and of every `random_state` of regressor and autoencoder that is None.

    Attributes
    ----------
    autoencoder_ : autoencoder
        Fitted on y.
    regressor_ : regressor
        Fitted on X and the codes, standardised and weighted.
    scaler_ : StandardScaler
        Of codes, with circular components as pairs.
    code_weight_ : array of shape (features,)
        What standardised codes are multiplied by: 1 if they are learned apart from one another, or
        their effects on y, the largest 1. The effect of code k is the root mean square of
        ``D(z + s/2) - D(z - s/2)``, over at most 1000 rows and all values in the units of the
        autoencoder's loss, with z moved along k by its standard deviation s; that of a pair is the
        root of the sum of squares of its sides. Codes without effect (below 1e-6 of the largest)
        have weight 0, and are decoded at their mean.
    residual_variance_ : array of the shape of a row of y
        Mean squared error of rows of y rebuilt from their own codes, over observed entries of the
        autoencoder's validation rows (of all rows, where these have none), in units of y squared.
    n_features_in_ : int
    feature_names_in_ : array of str, if X has names

    See Also
    --------
    ModuleRegressor : A torch module as a regressor.
    sklearn.compose.TransformedTargetRegressor : The same idea for any transformer, for y of two
        dimensions, without missing entries and spread.

    References
    ----------
    Massy 1965, Principal components regression in exploratory statistical research,
    10.1080/01621459.1965.10480787 (of inputs; here of outputs).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> from sklearn.gaussian_process.kernels import RBF
    >>> from narrows import Autoencoder, CodeRegressor
    >>> X = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    >>> place = np.linspace(-3, 3, 40)
    >>> y = np.exp(-((place - X[:, :1]) ** 2)) * (2 + X[:, 1:])
    >>> gaussian = GaussianProcessRegressor(RBF(), alpha=1e-4)
    >>> model = CodeRegressor(gaussian, Autoencoder(3, max_epochs=30), random_state=0)
    >>> mean, deviation = model.fit(X[:200], y[:200]).predict(X[200:], return_std=True)
    >>> mean.shape, deviation.shape, bool(model.score(X[200:], y[200:]) > 0.95)
    ((100, 40), (100, 40), True)
    """

    __metadata_request__fit = {"sample_weight": UNUSED}  # noqa: RUF012  passed on, not consumed

    def __init__(
        self,
        regressor: Any = None,
        autoencoder: BaseAutoencoder | None = None,
        *,
        n_draws: int = 100,
        include_residual: bool = True,
        random_state: Any = None,
    ) -> None:
        self.regressor = regressor
        self.autoencoder = autoencoder
        self.n_draws = n_draws
        self.include_residual = include_residual
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inputs = get_tags(self._chosen()[0]).input_tags
        tags.input_tags.sparse = inputs.sparse
        tags.input_tags.allow_nan = inputs.allow_nan
        tags.target_tags.multi_output = True
        return tags

    def get_metadata_routing(self) -> MetadataRouter:
        """Return which of regressor and autoencoder asked for what `fit` is given."""
        regressor, autoencoder = self._chosen()
        router = MetadataRouter(owner=self).add_self_request(self)
        for name, estimator in (("regressor", regressor), ("autoencoder", autoencoder)):
            mapping = MethodMapping().add(caller="fit", callee="fit")
            router.add(method_mapping=mapping, **{name: estimator})
        return router

    def _chosen(self) -> tuple[Any, Any]:
        """Return regressor and autoencoder, the defaults for None."""
        regressor, autoencoder = self.regressor, self.autoencoder
        if regressor is None:
            regressor = _asking(RidgeCV(_ALPHAS, alpha_per_target=True))
        if isinstance(regressor, nn.Module):
            regressor = _asking(ModuleRegressor(regressor))
        return regressor, _asking(Autoencoder()) if autoencoder is None else autoencoder

    # Fitting

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Learn the code of y, and the regression of codes on X.

        Parameters
        ----------
        X : array, frame, sparse matrix, ...
            What the regressor takes, one row per row of y.
        y : array, frame, tensor or Source, shape (rows,) or (rows, ...)
            Outputs, of any shape; NaN where they are missing, if the autoencoder ignores those. Its
            codes read the mean in their place, so rows with little observed draw codes together.
        sample_weight : array of shape (rows,), optional
            Weights >= 0, of any scale, for autoencoder and regressor; with scikit-learn's metadata
            routing, for those of them that request it.
        **fit_params : optional
            With metadata routing alone: what else they request, such as `groups`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If y has rows without any observed entry, or another number of rows than X, if the
            regressor takes no weights, or what autoencoder and regressor raise.
        TypeError
            If the autoencoder or the regressor is none.
        """
        with _guards.all_or_nothing(self):
            self._fit(X, y, sample_weight, fit_params)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, fit_params: dict[str, Any]) -> None:
        self._check_settings()
        validate_data(self, X, y, skip_check_array=True)
        rows = self._learn_targets(y)
        if _num_samples(X) != len(rows):
            raise ValueError(
                f"X has {_num_samples(X)} rows, but y has {len(rows)}. Pass one row of y per row "
                "of X."
            )
        asked = self._asked(sample_weight, fit_params)
        own, self._seed = _fitting.seeds(self.random_state, 2)
        regressor, autoencoder = (clone(part) for part in self._chosen())
        if self.random_state is not None:
            _seed_nested([autoencoder, regressor], own)
        weight = _rows.weights_of(asked["autoencoder"].get("sample_weight"), rows, minimum=2)
        n_features = _checks.check(autoencoder).layout.n_features
        if isinstance(regressor, ModuleRegressor) and hasattr(self, "n_features_in_"):
            regressor.check_sizes(self.n_features_in_, n_features)
        self.autoencoder_ = autoencoder.fit(rows, **asked["autoencoder"])
        codes = autoencoder._pairs(rows)
        self.scaler_ = StandardScaler().fit(codes, sample_weight=weight)
        self.residual_variance_ = self._residual_variance(rows, weight)
        self.code_weight_ = np.ones(n_features)
        inner = innermost(regressor)
        if isinstance(inner, ModuleRegressor) and inner.scale == "auto":
            inner.set_params(scale="global")
        if not get_tags(inner).target_tags.multi_output:
            regressor = MultiOutputRegressor(regressor) if n_features > 1 else regressor
        elif not isinstance(inner, _APART) and not tells_deviation(inner):
            self.code_weight_ = self._effects(codes, weight)
        targets = self.scaler_.transform(codes) * self.code_weight_
        single = targets[:, 0] if n_features == 1 else targets
        self.regressor_ = regressor.fit(X, single, **asked["regressor"])

    def _check_settings(self) -> None:
        regressor, autoencoder = self._chosen()
        if not isinstance(autoencoder, BaseAutoencoder):
            raise TypeError(
                f"autoencoder={autoencoder!r} is not an autoencoder of narrows. Write "
                "Autoencoder(5), say, or use sklearn.compose.TransformedTargetRegressor."
            )
        if isinstance(regressor, type) or not hasattr(regressor, "predict"):
            raise TypeError(
                f"regressor={regressor!r} is neither a regressor nor a torch module. "
                "Write Ridge(), say."
            )
        if not hasattr(self.n_draws, "__index__") or self.n_draws < 2:
            raise ValueError(
                f"n_draws={self.n_draws!r} must be a whole number, at least 2. Write 100."
            )

    def _learn_targets(self, y: Any) -> Source:
        rows, self._shape = _as_rows(y)
        if _rows.check_finite("y", rows, self._chosen()[1].missing):
            empty = [np.isnan(block).all(1) for _, block in _rows.chunks(rows)]
            where = np.flatnonzero(np.concatenate(empty))
            if len(where):
                raise ValueError(
                    f"y has {len(where)} rows without any observed entry, the first is row "
                    f"{where[0]}. Drop these rows of X and y."
                )
        return rows

    def _asked(self, sample_weight: Any, fit_params: dict[str, Any]) -> dict[str, Any]:
        """Return what is passed to the fits of regressor and autoencoder."""
        given = {} if sample_weight is None else {"sample_weight": sample_weight}
        if _routing_enabled():
            routed = process_routing(self, "fit", **given, **fit_params)
            return {name: routed[name].fit for name in ("regressor", "autoencoder")}
        _raise_for_params(fit_params, self, "fit")
        regressor, _ = self._chosen()
        if given and not has_fit_parameter(regressor, "sample_weight"):
            raise ValueError(
                f"sample_weight was given, but {type(regressor).__name__} takes none. Leave it "
                "out, write another regressor, or route it within a pipeline: "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        return {"regressor": given, "autoencoder": given}

    def _effects(self, codes: Array, weight: Array | None) -> Float[np.ndarray, " feature"]:
        """Return the effect of each code on y, relative to the largest."""
        present = np.arange(len(codes)) if weight is None else np.flatnonzero(weight)
        few = present[np.linspace(0, len(present) - 1, min(len(present), _SAMPLE)).astype(int)]
        own = None if weight is None else weight[few]
        width = self.autoencoder_._target_scale.width
        squares = np.empty(codes.shape[1])
        for k, step in enumerate(np.diag(np.sqrt(self.scaler_.var_) / 2)):
            upper, lower = self._decoded(codes[few] + step), self._decoded(codes[few] - step)
            moved = (upper - lower).reshape(len(few), -1) / width
            squares[k] = np.average((moved**2).mean(1), weights=own)
        layout = self.autoencoder_._model.blueprint.layout
        sides = [2 if k in layout.circular else 1 for k in range(layout.n_components)]
        owner = np.repeat(np.arange(layout.n_components), sides)
        effect = np.sqrt(np.bincount(owner, squares))[owner]
        if not np.isfinite(effect).all() or not effect.any():
            return np.ones(len(effect))
        return np.where(effect > _NO_EFFECT * effect.max(), effect / effect.max(), 0.0)

    def _residual_variance(self, rows: Source, weight: Array | None) -> Array:
        """Return the mean squared error per value of rows rebuilt from their own codes."""
        known = np.full(int(np.prod(rows.shape)), np.nan)
        held = self.autoencoder_._held
        held = held.rows() if isinstance(held, Blocks) else held
        for index in (held, np.arange(len(rows))):
            if len(index) and np.isnan(known).any():
                part = Rows(rows, index)
                error = part.read(0, len(part)) - self.autoencoder_._reconstructed(part, None)
                own = None if weight is None else weight[index]
                moments = _rows.moments_of(ArraySource(error**2), own)
                known = np.where(np.isnan(known) & (moments.weight > 0), moments.mean, known)
        return known.reshape(self._shape)

    # Prediction

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return predictions, in the units and shape of y; with their standard deviation, if asked.

        Parameters
        ----------
        X : like `fit`
        return_std : bool, default=False
            Whether to return the spread as well: codes are drawn as the regressor's `predict`
            spreads them (its `return_std`, outputs apart from one another), or taken from each
            member of a random forest or bagging, and decoded. A row's spread does not depend on
            the other rows, and is the same at every call.

        Returns
        -------
        predictions : array of shape (rows, ...)
            The decoded mean of the codes.
        deviation : array of shape (rows, ...), if `return_std`
            In the units of y.

        Raises
        ------
        ValueError
            If the regressor tells no spread; the message says which do.
        """
        check_is_fitted(self)
        if return_std and in_chunks(X):
            raise ValueError(
                "return_std=True takes rows in memory, and X is a Dask array. Leave return_std out."
            )
        mean = self._means(X)
        return (mean, self._deviation(X)) if return_std else mean

    @over_chunks(lambda self: np.empty((0, *self._shape)))
    def _means(self, X: Any) -> Array:
        """Return the decoded means of the codes."""
        return self._decoded(self._codes(self.regressor_.predict(X)))

    def _codes(self, targets: Array) -> Float[np.ndarray, "row feature"]:
        """Return codes, pairs of any length among them, from weighted standardised ones."""
        weight = self.code_weight_
        known = np.divide(1, weight, out=np.zeros_like(weight), where=weight > 0)
        codes = self.scaler_.inverse_transform(targets.reshape(len(targets), -1) * known)
        return np.asarray(codes)

    def _decoded(self, pairs: Array) -> Float[np.ndarray, "row ..."]:
        """Return rows of y from codes, pairs of any length among them."""
        layout = self.autoencoder_._model.blueprint.layout
        codes = layout.angles(layout.features(torch.as_tensor(pairs, dtype=torch.float64)))
        rows = self.autoencoder_._decoded(codes.numpy(), None)
        return rows.reshape(len(rows), *self._shape)

    def _deviation(self, X: Any) -> Float[np.ndarray, "row ..."]:
        """Return the standard deviation of decoded draws (Welford 1962, 10.2307/1266577)."""
        normal = normal_draws(self.n_draws, self.scaler_.n_features_in_, self._seed)
        mean, squares, count = np.zeros(()), np.zeros(()), 0
        for count, drawn in enumerate(draws(self.regressor_, X, normal), 1):
            step = self._decoded(self._codes(drawn)) - mean
            mean = mean + step / count
            squares = squares + step**2 * (count - 1) / count
        variance = squares / count
        return np.sqrt(variance + self.residual_variance_ if self.include_residual else variance)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R² over observed entries, averaged over the values of a row.

        For each value, ``1 - Σ(y - ŷ)² / Σ(y - mean)²`` over the rows where it is observed, with
        the mean of these; 1 or 0 where it does not vary. The plain mean over values is
        scikit-learn's for finite y of two dimensions; values observed in fewer than two rows do
        not count.

        Parameters
        ----------
        X : like `fit`
        y : like `fit`
        sample_weight : array of shape (rows,), optional
            Weights >= 0, of any scale.

        Returns
        -------
        float
            At most 1; NaN if nothing counts.
        """
        check_is_fitted(self)
        rows, shape = _as_rows(y)
        if rows.shape != (self._shape or (1,)):
            raise ValueError(
                f"y has rows of shape {shape}, but the model was fitted on {self._shape}. "
                "Pass the same outputs in the same order."
            )
        _rows.check_finite("y", rows, self.autoencoder_.missing)
        weight = _rows.weights_of(sample_weight, rows)
        truth = rows.read(0, len(rows)).reshape(len(rows), -1).astype(np.float64)
        return _r2(truth, self.predict(X).reshape(truth.shape), weight)


def _as_rows(y: Any) -> tuple[Source, tuple[int, ...]]:
    """Return y as rows of values, and the shape that a row of y has."""
    rows = source(y)
    if rows.shape:
        return rows, rows.shape
    return ArraySource(rows.read(0, len(rows))[:, None]), ()


def _asking(estimator: Any) -> Any:
    """Return an estimator that requests sample weights, where metadata are routed."""
    return estimator.set_fit_request(sample_weight=True) if _routing_enabled() else estimator


def _seed_nested(estimators: list[Any], seed: np.random.SeedSequence) -> None:
    """Set every `random_state` that is None."""
    places = [
        (estimator, name)
        for estimator in estimators
        for name, value in sorted(estimator.get_params().items())
        if value is None and name.rpartition("__")[2] == "random_state"
    ]
    for (estimator, name), state in zip(places, seed.generate_state(len(places)), strict=True):
        estimator.set_params(**{name: int(state >> 1)})


def _r2(
    truth: Float[np.ndarray, "row value"],
    predicted: Float[np.ndarray, "row value"],
    weight: Float[np.ndarray, " row"] | None,
) -> float:
    seen = ~np.isnan(truth)
    mass = seen * (np.ones(len(truth)) if weight is None else weight)[:, None]
    low, high = np.where(seen, truth, np.inf).min(0), np.where(seen, truth, -np.inf).max(0)
    filled = np.where(seen, truth, 0.0)
    mean = (mass * filled).sum(0) / np.maximum(mass.sum(0), 1e-300)
    error = (mass * (filled - predicted) ** 2).sum(0)
    spread = np.where(high > low, (mass * (filled - mean) ** 2).sum(0), 0.0)
    met = np.where(error > 0, 0.0, 1.0)
    explained = np.divide(spread - error, spread, out=met, where=spread > 0)
    counted = explained[seen.sum(0) >= 2]
    return float(counted.mean()) if len(counted) else float("nan")
