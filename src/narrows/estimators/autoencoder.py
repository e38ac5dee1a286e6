"""The plain autoencoder, which accepts any parts."""

from collections.abc import Callable, Sequence
from typing import Any

from narrows.corruption import Corruption
from narrows.engine.training import Training
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._checks import Choice, choose, disturbed
from narrows.estimators._docs import documented
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.code import Code
from narrows.nn.ordering import Ordering
from narrows.objective.likelihoods import Likelihood
from narrows.objective.penalties import Penalty


@documented
class Autoencoder(BaseAutoencoder):
    """Undercomplete autoencoder: a small code from which the data can be rebuilt.

    Use it to reduce dimensions where PCA is not enough: it starts as PCA and keeps what it gains
    beyond. Its components are not ranked (`HierarchicalAutoencoder` ranks them), and with few rows
    (below some hundred) it stays close to PCA.

    Minimises ``loss(t, D(e(x))) + penalties``, summed over the event and averaged over rows, with
    encoder e, decoder D and target t = x (Kramer 1991, 10.1002/aic.690370209).

    Parameters
    ----------
    n_components : int, default=2
        Number of components K of the code, at least 1.
    <network>
    code : str or Code, default="plain"
        Kind of the code; ``Plain(activation="tanh")`` bounds it.
    ordering : str or Ordering, default="none"
        What ranks the components: "collective", "boosted", "shared", "nested".
    penalties : sequence of str or Penalty, default=()
        Terms added to the loss: "l1", "contractive", "decorrelation".
    corruption : str, Corruption or callable, default="none"
        What training does to its input: "gaussian", "masking", "salt_and_pepper", "dropout", or a
        function of scaled rows and a torch.Generator.
    <training>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    HierarchicalAutoencoder : Ranks the components by importance.
    DenoisingAutoencoder : Rebuilds clean rows from corrupted ones.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder
    >>> angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 500)
    >>> X = np.column_stack([np.cos(angle), np.sin(angle), np.cos(2 * angle)])
    >>> model = Autoencoder(1, circular=[0], max_epochs=50, random_state=0).fit(X)
    >>> model.transform(X).shape, bool(model.score(X) > 0.95)
    ((500, 1), True)
    """

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
        architecture: str | Architecture | None = None,
        code: str | Code = "plain",
        ordering: str | Ordering = "none",
        penalties: Sequence[str | Penalty] = (),
        corruption: str | Corruption | Callable[..., Any] = "none",
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
        self.corruption = corruption
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
            ordering=self.ordering,
            code=self.code,
            penalties=self.penalties,
            disturbance=disturbed(self.corruption),
        )
