"""The adversarial autoencoder: codes that follow a prior from which one can only draw."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from narrows.adversarial import accuracy, logits
from narrows.engine.devices import generators
from narrows.engine.training import Training
from narrows.estimators._base import BaseAutoencoder
from narrows.estimators._checks import Choice, choose, sampler, sampler_of
from narrows.estimators._docs import documented
from narrows.estimators._fitting import seeds
from narrows.metrics.two_sample import MMD, mmd
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.critic import Critic
from narrows.nn.ordering import Ordering
from narrows.nn.sampler import Sampler
from narrows.objective.likelihoods import Likelihood
from narrows.objective.penalties import Penalty

_MOST = 2000


@documented
class AdversarialAutoencoder(BaseAutoencoder):
    """Adversarial autoencoder: codes that together follow a prior given by draws alone.

    Use it to generate rows like those of X, or to lay codes out in a shape of one's own, such as
    clusters or a ring: the prior needs no density. A critic learns to tell codes from draws of the
    prior, and the encoder to pass. `prior_test` judges how well it did, `critic_accuracy` what the
    critic still tells. Codes of more components than the rows vary in cannot fill a prior.

    Each step has three phases, each with an optimiser of its own, for the encoder e, the decoder D
    and the critic's logit c (Makhzani, Shlens, Jaitly, Goodfellow & Frey 2015, arXiv:1511.05644)::

        "reconstruction"   loss(t, D(e(x))) and the penalties            moves e and D
        "critic"           -½ E[ln σ(c(z))] - ½ E[ln(1 - σ(c(e(x))))]    moves c
        "adversarial"      -E[ln σ(c(e(x)))]                             moves e

    with draws z from the prior, as many as rows. These are the terms of ``history_["train_loss"]``;
    the last two are ln 2 = 0.69 where the critic cannot tell. As they do not compare between
    epochs, the weights are the last ones: validation rows choose the restart, by the first phase,
    and `patience` does not count.

    Parameters
    ----------
    n_components : int, default=2
        Number of components K of the code, at least 1.
    prior : str, Sampler or callable, default="normal"
        What codes are to follow: "normal", "mixture" (Gaussians around a circle), "uniform" (a
        cube), "ring" (the shell of a sphere), or a function of a number n and a numpy Generator
        that returns an array of shape (n, K), circular components as angles in radians.
    critic_layer_sizes : sequence of int, default=(128, 128)
        Widths of the critic's hidden layers.
    critic_learning_rate : float or None, default=None
        Full speed of the critic's optimiser, > 0; None is `learning_rate`.
    strength : float, default=1.0
        Speed of the encoder's steps against the critic, >= 0, as a multiple of `learning_rate`: a
        factor of the loss would not change the steps of most optimisers. 0 is the plain
        autoencoder, beside a critic that looks on.
    ordering : str or Ordering, default="none"
        What ranks the components: "collective", "boosted", "shared", "nested".
    penalties : sequence of str or Penalty, default=()
        Terms added to the reconstruction: "l1", "contractive", "decorrelation".
    <network>
    <slow training>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    VariationalAutoencoder : A bound on the likelihood, for priors that have a density.
    MixtureSampler, RingSampler, UniformSampler : The priors.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import AdversarialAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(size=(500, 2)) @ rng.normal(size=(2, 6))
    >>> model = AdversarialAutoencoder(2, prior="uniform", max_epochs=20, random_state=0).fit(X)
    >>> model.sample(3, random_state=0).shape
    (3, 6)
    >>> bool(np.abs(model.transform(X)).mean() < 1)
    True
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        prior: str | Sampler | Callable[..., Any] = "normal",
        critic_layer_sizes: Sequence[int] = (128, 128),
        critic_learning_rate: float | None = None,
        strength: float = 1.0,
        ordering: str | Ordering = "none",
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
        learning_rate: float = 2e-3,
        n_init: int = 1,
        random_state: Any = None,
        verbose: int = 0,
        training: Training | None = None,
    ) -> None:
        self.n_components = n_components
        self.prior = prior
        self.critic_layer_sizes = critic_layer_sizes
        self.critic_learning_rate = critic_learning_rate
        self.strength = strength
        self.ordering = ordering
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
        critic = Critic(
            sampler(self.prior),
            self.critic_layer_sizes,
            self.critic_learning_rate,
            self.strength,
        )
        critic.check(self.n_components)
        return choose(self, ordering=self.ordering, penalties=self.penalties, critic=critic)

    def critic_score(self, X: Any, *, condition: Any = None) -> Float[np.ndarray, " row"]:
        """Return the probability, by the critic, that each row's code is a draw of the prior.

        ``σ(c(e(x)))``: 0.5 where it cannot tell; low for codes where the prior has few.

        Parameters
        ----------
        X : like `fit`
        condition : like `fit`
        """
        model = self._model_of(self)
        return self._map(X, lambda x, c: logits(model, model.encode(x, c))[0].sigmoid(), condition)

    def critic_accuracy(self, X: Any, *, condition: Any = None, random_state: Any = 0) -> float:
        """Return the share that the critic tells rightly, of the codes of X and of as many draws.

        0.5 where it cannot tell, 1 where codes do not follow the prior at all. A critic that lost
        its way also tells little: `prior_test` does not depend on it.

        Parameters
        ----------
        X : like `fit`
        condition : like `fit`
        random_state : int, RandomState, Generator or None, default=0
            Seed of the draws.
        """
        model = self._model_of(self)
        codes = torch.from_numpy(self._map(X, lambda x, c: model.encode(x, c)[0], condition))
        draws = self._draws(len(codes), seeds(random_state, 1)[0])
        return float(accuracy(model, codes[None], draws[None]))

    def prior_test(self, X: Any, *, condition: Any = None, random_state: Any = 0) -> MMD:
        """Return a test of whether the codes of X follow the prior, by as many draws from it.

        The squared maximum mean discrepancy with its p-value, see `narrows.metrics.mmd`; circular
        components as pairs (cos, sin). Of at most 2000 rows drawn from X, best ones that the fit
        did not see.

        Parameters
        ----------
        X : like `fit`
        condition : like `fit`
        random_state : int, RandomState, Generator or None, default=0
            Seed of the draws and of the divisions.

        Returns
        -------
        MMD
            `value`, `bandwidth` and `p_value`.

        Examples
        --------
        >>> import numpy as np
        >>> from narrows import AdversarialAutoencoder
        >>> X = np.random.default_rng(0).exponential(size=(200, 3))
        >>> model = AdversarialAutoencoder(2, max_epochs=1, random_state=0).fit(X)
        >>> bool(model.prior_test(X).p_value < 0.05)
        True
        """
        layout = self._model_of(self).blueprint.layout
        of_rows, of_draws = seeds(random_state, 2)
        rng = np.random.default_rng(of_rows)
        codes = self._pairs(X, condition)
        codes = codes[rng.permutation(len(codes))[:_MOST]]
        draws = layout.pairs(self._draws(len(codes), of_draws)).double().numpy()
        return mmd(codes, draws, random_state=int(rng.integers(2**31)))

    def _draws(self, n: int, seed: np.random.SeedSequence) -> Float[torch.Tensor, "{n} feature"]:
        """Return features of draws from the prior, whatever density was fitted."""
        own = generators([seed], torch.device("cpu"))
        return sampler_of(self).features(n, self._model.blueprint.layout, own)[0].to(self._dtype)
