"""Whether each component of a code tells about one cause of the data, and about no other.

The causes ("factors") must be known, as they are in simulations. Each row of `factors` belongs to
the same row of `codes`. Factors of an integer, boolean or text type are classes, others numbers.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped
from scipy.stats import rankdata
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.linear_model import LassoCV
from sklearn.metrics import accuracy_score, balanced_accuracy_score, mutual_info_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

HELD_OUT = 0.3


def mutual_information_gap(
    codes: Float[np.ndarray, "row component"],
    factors: Shaped[np.ndarray, "same_row factor"],
    n_bins: int = 20,
) -> float:
    r"""Return the mutual information gap (MIG).

    Use it to see whether each factor is told by one component alone. It fails to see a component
    that tells several factors, and is 0 where two components tell a factor equally well, however
    well. Values of different `n_bins` do not compare.

    With I the mutual information, H the entropy and :math:`c_{(1)}, c_{(2)}` the components that
    tell most about the factor :math:`v_k`, it is the mean over factors of

    .. math:: \frac{I(c_{(1)}; v_k) - I(c_{(2)}; v_k)}{H(v_k)}

    Both are taken from counts in bins that hold equally many rows; a column with at most `n_bins`
    distinct values keeps them. Counts find too much information in few rows, of the order of
    ``n_bins**2 / (2 * rows)`` nats; the gap cancels most of it.

    Parameters
    ----------
    codes : array of shape (row, component)
        Codes; angles may be given as such, in radians from -π to π.
    factors : array of shape (row, factor)
        Known causes of the same rows.
    n_bins : int, default=20
        Largest number of bins of a column, at least 2.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ValueError
        If the rows differ in number, a value is not finite, a factor is constant, or `n_bins` is
        below 2.

    See Also
    --------
    dci : Sees a component that tells several factors.

    References
    ----------
    Chen, R. T. Q., Li, X., Grosse, R. and Duvenaud, D. (2018). Isolating sources of
    disentanglement in variational autoencoders. NeurIPS. arXiv: 1802.04942

    Examples
    --------
    >>> factors = np.random.default_rng(0).integers(0, 5, size=(1000, 2))
    >>> round(mutual_information_gap(-2.0 * factors[:, ::-1], factors), 3)
    1.0
    """
    _check(codes, factors)
    if n_bins < 2:
        raise ValueError(f"n_bins is {n_bins}. Write 2 or more.")
    binned = [_binned(column, n_bins) for column in codes.T]
    gaps = []
    for factor in factors.T:
        causes = _binned(factor, n_bins)
        told = np.array([mutual_info_score(causes, column) for column in binned])
        gaps.append(_gap(told) / mutual_info_score(causes, causes))
    return float(np.mean(gaps))


@dataclass(frozen=True)
class DCI:
    """Disentanglement, completeness and informativeness of a code.

    Attributes
    ----------
    disentanglement : float
        1 if each component matters to one factor only, 0 if to all alike.
    completeness : float
        1 if each factor needs one component only, 0 if all alike.
    informativeness : float
        Mean over factors of how well held-out rows' factors are predicted: 1 without error, 0 no
        better than a constant, below 0 worse.
    importance : array of shape (component, factor)
        How much each component matters in predicting each factor; the columns of a factor that
        can be predicted at all sum to 1.

    Examples
    --------
    >>> DCI(1.0, 1.0, 0.9, np.eye(2)).importance.shape
    (2, 2)
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: Float[np.ndarray, "component factor"]


def dci(
    codes: Float[np.ndarray, "row component"],
    factors: Shaped[np.ndarray, "same_row factor"],
    importance: Literal["gradient_boosting", "lasso"] = "gradient_boosting",
    *,
    random_state: int = 0,
) -> DCI:
    r"""Measure disentanglement, completeness and informativeness (DCI).

    Use it where a component may tell several factors or a factor may need several components. It
    depends on the predictor: a lasso sees straight relations only; boosted trees see every
    relation and spread some importance over components that tell nothing. With one factor the
    disentanglement, with one component the completeness, has no meaning and is 1. Trees of many
    classes take long (10 classes, 10 components, 2000 rows: about 10 s a factor).

    Every factor is predicted from all components of 70 % of the rows. With the importances
    :math:`R_{ij}` of component i for factor j, each factor's normalised to sum to 1,

    .. math:: D = \sum_i \rho_i \left(1 - H(R_{i\cdot}) / \ln J\right), \quad
              C = \frac1J \sum_j \left(1 - H(R_{\cdot j}) / \ln I\right)

    where H is the entropy of a row or column divided by its sum, I and J are the numbers of
    components and factors, and :math:`\rho_i` is the share of component i in all importance.
    Informativeness is measured on the other 30 %: R² of numbers, of classes the accuracy a
    rescaled by that of the most frequent class, :math:`(a - a_0) / (1 - a_0)`.

    Parameters
    ----------
    codes : array of shape (row, component)
        Codes; give an angle as its cosine and sine, or it counts as a number.
    factors : array of shape (row, factor)
        Known causes of the same rows.
    importance : {"gradient_boosting", "lasso"}, default="gradient_boosting"
        Importances of 100 boosted trees of depth 3, or sizes of the coefficients of a lasso
        between standardised components and factors, its strength chosen by cross-validation. The
        lasso takes classes as numbers.
    random_state : int, default=0
        Seed of the split and of the trees.

    Returns
    -------
    DCI
        The three figures and the importances.

    Raises
    ------
    ValueError
        If the rows differ in number, a value is not finite, a factor is constant or (for the
        lasso) not a number, a class has too few rows, or `importance` is unknown.

    References
    ----------
    Eastwood, C. and Williams, C. K. I. (2018). A framework for the quantitative evaluation of
    disentangled representations. ICLR. https://openreview.net/forum?id=By-7dz-AZ

    Examples
    --------
    >>> factors = np.random.default_rng(0).uniform(size=(300, 2))
    >>> found = dci(factors[:, ::-1], factors, importance="lasso")
    >>> round(found.disentanglement, 2), round(found.completeness, 2)
    (1.0, 1.0)
    """
    _check(codes, factors)
    if importance not in ("gradient_boosting", "lasso"):
        raise ValueError(f'importance is "{importance}". Write "gradient_boosting" or "lasso".')
    if importance == "lasso":
        factors = _numbers(factors)
    kinds = [_is_class(factor) for factor in factors.T]
    fitted = [
        _importance_and_score(codes, factor, is_class, importance, random_state)
        for factor, is_class in zip(factors.T, kinds, strict=True)
    ]
    matrix = np.stack([weights for weights, _ in fitted], axis=1)
    share = matrix.sum(axis=1) / (matrix.sum() or 1.0)
    return DCI(
        disentanglement=float(share @ _concentration(matrix)),
        completeness=float(_concentration(matrix.T).mean()),
        informativeness=float(np.mean([score for _, score in fitted])),
        importance=matrix,
    )


def separated_attribute_predictability(
    codes: Float[np.ndarray, "row component"],
    factors: Shaped[np.ndarray, "same_row factor"],
    *,
    random_state: int = 0,
) -> float:
    """Return the separated attribute predictability (SAP).

    Use it as the cheapest of the three, for numbers that depend on a component linearly. It fails
    to see other dependence of numbers (see `mutual_information_gap`) and, like the gap, a
    component that tells several factors.

    Each factor is predicted from each component alone; the figure is the mean over factors of the
    best score less the second best. The score of a number is the squared correlation. The score of
    a class is the balanced accuracy on 30 % of the rows of thresholds set on the other 70 %, one
    fewer than there are classes.

    Parameters
    ----------
    codes : array of shape (row, component)
        Codes.
    factors : array of shape (row, factor)
        Known causes of the same rows.
    random_state : int, default=0
        Seed of the split.

    Returns
    -------
    float
        From 0 to 1, where factors are numbers; at most 1 - 1/m for m classes, which chance tells
        with an accuracy of 1/m.

    Raises
    ------
    ValueError
        If the rows differ in number, a value is not finite, a factor is constant, or a class has
        too few rows.

    References
    ----------
    Kumar, A., Sattigeri, P. and Balakrishnan, A. (2018). Variational inference of disentangled
    latent concepts from unlabeled observations. ICLR. arXiv: 1711.00848

    Examples
    --------
    >>> factors = np.random.default_rng(0).normal(size=(1000, 2))
    >>> separated_attribute_predictability(factors, factors) > 0.99
    True
    """
    _check(codes, factors)
    gaps = []
    for factor in factors.T:
        if _is_class(factor):
            scores = _threshold_accuracies(codes, factor, random_state)
        else:
            scores = _squared_correlations(codes, factor.astype(np.float64))
        gaps.append(_gap(scores))
    return float(np.mean(gaps))


def _check(codes: np.ndarray, factors: np.ndarray) -> None:
    if len(codes) != len(factors):
        raise ValueError(
            f"codes has {len(codes)} rows, factors has {len(factors)}. "
            "Pass factors of the same rows."
        )
    for name, values in (("codes", codes), ("factors", factors)):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            count = values.size - np.isfinite(values).sum()
            raise ValueError(
                f"{name} holds {count} values that are not finite. Pass finite {name}."
            )
    constant = [k for k, column in enumerate(factors.T) if (column == column[0]).all()]
    if constant:
        raise ValueError(f"factors {constant} are constant. Pass factors that vary.")


def _is_class(factor: np.ndarray) -> bool:
    return factor.dtype.kind != "f"


def _numbers(factors: np.ndarray) -> np.ndarray:
    if factors.dtype.kind not in "iufb":
        raise ValueError(
            f"factors has type {factors.dtype}, a lasso predicts numbers. "
            'Write importance="gradient_boosting".'
        )
    return factors.astype(np.float64)


def _binned(column: np.ndarray, n_bins: int) -> np.ndarray:
    """Return the number of each value's bin; bins hold equally many rows."""
    values, label = np.unique(column, return_inverse=True)
    if len(values) <= n_bins:
        return np.asarray(label)
    return np.asarray((rankdata(column) - 0.5) * n_bins // len(column), dtype=int)


def _gap(scores: np.ndarray) -> float:
    """Return the best less the second best; a lone score stands against 0."""
    second, first = np.sort(np.append(scores, 0.0))[-2:]
    return float(first - second)


def _split(codes: np.ndarray, factor: np.ndarray, random_state: int) -> list[np.ndarray]:
    """Return codes to learn from and held out, then factors; classes keep their shares."""
    if _is_class(factor):
        classes, counts = np.unique(factor, return_counts=True)
        if counts.min() < 2 or HELD_OUT * len(factor) < len(classes):
            raise ValueError(
                f"a factor of type {factor.dtype} has {len(classes)} classes in {len(factor)} "
                f"rows, the rarest in {counts.min()}. Write factors.astype(float) if they are "
                "numbers, or more rows of each class."
            )
    stratify = factor if _is_class(factor) else None
    return train_test_split(
        codes, factor, test_size=HELD_OUT, random_state=random_state, stratify=stratify
    )


def _importance_and_score(
    codes: np.ndarray, factor: np.ndarray, is_class: bool, kind: str, random_state: int
) -> tuple[np.ndarray, float]:
    """Return normalised importances, and the score on held-out rows."""
    train, test, y_train, y_test = _split(codes, factor, random_state)
    if kind == "lasso":
        mean, width = y_train.mean(), y_train.std() or 1.0
        model: Any = make_pipeline(StandardScaler(), LassoCV())
        model.fit(train, (y_train - mean) / width)
        weights = np.abs(model[-1].coef_)
        score = r2_score(y_test, mean + width * model.predict(test))
    else:
        cls = GradientBoostingClassifier if is_class else GradientBoostingRegressor
        model = cls(random_state=random_state).fit(train, y_train)
        weights, predicted = model.feature_importances_, model.predict(test)
        score = (
            _above_chance(y_train, y_test, predicted) if is_class else r2_score(y_test, predicted)
        )
    return weights / (weights.sum() or 1.0), float(score)


def _above_chance(train: np.ndarray, test: np.ndarray, predicted: np.ndarray) -> float:
    """Return the accuracy, 0 being that of the most frequent class of training rows."""
    classes, counts = np.unique(train, return_counts=True)
    constant = np.mean(test == classes[counts.argmax()])
    return float((accuracy_score(test, predicted) - constant) / ((1.0 - constant) or 1.0))


def _concentration(matrix: np.ndarray) -> np.ndarray:
    """Return 1 less the entropy of each row, in units of its largest; 0 for a row of zeros."""
    total = matrix.sum(axis=1, keepdims=True)
    p = matrix / np.where(total > 0, total, 1.0)
    entropy = -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)
    return np.where(total[:, 0] > 0, 1.0 - entropy / (np.log(matrix.shape[1]) or 1.0), 0.0)


def _threshold_accuracies(codes: np.ndarray, factor: np.ndarray, random_state: int) -> np.ndarray:
    """Return the held-out balanced accuracy of each component's thresholds."""
    train, test, y_train, y_test = _split(codes, factor, random_state)
    tree = DecisionTreeClassifier(
        max_leaf_nodes=len(np.unique(factor)), class_weight="balanced", random_state=0
    )
    columns = zip(train.T[:, :, None], test.T[:, :, None], strict=True)
    predicted = [tree.fit(seen, y_train).predict(unseen) for seen, unseen in columns]
    return np.array([balanced_accuracy_score(y_test, classes) for classes in predicted])


def _squared_correlations(codes: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return each component's; 0 for a constant one."""
    centred = codes - codes.mean(axis=0, dtype=np.float64)
    deviation = factor - factor.mean()
    norm = (centred**2).sum(axis=0) * (deviation @ deviation)
    return np.asarray((deviation @ centred) ** 2 / np.where(norm > 0, norm, 1.0))
