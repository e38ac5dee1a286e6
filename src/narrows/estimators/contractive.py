"""The contractive autoencoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from narrows.engine.training import Training
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._checks import Choice, choose
from narrows.estimators._docs import documented
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.code import Code, Plain
from narrows.nn.dense import Dense
from narrows.objective.likelihoods import Likelihood
from narrows.objective.penalties import Contractive, squared_jacobian

CPU = torch.device("cpu")


@documented
class ContractiveAutoencoder(BaseAutoencoder):
    """Contractive autoencoder: a code that hardly answers to small changes of the input.

    Use it for features that hold still but along the directions in which the data vary. The
    decoder uses the encoder's weights, transposed: with weights of its own it could undo any
    shrinking of the code, and the penalty would mean nothing.

    Minimises ``loss(t, D(h)) + strength Σ_k ‖∂h_k/∂x‖²`` with the code h and the scaled input x
    (Rifai, Vincent, Muller, Glorot & Bengio 2011, ICML).

    Parameters
    ----------
    n_components : int, default=2
        Number of components K of the code, at least 1; more than features is allowed.
    strength : float, default=0.1
        Weight of the penalty, >= 0.
    n_probes : int or None, default=None
        Random vectors per row in an unbiased estimate of the penalty, for deep encoders of large
        codes; None is exact, and costs as much as K rows instead of one.
    code : str or Code or None, default=None
        Kind of the code; None is ``Plain(activation="sigmoid")``.
    <network>
    <training>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    DenoisingAutoencoder : Asks the reconstruction, not the code, to hold still.
    Contractive : The penalty, for other autoencoders.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import ContractiveAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 8))
    >>> model = ContractiveAutoencoder(4, max_epochs=10, random_state=0).fit(X)
    >>> model.transform(X).shape, model.sensitivity(X).shape
    ((300, 4), (300,))
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        strength: float = 0.1,
        n_probes: int | None = None,
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
        self.strength = strength
        self.n_probes = n_probes
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
        tied = Dense(self.hidden_layer_sizes, self.activation, tied=True)
        return choose(
            self,
            architecture=tied if self.architecture is None else self.architecture,
            code=Plain("sigmoid") if self.code is None else self.code,
            penalties=(Contractive(self.strength, self.n_probes),),
        )

    def sensitivity(self, X: Any) -> Float[np.ndarray, " row"]:
        """Return ``Σ_k ‖∂h_k/∂x‖²`` of each row, exact, with respect to the scaled input."""
        model = self._model_of(self)
        encoding, n_features = model.encoding(CPU), model.blueprint.layout.n_features
        return self._map(X, lambda x, _: squared_jacobian(encoding, x[None], n_features)[0])
