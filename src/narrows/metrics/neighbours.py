"""Whether a code keeps near what was near.

Every figure takes the same rows twice: the data X and their codes Z, both with Euclidean
distances. Standardise the features if their units differ, and give an angle as its cosine and
sine. Time grows with the square of the number of rows; memory does not, since distances are held
for a block of rows at a time.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from scipy.special import xlogy
from sklearn.metrics import euclidean_distances

MAX_ENTRIES = 2**22
MAX_STEPS = 100
TOLERANCE = 1e-10
CLOSE = 1e-2
TIED = 1e-9
SCALES = np.geomspace(0.1, 1e3, 17)


def trustworthiness(
    X: Float[np.ndarray, "row feature"],
    Z: Float[np.ndarray, "same_row component"],
    n_neighbors: int = 5,
) -> float:
    r"""Return how far neighbours in the code can be trusted to be neighbours in the data.

    Use it to see whether rows that lie together on a map of the code belong together. It fails
    to see neighbours torn apart (see `continuity`) and everything beyond the neighbourhood.

    With :math:`r(i, j)` the rank of j among the rows nearest to i in X, k the number of
    neighbours and :math:`U_i` the k rows nearest to i in Z,

    .. math:: 1 - \frac{2}{n k (2n - 3k - 1)} \sum_i \sum_{j \in U_i} \max(0, r(i, j) - k)

    Parameters
    ----------
    X : array of shape (row, feature)
        Data.
    Z : array of shape (row, component)
        Codes of the same rows.
    n_neighbors : int, default=5
        Size k of a neighbourhood, from 1 to below half the number of rows.

    Returns
    -------
    float
        From 0 to 1; about 0.5 for codes that know nothing of the data.

    Raises
    ------
    ValueError
        If the rows differ in number, a value is not finite, or k is too large.

    See Also
    --------
    continuity : The other direction.
    sklearn.manifold.trustworthiness : The same with all distances in memory.

    References
    ----------
    Venna, J. and Kaski, S. (2001). Neighborhood preservation in nonlinear projection methods: an
    experimental study. ICANN. DOI: 10.1007/3-540-44668-0_68

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> trustworthiness(X, 2 * X)
    1.0
    >>> trustworthiness(X, X[:, :1]) < 0.9
    True
    """
    _check(X, Z)
    _check_neighbours(n_neighbors, len(X), (len(X) - 1) // 2)
    n, k = len(X), n_neighbors
    excess = 0.0
    for block in _blocks(n):
        near = _nearest(_distances(Z, block), k)
        distances = _distances(X, block)
        of_near = np.take_along_axis(distances, near, axis=1)
        distances.sort(axis=1)
        pairs = zip(distances, of_near, strict=True)
        ranks = 1 + np.stack([np.searchsorted(row, values) for row, values in pairs])
        excess += float(np.maximum(ranks - k, 0).sum())
    return 1.0 - 2.0 * excess / (n * k * (2 * n - 3 * k - 1))


def continuity(
    X: Float[np.ndarray, "row feature"],
    Z: Float[np.ndarray, "same_row component"],
    n_neighbors: int = 5,
) -> float:
    """Return how far neighbours in the data stay neighbours in the code.

    Use it to see whether a code tears apart what belongs together. It fails to see rows brought
    together that do not (see `trustworthiness`): a code that is constant but for rounding keeps
    much of its continuity.

    It is the trustworthiness with the parts of X and Z exchanged: the rows nearest in X are
    ranked in Z.

    Parameters
    ----------
    X : array of shape (row, feature)
        Data.
    Z : array of shape (row, component)
        Codes of the same rows.
    n_neighbors : int, default=5
        Size of a neighbourhood, from 1 to below half the number of rows.

    Returns
    -------
    float
        From 0 to 1; about 0.5 for codes that know nothing of the data.

    Raises
    ------
    ValueError
        If the rows differ in number, a value is not finite, or `n_neighbors` is too large.

    See Also
    --------
    trustworthiness : The formula.

    References
    ----------
    Venna, J. and Kaski, S. (2006). Local multidimensional scaling. Neural Networks 19, 889-899.
    DOI: 10.1016/j.neunet.2006.05.014

    Examples
    --------
    A circle cut open and laid out straight is torn at the cut, and nothing is laid on top of
    anything else:

    >>> angle = np.sort(np.random.default_rng(0).uniform(0, 2 * np.pi, 100))
    >>> X, Z = np.column_stack([np.cos(angle), np.sin(angle)]), angle[:, None]
    >>> continuity(X, Z) < trustworthiness(X, Z)
    True
    """
    _check(X, Z)
    return trustworthiness(Z, X, n_neighbors)


def neighbour_overlap(
    X: Float[np.ndarray, "row feature"],
    Z: Float[np.ndarray, "same_row component"],
    n_neighbors: int = 5,
) -> float:
    """Return the mean share of the nearest neighbours that a code keeps.

    Use it as the plainest figure of a neighbourhood. It fails to tell a neighbour that moved just
    outside from one that moved far away (see `trustworthiness` and `continuity`).

    It is the mean over rows of the number of rows among the k nearest both in X and in Z, divided
    by k.

    Parameters
    ----------
    X : array of shape (row, feature)
        Data.
    Z : array of shape (row, component)
        Codes of the same rows.
    n_neighbors : int, default=5
        Size k of a neighbourhood, from 1 to the number of rows less 2.

    Returns
    -------
    float
        From 0 to 1; k / (n - 1) for codes that know nothing of the n rows.

    Raises
    ------
    ValueError
        If the rows differ in number, a value is not finite, or k is too large.

    References
    ----------
    Chen, L. and Buja, A. (2009). Local multidimensional scaling for nonlinear dimension
    reduction, graph drawing, and proximity analysis. Journal of the American Statistical
    Association 104, 209-219. DOI: 10.1198/jasa.2009.0111

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> neighbour_overlap(X, -X)
    1.0
    """
    _check(X, Z)
    _check_neighbours(n_neighbors, len(X), len(X) - 2)
    kept = 0
    for block in _blocks(len(X)):
        distances = _distances(X, block)
        in_data = np.zeros(distances.shape, dtype=bool)
        np.put_along_axis(in_data, _nearest(distances, n_neighbors), True, axis=1)
        near = _nearest(_distances(Z, block), n_neighbors)
        kept += int(np.take_along_axis(in_data, near, axis=1).sum())
    return kept / (len(X) * n_neighbors)


def tsne_divergence(
    X: Float[np.ndarray, "row feature"],
    Z: Float[np.ndarray, "same_row component"],
    perplexity: float = 30.0,
    *,
    rescale: bool = False,
) -> float:
    r"""Return t-SNE's criterion: the divergence between neighbour distributions.

    Use it to measure any code by what t-SNE minimises. The criterion depends on the scale of Z,
    which t-SNE chooses and most other methods leave free: compare those with ``rescale=True``.
    It fails to compare perplexities or numbers of rows, which change its range.

    With :math:`\beta_i` such that the row :math:`p_{\cdot|i}` has the perplexity asked for (where
    more rows than that are the nearest alike, it is even over these), n rows, K components and
    :math:`\nu = \max(K - 1, 1)`, the Kullback-Leibler divergence is

    .. math:: \sum_{i \ne j} p_{ij} \ln \frac{p_{ij}}{q_{ij}}, \quad
              p_{j|i} \propto e^{-\beta_i \|x_i - x_j\|^2}, \quad
              p_{ij} = \frac{p_{j|i} + p_{i|j}}{2n}, \quad
              q_{ij} \propto \left(1 + \|z_i - z_j\|^2 / \nu\right)^{-(\nu + 1) / 2}

    Parameters
    ----------
    X : array of shape (row, feature)
        Data.
    Z : array of shape (row, component)
        Codes of the same rows.
    perplexity : float, default=30
        Effective number of neighbours, above 1 and below the number of rows less 1.
    rescale : bool, default=False
        Return the least divergence over a common factor on Z, searched from 0.1 to 1000 in units
        of the root mean square distance of two rows.

    Returns
    -------
    float
        In nats, 0 or more.

    Raises
    ------
    ValueError
        If the rows differ in number, a value is not finite, `perplexity` is out of range, or Z is
        to be rescaled and constant.

    See Also
    --------
    sklearn.manifold.TSNE : Its `kl_divergence_` is this figure of its own embedding.

    References
    ----------
    van der Maaten, L. and Hinton, G. (2008). Visualizing data using t-SNE. Journal of Machine
    Learning Research 9, 2579-2605.

    van der Maaten, L. (2009). Learning a parametric embedding by preserving local structure.
    AISTATS, PMLR 5, 384-391 (the degrees of freedom).

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> near, far = (tsne_divergence(X, Z, rescale=True) for Z in (X[:, :2], X[::-1, :2]))
    >>> bool(near < far)
    True
    """
    _check(X, Z)
    if not 1 < perplexity < len(X) - 1:
        raise ValueError(
            f"perplexity is {perplexity}, X has {len(X)} rows. "
            f"Write a number above 1 and below {len(X) - 1}."
        )
    precision, offset = _calibrated(X, perplexity)
    if not rescale:
        return float(_divergences(X, Z, precision, offset, np.ones(1))[0])
    spread = np.sqrt(2 * Z.var(axis=0, dtype=np.float64).sum())
    if not np.ptp(Z, axis=0).any():
        raise ValueError("Z is constant and has no scale. Write rescale=False.")
    scales = SCALES / spread
    for _ in range(3):
        values = _divergences(X, Z, precision, offset, scales)
        best = int(values.argmin())
        ends = scales[max(best - 1, 0)], scales[min(best + 1, len(scales) - 1)]
        scales = np.geomspace(*ends, len(scales))
    return float(values.min())


def _check(X: np.ndarray, Z: np.ndarray) -> None:
    if len(X) != len(Z):
        raise ValueError(
            f"X has {len(X)} rows, Z has {len(Z)}. Pass Z with the codes of the rows of X."
        )
    for name, values in (("X", X), ("Z", Z)):
        if not np.isfinite(values).all():
            count = values.size - np.isfinite(values).sum()
            raise ValueError(
                f"{name} holds {count} values that are not finite. Pass finite {name}."
            )


def _check_neighbours(n_neighbors: int, n_rows: int, most: int) -> None:
    if not 1 <= n_neighbors <= most:
        raise ValueError(
            f"n_neighbors is {n_neighbors}, X has {n_rows} rows. "
            + (f"Write a whole number from 1 to {most}." if most >= 1 else "Pass more rows.")
        )


def _blocks(n_rows: int) -> Iterator[slice]:
    height = max(1, MAX_ENTRIES // n_rows)
    return (slice(a, min(a + height, n_rows)) for a in range(0, n_rows, height))


def _own(block: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return where the rows of a block meet themselves."""
    rows = np.arange(block.start, block.stop)
    return rows - block.start, rows


def _distances(points: np.ndarray, block: slice) -> np.ndarray:
    """Return squared distances of a block's rows to all; infinite to themselves."""
    centred = points - points.mean(axis=0, dtype=np.float64)
    squared = np.asarray(euclidean_distances(centred[block], centred, squared=True))
    # Of close rows it is the difference of large numbers; of equal ones that is not 0.
    size = np.einsum("rf,rf->r", centred, centred)
    for row, near in enumerate(squared < CLOSE * (size[block, None] + size)):
        squared[row, near] = np.square(centred[near] - centred[block.start + row]).sum(axis=1)
    squared[_own(block)] = np.inf
    return squared


def _nearest(distances: np.ndarray, n_neighbors: int) -> np.ndarray:
    return np.argpartition(distances, n_neighbors - 1, axis=1)[:, :n_neighbors]


def _calibrated(X: np.ndarray, perplexity: float) -> tuple[np.ndarray, np.ndarray]:
    """Return β and a, each per row, such that p(j|i) = exp(a_i - β_i d_ij)."""
    found = [_precisions(_distances(X, block), np.log(perplexity)) for block in _blocks(len(X))]
    precision, offset = np.hstack(found)
    return precision, offset


def _precisions(distances: np.ndarray, entropy: float) -> np.ndarray:
    """Return both numbers for each row of a block, by Newton's method in ln β, bracketed.

    Where more rows are the nearest alike than the perplexity asks for, no β is large enough: the
    others then weigh next to nothing.
    """
    others = distances[np.isfinite(distances)].reshape(len(distances), -1)
    nearest = others.min(axis=1)
    others -= nearest[:, None]
    tied = others <= TIED * nearest[:, None]
    solved = np.log(tied.sum(axis=1)) < entropy - TOLERANCE
    gap = np.where(tied, np.inf, others).min(axis=1)
    gap = np.where(np.isfinite(gap), gap, np.where(nearest > 0, nearest, 1.0))
    mean = others.mean(axis=1)
    x = np.where(solved, -np.log(np.where(mean > 0, mean, 1.0)), np.log(40.0 / gap))
    log_total = np.zeros_like(x)
    low, high = np.full_like(x, -np.inf), np.full_like(x, np.inf)
    rows = np.arange(len(x))
    for _ in range(MAX_STEPS):
        log_total[rows], excess, fall = _entropy(others[rows], np.exp(x[rows]), entropy)
        low[rows] = np.where(excess > 0, x[rows], low[rows])
        high[rows] = np.where(excess > 0, high[rows], x[rows])
        moving = solved[rows] & (np.abs(excess) > TOLERANCE)
        rows = rows[moving]
        if not len(rows):
            break
        step = x[rows] + np.clip(excess[moving] / fall[moving], -2.0, 2.0)
        inside = (low[rows] < step) & (step < high[rows])
        x[rows] = np.where(inside, step, (low[rows] + high[rows]) / 2)
    return np.stack([np.exp(x), np.exp(x) * nearest - log_total])


def _entropy(
    distances: np.ndarray, precision: np.ndarray, entropy: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ln Σ exp(-β d), the entropy above the one asked for, and how fast it falls in ln β."""
    weight = np.exp(-precision[:, None] * distances)
    total = weight.sum(axis=1)
    weight *= distances
    mean = weight.sum(axis=1) / total
    variance = np.einsum("rj,rj->r", weight, distances) / total - mean**2
    excess = np.log(total) + precision * mean - entropy
    return np.log(total), excess, np.maximum(precision**2 * variance, np.finfo(float).tiny)


def _divergences(
    X: np.ndarray,
    Z: np.ndarray,
    precision: np.ndarray,
    offset: np.ndarray,
    scales: np.ndarray,
) -> np.ndarray:
    """Return the divergence for Z times each of the scales."""
    freedom = max(Z.shape[1] - 1, 1)
    power = (freedom + 1) / 2
    attraction, repulsion = np.zeros(len(scales)), np.zeros(len(scales))
    negentropy = 0.0
    for block in _blocks(len(X)):
        in_data, in_code = _distances(X, block), _distances(Z, block)
        here = np.exp(offset[block, None] - precision[block, None] * in_data)
        p = (here + np.exp(offset - precision * in_data)) / (2 * len(X))
        negentropy += float(xlogy(p, p).sum())
        for s, scale in enumerate(scales):
            stretch = np.log1p(scale**2 / freedom * in_code)
            repulsion[s] += np.exp(-power * stretch).sum()
            stretch[_own(block)] = 0.0
            attraction[s] += power * np.vdot(p, stretch)
    return negentropy + attraction + np.log(repulsion)
