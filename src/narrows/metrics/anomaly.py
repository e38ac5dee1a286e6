"""How well a score tells anomalies from normal rows, with intervals.

Scores here are anomaly scores: *higher means more anomalous*, and y is 1 for an anomaly ("signal"),
0 for a normal row ("background"). The `score_samples` of an estimator is higher for what is more
normal: give its negative. A row is called an anomaly if its score is at least the threshold.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.special import betaincinv
from scipy.stats import rankdata

Count = int | np.integer | Int[np.ndarray, "..."]


def clopper_pearson(
    successes: Count, trials: Count, confidence: float = 0.95
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    r"""Return the Clopper-Pearson interval of an efficiency.

    Use it for a share counted in independent rows, however few: it covers the true share with at
    least the confidence asked for. It is wider than it need be for small counts, and fails for
    weighted rows.

    With k successes in n trials, :math:`\alpha` = 1 - confidence and :math:`B^{-1}` the quantile
    of the beta distribution, it runs from :math:`B^{-1}(\alpha / 2; k, n - k + 1)` (0 for k = 0)
    to :math:`B^{-1}(1 - \alpha / 2; k + 1, n - k)` (1 for k = n).

    Parameters
    ----------
    successes, trials : int or array of int
        Counts, 0 <= successes <= trials; they are broadcast.
    confidence : float, default=0.95
        Confidence level, in (0, 1).

    Returns
    -------
    low, high : array of shape (*shape,)
        Ends of the interval; 0 and 1 without trials.

    Raises
    ------
    ValueError
        If a count is out of range, or the confidence is.

    References
    ----------
    Clopper, C. J. and Pearson, E. S. (1934). The use of confidence or fiducial limits illustrated
    in the case of the binomial. Biometrika 26, 404-413. DOI: 10.1093/biomet/26.4.404

    Examples
    --------
    >>> low, high = clopper_pearson(np.array([0, 5]), 10)
    >>> low.round(3), high.round(3)
    (array([0.   , 0.187]), array([0.308, 0.813]))
    """
    _check_confidence(confidence)
    k, n = np.broadcast_arrays(successes, trials)
    if np.any((k < 0) | (k > n)):
        worst = np.argmax((k < 0) | (k > n))
        raise ValueError(
            f"successes is {k.flat[worst]} of {n.flat[worst]} trials. "
            "Pass counts from 0 to the number of trials."
        )
    tail = (1 - confidence) / 2
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, tail), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail), 1.0)
    return low, high


@dataclass(frozen=True)
class Efficiency:
    """A share of counted rows at each threshold, with its Clopper-Pearson interval.

    The interval is computed when it is first asked for: of a long curve take a part first, as in
    ``efficiency[::100].low``.

    Attributes
    ----------
    passed : array of int of shape (threshold,)
        Rows that passed.
    trials : int or array of int of shape (threshold,)
        Rows that could have passed, at least 1.
    confidence : float
        Confidence level of the interval, in (0, 1).

    Examples
    --------
    >>> found = Efficiency(np.array([0, 5, 10]), 10, confidence=0.95)
    >>> found.value, found[1:].high.round(3)
    (array([0. , 0.5, 1. ]), array([0.813, 1.   ]))
    """

    passed: Int[np.ndarray, "threshold"]
    trials: Count
    confidence: float

    def __getitem__(self, thresholds: Any) -> "Efficiency":
        """Return the efficiency at some of the thresholds."""
        trials = self.trials[thresholds] if isinstance(self.trials, np.ndarray) else self.trials
        return Efficiency(self.passed[thresholds], trials, self.confidence)

    @property
    def value(self) -> Float[np.ndarray, "threshold"]:
        """The share, from 0 to 1."""
        return np.asarray(self.passed / self.trials)

    @property
    def low(self) -> Float[np.ndarray, "threshold"]:
        """The lower end of the interval."""
        return self._interval[0]

    @property
    def high(self) -> Float[np.ndarray, "threshold"]:
        """The upper end of the interval."""
        return self._interval[1]

    @cached_property
    def _interval(self) -> tuple[np.ndarray, np.ndarray]:
        return clopper_pearson(self.passed, self.trials, self.confidence)


@dataclass(frozen=True)
class ROC:
    """Efficiencies for anomalies and normal rows at each threshold.

    Attributes
    ----------
    thresholds : array of shape (threshold,)
        Infinity, then every score that occurs, falling.
    signal, background : Efficiency
        Shares of the anomalies and of the normal rows that score at least the threshold, rising
        from 0 to 1.
    auc : float
        Area under the curve: the probability that an anomaly scores higher than a normal row, ties
        counting one half.
    auc_error : float
        Standard error of the area (DeLong); NaN with fewer than two rows of a kind.
    n_signal, n_background : int
        Numbers of anomalies and of normal rows.

    Examples
    --------
    >>> found = roc(np.array([1, 1, 0, 0]), np.array([3.0, 1.0, 2.0, 0.0]))
    >>> found.signal.value, found.background.value
    (array([0. , 0.5, 0.5, 1. , 1. ]), array([0. , 0. , 0.5, 0.5, 1. ]))
    """

    thresholds: Float[np.ndarray, "threshold"] = field(repr=False)
    signal: Efficiency = field(repr=False)
    background: Efficiency = field(repr=False)
    auc: float
    auc_error: float
    n_signal: int
    n_background: int


def roc(y: ArrayLike, score: ArrayLike, confidence: float = 0.95) -> ROC:
    r"""Return the receiver operating characteristic with its intervals, and the area under it.

    Use it to compare scores whatever the share of anomalies. It fails to show what a score is
    worth where anomalies are rare: there look at the left edge, at `precision_recall` or at
    `significance_improvement`.

    With :math:`\psi` = 1, 1/2 or 0 where an anomaly scores higher than, the same as or lower than
    a normal row, the area is the mean of :math:`\psi` over pairs. Its variance is
    :math:`S_{10} / m + S_{01} / n`, the variances over the m anomalies and over the n normal rows
    of the mean of :math:`\psi` over the rows of the other kind (DeLong). Both come from ranks, in
    a time of order n ln n.

    Parameters
    ----------
    y : array of shape (row,)
        1 for an anomaly, 0 for a normal row; both must occur.
    score : array of shape (row,)
        Anomaly score, of any kind of number, higher for what is more anomalous.
    confidence : float, default=0.95
        Confidence level of the intervals, in (0, 1), at each threshold on its own.

    Returns
    -------
    ROC
        The curve, its area and the standard error of the area.

    Raises
    ------
    ValueError
        If the rows differ in number, y holds other numbers or only one of them, a score is not
        finite, or the confidence is out of range.

    See Also
    --------
    sklearn.metrics.roc_auc_score : The same area.

    References
    ----------
    DeLong, E. R., DeLong, D. M. and Clarke-Pearson, D. L. (1988). Comparing the areas under two or
    more correlated receiver operating characteristic curves: a nonparametric approach. Biometrics
    44, 837-845. DOI: 10.2307/2531595

    Sun, X. and Xu, W. (2014). Fast implementation of DeLong's algorithm for comparing the areas
    under correlated receiver operating characteristic curves. IEEE Signal Processing Letters 21,
    1389-1393. DOI: 10.1109/LSP.2014.2337313

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 200)
    >>> found = roc(y, rng.normal(size=400) + y)
    >>> round(found.auc, 2), round(found.auc_error, 2)
    (0.74, 0.02)
    """
    anomaly, scores = _check(y, score, confidence)
    thresholds, signal, background = _counts(anomaly, scores)
    signal, background = np.append(0, signal), np.append(0, background)
    return ROC(
        np.append(np.inf, thresholds),
        Efficiency(signal, signal[-1], confidence),
        Efficiency(background, background[-1], confidence),
        *_area(scores[anomaly], scores[~anomaly]),
        int(signal[-1]),
        int(background[-1]),
    )


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall at each threshold.

    Attributes
    ----------
    thresholds : array of shape (threshold,)
        Every score that occurs, falling.
    precision : Efficiency
        Share of anomalies among the rows that score at least the threshold.
    recall : Efficiency
        Share of the anomalies that score at least the threshold, rising to 1.
    average_precision : float
        Mean of the precision over the anomalies, each at its own score.
    prevalence : float
        Share of anomalies among all rows: the precision of a score that knows nothing.

    Examples
    --------
    >>> found = precision_recall(np.array([1, 1, 0, 0]), np.array([3.0, 1.0, 2.0, 0.0]))
    >>> found.precision.value.round(3), found.recall.value
    (array([1.   , 0.5  , 0.667, 0.5  ]), array([0.5, 0.5, 1. , 1. ]))
    """

    thresholds: Float[np.ndarray, "threshold"] = field(repr=False)
    precision: Efficiency = field(repr=False)
    recall: Efficiency = field(repr=False)
    average_precision: float
    prevalence: float


def precision_recall(y: ArrayLike, score: ArrayLike, confidence: float = 0.95) -> PrecisionRecall:
    r"""Return precision against recall, with intervals.

    Use it to see how many of the rows called anomalies are. It fails to compare data sets whose
    shares of anomalies differ.

    The average precision is :math:`\sum_t (r_t - r_{t-1}) p_t` over falling thresholds.

    Parameters
    ----------
    y : array of shape (row,)
        1 for an anomaly, 0 for a normal row; both must occur.
    score : array of shape (row,)
        Anomaly score, of any kind of number, higher for what is more anomalous.
    confidence : float, default=0.95
        Confidence level of the intervals, in (0, 1), at each threshold on its own.

    Returns
    -------
    PrecisionRecall
        The curve, its average precision and the share of anomalies.

    Raises
    ------
    ValueError
        If the rows differ in number, y holds other numbers or only one of them, a score is not
        finite, or the confidence is out of range.

    See Also
    --------
    sklearn.metrics.average_precision_score : The same average.
    generative_precision_recall : Precision and recall of generated rows.

    References
    ----------
    Davis, J. and Goadrich, M. (2006). The relationship between precision-recall and ROC curves.
    ICML. DOI: 10.1145/1143844.1143874

    Examples
    --------
    >>> found = precision_recall(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    >>> round(found.average_precision, 3), found.prevalence
    (0.833, 0.5)
    """
    anomaly, scores = _check(y, score, confidence)
    thresholds, signal, background = _counts(anomaly, scores)
    precision = Efficiency(signal, signal + background, confidence)
    recall = Efficiency(signal, signal[-1], confidence)
    average = np.diff(recall.value, prepend=0.0) @ precision.value
    return PrecisionRecall(
        thresholds, precision, recall, float(average), float(signal[-1] / len(scores))
    )


@dataclass(frozen=True)
class SignificanceImprovement:
    """By how much a cut at each threshold improves a significance.

    Attributes
    ----------
    thresholds : array of shape (threshold,)
        Every score that occurs, falling.
    signal, background : Efficiency
        Shares of the anomalies and of the normal rows that score at least the threshold, each with
        an interval of the confidence (1 + c) / 2.
    max_relative_error : float
        Largest relative error of the background efficiency where a maximum may be.

    Examples
    --------
    >>> y, score = np.repeat([0, 1], 100), np.repeat([0.0, 1.0, 0.0, 1.0], [75, 25, 0, 100])
    >>> found = significance_improvement(y, score)
    >>> found.maximum, float(found.thresholds[found.best])
    (2.0, 1.0)
    """

    thresholds: Float[np.ndarray, "threshold"] = field(repr=False)
    signal: Efficiency = field(repr=False)
    background: Efficiency = field(repr=False)
    max_relative_error: float

    @property
    def value(self) -> Float[np.ndarray, "threshold"]:
        """The improvement; NaN where no normal row passes."""
        return self._quotient(self.signal.value, self.background.value, np.nan)

    @property
    def low(self) -> Float[np.ndarray, "threshold"]:
        """The lower end of its interval."""
        return self._quotient(self.signal.low, self.background.high, np.nan)

    @property
    def high(self) -> Float[np.ndarray, "threshold"]:
        """The upper end of its interval; infinite where no normal row passes."""
        return self._quotient(self.signal.high, self.background.low, np.inf)

    @property
    def counted(self) -> Bool[np.ndarray, "threshold"]:
        """Whether enough normal rows pass for the relative error asked for."""
        passed = np.maximum(self.background.passed, 1)
        error = np.sqrt((1 - self.background.value) / passed)
        return np.asarray((self.background.passed > 0) & (error <= self.max_relative_error))

    @property
    def best(self) -> int:
        """Where the improvement is largest among the thresholds that count."""
        return int(np.argmax(np.where(self.counted, self.value, -np.inf)))

    @property
    def maximum(self) -> float:
        """The largest improvement among the thresholds that count."""
        return float(self.value[self.best])

    def _quotient(self, signal: np.ndarray, background: np.ndarray, empty: float) -> np.ndarray:
        some = background > 0
        return np.where(some, signal / np.sqrt(np.where(some, background, 1.0)), empty)


def significance_improvement(
    y: ArrayLike,
    score: ArrayLike,
    confidence: float = 0.95,
    *,
    max_relative_error: float = 0.2,
) -> SignificanceImprovement:
    r"""Return the significance improvement characteristic (SIC), with intervals.

    Use it where a small excess is sought over many normal rows: a cut multiplies the significance
    :math:`S / \sqrt B` of S anomalies among B normal rows by this figure. It fails where
    systematic errors rule, or where so few rows pass that :math:`S / \sqrt B` is no significance.
    Its maximum over thresholds is chosen by the same rows and so a little too large.

    .. math:: \mathrm{SIC} = \epsilon_S / \sqrt{\epsilon_B}

    With B of n normal rows passing, the background efficiency has the relative error
    :math:`\sqrt{(1 - B / n) / B}`; only thresholds where that is at most `max_relative_error`
    count towards the maximum. Both efficiencies take a Clopper-Pearson interval of the confidence
    :math:`(1 + c) / 2`, so that the interval of their quotient has at least the confidence c.

    Parameters
    ----------
    y : array of shape (row,)
        1 for an anomaly, 0 for a normal row; both must occur.
    score : array of shape (row,)
        Anomaly score, of any kind of number, higher for what is more anomalous.
    confidence : float, default=0.95
        Confidence level c of the interval, in (0, 1), at each threshold on its own.
    max_relative_error : float, default=0.2
        Largest relative error of the background efficiency where a maximum may be, above 0. 0.2
        asks for about 25 normal rows.

    Returns
    -------
    SignificanceImprovement
        The curve, and where it is largest. The last threshold, which every row passes, always
        counts, with an improvement of 1.

    Raises
    ------
    ValueError
        If the rows differ in number, y holds other numbers or only one of them, a score is not
        finite, or `confidence` or `max_relative_error` is out of range.

    References
    ----------
    Gallicchio, J., Huth, J., Kagan, M., Schwartz, M. D., Black, K. and Tweedie, B. (2011).
    Multivariate discrimination and the Higgs + W/Z search. JHEP 04, 069.
    DOI: 10.1007/JHEP04(2011)069

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], [10_000, 500])
    >>> found = significance_improvement(y, rng.normal(size=len(y)) + 3 * y)
    >>> bool(found.low[found.best] < found.maximum < found.high[found.best])
    True
    """
    anomaly, scores = _check(y, score, confidence)
    if not max_relative_error > 0:
        raise ValueError(f"max_relative_error is {max_relative_error}. Write a number above 0.")
    thresholds, n_signal, n_background = _counts(anomaly, scores)
    both = (1 + confidence) / 2
    signal = Efficiency(n_signal, n_signal[-1], both)
    background = Efficiency(n_background, n_background[-1], both)
    return SignificanceImprovement(thresholds, signal, background, max_relative_error)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}. Write a number above 0 and below 1.")


def _check(
    y: ArrayLike, score: ArrayLike, confidence: float
) -> tuple[Bool[np.ndarray, "row"], Float[np.ndarray, "row"]]:
    """Return which rows are anomalies, and the scores as floating-point numbers."""
    _check_confidence(confidence)
    labels, scores = np.asarray(y), np.asarray(score, dtype=np.float64)
    if len(labels) != len(scores):
        raise ValueError(
            f"y has {len(labels)} rows, score has {len(scores)}. Pass one score a row."
        )
    kinds = np.unique(labels)
    if not np.isin(kinds, [0, 1]).all():
        raise ValueError(
            f"y holds {kinds[:5].tolist()}. Write 1 for an anomaly, 0 for a normal row."
        )
    if len(kinds) < 2:
        raise ValueError(f"y holds {kinds.tolist()} alone. Pass both anomalies and normal rows.")
    if not np.isfinite(scores).all():
        count = len(scores) - np.isfinite(scores).sum()
        raise ValueError(f"score holds {count} values that are not finite. Pass finite scores.")
    return np.asarray(labels == 1), scores


def _counts(anomaly: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each score that occurs, falling, and how many rows of both kinds reach it."""
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    signal = np.cumsum(anomaly[order])[last]
    return falling[last], signal, last + 1 - signal


def _area(signal: np.ndarray, background: np.ndarray) -> tuple[float, float]:
    """Return the area under the curve and DeLong's standard error, from ranks."""
    m, n = len(signal), len(background)
    ranks = rankdata(np.concatenate([signal, background]))
    above = (ranks[:m] - rankdata(signal)) / n
    below = 1 - (ranks[m:] - rankdata(background)) / m
    if min(m, n) < 2:
        return float(above.mean()), float("nan")
    return float(above.mean()), float(np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n))
