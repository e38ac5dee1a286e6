"""The denoising autoencoder."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from narrows._types import Array
from narrows.corruption import Corruption, GaussianNoise, around_padding
from narrows.engine.devices import generators
from narrows.engine.training import Training
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._checks import Choice, choose, disturbed
from narrows.estimators._docs import documented
from narrows.estimators._fitting import seeds
from narrows.estimators._rows import check_finite, ended, scaled
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.objective.likelihoods import Gaussian, Likelihood


@documented
class DenoisingAutoencoder(BaseAutoencoder):
    """Denoising autoencoder: rebuilds clean rows from corrupted ones.

    Use it to clean data, to learn codes that hold still under noise, also overcomplete ones, or to
    follow the slope of the density. Corruption acts in training only, on the scaled input; early
    stopping judges by corrupted validation rows, the same ones after each epoch.

    Minimises ``E loss(x, D(e(x̃)))`` over corruptions x̃ of x (Vincent, Larochelle, Lajoie, Bengio &
    Manzagol 2010, JMLR 11, 3371-3408).

    Parameters
    ----------
    n_components : int, default=2
        Number of components K of the code, at least 1; more than features is allowed.
    corruption : str, Corruption or callable, default="gaussian"
        "gaussian", "masking", "salt_and_pepper", "dropout", or a function of scaled rows, of shape
        (row, value), and a torch.Generator.
    strength : float, default=0.3
        Width of the gaussian noise in scaled units, or share of values that others hit, for a
        corruption given by name.
    emphasis : (float, float), default=(1.0, 1.0)
        Weights of the losses of values that were hit and of those that were not.
    <network>
    <training>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    Autoencoder : Without corruption, or with any other part.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import DenoisingAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 10))
    >>> model = DenoisingAutoencoder(2, max_epochs=20, random_state=0).fit(X)
    >>> noisy = model.corrupt(X, random_state=1)
    >>> bool(((model.denoise(noisy) - X) ** 2).mean() < ((noisy - X) ** 2).mean() / 2)
    True
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        corruption: str | Corruption | Callable[..., Any] = "gaussian",
        strength: float = 0.3,
        emphasis: Sequence[float] = (1.0, 1.0),
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
        self.corruption = corruption
        self.strength = strength
        self.emphasis = emphasis
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
        found = disturbed(self.corruption, self.strength, self.emphasis)
        return choose(self, disturbance=found)

    def denoise(self, X: Any) -> Array | list[Array]:
        """Return rows as they are believed to be without noise: `reconstruct` by its use."""
        return self.reconstruct(X)

    def corrupt(self, X: Any, *, random_state: Any = None) -> Array | list[Array]:
        """Return rows corrupted as the settings say, in the units and shape of the data.

        Missing entries stay missing. Salt and pepper are the extremes of the rows given.
        """
        return self._like(X, self._input_scale.stored(self._corrupt(X, random_state), self._dtype))

    def _corrupt(self, X: Any, random_state: Any) -> Array:
        """Return corrupted rows in double precision, which large offsets need."""
        rows, seen = self._scaled(X)
        found = disturbed(self.corruption, self.strength)
        if found is not None:
            drawn = generators(seeds(random_state, 1), torch.device("cpu"))
            rows = around_padding(found.corruption, rows[None], drawn)[0][0]
        values = self._input_scale.invert(rows.double()).numpy()
        if seen is not None:
            values[~seen.numpy()] = np.nan
        return values.reshape(-1, *self._event_shape)

    def code_shift(self, X: Any, *, model: Any = None, random_state: Any = None) -> float:
        """Return how far codes move under the corruption, as a share of their spread.

        ``Σ ‖e(x̃) - e(x)‖² / Σ ‖e(x) - mean‖²`` with circular components as pairs: 0 if codes hold
        still, about 2 if nothing of them is left.

        Parameters
        ----------
        X : like `fit`
        model : fitted autoencoder, optional
            Whose codes to look at; this one's by default. Compare with a plain one.
        random_state : int, RandomState, Generator or None, default=None
            Seed of the corruption.
        """
        noisy = self._corrupt(X, random_state)
        coder = self if model is None else model
        clean, moved = coder._pairs(X), coder._pairs(noisy)
        return float(((moved - clean) ** 2).sum() / ((clean - clean.mean(0)) ** 2).sum())

    def log_density_gradient(self, X: Any) -> Float[np.ndarray, "row value"]:
        """Return the estimated gradient of the log-density of the data at rows of X.

        ``(reconstruct(x) - x) / σ²``, per unit of the data: the density meant is that of the data
        with the noise added (Alain & Bengio 2014, JMLR 15, 3563-3593). Needs gaussian corruption
        and likelihood, and the settings the model was fitted with.
        """
        width = self._noise_width()
        rows = self._scaled(X)[0].double()
        clean = torch.as_tensor(self._reconstructed(X, None)).reshape(rows.shape)
        pull = (self._input_scale.apply(clean.numpy(), torch.float64) - rows) / width**2
        return self._input_scale.stored(pull.numpy() / self._input_scale.width, self._dtype)

    def langevin(
        self, X: Any, *, n_steps: int = 100, step: float = 0.1, random_state: Any = None
    ) -> Array | list[Array]:
        """Return samples of the learned density by Langevin steps from rows of X.

        ``x + ½ ε σ² g(x) + √ε σ η`` with the gradient g of `log_density_gradient`, in scaled
        units, and standard normal η.

        Parameters
        ----------
        X : like `fit`
            Where to start: one sample a row.
        n_steps : int, default=100
        step : float, default=0.1
            ε, in units of the noise's variance, in (0, 1].
        random_state : int, RandomState, Generator or None, default=None

        Returns
        -------
        array like X
        """
        width = self._noise_width()
        if n_steps < 1 or not 0 < step <= 1:
            raise ValueError(
                f"n_steps={n_steps} must be at least 1 and step={step} in (0, 1]. "
                "Write n_steps=100, step=0.1."
            )
        rng = np.random.default_rng(seeds(random_state, 1)[0])
        rows = self._scaled(X)[0].double().numpy()
        scale, shape = self._input_scale, (-1, *self._event_shape)
        for _ in range(n_steps):
            data = scale.invert(torch.from_numpy(rows)).numpy().reshape(shape)
            pull = self.log_density_gradient(data) * scale.width
            noise = rng.normal(size=rows.shape)
            rows = rows + step * width**2 / 2 * pull + np.sqrt(step) * width * noise
        samples = scale.invert(torch.from_numpy(rows)).numpy().reshape(shape)
        return self._like(X, self._input_scale.stored(samples, self._dtype))

    def _noise_width(self) -> float:
        found = disturbed(self.corruption, self.strength)
        likelihood = self._model_of(self).blueprint.likelihood
        noise = None if found is None else found.corruption
        if self._has_target:
            raise ValueError(
                "The gradient of the log-density is learned from rows that are their own target. "
                "Fit again without target=."
            )
        if not isinstance(noise, GaussianNoise) or not isinstance(likelihood, Gaussian):
            raise ValueError(
                "The gradient of the log-density is learned under gaussian noise and squared error "
                f"alone, but corruption={self.corruption!r} and likelihood={self.likelihood!r}. "
                "Write corruption='gaussian', likelihood='gaussian'."
            )
        return float(noise.strength)

    def _scaled(self, X: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return scaled rows, missing entries filled, and which were seen if any were not."""
        rows = self._known_rows(X)
        check_finite("X", rows, self.missing, self._sequential)
        x, seen = scaled(rows, self._input_scale, self._input_mean, self._dtype)
        return ended(x, seen, rows.shape[0]) if self._sequential else x, seen
