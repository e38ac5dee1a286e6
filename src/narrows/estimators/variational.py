"""The variational autoencoder: a code that is a distribution, and a generator of rows."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from sklearn.utils.validation import check_is_fitted

from narrows._types import Array
from narrows.engine.devices import generators
from narrows.engine.training import Training
from narrows.estimators import _bound, _rows
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._bound import Elbo, LogLikelihood, PriorGap
from narrows.estimators._checks import Choice, check_count, choose
from narrows.estimators._docs import documented
from narrows.estimators._fitting import seeds
from narrows.metrics import active_units
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.ordering import Ordering
from narrows.nn.posterior import Posterior
from narrows.nn.prior import Prior
from narrows.objective.likelihoods import Gaussian, Likelihood, Normal
from narrows.objective.mixed import Mixed
from narrows.objective.penalties import Penalty
from narrows.objective.variational import Divergence
from narrows.parts import resolve


@documented
class VariationalAutoencoder(BaseAutoencoder):
    """Variational autoencoder: a probabilistic model of the rows, with a code for each.

    Use it to generate rows like those of X, to judge how likely a row is, and for codes that say
    how sure they are. `transform` gives the location of each row's posterior and draws nothing. A
    component that carries nothing stays at its prior: `active_units` tells which do.

    Maximises the evidence lower bound ``E_q[ln p(x | z)] - β KL(q(z | x) ‖ p(z))``, in nats, with a
    likelihood that is a density: "gaussian" stands for `Normal`, whose width is learned (Kingma &
    Welling 2014, arXiv:1312.6114). Under an ordering the mean over k of the bound of the model of
    the first k components.

    Parameters
    ----------
    n_components : int, default=2
        Number of components K of the code, at least 1.
    beta : float, default=1.0
        Weight β >= 0 of the divergence; 1 is the bound, more asks for codes nearer to the prior.
    posterior : str or Posterior, default="gaussian"
        Family of the code's distribution given a row: "gaussian", "laplace" (both with circular
        components, if any), "logistic_normal", "dirichlet", "relaxed_categorical" (shares that sum
        to one), "power_spherical" (directions).
    prior : str or Prior, default="standard"
        Distribution of all codes: "standard", "mixture" or "vamp", both learned.
    noise : {"learned", "per_feature"} or float, default="learned"
        Width of the gaussian likelihood, in units of the scaled data.
    ordering : str or Ordering, default="none"
        What ranks the components: "collective", "boosted", "shared", "nested".
    warm_up : float, default=0.0
        Share of the training over which β rises from 0.
    n_cycles : int, default=1
        How often β rises from 0 again; `warm_up` is a share of each cycle.
    free_bits : float, default=0.0
        Nats per component that cost nothing.
    n_draws : int, default=1
        Codes drawn for each row of a training step. More than one are weighed by their importance,
        which tightens the bound (Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519).
    penalties : sequence of str or Penalty, default=()
        Further terms: "total_correlation", "mmd".
    <network>
    <training>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    Divergence, MixturePrior, VampPrior : The parts.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import VariationalAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 1)) @ [[1.0, 2.0, -1.0]] + 0.1 * rng.normal(size=(500, 3))
    >>> model = VariationalAutoencoder(1, max_epochs=30, random_state=0).fit(X)
    >>> bool(abs(model.transform(X).std() - 1) < 0.1)
    True
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        beta: float = 1.0,
        posterior: str | Posterior = "gaussian",
        prior: str | Prior = "standard",
        noise: str | float = "learned",
        ordering: str | Ordering = "none",
        warm_up: float = 0.0,
        n_cycles: int = 1,
        free_bits: float = 0.0,
        n_draws: int = 1,
        penalties: Sequence[str | Penalty] = (),
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
        self.beta = beta
        self.posterior = posterior
        self.prior = prior
        self.noise = noise
        self.ordering = ordering
        self.warm_up = warm_up
        self.n_cycles = n_cycles
        self.free_bits = free_bits
        self.n_draws = n_draws
        self.penalties = penalties
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
        check_count("n_draws", self.n_draws)
        if not isinstance(self.beta, Real) or not 0 <= float(self.beta) < math.inf:
            raise ValueError(f"beta={self.beta!r} must be a number, at least 0. Write 1.0.")
        posterior = resolve("code", self.posterior, "posterior")
        if not isinstance(posterior, Posterior):
            raise ValueError(
                f"posterior={self.posterior!r} is a point for each row, not a distribution. Write "
                "'gaussian', or Autoencoder(code=...)."
            )
        given = (self.penalties,) if isinstance(self.penalties, str | Penalty) else self.penalties
        divergence = Divergence(self.beta, self.warm_up, self.n_cycles, self.free_bits)
        return choose(
            self,
            ordering=self.ordering,
            code=posterior,
            penalties=(divergence, *given),
            likelihood=density_of(self.likelihood, self.noise),
            prior=self.prior,
            n_draws=int(self.n_draws),
        )

    def elbo(self, X: Any, *, target: Any = None, condition: Any = None) -> Elbo:
        """Return the evidence lower bound of each row, split into its terms, in nats.

        Of the data as given: standardisation contributes its Jacobian. With β = 1, whatever the
        model was trained with; the same 64 quasi-random codes serve every row, so that a row's
        bound does not depend on the others. Missing entries do not count.

        Parameters
        ----------
        X : like `fit`
        target : like X, optional
            As given to `fit`; the bound is then on ``ln p(target | X)``.
        condition : like `fit`
            The bound is then on ``ln p(X | condition)``.

        Returns
        -------
        Elbo
            `reconstruction`, `divergence` and `total`, of shape (rows,).

        Raises
        ------
        ValueError
            The likelihood gives the rows no density, as of `log_likelihood`.
        """
        check_is_fitted(self)
        given, scale = self._given(X, target, condition), self._target_scale
        for _, block in _rows.chunks(given.targets):
            _bound.refuse_no_density(self._model, block)
        with torch.no_grad():
            batches = self._batches(given)
            found = [_bound.elbo(self._model, batch, scale) for batch in batches]
        return Elbo(*map(np.concatenate, zip(*found, strict=True)))

    def log_likelihood(
        self,
        X: Any,
        *,
        target: Any = None,
        condition: Any = None,
        n_samples: int = 1000,
        bits: bool = False,
        random_state: Any = 0,
    ) -> LogLikelihood:
        """Return the log-likelihood of each row, estimated by importance sampling.

        ``ln (1/S) Σ_s p(x, z_s) / q(z_s | x)`` with draws from the posterior (Burda, Grosse &
        Salakhutdinov 2016, arXiv:1509.00519): below the truth on average, and the nearer the more
        draws. Of the data as given: standardisation contributes its Jacobian.

        Parameters
        ----------
        X : like `fit`
        target : like X, optional
        condition : like `fit`
        n_samples : int, default=1000
            S, at least 1.
        bits : bool, default=False
            Whether to give bits instead of nats.
        random_state : int, RandomState, Generator or None, default=0

        Returns
        -------
        LogLikelihood
            `value` and its standard `error`, of shape (rows,).
        """
        check_count("n_samples", n_samples)
        rng = np.random.default_rng(seeds(random_state, 1)[0])
        given = self._given(X, target, condition)
        _bound.refuse_no_density(self._model, given.targets.read(0, len(given.targets)))
        with torch.no_grad():
            found = [
                _bound.log_likelihood(self._model, batch, self._target_scale, n_samples, rng)
                for batch in self._batches(given)
            ]
        unit = np.log(2) if bits else 1.0
        return LogLikelihood(*(np.concatenate(part) / unit for part in zip(*found, strict=True)))

    def active_units(
        self, X: Any, *, condition: Any = None, threshold: float = 0.01
    ) -> Bool[np.ndarray, " component"]:
        """Return which components carry something: those whose location varies over the rows.

        A variance above the threshold (Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519), in
        units of the code; see `narrows.metrics.active_units`.
        """
        circular = self._model_of(self).blueprint.layout.circular
        return active_units(self._angles(X, condition), threshold, circular)

    def prior_gap(self, X: Any, *, condition: Any = None, random_state: Any = 0) -> PriorGap:
        """Return how the divergence splits: what codes tell of rows, how far they miss the prior.

        The mean of ``KL(q(z | x) ‖ p(z))`` is the mutual information of rows and codes plus the
        divergence of all codes together from the prior, which samples from the prior suffer from
        (Hoffman & Johnson 2016, ELBO surgery, NIPS workshop). From one draw per row, among at most
        2000 rows drawn from X; mutual information saturates at the logarithm of their number, and
        where it is as large as that the gap is an upper bound.
        """
        check_is_fitted(self)
        rng = np.random.default_rng(seeds(random_state, 1)[0])
        rows = self._known_rows(X)
        known = self._known_condition(condition, len(rows))
        x = torch.from_numpy(self._map(rows, lambda x, c: x, condition))
        some = torch.from_numpy(rng.permutation(len(x))[:2000])
        own = None if known is None else known[some]
        with torch.no_grad():
            return _bound.prior_gap(self._model, x[some], own, rng)

    def predict_samples(
        self,
        X: Any,
        n_samples: int = 1,
        *,
        condition: Any = None,
        noise: bool = True,
        random_state: Any = None,
    ) -> Array:
        """Return draws of each row's posterior predictive: of its codes, then of its values.

        What the model thinks a row could have been: their spread is how sure it is of each value.

        Parameters
        ----------
        X : like `fit`
        n_samples : int, default=1
            Draws per row, at least 1.
        condition : like `fit`
        noise : bool, default=True
            Whether to draw each value from the likelihood, or give its mean.
        random_state : int, RandomState, Generator or None, default=None

        Returns
        -------
        array of shape (n_samples, rows, ...)
            In the units and shape of the data, or of the target if there was one; NaN after the
            ends of sequences.
        """
        check_count("n_samples", n_samples)
        model, likelihood = self._model_of(self), self._model_of(self).blueprint.likelihood
        of_codes, of_noise = seeds(random_state, 2)
        rng, own = np.random.default_rng(of_codes), generators([of_noise], torch.device("cpu"))

        def predicted(x: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
            copies = x.repeat_interleave(n_samples, 0)
            c = None if c is None else c.repeat_interleave(n_samples, 0)
            features = _bound.drawn(model, copies, c, rng)
            found = model.decode(features, self._level(None), c)[:, -1:]
            if noise:
                width = None if model.log_width is None else model.log_width[:, -1:]
                values = likelihood.draw(found, width, own)
            else:
                values = likelihood.link(found)
            values = values[0, 0].unflatten(0, (len(x), n_samples))
            if self._sequential and not self._has_target:
                values = values.masked_fill(x.isnan()[:, None], torch.nan)
            return values

        values = torch.from_numpy(self._map(X, predicted, condition)).double()
        scaled = self._target_scale.invert(values.flatten(0, 1)).numpy()
        drawn = self._shaped(scaled).reshape(len(values), n_samples, *self._target_shape)
        return self._stored(drawn.swapaxes(0, 1))


def density_of(likelihood: str | Likelihood, noise: str | float) -> Likelihood:
    """Return a likelihood that is a density: a normal one, of a given noise, for squared error.

    Raises
    ------
    ValueError
        A noise is set, and no part of the likelihood has any.
    """
    given = resolve("likelihood", likelihood)
    found = _with_noise(given, noise)
    if noise == "learned" or found is not given:
        return found
    instead = f"Write likelihood=Normal({noise!r})." if isinstance(given, Normal) else ""
    raise ValueError(
        f"noise={noise!r} is for likelihood='gaussian'"
        + (f". {instead}" if instead else f", not for {likelihood!r}. Leave noise= out.")
    )


def _with_noise(likelihood: str | Likelihood, noise: str | float) -> Likelihood:
    found: Likelihood = resolve("likelihood", likelihood)
    if isinstance(found, Gaussian):
        return Normal(noise)
    if not isinstance(found, Mixed):
        return found
    groups = [
        (_with_noise(group[0], noise), *group[1:]) if isinstance(group, list | tuple) else group
        for group in found.groups
    ]
    return Mixed(groups, _with_noise(found.rest, noise))
