"""The ranked autoencoder: components in the order of their importance."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted

from narrows.data.batches import Batch
from narrows.engine.training import Training
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._checks import Choice, check, choose
from narrows.estimators._docs import documented
from narrows.estimators._fitting import seeds
from narrows.estimators._ranking import SwapCheck, check_order
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.ordering import Ordering, Unordered
from narrows.objective.likelihoods import Likelihood


@documented
class HierarchicalAutoencoder(BaseAutoencoder):
    """Ranked autoencoder: component 1 matters most, component 2 next, and so on.

    Use it to learn how many numbers describe a data set, which of them matters most and how much
    each explains: one fit gives the fraction of variance explained by the first 1, ..., K
    components. Nodes of an ordinary code are interchangeable; an ordering breaks the symmetry by
    decoding from the first k components for every k, and minimises the mean over levels,
    ``(1/K) Σ_k loss(t, q_k)``. It fails to rank components of equal importance: `agreement`
    between restarts and `swap_check` tell.

    Parameters
    ----------
    n_components : int, default=2
        Number of components K of the code, at least 1.
    ordering : {"collective", "boosted", "shared", "nested"} or Ordering, default="collective"
        How level k is decoded: by a decoder of its own from components 1..k ("collective"), as a
        sum of one decoder per component ("boosted"), by one decoder with later components masked
        ("shared"), or by one trained on random prefixes ("nested").
    <network>
    <training>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    Autoencoder : Without a ranking, for a given number of components.

    References
    ----------
    Chen, Tan & Ferguson 2018, 10.1063/1.5023804 (collective, boosted). Scholz & Vigário 2002,
    ESANN (shared). Rippel, Gelbart & Adams 2014, arXiv:1402.0915 (nested).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from narrows import HierarchicalAutoencoder
    >>> X = load_breast_cancer().data
    >>> model = HierarchicalAutoencoder(3, max_epochs=5, random_state=0).fit(X[:400])
    >>> held_out = model.fve(X[400:])
    >>> bool(held_out[0] < held_out[1] < held_out[2])
    True
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        ordering: str | Ordering = "collective",
        hidden_layer_sizes: Sequence[int] = (128, 128),
        activation: str | Activation = "silu",
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
        self.ordering = ordering
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
        choice = choose(self, ordering=self.ordering)
        if isinstance(choice.ordering, Unordered):
            raise ValueError(
                "ordering='none' ranks nothing. Write Autoencoder(...), or one of: "
                "collective, boosted, shared, nested."
            )
        return choice

    def swap_check(
        self,
        X: Any,
        *,
        target: Any = None,
        condition: Any = None,
        test_fraction: float = 0.3,
        n_splits: int = 3,
        random_state: Any = None,
    ) -> SwapCheck:
        """Check the order of neighbouring components on rows that the model did not see.

        Codes are frozen; for each k a decoder of components 1..k and one of components 1..k-1 and
        k+1 are trained anew on a part of X, and compared on the rest. Takes the time of about
        `n_splits` fits to X.

        Parameters
        ----------
        X : like `fit`
            Held-out rows, some hundred at least.
        target : like X, optional
            As given to `fit`.
        condition : like `fit`
        test_fraction : float, default=0.3
            Share of X that the new decoders never see, in (0, 1).
        n_splits : int, default=3
            Splits to average over, at least 2.
        random_state : int, RandomState, Generator or None, default=None
            Seed of splits and weights.

        Returns
        -------
        SwapCheck
            `difference` and `spread`, one entry per pair of neighbours.
        """
        check_is_fitted(self)
        if self._model.blueprint.layout.n_components < 2:
            raise ValueError("swap_check compares neighbours. Write n_components=2, say, and fit.")
        if n_splits < 2 or not 0 < test_fraction < 1:
            raise ValueError(
                f"n_splits={n_splits} must be at least 2 and test_fraction={test_fraction} in "
                "(0, 1). Write n_splits=3, test_fraction=0.3."
            )
        (seed,) = seeds(random_state, 1)
        return check_order(
            self._model.blueprint,
            check(self).recipe(self._event_shape, self._target_shape, self._n_condition),
            self._frozen(X, target, condition),
            test_fraction=test_fraction,
            n_splits=n_splits,
            seed=seed,
        )

    def _frozen(self, X: Any, target: Any, condition: Any) -> Batch:
        """Return rows whose inputs are their codes."""
        batch = self._batch(self._given(X, target, condition), None, None, self._dtype)
        with torch.no_grad():
            return replace(batch, x=self._model.encode(batch.x, batch.condition)[0])
