"""Densities of codes, fitted after training: what a model without a prior draws its codes from.

A density learns in whitened codes u, ``code = centre + axes u``, whose axes are the directions in
which codes vary at all: a unit that is silent, or shares that sum to one, stay so in every draw.
"""

import math
import warnings
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from narrows._types import Array
from narrows.estimators._fitting import seeds
from narrows.parts import Part

Codes = Float[np.ndarray, "row code"]
White = Float[np.ndarray, "row direction"]
Logs = Float[np.ndarray, " row"]

MOST_ROWS = 5000  # that settings are chosen by
_LEAST_SHARE = 1e-4  # of the largest width, of directions in which codes vary
_RIDGE = 1e-4  # of the variance, of each member of a mixture
_PATIENCE = 2
_MULTIPLES = np.geomspace(0.1, 2.0, 10)
_BLOCK = 1000
_ROOT_TAU = math.sqrt(2 * math.pi)


class Density(Part, ABC):
    """Base of all densities. Fitted arrays end in an underscore and are all it needs.

    Attributes
    ----------
    centre_ : array of shape (code,)
        Mean of the codes.
    axes_ : array of shape (code, direction)
        Directions in which codes vary, each of the length of a standard deviation.
    """

    centre_: Float[np.ndarray, " code"]
    axes_: Float[np.ndarray, "code direction"]

    def fit(self, codes: Codes, random_state: Any = None) -> Self:
        """Learn the density of codes, circular components among them as (cos, sin) pairs."""
        if len(codes) < 2:
            raise ValueError("A density needs 2 codes at least. Pass more rows.")
        width = codes.std(0)
        level = np.maximum(np.abs(codes).max(0), 1e-300)
        width = np.where(width > 1e-6 * level, width, 0.0)
        self.centre_ = codes.mean(0)
        unit = (codes - self.centre_) / np.where(width > 0, width, np.inf)
        _, size, directions = np.linalg.svd(unit, full_matrices=False)
        kept = size > _LEAST_SHARE * size.max()
        if not kept.any():
            raise ValueError(
                "All codes are the same, so they have no density. Pass rows that differ, or fit "
                "the model again with other settings."
            )
        scale = size[kept] / math.sqrt(len(codes))
        self.axes_ = width[:, None] * directions[kept].T * scale
        self._learn(self._whitened(codes), _generator(random_state))
        return self

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Codes:
        """Return draws of codes."""
        white = self._draw(n_samples, _generator(random_state))
        return self.centre_ + white @ self.axes_.T

    def log_density(self, codes: Codes) -> Logs:
        """Return the logarithm of the density at codes, in nats, on the plane that they span."""
        volume = np.log(np.linalg.svd(self.axes_, compute_uv=False)).sum()
        return self._log_white(self._whitened(codes)) - volume

    @property
    def arrays(self) -> dict[str, Array]:
        """All that was learned, by name."""
        return {name: value for name, value in vars(self).items() if name.endswith("_")}

    def restore(self, arrays: dict[str, Array], n_codes: int) -> Self:
        """Take what another density learned of so many codes.

        Raises
        ------
        ValueError
            The arrays are not those of such a density.
        """
        shapes = self._shapes(arrays) | {
            "centre_": (n_codes,),
            "axes_": (n_codes, arrays["axes_"].shape[-1]),
        }
        found = {name: array.shape for name, array in arrays.items()}
        if found != shapes or not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError(f"The tensors of the density have the shapes {found}, not {shapes}.")
        for name, array in arrays.items():
            setattr(self, name, array)
        if not np.isfinite(self.log_density(self.centre_[None])).all():
            raise ValueError("The tensors of the density are those of none.")
        return self

    def _whitened(self, codes: Codes) -> White:
        return (codes - self.centre_) @ np.linalg.pinv(self.axes_).T

    @abstractmethod
    def _learn(self, white: White, rng: np.random.Generator) -> None:
        """Learn from whitened codes."""

    @abstractmethod
    def _draw(self, n_samples: int, rng: np.random.Generator) -> White:
        """Return whitened draws."""

    @abstractmethod
    def _log_white(self, white: White) -> Logs:
        """Return the log-density of whitened codes."""

    @abstractmethod
    def _shapes(self, arrays: dict[str, Array]) -> dict[str, tuple[int, ...]]:
        """Return the shapes that arrays of a file need, less centre and axes."""


class MixtureDensity(Density):
    """A mixture of Gaussians, its number of members and kind of covariance chosen by BIC.

    Numbers grow from 1 until two more members in a row do not lower the criterion of their kind
    of covariance (Schwarz 1978, 10.1214/aos/1176344136). Of many rows, 5000 choose.

    Parameters
    ----------
    max_members : int, default=10
        At most so many Gaussians.

    Attributes
    ----------
    weights_ : array of shape (member,)
    means_ : array of shape (member, direction)
        In whitened codes.
    covariances_ : array of shape (member, direction, direction)
    """

    weights_: Float[np.ndarray, " member"]
    means_: Float[np.ndarray, "member direction"]
    covariances_: Float[np.ndarray, "member direction direction"]

    def __init__(self, max_members: int = 10) -> None:
        self.max_members = max_members

    def _learn(self, white: White, rng: np.random.Generator) -> None:
        check_whole("max_members", self.max_members, 10)
        some = _some(white, rng)
        kinds = ("full", "tied", "diag", "spherical")
        most = min(self.max_members, max(1, len(some) // 2))
        found = [_best_of_kind(some, kind, most, rng) for kind in kinds]
        best = min(found, key=lambda each: float(each.bic(some)))
        if len(some) < len(white):
            best = _fitted(best, white)
        self.weights_, self.means_ = best.weights_, best.means_
        self.covariances_ = _full(best)

    def _draw(self, n_samples: int, rng: np.random.Generator) -> White:
        member = rng.choice(len(self.weights_), n_samples, p=self.weights_ / self.weights_.sum())
        noise = rng.normal(size=(n_samples, self.means_.shape[1]))
        factor = np.linalg.cholesky(self.covariances_)
        return self.means_[member] + np.einsum("nij,nj->ni", factor[member], noise)

    def _log_white(self, white: White) -> Logs:
        members = zip(self.weights_, self.means_, self.covariances_, strict=True)
        each = [np.log(weight) + _log_normal(white - at, spread) for weight, at, spread in members]
        return np.asarray(logsumexp(each, axis=0))

    def _shapes(self, arrays: dict[str, Array]) -> dict[str, tuple[int, ...]]:
        n, r = len(arrays["weights_"]), arrays["axes_"].shape[-1]
        return {"weights_": (n,), "means_": (n, r), "covariances_": (n, r, r)}


def _best_of_kind(white: White, kind: str, most: int, rng: np.random.Generator) -> GaussianMixture:
    best, since = None, 0
    for n in range(1, most + 1):
        seed = int(rng.integers(2**31 - 1))
        model = GaussianMixture(
            n, covariance_type=kind, n_init=3, reg_covar=_RIDGE, random_state=seed
        )
        model = _fitted(model, white)
        if best is None or model.bic(white) < best.bic(white):
            best, since = model, 0
        else:
            since += 1
        if since == _PATIENCE:
            break
    return best


def _fitted(model: GaussianMixture, white: White) -> GaussianMixture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(white)


def _full(model: GaussianMixture) -> Float[np.ndarray, "member direction direction"]:
    """Return the covariances of all members as matrices."""
    (n, r), spread = model.means_.shape, model.covariances_
    if model.covariance_type == "full":
        return spread
    if model.covariance_type == "tied":
        return np.repeat(spread[None], n, 0)
    return np.reshape(spread, (n, -1, 1)) * np.eye(r)


def _log_normal(
    off: White, covariance: Float[np.ndarray, "direction direction"]
) -> Float[np.ndarray, " row"]:
    factor = np.linalg.cholesky(covariance)
    unit = solve_triangular(factor, off.T, lower=True)
    constant = np.log(np.diag(factor)).sum() + len(factor) / 2 * math.log(2 * math.pi)
    return -0.5 * (unit**2).sum(0) - constant


class KernelDensity(Density):
    """A Gaussian around every code, of a width chosen by leaving one code out at a time.

    The width is a multiple of ``n^{-1/(r + 4)}``, for n codes that vary in r directions (Scott
    2015, 10.1002/9781118575574), under which codes are likeliest given the others; of many rows,
    5000 choose the multiple. Draws are codes of the fit with noise added: all of them are kept.

    Attributes
    ----------
    points_ : array of shape (row, direction)
        Whitened codes.
    bandwidth_ : array of shape ()
        Width of the Gaussians, in whitened codes.
    """

    points_: White
    bandwidth_: Float[np.ndarray, ""]

    def _learn(self, white: White, rng: np.random.Generator) -> None:
        some, power = _some(white, rng), -1 / (white.shape[1] + 4)
        widths = _MULTIPLES * len(some) ** power
        found = np.zeros(len(widths))
        for start in range(0, len(some), _BLOCK):
            squares = cdist(some[start : start + _BLOCK], some, "sqeuclidean")
            np.fill_diagonal(squares[:, start:], np.inf)
            found += [_log_kernels(squares, width, white.shape[1]).sum() for width in widths]
        width = _MULTIPLES[found.argmax()] * len(white) ** power
        self.points_, self.bandwidth_ = white, np.array(width)

    def _draw(self, n_samples: int, rng: np.random.Generator) -> White:
        chosen = self.points_[rng.integers(len(self.points_), size=n_samples)]
        return chosen + self.bandwidth_ * rng.normal(size=chosen.shape)

    def _log_white(self, white: White) -> Logs:
        parts = np.array_split(white, range(_BLOCK, len(white), _BLOCK))
        squares = (cdist(part, self.points_, "sqeuclidean") for part in parts)
        width, r = float(self.bandwidth_), white.shape[1]
        return np.concatenate([_log_kernels(each, width, r) for each in squares])

    def _shapes(self, arrays: dict[str, Array]) -> dict[str, tuple[int, ...]]:
        shape = (len(arrays["points_"]), arrays["axes_"].shape[-1])
        return {"points_": shape, "bandwidth_": ()}


def _log_kernels(squares: Float[np.ndarray, "row point"], width: float, r: int) -> Logs:
    """Return the log-density from squared distances to points in r dimensions."""
    least = squares.min(1, keepdims=True)
    total = np.exp((least - squares) / (2 * width**2)).sum(1)
    constant = math.log(squares.shape[1]) + r * math.log(width * _ROOT_TAU)
    return np.log(total) - least[:, 0] / (2 * width**2) - constant


def check_whole(name: str, value: Any, usual: int, least: int = 1) -> None:
    """Raise ValueError unless a setting of a density is a whole number, large enough."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
        raise ValueError(
            f"{name}={value!r} must be a whole number, at least {least}. Write {usual}, say."
        )


def _generator(random_state: Any) -> np.random.Generator:
    return np.random.default_rng(seeds(random_state, 1)[0])


def _some(white: White, rng: np.random.Generator) -> White:
    """Return rows that settings are chosen by."""
    if len(white) <= MOST_ROWS:
        return white
    return white[rng.choice(len(white), MOST_ROWS, replace=False)]
