"""How much of the data a reconstruction explains."""

from typing import Self

import numpy as np
from jaxtyping import Float


class ExplainedVariance:
    """Fraction of variance explained, gathered batch by batch.

    Use it for data that come in batches, from a stream or from several processes: sums are
    kept in float64, so any splitting gives the same figure to rounding. It fails as a measure
    where squared distance is not the error of interest (counts, probabilities).

    The figure is `1 - sum w |t - q|^2 / sum w |t - mean|^2` over the observed entries.

    Parameters
    ----------
    mean : array of shape (feature,)
        Mean of the *training* rows, in the space of the targets.

    Attributes
    ----------
    residual : array of shape (*level,)
        Weighted sum of squared residuals.
    total : float
        Weighted sum of squared deviations from `mean`.
    weight : float
        Sum of the weights of the observed entries.

    Examples
    --------
    >>> target = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> whole = ExplainedVariance(np.array([1.5]))
    >>> for rows in (slice(0, 2), slice(2, 4)):
    ...     whole = whole.update(target[rows], target[rows] + 0.5)
    >>> float(whole.compute())
    0.8
    """

    def __init__(self, mean: Float[np.ndarray, "feature"]) -> None:
        self.mean = np.asarray(mean, dtype=np.float64)
        self.residual: np.ndarray = np.zeros(())
        self.total = 0.0
        self.weight = 0.0

    def update(
        self,
        target: Float[np.ndarray, "row feature"],
        prediction: Float[np.ndarray, "*level row feature"],
        sample_weight: Float[np.ndarray, "row"] | None = None,
    ) -> Self:
        """Add a batch of rows.

        Parameters
        ----------
        target : array of shape (row, feature)
            Targets; a NaN is a missing entry and contributes nothing.
        prediction : array of shape (*level, row, feature)
            Reconstructions, with any leading axes.
        sample_weight : array of shape (row,), default=None
            Weight of each row, not negative; a weight of 3 equals three copies.

        Returns
        -------
        ExplainedVariance
            The object itself.

        Raises
        ------
        ValueError
            If the shapes do not belong together.
        """
        self._check(target, prediction)
        weight = np.ones(len(target)) if sample_weight is None else sample_weight
        observed = ~np.isnan(target)
        error = np.where(observed, np.subtract(target, prediction, dtype=np.float64), 0.0)
        deviation = np.where(observed, target - self.mean, 0.0)
        self.residual = self.residual + np.einsum("r,...rf,...rf->...", weight, error, error)
        self.total += float(weight @ np.square(deviation).sum(axis=1))
        self.weight += float(weight @ observed.sum(axis=1))
        return self

    def merge(self, other: "ExplainedVariance") -> Self:
        """Add the rows that another object has seen.

        Parameters
        ----------
        other : ExplainedVariance
            An object with the same mean.

        Returns
        -------
        ExplainedVariance
            The object itself.

        Raises
        ------
        ValueError
            If the means differ.
        """
        if not np.array_equal(self.mean, other.mean, equal_nan=True):
            raise ValueError(
                "other.mean differs from mean, so the sums cannot be added. "
                "Write ExplainedVariance(mean) with the training mean in every process."
            )
        self.residual = self.residual + other.residual
        self.total += other.total
        self.weight += other.weight
        return self

    def compute(self) -> Float[np.ndarray, "*level"]:
        """Return the fraction explained by the rows seen so far.

        Targets that do not vary give 1 where they are met exactly, else 0 (as
        `sklearn.metrics.r2_score` does); no observed entry at all gives NaN.

        Returns
        -------
        array of shape (*level,)
            At most 1; below 0 where the mean would be the better reconstruction.
        """
        if self.weight == 0:
            return np.full(self.residual.shape, np.nan)
        if self.total == 0:
            return np.where(self.residual == 0, 1.0, 0.0)
        return np.asarray(1.0 - self.residual / self.total)

    def _check(self, target: np.ndarray, prediction: np.ndarray) -> None:
        if target.shape[1:] != self.mean.shape:
            raise ValueError(
                f"target has shape {target.shape}, mean has shape {self.mean.shape}. "
                "Pass target of shape (row, feature), mean of shape (feature,)."
            )
        if prediction.shape[-2:] != target.shape:
            raise ValueError(
                f"prediction has shape {prediction.shape}, target has shape {target.shape}. "
                "Pass prediction of shape (..., row, feature)."
            )


def fraction_of_variance_explained(
    target: Float[np.ndarray, "row feature"],
    prediction: Float[np.ndarray, "*level row feature"],
    mean: Float[np.ndarray, "feature"],
    sample_weight: Float[np.ndarray, "row"] | None = None,
) -> Float[np.ndarray, "*level"]:
    r"""Return the fraction of variance that reconstructions explain (FVE).

    Use it on rows that chose nothing, in the space in which the model measures its error. With
    `mean` the rows' own mean it is scikit-learn's `r2_score(...,
    multioutput="variance_weighted")`. It fails to compare data sets whose noise differs: noise
    counts as variance to explain.

    .. math:: 1 - \frac{\sum_i w_i \|t_i - q_i\|^2}{\sum_i w_i \|t_i - \bar t\|^2}

    Parameters
    ----------
    target : array of shape (row, feature)
        Targets; a NaN is a missing entry and contributes nothing.
    prediction : array of shape (*level, row, feature)
        Reconstructions, with any leading axes (level, restart, ...).
    mean : array of shape (feature,)
        Mean of the *training* rows.
    sample_weight : array of shape (row,), default=None
        Weight of each row, not negative; a weight of 3 equals three copies.

    Returns
    -------
    array of shape (*level,)
        One figure per leading index; see `ExplainedVariance.compute` for its limits.

    Raises
    ------
    ValueError
        If the shapes do not belong together.

    See Also
    --------
    ExplainedVariance : The same, batch by batch.

    Examples
    --------
    >>> target = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> levels = np.stack([np.full((4, 1), 1.5), target + 0.5, target])
    >>> fraction_of_variance_explained(target, levels, target.mean(axis=0))
    array([0. , 0.8, 1. ])
    """
    return ExplainedVariance(mean).update(target, prediction, sample_weight).compute()


def elbow(fve: Float[np.ndarray, "component"]) -> int:
    """Return the number of components at the elbow of FVE against K (L-method).

    Use it to propose a number of components where the curve bends once, from steep to flat. It
    fails on curves that bend smoothly (look at the curve) and, with a long flat tail, gives too
    many: shorten the curve.

    The curve starts at K = 0, FVE = 0. For every knee c one least-squares line is fitted to the
    points 0..c and one to c..K; the knee with the least error, each line's root mean square
    weighted by its number of points, wins. Unlike in the original the segments share the knee,
    so that an exact kink at c is found at c. Knees where the curve grows steeper are no elbow.

    Parameters
    ----------
    fve : array of shape (component,)
        Fraction of variance explained by 1..K components.

    Returns
    -------
    int
        From 1 to K; K where there is no elbow, which is always said of K <= 2, since two lines
        pass through any three points. K = 3 chooses between 1 and 2 (3 if never flatter).

    Raises
    ------
    ValueError
        If `fve` is empty or not finite.

    References
    ----------
    Salvador, S. and Chan, P. (2004). Determining the number of clusters/segments in
    hierarchical clustering/segmentation algorithms. ICTAI. DOI: 10.1109/ICTAI.2004.50

    Examples
    --------
    >>> elbow(np.array([0.5, 0.8, 0.82, 0.84, 0.85]))
    2
    """
    if not (len(fve) and np.isfinite(fve).all()):
        raise ValueError(f"fve is {fve}. Write finite numbers, one per number of components.")
    if len(fve) <= 2:
        return len(fve)
    curve = np.concatenate([[0.0], fve])
    errors = {knee: _knee_error(curve, knee) for knee in range(1, len(fve))}
    knee = min(errors, key=errors.__getitem__)
    return knee if np.isfinite(errors[knee]) else len(fve)


def _knee_error(curve: np.ndarray, knee: int) -> float:
    """Return the error of two lines that meet at `knee`; infinite if the curve steepens there."""
    before, error_before = _line(curve[: knee + 1])
    after, error_after = _line(curve[knee:])
    rounding = 1e-9
    return error_before + error_after if after < before - rounding else np.inf


def _line(y: np.ndarray) -> tuple[float, float]:
    """Return the slope of the least-squares line and its root mean square error, times points."""
    x = np.arange(len(y)) - (len(y) - 1) / 2
    slope = x @ y / (x @ x)
    rms = np.sqrt(np.mean((y - y.mean() - slope * x) ** 2))
    return float(slope), float(len(y) * rms)
