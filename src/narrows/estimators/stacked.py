"""The stacked autoencoder: trained layer by layer, then as a whole."""

from collections.abc import Callable, Sequence
from typing import Any

from narrows._types import Array
from narrows.corruption import Corruption
from narrows.engine.training import Training
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._checks import Choice, choose, layer_wise, stacked
from narrows.estimators._docs import documented
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.code import Code
from narrows.objective.likelihoods import Likelihood


@documented
class StackedAutoencoder(BaseAutoencoder):
    """Stacked autoencoder: each layer learns to rebuild the one below, then all learn together.

    Use it for deep networks where labels or rows are few, or to see what each layer keeps. Layer k
    is an autoencoder of one layer on the clean output of layer k-1; the unrolled stack is then
    fine-tuned on reconstruction (Vincent, Larochelle, Lajoie, Bengio & Manzagol 2010, JMLR 11,
    3371-3408). It starts from random weights, not as PCA.

    Parameters
    ----------
    n_components : int, default=2
        Number of components K of the code, at least 1.
    layer : {"plain", "denoising", "contractive"}, default="denoising"
        What each layer is.
    corruption : str, Corruption or callable, default="masking"
        What denoising layers undo, as in `DenoisingAutoencoder`.
    strength : float or None, default=None
        Of the corruption, if that is given by name, or of the contractive penalty; None is 0.3 or
        0.1.
    layer_epochs : int, default=50
        Passes over the rows for each layer, at most.
    fine_tune : bool, default=True
        Whether the whole is trained after its layers.
    init : {"xavier", "kaiming", "orthogonal", "random"}, default="xavier"
        How weights start, before their layer is trained; see `Dense`.
    code : str or Code or None, default=None
        Kind of the code; None is linear.
    <network>
    <training>

    Attributes
    ----------
    phases_ : list of dict of arrays
        Histories of the layers, from the input: "train_loss" (epoch, term, restart),
        "validation_loss" (epoch, restart), "best_epoch" and "best_loss" (restart,). That of the
        whole is `history_`.
    <attributes>

    See Also
    --------
    StackedClassifier, StackedRegressor : The same layers under labels or values to predict.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import StackedAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> X = np.tanh(rng.normal(size=(300, 2)) @ rng.normal(size=(2, 12)))
    >>> model = StackedAutoencoder(
    ...     2, hidden_layer_sizes=(32, 16), layer_epochs=5, max_epochs=5, random_state=0
    ... ).fit(X)
    >>> len(model.phases_), model.transform(X).shape
    (3, (300, 2))
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        layer: str = "denoising",
        corruption: str | Corruption | Callable[..., Any] = "masking",
        strength: float | None = None,
        layer_epochs: int = 50,
        fine_tune: bool = True,
        init: str = "xavier",
        code: str | Code | None = None,
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
        self.layer = layer
        self.corruption = corruption
        self.strength = strength
        self.layer_epochs = layer_epochs
        self.fine_tune = fine_tune
        self.init = init
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
        return choose(
            self,
            architecture=stacked(self, self.hidden_layer_sizes),
            code=self.code,
            schedule=layer_wise(self),
        )

    def layer_codes(self, X: Any, layer: int) -> Array:
        """Return the activations of a hidden layer, from 1, the lowest.

        Returns
        -------
        array of shape (rows, units)
        """
        model = self._model_of(self)
        n_hidden = model.encoder.n_hidden
        if layer not in range(1, n_hidden + 1):
            raise ValueError(
                f"layer={layer!r} must be from 1 to {n_hidden}. Write transform(X) for the code."
            )
        return self._map(X, lambda x, c: model.hidden(x, c)[layer - 1][0])
