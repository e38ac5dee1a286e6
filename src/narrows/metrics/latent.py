"""Whether components mean the same in every restart, and whether they depend on each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree
from scipy.special import digamma, ndtri
from scipy.stats import rankdata

N_NEIGHBOURS = 4
MAX_ROWS = 2000


def rank_correlation(
    a: Float[np.ndarray, "row"], b: Float[np.ndarray, "row"], *, absolute: bool = False
) -> float:
    """Return Spearman's rank correlation.

    Use it for plain components: it does not change under a monotone change of either scale. It
    fails to see dependence that is not monotone (see `dependence`), and for angles, which have
    no order (see `circular_correlation`).

    It is Pearson's correlation of the ranks, ties sharing their mean rank.

    Parameters
    ----------
    a, b : array of shape (row,)
        Two components of the same rows.
    absolute : bool, default=False
        Return the absolute value: the sign of a component means nothing.

    Returns
    -------
    float
        From -1 to 1; 0 if either component is constant.

    See Also
    --------
    circular_correlation : The same for angles.

    Examples
    --------
    >>> a = np.array([1.0, 2.0, 3.0, 4.0])
    >>> round(rank_correlation(a, -np.exp(a)), 3)
    -1.0
    """
    value = _association(_scores(a, False), _scores(b, False))
    return abs(value) if absolute else value


def circular_correlation(
    a: Float[np.ndarray, "row"], b: Float[np.ndarray, "row"], *, absolute: bool = False
) -> float:
    r"""Return the rank correlation of two angles.

    Use it for circular components: it does not change when an angle is rotated or smoothly
    stretched, and changes only its sign when one is reflected. It uses no mean direction, so
    angles spread uniformly over the circle are no special case. It is quadratic: noise of
    standard deviation s (radians) on a uniform angle leaves `exp(-s^2)`. It fails to see an
    angle that turns twice while the other turns once.

    Fisher and Lee's T-linear correlation of the circular ranks, :math:`u = 2\pi\,rank/n`:

    .. math:: \left|\frac1n\sum_i e^{i(u_i - v_i)}\right|^2
              - \left|\frac1n\sum_i e^{i(u_i + v_i)}\right|^2

    Parameters
    ----------
    a, b : array of shape (row,)
        Angles in radians, any branch.
    absolute : bool, default=False
        Return the absolute value: the sense of rotation means nothing.

    Returns
    -------
    float
        From -1 (reflected) to 1; 0 if either angle is constant.

    References
    ----------
    Fisher, N. I. and Lee, A. J. (1982). Nonparametric measures of angular-angular association.
    Biometrika 69. DOI: 10.1093/biomet/69.2.315

    Fisher, N. I. and Lee, A. J. (1983). A correlation coefficient for circular data.
    Biometrika 70. DOI: 10.1093/biomet/70.2.327

    Examples
    --------
    >>> a = np.linspace(0.0, 6.0, 50)
    >>> round(circular_correlation(a, 2.0 - a), 3)
    -1.0
    """
    value = _association(_scores(a, True), _scores(b, True))
    return abs(value) if absolute else value


def agreement_matrix(
    codes: Float[np.ndarray, "restart row component"], circular: Sequence[int] = ()
) -> Float[np.ndarray, "restart restart component"]:
    """Return how far each pair of restarts agrees on each component.

    Use it to find a restart that stands apart. It fails for components without an order, which
    restarts may find in any permutation.

    The absolute rank correlation, or circular correlation for angles: invariant to a monotone
    change of scale, to reflection and, for angles, to rotation.

    Parameters
    ----------
    codes : array of shape (restart, row, component)
        Codes of the same rows by every restart; angles in radians.
    circular : sequence of int, default=()
        Which components are angles.

    Returns
    -------
    array of shape (restart, restart, component)
        From 0 to 1; 1 on the diagonal, 0 throughout for a component that is constant.

    Raises
    ------
    ValueError
        If a code is not finite, or `circular` names a component that does not exist.

    See Also
    --------
    agreement : The mean over pairs.

    Examples
    --------
    >>> first = np.random.default_rng(0).normal(size=(100, 2))
    >>> agreement_matrix(np.stack([first, -first])).shape
    (2, 2, 2)
    """
    _check(codes, circular)
    components = range(codes.shape[-1])
    matrices = [_associations([_scores(c[:, k], k in circular) for c in codes]) for k in components]
    return np.asarray(np.abs(np.stack(matrices, axis=-1)))


def agreement(
    codes: Float[np.ndarray, "restart row component"], circular: Sequence[int] = ()
) -> Float[np.ndarray, "component"]:
    """Return, for each component, the mean agreement over pairs of restarts.

    Use it to see which ranked components are a property of the data and which of the random
    start: below about 0.9 a component has no settled meaning. It fails for components without
    an order, which restarts may find in any permutation.

    The mean over pairs of the absolute rank correlation (circular correlation for angles).

    Parameters
    ----------
    codes : array of shape (restart, row, component)
        Codes of the same rows by every restart; angles in radians.
    circular : sequence of int, default=()
        Which components are angles.

    Returns
    -------
    array of shape (component,)
        From 0 to 1.

    Raises
    ------
    ValueError
        If there are fewer than two restarts, a code is not finite, or `circular` names a
        component that does not exist.

    See Also
    --------
    agreement_matrix : Each pair on its own.

    Examples
    --------
    >>> first = np.random.default_rng(0).normal(size=(100, 2))
    >>> agreement(np.stack([first, -first, first**3])).round(3)
    array([1., 1.])
    """
    if len(codes) < 2:
        raise ValueError(
            f"codes holds {len(codes)} restart, agreement compares at least 2. Write n_init=2."
        )
    pairs = np.triu_indices(len(codes), k=1)
    return np.asarray(agreement_matrix(codes, circular)[pairs].mean(axis=0))


@dataclass(frozen=True)
class Dependence:
    """How much the components of a code depend on each other.

    Attributes
    ----------
    rank_correlation : array of shape (component, component)
        Rank correlation: signed between two components of the same kind; between a plain
        component and an angle the multiple correlation of the rank with the angle's cosine and
        sine, from 0 to 1. 1 on the diagonal.
    mutual_information : array of shape (component, component)
        Mutual information in nats, not negative. NaN on the diagonal: a continuous number tells
        infinitely much about itself.

    Examples
    --------
    >>> Dependence(np.eye(2), np.full((2, 2), np.nan)).rank_correlation.shape
    (2, 2)
    """

    rank_correlation: Float[np.ndarray, "component component"]
    mutual_information: Float[np.ndarray, "component component"]


def dependence(
    codes: Float[np.ndarray, "row component"], circular: Sequence[int] = ()
) -> Dependence:
    r"""Measure how much the components of a code depend on each other.

    Use it after a nonlinear fit, whose components, unlike PCA's, need not be independent. Mutual
    information sees every kind of dependence; it fails near determinism, where the estimate
    saturates at about the logarithm of the number of rows, and below its own noise of about
    0.02 nats at 2000 rows.

    With k = 4 nearest neighbours in the maximum norm, n rows and m rows strictly within a
    point's k-th neighbour (itself included),

    .. math:: I = \psi(n) + \langle \psi(m_{xy}) - \psi(m_x) - \psi(m_y) \rangle

    which is Kraskov's first estimator, with Gao's treatment of repeated values. Plain components
    enter as the normal scores of their ranks and angles by the arc between their circular ranks,
    so a monotone change of scale and a rotation change nothing. More than 2000 rows are thinned
    to 2000, drawn with a fixed seed, for the mutual information only.

    Parameters
    ----------
    codes : array of shape (row, component)
        Codes, angles in radians; at least 5 rows.
    circular : sequence of int, default=()
        Which components are angles.

    Returns
    -------
    Dependence
        Both matrices.

    Raises
    ------
    ValueError
        If there are fewer than 5 rows, a code is not finite, or `circular` names a component
        that does not exist.

    References
    ----------
    Kraskov, A., Stögbauer, H. and Grassberger, P. (2004). Estimating mutual information.
    Physical Review E 69, 066138. DOI: 10.1103/PhysRevE.69.066138

    Gao, W., Kannan, S., Oh, S. and Viswanath, P. (2017). Estimating mutual information for
    discrete-continuous mixtures. NeurIPS. arXiv: 1709.06212

    Mardia, K. V. (1976). Linear-circular correlation coefficients and rhythmometry.
    Biometrika 63. DOI: 10.1093/biomet/63.2.403

    Examples
    --------
    >>> u = np.random.default_rng(0).normal(size=(500, 1))
    >>> found = dependence(np.hstack([u, u**2]))
    >>> bool(abs(found.rank_correlation[0, 1]) < 0.1), bool(found.mutual_information[0, 1] > 1)
    (True, True)
    """
    _check(codes, circular)
    if len(codes) <= N_NEIGHBOURS:
        raise ValueError(f"codes has {len(codes)} rows. Pass at least {N_NEIGHBOURS + 1} rows.")
    columns = range(codes.shape[1])
    return Dependence(
        _associations([_scores(codes[:, k], k in circular) for k in columns]),
        _informations(_thin(codes), [k in circular for k in columns]),
    )


def _check(codes: np.ndarray, circular: Sequence[int]) -> None:
    if not np.isfinite(codes).all():
        count = np.size(codes) - np.isfinite(codes).sum()
        raise ValueError(f"codes holds {count} values that are not finite. Pass finite codes.")
    wrong = [k for k in circular if not 0 <= k < codes.shape[-1]]
    if wrong:
        raise ValueError(
            f"circular names {wrong}, codes has {codes.shape[-1]} components. "
            f"Write numbers from 0 to {codes.shape[-1] - 1}."
        )


def _scores(column: np.ndarray, circular: bool) -> np.ndarray:
    """Return ranks of unit norm, or circular ranks on the complex unit circle."""
    if circular:
        return np.asarray(np.exp(2j * np.pi / len(column) * _circular_ranks(column)))
    ranks = rankdata(column) - (len(column) + 1) / 2
    return np.asarray(ranks / (np.linalg.norm(ranks) or 1.0))


def _circular_ranks(angle: np.ndarray) -> np.ndarray:
    """Return ranks around the circle, from 0 to just below the number of rows."""
    return np.asarray(np.mod(rankdata(np.mod(angle, 2 * np.pi)), len(angle)))


def _association(u: np.ndarray, v: np.ndarray) -> float:
    """Return the correlation of two scores: plain, circular or mixed."""
    n_circular = np.iscomplexobj(u) + np.iscomplexobj(v)
    if n_circular == 0:
        return float(u @ v)
    if n_circular == 1:
        return float(np.sqrt(2 / len(u)) * abs(u @ v))
    return float(abs(np.mean(u * v.conj())) ** 2 - abs(np.mean(u * v)) ** 2)


def _associations(scores: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([[_association(u, v) for v in scores] for u in scores])


def _thin(codes: np.ndarray) -> np.ndarray:
    if len(codes) <= MAX_ROWS:
        return codes
    return codes[np.random.default_rng(0).choice(len(codes), MAX_ROWS, replace=False)]


def _informations(codes: np.ndarray, circular: Sequence[bool]) -> np.ndarray:
    """Return mutual information between columns."""
    n_rows, n_columns = codes.shape
    points = [_margin(column, angle) for column, angle in zip(codes.T, circular, strict=True)]
    periods = np.where(circular, n_rows, 0)  # to scipy, 0 is a straight axis
    result = np.full((n_columns, n_columns), np.nan)
    for pair in combinations(range(n_columns), 2):
        value = _information(np.column_stack([points[k] for k in pair]), periods[list(pair)])
        result[pair] = result[pair[::-1]] = value
    return result


def _margin(column: np.ndarray, circular: bool) -> np.ndarray:
    """Return the axis on which neighbours are sought; a turn and 2π deviations are n_rows long."""
    n_rows = len(column)
    if circular:
        return _circular_ranks(column)
    return np.asarray(ndtri((rankdata(column) - 0.5) / n_rows) * n_rows / (2 * np.pi))


def _information(pair: np.ndarray, periods: np.ndarray) -> float:
    tree = KDTree(pair, boxsize=periods)
    distance = tree.query(pair, k=N_NEIGHBOURS + 1, p=np.inf)[0][:, -1]
    strictly_within = np.nextafter(distance, 0)

    def mean_log_count(axes: slice) -> float:
        points = pair[:, axes]
        within = KDTree(points, boxsize=periods[axes]).query_ball_point(
            points, strictly_within, p=np.inf, return_length=True
        )
        return float(digamma(within).mean())

    joint, first, second = (mean_log_count(axes) for axes in (slice(2), slice(1), slice(1, 2)))
    return max(0.0, float(digamma(len(pair))) + joint - first - second)
