"""How far generated rows are from real ones, and which real ones they miss.

Every figure takes two sets of rows, real and generated, in any space of features, of which it
takes Euclidean distances: standardise features whose units differ. Rows need not correspond, nor
their numbers agree; events of any shape are flattened. `two_sample` has tests of whether both sets
come from one distribution.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.stats import wasserstein_distance
from sklearn.metrics import pairwise_distances_chunked

from narrows.metrics import _samples

ROUNDING = 1e-12


@dataclass(frozen=True)
class GenerativePrecisionRecall:
    """How generated rows lie among real ones, and real ones among generated ones.

    Attributes
    ----------
    precision : float
        Share of the generated rows that lie within the real ones, from 0 to 1.
    recall : float
        Share of the real rows that lie within the generated ones, from 0 to 1.
    density : float
        How densely the generated rows lie within the real ones, 0 or more, on average 1 for rows
        of the same distribution.
    coverage : float
        Share of the real rows with a generated one in their neighbourhood, from 0 to 1.

    Examples
    --------
    >>> GenerativePrecisionRecall(precision=1.0, recall=0.5, density=1.0, coverage=0.5).recall
    0.5
    """

    precision: float
    recall: float
    density: float
    coverage: float


def generative_precision_recall(
    real: ArrayLike, generated: ArrayLike, n_neighbors: int = 5
) -> GenerativePrecisionRecall:
    r"""Return precision, recall, density and coverage of generated rows.

    Use it to tell rows that look wrong (low precision and density) from kinds of rows that are
    missing (low recall and coverage). One stray row widens precision (if real) or recall (if
    generated); density and coverage, which count within neighbourhoods of real rows alone, bear
    strays better. It fails to compare numbers of neighbours or of rows, on which all four depend.

    With :math:`B_k(x)` the closed ball around a row x as far as its k-th nearest neighbour in its
    own set, n real rows x and m generated rows y,

    .. math::

        \mathrm{precision} &= \frac1m \left|\{y : y \in \textstyle\bigcup_x B_k(x)\}\right|,
        &\quad \mathrm{recall} &= \frac1n \left|\{x : x \in \textstyle\bigcup_y B_k(y)\}\right|,

        \mathrm{density} &= \frac1{k m} \sum_{x, y} [y \in B_k(x)],
        &\quad \mathrm{coverage} &= \frac1n \left|\{x : \exists y \in B_k(x)\}\right|

    Two sets of n rows of one distribution have a density of 1 and a coverage of about
    :math:`1 - 2^{-k}` on average, in any space. Distances are computed from differences, so that
    equal ones count as equal. Time grows with the product of the numbers of rows; memory does
    not, since distances are held for a block of rows at a time, as large as scikit-learn's setting
    `working_memory` allows.

    Parameters
    ----------
    real : array of shape (row, *event)
        Real rows.
    generated : array of shape (generated_row, *event)
        Generated rows.
    n_neighbors : int, default=5
        Number k of neighbours, from 1 to below the number of rows of either set. 5 is Naeem's
        choice, with which perfect rows have a coverage of 0.97; Kynkäänniemi's is 3.

    Returns
    -------
    GenerativePrecisionRecall
        All four figures.

    Raises
    ------
    ValueError
        If the features differ, a value is not finite, or there are too few rows for k.

    See Also
    --------
    precision_recall : Precision and recall of anomaly scores.

    References
    ----------
    Kynkäänniemi, T., Karras, T., Laine, S., Lehtinen, J. and Aila, T. (2019). Improved precision
    and recall metric for assessing generative models. NeurIPS. arXiv: 1904.06991

    Naeem, M. F., Oh, S. J., Uh, Y., Choi, Y. and Yoo, J. (2020). Reliable fidelity and diversity
    metrics for generative models. ICML. arXiv: 2002.09797

    Examples
    --------
    Every generated row is right, and one of two kinds is missing:

    >>> rng = np.random.default_rng(0)
    >>> real = rng.normal(size=(400, 2)) + np.repeat([0, 20], 200)[:, None]
    >>> found = generative_precision_recall(real, rng.normal(size=(400, 2)))
    >>> round(found.precision, 1), round(found.recall, 1), round(found.coverage, 1)
    (1.0, 0.5, 0.5)
    """
    rows, others = _samples.both(real, generated)
    most = min(len(rows), len(others)) - 1
    if not 1 <= n_neighbors <= most:
        raise ValueError(
            f"n_neighbors is {n_neighbors}, real has {len(rows)} rows and generated "
            f"{len(others)}. "
            + (f"Write a whole number from 1 to {most}." if most >= 1 else "Pass more rows.")
        )
    radius, other_radius = _squared_radii(rows, n_neighbors), _squared_radii(others, n_neighbors)
    n_balls = np.zeros(len(others), dtype=np.int64)
    covered, recalled = np.empty((2, len(rows)), dtype=bool)
    for block, squared in _blocks(rows, others):
        inside = squared <= radius[block, None]
        n_balls += inside.sum(axis=0)
        covered[block] = inside.any(axis=1)
        recalled[block] = (squared <= other_radius).any(axis=1)
    return GenerativePrecisionRecall(
        precision=float((n_balls > 0).mean()),
        recall=float(recalled.mean()),
        density=float(n_balls.mean() / n_neighbors),
        coverage=float(covered.mean()),
    )


def frechet_distance(real: ArrayLike, generated: ArrayLike) -> float:
    r"""Return the squared Fréchet distance between the Gaussians fitted to both sets.

    Use it as one number for how far means and covariances agree; of features of a trained network
    it is what is known as the FID. It fails to see anything beyond the second moments, and few
    rows make it too large: compare at equal numbers of rows.

    With the means :math:`\mu, \nu` and the covariances :math:`\Sigma, \mathrm T` (divided by the
    number of rows less 1),

    .. math:: \|\mu - \nu\|^2 + \operatorname{tr}\left(\Sigma + \mathrm T
              - 2 (\Sigma^{1/2} \mathrm T \Sigma^{1/2})^{1/2}\right)
              = \|\mu - \nu\|^2 + \min_Q \|A - Q B\|_F^2

    where A and B are any roots, :math:`A^\top A = \Sigma` and :math:`B^\top B = \mathrm T`, and Q
    is orthogonal. The right-hand side, which is never negative, is what is computed: A and B by a
    QR decomposition of the centred rows, Q by the singular value decomposition of
    :math:`A B^\top`. Covariances may be singular, as with fewer rows than features. A distance
    whose root is below :math:`10^{-12}` of the spread is rounding, and 0.

    Parameters
    ----------
    real : array of shape (row, *event)
        Real rows, at least 2.
    generated : array of shape (generated_row, *event)
        Generated rows, at least 2.

    Returns
    -------
    float
        0 or more, in the square of the features' unit; 0 for the same rows in any order.

    Raises
    ------
    ValueError
        If the features differ, a value is not finite, or a set has one row.

    References
    ----------
    Dowson, D. C. and Landau, B. V. (1982). The Fréchet distance between multivariate normal
    distributions. Journal of Multivariate Analysis 12, 450-455.
    DOI: 10.1016/0047-259X(82)90077-X

    Heusel, M., Ramsauer, H., Unterthiner, T., Nessler, B. and Hochreiter, S. (2017). GANs trained
    by a two time-scale update rule converge to a local Nash equilibrium. NeurIPS.
    arXiv: 1706.08500

    Examples
    --------
    >>> real = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(frechet_distance(real, real + [3.0, 4.0, 0.0]), 6)
    25.0
    """
    rows, others = _samples.both(real, generated, least=2)
    origin = rows.mean(axis=0)
    (mean, root), (other_mean, other_root) = (_moments(x - origin) for x in (rows, others))
    height = max(len(root), len(other_root))
    a, b = (np.pad(r, ((0, height - len(r)), (0, 0))) for r in (root, other_root))
    left, _, right = np.linalg.svd(a @ b.T)
    shift, spread = np.sum((mean - other_mean) ** 2), np.sum(a**2) + np.sum(b**2)
    distance = shift + np.sum((a - left @ right @ b) ** 2)
    return float(distance) if distance > ROUNDING**2 * (shift + spread) else 0.0


def wasserstein_per_feature(
    real: ArrayLike,
    generated: ArrayLike,
    scaled: bool = True,
    *,
    real_weight: ArrayLike | None = None,
    generated_weight: ArrayLike | None = None,
) -> Float[np.ndarray, "*event"]:
    r"""Return the Wasserstein distance of each feature on its own.

    Use it to see which features are wrong, and by how much: a feature shifted by c is c away. It
    fails to see how features go together, and does not tell a distance from the noise of few rows.

    With the distribution functions F and G of a feature in both sets and the real one's standard
    deviation s,

    .. math:: \frac1s \int |F(t) - G(t)| \, dt

    Parameters
    ----------
    real : array of shape (row, *event)
        Real rows.
    generated : array of shape (generated_row, *event)
        Generated rows.
    scaled : bool, default=True
        Whether s is the standard deviation of the real rows (divided by their number) or 1. A
        feature that is constant in the real rows keeps its own unit.
    real_weight : array of shape (row,), default=None
        Weight of each real row, 0 or more; a weight of 3 equals three copies.
    generated_weight : array of shape (generated_row,), default=None
        Weight of each generated row.

    Returns
    -------
    array of shape (*event,)
        Distances, 0 or more.

    Raises
    ------
    ValueError
        If the features differ, a value is not finite, or weights are negative, all 0 or not one a
        row.

    See Also
    --------
    scipy.stats.wasserstein_distance : The distance of one feature.

    References
    ----------
    Ramdas, A., García Trillos, N. and Cuturi, M. (2017). On Wasserstein two-sample testing and
    related families of nonparametric tests. Entropy 19, 47. DOI: 10.3390/e19020047

    Examples
    --------
    >>> real = np.random.default_rng(0).normal(size=(100, 3)) * [1.0, 10.0, 0.1]
    >>> wasserstein_per_feature(real, real + 2 * real.std(axis=0)).round(6)
    array([2., 2., 2.])
    """
    rows, others = _samples.both(real, generated)
    weight = _weight("real", real_weight, len(rows))
    other_weight = _weight("generated", generated_weight, len(others))
    distances = np.array(
        [
            wasserstein_distance(column, other, weight, other_weight)
            for column, other in zip(rows.T, others.T, strict=True)
        ]
    )
    if scaled:
        distances /= _widths(rows, weight)
    return distances.reshape(np.shape(real)[1:])


def _blocks(rows: np.ndarray, others: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of rows, and their squared distances to all others."""
    start = 0
    for squared in pairwise_distances_chunked(rows, others, metric="sqeuclidean", n_jobs=1):
        yield slice(start, start + len(squared)), squared
        start += len(squared)


def _squared_radii(rows: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return the squared distance of each row's k-th nearest neighbour; its first is itself."""
    radii = np.empty(len(rows))
    for block, squared in _blocks(rows, rows):
        squared.partition(n_neighbors, axis=1)
        radii[block] = squared[:, n_neighbors]
    return radii


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean, and a root of the covariance with as few rows as there are features."""
    mean = rows.mean(axis=0)
    root = np.linalg.qr((rows - mean) / np.sqrt(len(rows) - 1), mode="r")
    return mean, np.asarray(root)


def _weight(name: str, weight: ArrayLike | None, n_rows: int) -> np.ndarray:
    if weight is None:
        return np.ones(n_rows)
    values = np.asarray(weight, dtype=np.float64)
    if values.shape != (n_rows,):
        raise ValueError(
            f"{name}_weight has shape {values.shape}, {name} has {n_rows} rows. "
            "Pass one weight a row."
        )
    if not (np.isfinite(values) & (values >= 0)).all() or not values.any():
        raise ValueError(
            f"{name}_weight runs from {values.min()} to {values.max()}. "
            "Pass finite weights of 0 or more, not all 0."
        )
    return values


def _widths(rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return standard deviations; 1 for a constant feature."""
    deviations = rows - np.average(rows, axis=0, weights=weight)
    varies = np.ptp(rows[weight > 0], axis=0) > 0
    return np.where(varies, np.sqrt(np.average(deviations**2, axis=0, weights=weight)), 1.0)
