"""Anomalies by autoencoders: scores, thresholds, robust training, and why a row is strange."""

import warnings
from collections.abc import Callable
from itertools import count
from numbers import Real
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from scipy import linalg
from scipy.stats import beta
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import check_is_fitted

from narrows._types import Array
from narrows.data.arrays import ArraySource
from narrows.data.source import Source
from narrows.data.views import Rows
from narrows.engine.training import Training
from narrows.estimators import _guards, _rows
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._checks import check, check_name
from narrows.estimators._chunks import over_chunks
from narrows.estimators._fitting import seeds
from narrows.estimators._trimming import typical_rows
from narrows.estimators.denoising import DenoisingAutoencoder

SCORES = ("reconstruction", "latent", "combined", "joint", "bound", "divergence")
TRIMMERS = ("linear", "autoencoder")
_STEPS = 200
_MOST_COMPONENTS = 128
_RIDGE = 0.01
_CONFIDENCE = 0.95
_CALIBRATION = 0.25

_NO_SCORES, _NO_LABELS = np.empty(0), np.empty(0, np.int64)

Score = Callable[[Any, Any], Array]


class OutlierDetector(OutlierMixin, BaseEstimator):
    """Outlier detector: rows that an autoencoder of the others does not know.

    Use it to search for the unexpected, where nobody can say what it looks like. Training is
    robust: the strangest rows are left out, since a network that has seen an anomaly often enough
    rebuilds it. For training rows that are known to be clean, write ``trim=0``.

    Parameters
    ----------
    autoencoder : autoencoder of this package, or None, default=None
        What learns the rows; None is a `DenoisingAutoencoder` that restores 3 masked values of 10
        through as many components as features (at most 128), four restarts of about 200 steps, or
        of two epochs if that is more.
    score : {"reconstruction", "latent", "combined", "joint", "bound", "divergence"} or callable
        How strange a row is. "reconstruction", the default: the reconstruction loss minus its
        least value for the row (its entropy, for bounded data), mean over restarts. "latent": the
        squared Mahalanobis distance of the code over its median in training, mean over restarts.
        "combined": the mean of that and of the reconstruction loss over its median. "joint": minus
        ``ln p(h) + ln p(x | h)`` of a `SparseAutoencoder`. "bound" and "divergence", of a
        `VariationalAutoencoder`: minus its evidence lower bound, or ``KL(q(z | x) ‖ p(z))`` alone.
        Or a function of a fitted autoencoder and rows.
    contamination : float, default=0.1
        Share of the training rows, in (0, 0.5], that `predict` calls outliers.
    max_false_positive_rate : float or None, default=None
        Share of normal rows, in (0, 1), that `predict` may call outliers; then `contamination`
        plays no role. A quarter of the rows is kept from training and sets the threshold, such
        that the rate holds with 95 % confidence, if these rows are normal; this takes 12 rows over
        the rate.
    trim : float, default=0.35
        Share of the rows, in [0, 1), that the last fit leaves out.
    trim_by : {"linear", "autoencoder"}, default="linear"
        What finds the rows to leave out: a linear autoencoder with as many components as features,
        refitted in closed form to the rows it finds typical, which costs little and suits rows in
        one or few clouds; or the autoencoder and the score themselves, fitted several times, which
        suits rows on a curved surface.
    n_refits : int, default=3
        With ``trim_by="autoencoder"``, fits after the first, between which rows are left out in
        equal shares.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the default autoencoder, and of the rows that set a threshold.

    Attributes
    ----------
    autoencoder_ : fitted autoencoder
    offset_ : float
        The threshold: `decision_function` is `score_samples` minus it.
    kept_ : array of int, shape (kept rows,)
        The rows of X, from 0, that the last fit learned from.
    n_features_in_ : int
    feature_names_in_ : array of str, if X has names

    References
    ----------
    Zhou & Paffenroth 2017, Anomaly detection with robust deep autoencoders,
    10.1145/3097983.3098052. Rousseeuw & Van Driessen 1999, 10.1080/00401706.1999.10485670, for
    the rows kept. Wilks 1941, 10.1214/aoms/1177731788, for the threshold.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import OutlierDetector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(300, 6))
    >>> X[:3] = rng.normal(size=(3, 6)) * 2
    >>> detector = OutlierDetector(contamination=0.01, random_state=0).fit(X)
    >>> np.flatnonzero(detector.predict(X) == -1)
    array([0, 1, 2])
    """

    def __init__(
        self,
        autoencoder: BaseAutoencoder | None = None,
        *,
        score: str | Score = "reconstruction",
        contamination: float = 0.1,
        max_false_positive_rate: float | None = None,
        trim: float = 0.35,
        trim_by: str = "linear",
        n_refits: int = 3,
        random_state: Any = None,
    ) -> None:
        self.autoencoder = autoencoder
        self.score = score
        self.contamination = contamination
        self.max_false_positive_rate = max_false_positive_rate
        self.trim = trim
        self.trim_by = trim_by
        self.n_refits = n_refits
        self.random_state = random_state

    # scikit-learn takes an attribute `score` for the method of that name, which outlier detectors
    # do not have: the parameter is set like any other, and read by `get_params`.

    @property
    def score(self) -> Any:
        """Not a method of outlier detectors; the parameter is in ``get_params()``."""
        raise AttributeError("OutlierDetector has no method 'score'; see get_params()['score'].")

    @score.setter
    def score(self, value: Any) -> None:
        self.__dict__["score"] = value

    @property
    def _kind(self) -> Any:
        return self.__dict__["score"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, those of the autoencoder included."""
        own = {name: self.__dict__[name] for name in self._get_param_names()}
        inner = own["autoencoder"]
        if deep and hasattr(inner, "get_params") and not isinstance(inner, type):
            own |= {f"autoencoder__{key}": value for key, value in inner.get_params().items()}
        return own

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = DenoisingAutoencoder() if self.autoencoder is None else self.autoencoder
        tags.input_tags = get_tags(inner).input_tags
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn what is normal.

        Parameters
        ----------
        X : like the autoencoder's
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a setting is out of range, there are too few rows for `max_false_positive_rate`, or
            the autoencoder refuses the rows.
        """
        self._check()
        with _guards.all_or_nothing(self):
            rows = _rows.rows_of(self, X, reset=True, sequential=self._sequential)
            missing = getattr(self.autoencoder, "missing", "error")
            _rows.check_finite("X", rows, missing, self._sequential)
            learn, held = self._divided(len(rows))
            self._learn(rows, learn)
            scores = self._strangeness(Rows(rows, held))
            self.offset_ = -self._threshold(scores)
        return self

    def _divided(self, n_rows: int) -> tuple[Array, Array]:
        """Return the rows to learn from and those that set the threshold, which may be the same."""
        every, rate = np.arange(n_rows), self.max_false_positive_rate
        if rate is None:
            return every, every
        n_held = round(_CALIBRATION * n_rows)
        needed = int(np.ceil(np.log(1 - _CONFIDENCE) / np.log1p(-rate)))
        if n_held < needed:
            least = next(n for n in count(2 * needed) if round(_CALIBRATION * n) >= needed)
            raise ValueError(
                f"max_false_positive_rate={rate} takes at least {least} rows to be sure of, but X "
                f"has {n_rows}. Pass more rows, or write a higher rate."
            )
        order = np.random.default_rng(seeds(self.random_state, 1)[0]).permutation(n_rows)
        return np.sort(order[n_held:]), np.sort(order[:n_held])

    def _learn(self, rows: Source, learn: Array) -> None:
        """Fit to the rows that are not the strangest."""
        if self.trim and self.trim_by == "linear":
            kept = learn[typical_rows(Rows(rows, learn), 1 - self.trim)]
            self._learn_from(rows, learn, kept)
            return
        self._learn_from(rows, learn, learn)
        for share in np.linspace(1, 1 - self.trim, self.n_refits + 1)[1:] if self.trim else ():
            strange = self._strangeness(Rows(rows, learn))
            nearest = np.argsort(strange, kind="stable")[: max(2, round(share * len(learn)))]
            self._learn_from(rows, learn, learn[np.sort(nearest)])

    def _learn_from(self, rows: Source, learn: Array, kept: Array) -> None:
        with warnings.catch_warnings():  # of what is constant in the rows kept alone
            warnings.filterwarnings("ignore", ".* features are constant")
            self.autoencoder_ = self._made(rows, len(kept)).fit(Rows(rows, kept))
        self.kept_ = kept
        self._learn_spread(Rows(rows, learn), Rows(rows, kept))

    def _made(self, rows: Source, n_rows: int) -> Any:
        if self.autoencoder is not None:
            return clone(self.autoencoder)
        batch = 128
        return DenoisingAutoencoder(
            min(int(np.prod(rows.shape)), _MOST_COMPONENTS),
            corruption="masking",
            strength=0.3,
            max_epochs=int(np.clip(-(-_STEPS // -(-n_rows // batch)), 2, 1000)),
            batch_size=batch,
            n_init=4,
            random_state=self.random_state,
            training=Training(validation_fraction=0.0, patience=None),
        )

    def _learn_spread(self, learn: Source, kept: Source) -> None:
        """Take the spread of codes from the rows kept, and typical scores from all."""
        if self._kind not in ("combined", "latent"):
            return
        self._codes = [_Gaussian(one._pairs(kept)) for one in self._members()]
        parts = np.array([self._parts(k, one, learn) for k, one in enumerate(self._members())])
        typical = np.median(parts, axis=2)
        typical = np.where(typical > 0, typical, parts.mean(axis=2))
        self._typical = np.where(typical > 0, typical, 1.0)

    def _members(self) -> list[Any]:
        """Return the restarts, all of which are asked."""
        return self.autoencoder_.restarts_

    def _parts(
        self, number: int, one: Any, rows: Source, checked: bool = True
    ) -> Float[np.ndarray, "part row"]:
        """Return reconstruction error and distance of the code by one restart."""
        error = one._excess(rows, checked=checked).sum(1)
        return np.stack([error, self._codes[number].distance(one._pairs(rows))])

    def _strangeness(self, rows: Source, checked: bool = True) -> Float[np.ndarray, " row"]:
        """Return the score by which rows are judged: higher is stranger."""
        if callable(self._kind):
            return np.asarray(self._kind(self.autoencoder_, rows), dtype=np.float64)
        if self._kind == "joint":
            return -self.autoencoder_.joint_score_samples(rows)
        if self._kind in ("bound", "divergence"):
            found = self.autoencoder_.elbo(rows)
            return -found.total if self._kind == "bound" else np.asarray(found.divergence)
        members = self._members()
        if self._kind == "reconstruction":
            return np.mean([one._excess(rows).sum(1) for one in members], axis=0)
        parts = np.array([self._parts(k, one, rows, checked) for k, one in enumerate(members)])
        relative = parts / self._typical[:, :, None]
        return relative.mean(0)[1] if self._kind == "latent" else relative.mean((0, 1))

    def _threshold(self, scores: Array) -> float:
        """Return the score above which a row is an outlier."""
        rate = self.max_false_positive_rate
        if rate is None:
            return float(np.quantile(scores, 1 - self.contamination, method="lower"))
        n = len(scores)
        above = np.arange(n)
        allowed = above[beta.ppf(_CONFIDENCE, above + 1, n - above) <= rate]
        return float(np.sort(scores)[n - 1 - allowed[-1]])

    @over_chunks(lambda self: _NO_SCORES)
    def score_samples(self, X: Any) -> Float[np.ndarray, " row"]:
        """Return minus the score of each row: higher is more normal."""
        check_is_fitted(self)
        return -self._strangeness(self._known(X))

    @over_chunks(lambda self: _NO_SCORES)
    def decision_function(self, X: Any) -> Float[np.ndarray, " row"]:
        """Return `score_samples` minus the threshold: negative for outliers."""
        return self.score_samples(X) - self.offset_

    @over_chunks(lambda self: _NO_LABELS)
    def predict(self, X: Any) -> Array:
        """Return -1 for outliers and 1 for the others."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def contributions(self, X: Any) -> Array:
        """Return what each value of a row adds to its score: why the row is strange.

        Under "reconstruction" the loss of each value, which add up to the score. Under others, by
        how much the score falls when the value is replaced by its reconstruction.

        Returns
        -------
        array like X; of sequences, of the length of the longest in `fit`, 0 after their ends
        """
        check_is_fitted(self)
        rows, members = self._known(X), self._members()
        rows = _rows.of_shape("X", rows, self.autoencoder_._event_shape, self._sequential)
        if self._kind == "reconstruction":
            return np.mean([one._shaped(one._excess(rows)) for one in members], axis=0)
        values = np.asarray(rows.read(0, len(rows)), dtype=np.float64)
        flat, score = values.reshape(len(values), -1), self._strangeness(rows)
        rebuilt = np.mean([one._reconstructed(rows, None) for one in members], axis=0)
        rebuilt = np.where(np.isnan(flat), np.nan, rebuilt.reshape(flat.shape))
        found = np.empty(flat.shape)
        for j in range(flat.shape[1]):
            changed = flat.copy()
            changed[:, j] = rebuilt[:, j]
            other = ArraySource(changed.reshape(values.shape), rows.names)
            found[:, j] = score - self._strangeness(other, checked=False)
        return found.reshape(values.shape)

    def _known(self, X: Any) -> Source:
        return _rows.rows_of(self, X, reset=False, sequential=self._sequential)

    @property
    def _sequential(self) -> bool:
        """Whether rows are sequences."""
        inner = self.autoencoder
        return inner is not None and check(inner).choice.architecture.sequential

    def _check(self) -> None:
        """Raise for settings that are out of range."""
        inner = self.autoencoder
        if inner is not None and not isinstance(inner, BaseAutoencoder):
            raise TypeError(
                f"autoencoder={inner!r} is not an autoencoder of this package. "
                "Write OutlierDetector(Autoencoder(5)), say."
            )
        if not callable(self._kind):
            check_name("score", self._kind, SCORES)
        check_name("trim_by", self.trim_by, TRIMMERS)
        if self._kind == "joint" and not hasattr(inner, "joint_score_samples"):
            raise ValueError(
                "score='joint' reads the Laplace prior of a sparse code. "
                "Write OutlierDetector(SparseAutoencoder(64), score='joint')."
            )
        if self._kind in ("bound", "divergence") and not hasattr(inner, "elbo"):
            raise ValueError(
                f"score={self._kind!r} reads a code that is a distribution. "
                f"Write OutlierDetector(VariationalAutoencoder(5), score={self._kind!r})."
            )
        rate = self.max_false_positive_rate
        if not isinstance(self.contamination, Real) or not 0 < float(self.contamination) <= 0.5:
            raise ValueError(
                f"contamination={self.contamination!r} must be in (0, 0.5]. Write 0.1."
            )
        if rate is not None and not 0 < rate < 1:
            raise ValueError(f"max_false_positive_rate={rate} must be in (0, 1). Write 0.01.")
        if not 0 <= self.trim < 1:
            raise ValueError(f"trim={self.trim} must be in [0, 1). Write 0 to keep all rows.")
        if not hasattr(self.n_refits, "__index__") or self.n_refits < 1:
            raise ValueError(
                f"n_refits={self.n_refits!r} must be a whole number, at least 1. "
                "Write trim=0 for a single fit."
            )


class _Gaussian:
    """Mean and covariance of codes, with a hundredth of the mean variance on the diagonal."""

    def __init__(self, codes: Float[np.ndarray, "row feature"]) -> None:
        self.mean = codes.mean(0)
        covariance = np.atleast_2d(np.cov(codes, rowvar=False, bias=True))
        ridge = _RIDGE * max(np.trace(covariance) / len(covariance), 1e-12)
        self.factor = linalg.cholesky(covariance + ridge * np.eye(len(covariance)), lower=True)

    def distance(self, codes: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, " row"]:
        """Return squared Mahalanobis distances."""
        white = linalg.solve_triangular(self.factor, (codes - self.mean).T, lower=True)
        return np.asarray((white**2).sum(0))
