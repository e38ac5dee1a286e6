"""Whether two sets of rows come from the same distribution.

Use it on generated rows beside real ones, or on codes beside draws of the prior that they should
follow. Events of any shape are flattened. Rows must be independent: of a series, give rows far
enough apart.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist, squareform
from scipy.special import ndtr
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold

from narrows.metrics import _samples
from narrows.metrics.anomaly import roc

TIED = 1e-12
_LEAF = 20


@dataclass(frozen=True)
class TwoSampleAUC:
    """How well a classifier tells generated rows from real ones.

    Attributes
    ----------
    auc : float
        Mean over folds of the area under the ROC curve, on rows held out; 0.5 where both sets are
        alike, 1 where they are told apart without fail.
    auc_error : float
        Its standard error.
    p_value : float
        Probability of so large an area, or a larger one, if both sets come from one distribution.
    folds : array of shape (fold,)
        Area in each fold.

    Examples
    --------
    >>> found = TwoSampleAUC(0.52, 0.03, 0.25, np.array([0.5, 0.54]))
    >>> found.auc, found.p_value
    (0.52, 0.25)
    """

    auc: float
    auc_error: float
    p_value: float
    folds: Float[np.ndarray, "fold"]


def two_sample_auc(
    real: ArrayLike,
    generated: ArrayLike,
    classifier: Any = None,
    *,
    n_folds: int = 2,
    random_state: int = 0,
) -> TwoSampleAUC:
    r"""Return how well a classifier tells generated rows from real ones.

    Use it where features are many or go together in unknown ways: the classifier finds out what
    differs. It fails where the classifier fails to learn, which says little about the rows, and
    with rows that stand in both sets or repeat: a fold then knows rows held out from it.

    Each fold holds out a part of the rows, scored by a classifier that learnt from the others.
    Scores of different classifiers do not compare, so areas are taken fold by fold. If both sets
    come from one distribution, the z of each fold is standard normal (Mann-Whitney),

    .. math:: z = \frac{U - m n / 2}{\sqrt{\frac{m n}{12} \left(N + 1
              - \frac{\sum_j (t_j^3 - t_j)}{N (N - 1)}\right)}}

    for m generated and n real rows, N in all, :math:`t_j` of them tied. Folds learn from each
    other's rows, so their areas rise and fall together. To what extent depends on the classifier;
    they are taken to do so fully. The p-value is that of the mean z, on the side of large areas,
    and the standard error is the mean of the folds' (DeLong). Both are cautious, two folds the
    least; more folds learn from more rows, and judge by fewer.

    Parameters
    ----------
    real : array of shape (row, *event)
        Real rows.
    generated : array of shape (generated_row, *event)
        Generated rows.
    classifier : scikit-learn classifier, default=None
        What learns; gradient boosting of histograms if not given, with leaves of 20 rows, or of
        half as many as a fold learns from of the smaller set. It is cloned.
    n_folds : int, default=2
        Number of folds, at least 2, each with 2 rows of either set or more.
    random_state : int, default=0
        Seed of the folds and of the classifier that is used if none is given.

    Returns
    -------
    TwoSampleAUC
        The area, its standard error and the p-value.

    Raises
    ------
    ValueError
        If the features differ, a value is not finite, there are too few rows for the folds, or the
        classifier gives no scores.

    References
    ----------
    Lopez-Paz, D. and Oquab, M. (2017). Revisiting classifier two-sample tests. ICLR.
    arXiv: 1610.06545

    Mann, H. B. and Whitney, D. R. (1947). On a test of whether one of two random variables is
    stochastically larger than the other. Annals of Mathematical Statistics 18, 50-60.
    DOI: 10.1214/aoms/1177730491

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> real, alike = rng.normal(size=(2, 300, 3))
    >>> two_sample_auc(real, alike).p_value > 0.05
    True
    >>> two_sample_auc(real, 1.5 * alike).p_value < 0.001
    True
    """
    rows, others = _samples.both(real, generated)
    most = min(len(rows), len(others)) // 2
    if not 2 <= n_folds <= most:
        raise ValueError(
            f"n_folds is {n_folds}, real has {len(rows)} rows and generated {len(others)}. "
            + (
                f"Write a whole number from 2 to {most}."
                if most >= 2
                else "Pass at least 4 rows of each."
            )
        )
    if classifier is None:
        learnt = min(len(rows), len(others)) * (n_folds - 1) // n_folds
        fewest = max(1, min(_LEAF, learnt // 2))  # so that few rows can be split at all
        classifier = HistGradientBoostingClassifier(
            min_samples_leaf=fewest, random_state=random_state
        )
    X, y = np.vstack([rows, others]), np.repeat([0, 1], [len(rows), len(others)])
    splits = StratifiedKFold(n_folds, shuffle=True, random_state=random_state).split(X, y)
    areas, errors, z = np.empty((3, n_folds))
    for fold, (train, test) in enumerate(splits):
        score = _scores(clone(classifier).fit(X[train], y[train]), X[test])
        found = roc(y[test], score)
        areas[fold], errors[fold] = found.auc, found.auc_error
        z[fold] = _mann_whitney_z(found.auc, score, found.n_signal)
    return TwoSampleAUC(float(areas.mean()), float(errors.mean()), float(ndtr(-z.mean())), areas)


@dataclass(frozen=True)
class MMD:
    """The squared maximum mean discrepancy of two sets of rows.

    Attributes
    ----------
    value : float
        Unbiased estimate, at most 2; on average 0 where both sets come from one distribution, and
        then as often negative.
    bandwidth : float
        Standard deviation of the kernel, in the unit of the rows.
    p_value : float
        Probability of so large a value, or a larger one, if both sets come from one distribution.

    Examples
    --------
    >>> MMD(value=0.1, bandwidth=1.4, p_value=0.002).p_value
    0.002
    """

    value: float
    bandwidth: float
    p_value: float


def mmd(
    real: ArrayLike,
    generated: ArrayLike,
    bandwidth: float | None = None,
    *,
    n_permutations: int = 500,
    random_state: int = 0,
) -> MMD:
    r"""Return the squared maximum mean discrepancy, with its p-value.

    Use it to test whether codes follow their prior, or generated rows the distribution of real
    ones, with up to some thousand rows: its test holds at any number of rows. It fails to see
    differences much finer or much wider than the bandwidth, and sees little in many dimensions;
    memory grows with the square of the number of rows.

    With the kernel :math:`k(x, y) = e^{-\|x - y\|^2 / 2 \sigma^2}`, n rows x and m rows y,

    .. math:: \frac{1}{n (n - 1)} \sum_{i \ne j} k(x_i, x_j)
              + \frac{1}{m (m - 1)} \sum_{i \ne j} k(y_i, y_j)
              - \frac{2}{n m} \sum_{i, j} k(x_i, y_j)

    The p-value is the share of values at least as large among those of :math:`P` random divisions
    of all rows into sets of these sizes and the one found, at least :math:`1 / (P + 1)`. All are
    computed from the same kernel matrix.

    Parameters
    ----------
    real : array of shape (row, *event)
        Real rows, or codes; at least 2.
    generated : array of shape (generated_row, *event)
        Generated rows, or draws of a prior; at least 2.
    bandwidth : float, default=None
        Standard deviation :math:`\sigma` of the kernel, above 0; the median distance between two
        of all rows if not given.
    n_permutations : int, default=500
        Number P of random divisions, at least 1.
    random_state : int, default=0
        Seed of the divisions.

    Returns
    -------
    MMD
        The value, the bandwidth and the p-value.

    Raises
    ------
    ValueError
        If the features differ, a value is not finite, a set has one row, `bandwidth` or
        `n_permutations` is out of range, or the median distance is 0.

    References
    ----------
    Gretton, A., Borgwardt, K. M., Rasch, M. J., Schölkopf, B. and Smola, A. (2012). A kernel
    two-sample test. Journal of Machine Learning Research 13, 723-773.

    Examples
    --------
    >>> codes, prior = np.random.default_rng(0).normal(size=(2, 200, 2))
    >>> mmd(codes, prior).p_value > 0.05
    True
    >>> mmd(0.5 * codes, prior).p_value
    0.002
    """
    rows, others = _samples.both(real, generated, least=2)
    if n_permutations < 1:
        raise ValueError(f"n_permutations is {n_permutations}. Write 1 or more.")
    distances = pdist(np.vstack([rows, others]))
    sigma = _bandwidth(distances, bandwidth)
    # A constant on all pairs cancels: less 1, a kernel near 1 keeps its digits.
    kernel = squareform(np.expm1(-0.5 * (distances / sigma) ** 2))
    division = np.repeat([1.0, 0.0], [len(rows), len(others)])
    shuffled = np.tile(division, (n_permutations, 1))
    np.random.default_rng(random_state).permuted(shuffled, axis=1, out=shuffled)
    values = _discrepancies(kernel, np.vstack([division, shuffled]))
    as_large = values >= values[0] - TIED * np.abs(kernel).max()
    return MMD(float(values[0]), sigma, float(as_large.mean()))


def _scores(classifier: Any, X: np.ndarray) -> np.ndarray:
    """Return scores that are higher for what is more likely generated."""
    if hasattr(classifier, "decision_function"):
        return np.asarray(classifier.decision_function(X))
    if hasattr(classifier, "predict_proba"):
        return np.asarray(classifier.predict_proba(X)[:, 1])
    raise ValueError(
        f"classifier is {classifier!r}. Pass a classifier with decision_function or predict_proba."
    )


def _mann_whitney_z(auc: float, score: np.ndarray, n_generated: int) -> float:
    """Return the area less 1/2 in units of its standard deviation; 0 if all scores are equal."""
    n = len(score)
    pairs = n_generated * (n - n_generated)
    width = np.sqrt(rankdata(score).var(ddof=1) / (n * pairs))
    return float((auc - 0.5) / width) if width > 0 else 0.0


def _bandwidth(distances: np.ndarray, bandwidth: float | None) -> float:
    if bandwidth is None:
        median = float(np.median(distances))
        if median == 0:
            raise ValueError(
                "the median distance between rows is 0, so that it is no bandwidth. "
                "Write bandwidth=1.0, or another number in the unit of the rows."
            )
        return median
    if not 0 < bandwidth < np.inf:
        raise ValueError(f"bandwidth is {bandwidth}. Write a finite number above 0.")
    return float(bandwidth)


def _discrepancies(kernel: np.ndarray, divisions: np.ndarray) -> np.ndarray:
    """Return the value of each division, given as rows of 1 (first set) and 0 (second set)."""
    n = divisions[0].sum()
    m = len(kernel) - n
    to_first = divisions @ kernel
    first = np.einsum("pr,pr->p", to_first, divisions)
    between = to_first.sum(axis=1) - first
    second = kernel.sum() - first - 2 * between
    return first / (n * (n - 1)) + second / (m * (m - 1)) - 2 * between / (n * m)
