"""What a code is worth: which of its units live, whether it comes back, what it is good for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from narrows.metrics.latent import circular_correlation, rank_correlation

Map = Callable[[np.ndarray], np.ndarray]


def active_units(
    codes: Float[np.ndarray, "row component"],
    threshold: float = 0.01,
    circular: Sequence[int] = (),
) -> Bool[np.ndarray, "component"]:
    r"""Return which units of a code vary from row to row.

    Use it to see collapse: a variational model that leaves a unit at its prior gives every row
    the same mean. The threshold is made for codes of about unit variance, and fails for codes of
    another scale unless it is scaled with them.

    A unit is active if the variance over rows of its (mean) code exceeds the threshold. The
    variance of an angle is :math:`2 (1 - |\langle e^{i z} \rangle|)`, that of a number where the
    angles differ little.

    Parameters
    ----------
    codes : array of shape (row, component)
        Codes; means, where a code is a distribution. Angles in radians.
    threshold : float, default=0.01
        Variance above which a unit is active, 0 or more; for angles in rad².
    circular : sequence of int, default=()
        Which components are angles.

    Returns
    -------
    array of bool of shape (component,)
        Its sum is the number of active units.

    Raises
    ------
    ValueError
        If a code is not finite, the threshold is negative, or `circular` names a component that
        does not exist.

    References
    ----------
    Burda, Y., Grosse, R. and Salakhutdinov, R. (2016). Importance weighted autoencoders. ICLR.
    arXiv: 1509.00519

    Examples
    --------
    >>> codes = np.random.default_rng(0).normal(size=(100, 3)) * [1.0, 0.01, 0.5]
    >>> active_units(codes)
    array([ True, False,  True])
    """
    _check_codes("codes", codes, circular)
    if not threshold >= 0:
        raise ValueError(f"threshold is {threshold}. Write a variance of 0 or more.")
    variance = codes.var(axis=0, dtype=np.float64)
    angles = list(circular)
    variance[angles] = 2 * (1 - np.abs(np.exp(1j * codes[:, angles]).mean(axis=0)))
    return np.asarray(variance > threshold)


@dataclass(frozen=True)
class RoundTrip:
    """How codes come back from decoding and encoding.

    Attributes
    ----------
    codes : array of shape (row, component)
        What came back; angles in radians.
    correlation : array of shape (component,)
        Rank correlation with what was sent, circular for angles, from -1 to 1.
    r2 : array of shape (component,)
        1 less the mean squared error in units of the variance sent, at most 1; of an angle both
        are of chords on the unit circle.

    Examples
    --------
    >>> RoundTrip(np.zeros((5, 1)), np.ones(1), np.ones(1)).r2
    array([1.])
    """

    codes: Float[np.ndarray, "row component"]
    correlation: Float[np.ndarray, "component"]
    r2: Float[np.ndarray, "component"]


def round_trip(
    model: Any,
    Z: Float[np.ndarray, "row component"],
    circular: Sequence[int] = (),
) -> RoundTrip:
    r"""Compare codes z with e(d(z)): decoded, and encoded again.

    Use it on samples of the prior, or on a grid, to see whether the decoder turns every code into
    an event that the encoder tells from others. It fails to see whether those events are good
    ones. A high correlation with a low R² is an encoder that shrinks or shifts what it reads.

    Parameters
    ----------
    model : estimator or pair of callables
        A fitted model with `inverse_transform` and `transform`, or ``(decode, encode)``, each from
        array to array.
    Z : array of shape (row, component)
        Codes to send; angles in radians.
    circular : sequence of int, default=()
        Which components are angles.

    Returns
    -------
    RoundTrip
        What came back, and per component the rank correlation and
        :math:`R^2 = 1 - \sum_i (z'_i - z_i)^2 / \sum_i (z_i - \bar z)^2`, where for an angle
        :math:`2 - 2 \cos(a - b)` stands for :math:`(a - b)^2` and the mean direction for the mean.
        A component sent constant has R² 1 if it came back exactly, else 0.

    Raises
    ------
    ValueError
        If `model` is neither, codes come back in another shape or not finite, or `circular` names
        a component that does not exist.

    Examples
    --------
    >>> def decode(z):
    ...     return np.hstack([z, z**2])
    >>> def encode(x):
    ...     return 0.9 * x[:, :2]
    >>> Z = np.random.default_rng(0).normal(size=(1000, 2))
    >>> found = round_trip((decode, encode), Z - Z.mean(axis=0))
    >>> found.correlation.round(3), found.r2.round(3)
    (array([1., 1.]), array([0.99, 0.99]))
    """
    _check_codes("Z", Z, circular)
    decode, encode = _maps(model)
    back = np.asarray(encode(decode(Z)), dtype=np.float64)
    if back.shape != Z.shape:
        raise ValueError(
            f"Z has shape {Z.shape} and comes back with shape {back.shape}. "
            "Pass codes as the model's transform returns them."
        )
    _check_codes("what comes back", back, circular)
    correlations, explained = np.empty((2, Z.shape[1]))
    for k in range(Z.shape[1]):
        correlation, r2 = (
            (circular_correlation, _circular_r2) if k in circular else (rank_correlation, _r2)
        )
        correlations[k] = correlation(Z[:, k], back[:, k])
        explained[k] = r2(Z[:, k], back[:, k])
    return RoundTrip(back, correlations, explained)


@dataclass(frozen=True)
class Repeated:
    """A figure measured in several draws.

    Attributes
    ----------
    values : array of shape (*setting, draw)
        The figure in each draw.

    Examples
    --------
    >>> found = Repeated(np.array([[0.8, 0.9, 1.0]]))
    >>> found.mean.round(3), found.standard_error.round(3)
    (array([0.9]), array([0.058]))
    """

    values: Float[np.ndarray, "*setting draw"]

    @property
    def mean(self) -> Float[np.ndarray, "*setting"]:
        """The mean over draws, an array of shape (*setting,)."""
        return np.asarray(self.values.mean(axis=-1))

    @property
    def standard_error(self) -> Float[np.ndarray, "*setting"]:
        """The standard error of the mean, an array of shape (*setting,)."""
        n_draws = self.values.shape[-1]
        return np.asarray(self.values.std(axis=-1, ddof=1) / np.sqrt(n_draws))


@dataclass(frozen=True)
class LabelEfficiency:
    """Accuracy of a classifier on codes and on raw features, as labels grow scarce.

    Attributes
    ----------
    n_labels : array of int of shape (size,)
        Numbers of labelled rows.
    codes, raw : Repeated
        Accuracy on held-out rows, from 0 to 1: `values` of shape (size, draw), `mean` and
        `standard_error` of shape (size,).

    Examples
    --------
    >>> accuracy = Repeated(np.full((1, 3), 0.9))
    >>> LabelEfficiency(np.array([50]), accuracy, accuracy).gain.mean
    array([0.])
    """

    n_labels: Int[np.ndarray, "size"]
    codes: Repeated
    raw: Repeated

    @property
    def gain(self) -> Repeated:
        """Accuracy on codes less that on raw features, draw by draw."""
        return Repeated(self.codes.values - self.raw.values)


def label_efficiency(
    codes: Float[np.ndarray, "row component"],
    raw: Float[np.ndarray, "same_row feature"],
    y: Shaped[np.ndarray, "labelled_row"],
    n_labels: Sequence[int] = (50, 100, 500),
    *,
    classifier: Any = None,
    n_draws: int = 10,
    test_size: float = 0.25,
    random_state: int = 0,
) -> LabelEfficiency:
    """Compare a simple classifier on codes with the same on raw features, as labels grow scarce.

    Use it to see whether what was learnt without labels saves labels. It fails where a classifier
    of another kind would do better on raw features: it is the code that is on trial, with a
    classifier that draws straight boundaries. An autoencoder that saw the held-out rows, without
    their labels, had more than a new row will have; fit it on others, or say so.

    In each draw `n_labels` rows learn and a share `test_size` of all rows is held out, both with
    the classes in their proportions; codes and raw features share the draws. Draws overlap, so
    the standard error leaves out what another set of rows would change.

    Parameters
    ----------
    codes : array of shape (row, component)
        Codes; give an angle as its cosine and sine.
    raw : array of shape (row, feature)
        Features of the same rows, finite.
    y : array of shape (row,)
        Class of each row.
    n_labels : sequence of int, default=(50, 100, 500)
        Numbers of labelled rows, each at least the number of classes.
    classifier : scikit-learn classifier, default=None
        What learns; logistic regression with the default penalty if not given. It is cloned, and
        its input is standardised by the labelled rows.
    n_draws : int, default=10
        Number of draws, at least 2.
    test_size : float, default=0.25
        Share of the rows held out, in (0, 1).
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    LabelEfficiency
        Accuracies with means and standard errors.

    Raises
    ------
    ValueError
        If the rows differ in number, there is one class, a class has one row, there are too few
        rows for `n_labels` or `test_size`, or `n_draws` is below 2.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, size=400)
    >>> codes = y[:, None] + 0.3 * rng.normal(size=(400, 1))
    >>> raw = np.hstack([codes, rng.normal(size=(400, 50))])
    >>> found = label_efficiency(codes, raw, y, n_labels=(20,), n_draws=4)
    >>> bool(found.codes.mean[0] > found.raw.mean[0])
    True
    """
    if not len(codes) == len(raw) == len(y):
        raise ValueError(
            f"codes has {len(codes)} rows, raw {len(raw)} and y {len(y)}. "
            "Pass all three of the same rows."
        )
    if n_draws < 2:
        raise ValueError(f"n_draws is {n_draws}. Write 2 or more, for a standard error.")
    _check_draws(y, n_labels, test_size)
    last = LogisticRegression(max_iter=1000) if classifier is None else classifier
    model = make_pipeline(StandardScaler(), last)
    accuracies = np.empty((2, len(n_labels), n_draws))
    for i, size in enumerate(n_labels):
        splits = StratifiedShuffleSplit(
            n_draws, train_size=size, test_size=test_size, random_state=random_state
        )
        for draw, (train, test) in enumerate(splits.split(raw, y)):
            for side, inputs in enumerate((codes, raw)):
                fitted = clone(model).fit(inputs[train], y[train])
                accuracies[side, i, draw] = fitted.score(inputs[test], y[test])
    return LabelEfficiency(np.array(n_labels), *map(Repeated, accuracies))


@dataclass(frozen=True)
class ClusteringAgreement:
    """How clusters of codes agree with labels.

    Attributes
    ----------
    adjusted_rand_index : float
        Share of pairs of rows on which both agree, 0 at chance level, at most 1.
    normalised_mutual_information : float
        Mutual information in units of the mean of both entropies, from 0 to 1.
    clusters : array of int of shape (row,)
        Number of each row's cluster.

    Examples
    --------
    >>> ClusteringAgreement(1.0, 1.0, np.array([0, 1])).adjusted_rand_index
    1.0
    """

    adjusted_rand_index: float
    normalised_mutual_information: float
    clusters: Int[np.ndarray, "row"]


def clustering_agreement(
    codes: Float[np.ndarray, "row component"],
    y: Shaped[np.ndarray, "labelled_row"],
    n_clusters: int | None = None,
    *,
    random_state: int = 0,
) -> ClusteringAgreement:
    """Compare clusters that k-means finds among codes with labels that it did not see.

    Use it to see whether the classes lie apart in the code. It fails for classes that are not
    round or differ much in width, which k-means cuts through, and follows the scale of the
    components: one with a large variance counts more.

    The best of 10 runs of k-means, by its own criterion.

    Parameters
    ----------
    codes : array of shape (row, component)
        Codes; give an angle as its cosine and sine.
    y : array of shape (row,)
        Class of each row.
    n_clusters : int, default=None
        Number of clusters; the number of classes if not given.
    random_state : int, default=0
        Seed of the starts.

    Returns
    -------
    ClusteringAgreement
        Both figures, and the clusters.

    Raises
    ------
    ValueError
        If the rows differ in number or `n_clusters` is not from 1 to the number of rows.

    References
    ----------
    Hubert, L. and Arabie, P. (1985). Comparing partitions. Journal of Classification 2, 193-218.
    DOI: 10.1007/BF01908075

    Examples
    --------
    >>> y = np.arange(60) % 3
    >>> codes = 10.0 * np.eye(3)[y] + np.random.default_rng(0).normal(size=(60, 3))
    >>> clustering_agreement(codes, y).adjusted_rand_index
    1.0
    """
    if len(codes) != len(y):
        raise ValueError(
            f"codes has {len(codes)} rows, y has {len(y)}. Pass one label for each code."
        )
    n_clusters = len(np.unique(y)) if n_clusters is None else n_clusters
    if not 1 <= n_clusters <= len(codes):
        raise ValueError(
            f"n_clusters is {n_clusters}, codes has {len(codes)} rows. "
            f"Write a whole number from 1 to {len(codes)}."
        )
    clusters = KMeans(n_clusters, n_init=10, random_state=random_state).fit_predict(codes)
    return ClusteringAgreement(
        float(adjusted_rand_score(y, clusters)),
        float(normalized_mutual_info_score(y, clusters)),
        clusters,
    )


def _check_codes(name: str, codes: np.ndarray, circular: Sequence[int]) -> None:
    if not np.isfinite(codes).all():
        count = codes.size - np.isfinite(codes).sum()
        raise ValueError(f"{name} holds {count} values that are not finite. Pass finite codes.")
    wrong = [k for k in circular if not 0 <= k < codes.shape[1]]
    if wrong:
        raise ValueError(
            f"circular names {wrong}, {name} has {codes.shape[1]} components. "
            f"Write numbers from 0 to {codes.shape[1] - 1}."
        )


def _maps(model: Any) -> tuple[Map, Map]:
    """Return what decodes and what encodes."""
    if hasattr(model, "inverse_transform") and hasattr(model, "transform"):
        return model.inverse_transform, model.transform
    if isinstance(model, Sequence) and len(model) == 2 and all(map(callable, model)):
        return model[0], model[1]
    raise ValueError(
        f"model is {model!r}. Pass a fitted model with inverse_transform and transform, "
        "or (decode, encode)."
    )


def _r2(sent: np.ndarray, back: np.ndarray) -> float:
    return _explained(np.sum((back - sent) ** 2), np.sum((sent - sent.mean()) ** 2))


def _circular_r2(sent: np.ndarray, back: np.ndarray) -> float:
    spread = len(sent) - np.abs(np.exp(1j * sent).sum())
    return _explained(np.sum(1 - np.cos(back - sent)), spread)


def _explained(error: float, total: float) -> float:
    if total == 0:
        return float(error == 0)
    return float(1 - error / total)


def _check_draws(y: np.ndarray, n_labels: Sequence[int], test_size: float) -> None:
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        raise ValueError(
            f"y has {len(classes)} classes, the rarest in {counts.min()} rows. "
            "Pass at least 2 classes of at least 2 rows."
        )
    if not len(classes) / len(y) <= test_size < 1:
        raise ValueError(
            f"test_size is {test_size}, y has {len(y)} rows of {len(classes)} classes. "
            f"Write a share from {len(classes) / len(y):.3g} to below 1."
        )
    most = len(y) - int(np.ceil(test_size * len(y)))
    if not n_labels or min(n_labels) < len(classes) or max(n_labels) > most:
        raise ValueError(
            f"n_labels is {tuple(n_labels)}, y has {len(y)} rows of {len(classes)} classes. "
            f"Write numbers from {len(classes)} to {most}."
        )
