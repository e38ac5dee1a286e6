"""The sparse autoencoder."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from narrows._types import Array
from narrows.engine.training import Training
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._checks import Choice, check_name, choose
from narrows.estimators._docs import documented
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.code import Code, Plain, TopK
from narrows.nn.dense import Dense
from narrows.objective.likelihoods import Gaussian, Likelihood
from narrows.objective.mixed import Mixed
from narrows.objective.penalties import L1, KLSparsity, Penalty, Revival

SPARSITIES = ("l1", "kl", "top_k")


class UnitReport(NamedTuple):
    """What one unit of a code answers to.

    Attributes
    ----------
    features : array of int, shape (n,)
        The values of a row, from 0, that it changes most in the reconstruction, largest first.
    weights : array of shape (n,)
        By how much, in the units of the data, for one unit of the code.
    rows : array of int, shape (m,)
        The rows on which it is largest, largest first.
    activations : array of shape (m,)
        How large it is there.
    """

    features: Int[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    rows: Int[np.ndarray, " m"]
    activations: Float[np.ndarray, " m"]


@documented
class SparseAutoencoder(BaseAutoencoder):
    """Sparse autoencoder: many units, few of which answer to any one row.

    Use it to find the parts that rows are made of: each unit stands for one, and most are silent
    for most rows. More units than features are usual. The decoder's weights of each unit are of
    length one, so that a code cannot shrink while the decoder grows; units that have fallen silent
    are asked for what the others miss. It starts from random weights, not as PCA. An `architecture`
    decides both itself: ``Dense((32,), unit_norm=True, init="random")`` does the same.

    Minimises ``loss(t, D(h)) + strength Σ_k |h_k|`` (Olshausen & Field 1996, 10.1038/381607a0), or
    with ``strength Σ_k KL(rate ‖ mean of h_k)`` (Lee, Ekanadham & Ng 2008, NIPS 20), or keeps the k
    largest units of each row (Makhzani & Frey 2013, arXiv:1312.5663).

    Parameters
    ----------
    n_components : int, default=64
        Number of units K of the code, at least 1; more than features are allowed.
    sparsity : {"l1", "kl", "top_k"}, default="l1"
        What makes it sparse. "l1" has units from 0 up (relu), "kl" units between 0 and 1
        (sigmoid), "top_k" real ones, of which all but k are 0.
    strength : float, default=1.0
        Weight of the penalty of "l1" and "kl", >= 0; more of it, fewer units per row.
    rate : float, default=0.05
        Mean activation that "kl" asks for, in (0, 1).
    k : int, default=8
        Units that "top_k" keeps for each row, fewer than there are.
    k_start : int or None, default=None
        Units that "top_k" keeps when training starts; their number falls to k over the first half.
        None for k from the start.
    k_encode : int or None, default=None
        Units that "top_k" keeps once trained; None for k. Up to 3k tell a classifier more.
    layers : sequence of int, default=()
        Hidden layers of the encoder, from 1, that are penalised as the code is, by "l1" or "kl".
    revival : bool, default=True
        Whether silent units are woken, for "l1" and "top_k"; "kl" keeps all awake by itself.
    code : str or Code or None, default=None
        Kind of the code; None is the one that belongs to `sparsity`.
    <network>
    <training>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    L1, KLSparsity, TopK, Revival : The parts, for other autoencoders.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import SparseAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> parts = rng.normal(size=(12, 8))
    >>> X = rng.exponential(size=(500, 12)) * (rng.random((500, 12)) < 0.1) @ parts
    >>> model = SparseAutoencoder(12, sparsity="top_k", k=2, max_epochs=30, random_state=0).fit(X)
    >>> bool(((model.transform(X) != 0).sum(1) <= 2).all()), model.firing_rates(X).shape
    (True, (12,))
    """

    def __init__(
        self,
        n_components: int = 64,
        *,
        sparsity: str = "l1",
        strength: float = 1.0,
        rate: float = 0.05,
        k: int = 8,
        k_start: int | None = None,
        k_encode: int | None = None,
        layers: Sequence[int] = (),
        revival: bool = True,
        code: str | Code | None = None,
        hidden_layer_sizes: Sequence[int] = (),
        activation: str | Activation = "relu",
        likelihood: str | Likelihood = "gaussian",
        scale: str = "auto",
        circular: Sequence[int] = (),
        circular_output: str = "angle",
        missing: str = "error",
        architecture: str | Architecture | None = None,
        max_epochs: int = 200,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        n_init: int = 1,
        random_state: Any = None,
        verbose: int = 0,
        training: Training | None = None,
    ) -> None:
        self.n_components = n_components
        self.sparsity = sparsity
        self.strength = strength
        self.rate = rate
        self.k = k
        self.k_start = k_start
        self.k_encode = k_encode
        self.layers = layers
        self.revival = revival
        self.code = code
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.likelihood = likelihood
        self.scale = scale
        self.circular = circular
        self.circular_output = circular_output
        self.missing = missing
        self.architecture = architecture
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.n_init = n_init
        self.random_state = random_state
        self.verbose = verbose
        self.training = training

    def _choose_parts(self) -> Choice:
        check_name("sparsity", self.sparsity, SPARSITIES)
        if self.sparsity == "top_k" and self.code is None:
            self._check_k()
        unit = Dense(self.hidden_layer_sizes, self.activation, unit_norm=True, init="random")
        largest = TopK(self.k, self.k_start, self.k_encode)
        own = {"l1": Plain("relu"), "kl": Plain("sigmoid"), "top_k": largest}[self.sparsity]
        return choose(
            self,
            architecture=unit if self.architecture is None else self.architecture,
            code=own if self.code is None else self.code,
            penalties=self._penalties(),
        )

    def _check_k(self) -> None:
        """Raise ValueError where all units would be kept; circular components do not count."""
        n_angles = int(np.size(self.circular))
        n = self.n_components - n_angles
        if hasattr(self.k, "__index__") and self.k >= n:
            circular = f", {n_angles} of them circular" if n_angles else ""
            raise ValueError(
                f"k={self.k} keeps all units of n_components={self.n_components}{circular}, so no "
                "row would have a sparse code. Write "
                + (f"k={max(1, n // 4)}, or more components." if n > 1 else "more components.")
            )

    def _penalties(self) -> list[Penalty]:
        """Return the penalty of the code and of hidden layers, and what wakes silent units."""
        if self.sparsity == "top_k" and tuple(self.layers):
            raise ValueError(
                f"layers={self.layers!r} are penalised by 'l1' or 'kl', but sparsity='top_k' has "
                "no penalty. Write layers=()."
            )
        where = () if self.sparsity == "top_k" else (None, *self.layers)
        if self.sparsity == "kl":
            return [KLSparsity(self.strength, self.rate, layer) for layer in where]
        waking = [Revival()] if self.revival else []
        return [*(L1(self.strength, layer) for layer in where), *waking]

    def firing_rates(self, X: Any) -> Float[np.ndarray, " unit"]:
        """Return the share of the rows on which each unit is not 0; under "kl", its mean.

        Units are the columns of `transform`.
        """
        codes = self.transform(X)
        fires = codes if self.sparsity == "kl" else codes != 0
        return fires.mean(0, dtype=np.float64)

    def dead_units(self, X: Any) -> Int[np.ndarray, " dead"]:
        """Return the units, from 0, that are silent on all rows (under "kl", below 0.1 %)."""
        limit = 1e-3 if self.sparsity == "kl" else 0.0
        return np.flatnonzero(self.firing_rates(X) <= limit)

    def unit(self, X: Any, unit: int, *, n_features: int = 10, n_rows: int = 10) -> UnitReport:
        """Return what a unit answers to: the values it changes most, the rows it is largest on.

        Parameters
        ----------
        X : like `fit`
        unit : int
            Column of `transform`, from 0.
        n_features, n_rows : int, default=10
            How many of each, at most.
        """
        codes = self.transform(X)
        if unit not in range(codes.shape[1]):
            most = codes.shape[1] - 1
            raise ValueError(f"unit={unit!r} must be a whole number from 0 to {most}.")
        weights = self._effects(codes, unit).reshape(-1)
        features = np.argsort(-np.abs(weights), kind="stable")[:n_features]
        rows = np.argsort(-codes[:, unit], kind="stable")[:n_rows]
        rows = rows[codes[rows, unit] != 0]
        return UnitReport(features, weights[features], rows, codes[rows, unit])

    def parts(self, X: Any) -> Float[np.ndarray, "unit ..."]:
        """Return what each unit adds to a row, from the mean code of X: the parts of rows.

        Under a linear decoder its weights, in the units of the data; else the change from silence
        to the largest value on X, for one unit of the code.

        Returns
        -------
        array of shape (units, *event)
        """
        codes = self.transform(X)
        return np.stack([self._effects(codes, unit) for unit in range(codes.shape[1])])

    def _effects(self, codes: Array, unit: int) -> Array:
        """Return the change of the reconstruction per unit of code, from the mean code."""
        mean = codes.mean(0, dtype=np.float64, keepdims=True)
        step = np.zeros_like(mean)
        step[0, unit] = max(float(np.abs(codes[:, unit]).max()), 1e-3)
        without, added = mean * (step == 0), step
        ends = self._decoded(np.concatenate([without, without + added]), None)
        return (ends[1] - ends[0]) / step[0, unit]

    def joint_score_samples(self, X: Any) -> Float[np.ndarray, " row"]:
        """Return ``ln p(h) + ln p(x | h)`` of each row: higher is more normal.

        The Laplace reading of "l1": ``ln p(h) = Σ_k ln(λ/2) - λ|h_k|`` for units of either sign,
        ``ln λ - λ h_k`` for units from 0 up, with λ = strength / 2: squared error is minus two
        times the logarithm of a normal density of unit width in scaled units. Of other likelihoods,
        whose loss is minus the logarithm of their density, λ = strength; beside them, in `Mixed`,
        squared error is that of a normal density of variance 1/2. Missing entries do not count.
        """
        if self.sparsity != "l1" or not self.strength > 0:
            raise ValueError(
                f"The Laplace prior belongs to sparsity='l1' with strength > 0, but sparsity="
                f"{self.sparsity!r}, strength={self.strength}. Write score_samples(X)."
            )
        loss, codes = -self.score_samples(X).astype(np.float64), self._pairs(X)
        groups = self._groups()
        halves = 2 if all(isinstance(kind, Gaussian) for kind, _ in groups) else 1
        rate, n_squared = self.strength / halves, self._n_squared(X, groups)
        likelihood = -loss / halves - n_squared / 2 * np.log(halves * np.pi)
        prior = np.log(rate / (1 if self._positive() else 2)) - rate * np.abs(codes)
        return likelihood + prior.sum(1)

    def _groups(self) -> Sequence[tuple[Likelihood, Sequence[int]]]:
        """Return each likelihood with the values it is for."""
        blueprint = self._model.blueprint
        if isinstance(blueprint.likelihood, Mixed):
            return blueprint.likelihood.groups
        return [(blueprint.likelihood, range(blueprint.n_outputs))]

    def _n_squared(
        self, X: Any, groups: Sequence[tuple[Likelihood, Sequence[int]]]
    ) -> Float[np.ndarray, " row"]:
        """Return how many squared errors of observed values each row has."""
        squared = [j for kind, columns in groups if isinstance(kind, Gaussian) for j in columns]
        counts = [
            np.full(len(batch), len(squared))
            if batch.observed is None
            else batch.observed[:, squared].sum(1).numpy()
            for batch in self._batches(self._given(X, None))
        ]
        return np.concatenate(counts).astype(np.float64)

    def _positive(self) -> bool:
        """Return whether units are never negative."""
        model = self._model_of(self)
        raw = torch.linspace(-100, 100, 201)[None, :, None].expand(1, 201, 1)
        layout = model.blueprint.layout
        lowest = model.blueprint.code(raw.repeat(1, 1, layout.n_features), layout).min()
        return bool(lowest >= 0)
