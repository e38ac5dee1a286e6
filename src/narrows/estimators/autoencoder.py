"""The plain autoencoder, which accepts any parts."""

from collections.abc import Sequence
from typing import Any

from narrows.engine.training import Training
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._checks import Choice, choose
from narrows.nn.activation import Activation
from narrows.nn.code import Code
from narrows.nn.dense import Architecture
from narrows.nn.ordering import Ordering
from narrows.objective.likelihoods import Likelihood
from narrows.objective.penalties import Penalty


class Autoencoder(BaseAutoencoder):
    def __init__(
        self,
        n_components: int = 2,
        *,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        activation: str | Activation = "silu",
        likelihood: str | Likelihood = "gaussian",
        scale: str = "auto",
        circular: Sequence[int] = (),
        circular_output: str = "angle",
        missing: str = "error",
        architecture: Architecture | None = None,
        code: str | Code = "plain",
        ordering: str | Ordering = "none",
        penalties: Sequence[str | Penalty] = (),
        max_epochs: int = 200,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        n_init: int = 1,
        random_state: Any = None,
        verbose: int = 0,
        training: Training | None = None,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.likelihood = likelihood
        self.scale = scale
        self.circular = circular
        self.circular_output = circular_output
        self.missing = missing
        self.architecture = architecture
        self.code = code
        self.ordering = ordering
        self.penalties = penalties
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.n_init = n_init
        self.random_state = random_state
        self.verbose = verbose
        self.training = training

    def _choose_parts(self) -> Choice:
        return choose(self, ordering=self.ordering, code=self.code, penalties=self.penalties)
