"""A classifier for few labels: an autoencoder whose codes and class shares follow priors."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64

from narrows._types import Array
from narrows.blueprint import Blueprint
from narrows.engine import loop
from narrows.engine.training import Training
from narrows.estimators import _checks, _fitting
from narrows.estimators._conditions import Column
from narrows.estimators._docs import documented
from narrows.estimators._semi_supervised import SemiSupervisedClassifier
from narrows.estimators.adversarial import AdversarialAutoencoder
from narrows.metrics.two_sample import MMD
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.sampler import Sampler
from narrows.objective.likelihoods import Likelihood
from narrows.semi_supervised_adversarial import SemiSupervisedAdversarial


@documented
class SemiSupervisedAAE(SemiSupervisedClassifier):
    """Classifier for rows of which few have labels, by an autoencoder of class and style.

    In y, -1 means that a label is not known, as in `sklearn.semi_supervised`; labels that are text
    then stand in an array of dtype object beside the number -1. Use it where rows without labels
    are many, to classify them, to see how rows of a class differ, or to generate rows of a class
    with a style that follows a prior of one's own. It fails where classes are not what makes groups
    of rows differ: then other groups are taken for classes.

    A classifier gives class shares q(y | x), an encoder the style z = e(x, q), and the decoder D
    rebuilds rows from both; critics c and d tell styles from draws of the prior, and class shares
    from draws of p(y), ones and zeros. Each step has four phases, each with an optimiser of its own
    (Makhzani, Shlens, Jaitly, Goodfellow & Frey 2015, arXiv:1511.05644, section 5; there the style
    is read from x alone, and only rows without labels enter the phases before the last)::

        "reconstruction"      loss(x, D(z, q))                              moves e, q and D
        "critic"              -½ E[ln σ(c(u))] - ½ E[ln(1 - σ(c(z)))]       moves c
        "class_critic"        -½ E[ln σ(d(v))] - ½ E[ln(1 - σ(d(q)))]       moves d
        "adversarial"         -E[ln σ(c(z))]                                moves e
        "class_adversarial"   -E[ln σ(d(q))]                                moves q
        "classification"      -E[ln q(y | x)] over rows with labels         moves q

    with draws u of styles and v of classes, as many as rows; the critics have one optimiser, and so
    have the two terms after them. These are the terms of ``history_["train_loss"]``; those between
    the first and the last are ln 2 = 0.69 where a critic cannot tell. Every mean is over all rows
    in their proportions. The weights are the last ones in any case, as losses do not compare
    between epochs: rows held out choose the restart, by their reconstruction, and `patience` does
    not count.

    <steps>

    Parameters
    ----------
    n_components : int, default=2
        Components of the style z, at least 1. With many, z tells of a row what its class could have
        told.
    prior : str, Sampler or callable, default="normal"
        What styles are to follow, as in `AdversarialAutoencoder`: "normal", "mixture", "uniform",
        "ring", or a function of a number n and a numpy Generator.
    <class prior>
    critic_layer_sizes : sequence of int, default=(128, 128)
        Widths of the hidden layers of both critics.
    critic_learning_rate : float or None, default=None
        Full speed of the critics' optimiser, > 0; None is `learning_rate`.
    strength : float, default=1.0
        Speed of the steps of encoder and classifier against the critics, >= 0, as a multiple of
        `learning_rate`.
    label_strength : float, default=1.0
        Speed of the classifier's steps on labelled rows, > 0, as a multiple of `learning_rate`.
    hidden_layer_sizes : sequence of int, default=(128, 128)
        Widths of the hidden layers of encoder and classifier, mirrored in the decoder; () gives
        linear ones.
    activation : str or callable, default="silu"
        Nonlinearity of the hidden layers: "silu", "elu", "relu", "tanh", ...
    likelihood : str or Likelihood, default="gaussian"
        What a reconstruction is measured by, as in `AdversarialAutoencoder`.
    <classifier>
    <training>

    Attributes
    ----------
    classes_ : array of shape (classes,)
    class_prior_ : array of shape (classes,)
        p(y).
    autoencoder_ : AdversarialAutoencoder
        Encoder, decoder and the critic of styles, whose condition is the class shares. Its
        ``fve_`` is measured on the labelled rows held out, or on all labelled ones if none are.
    history_ : dict of arrays
        As of an autoencoder, with the terms above.
    <classifier attributes>

    See Also
    --------
    SemiSupervisedVAE : The same by a bound on the likelihood, which it also gives.
    AdversarialAutoencoder : Without labels.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_blobs
    >>> from narrows import SemiSupervisedAAE
    >>> X, truth = make_blobs(500, centers=3, cluster_std=0.6, random_state=0)
    >>> y = np.full(500, -1)
    >>> y[::20] = truth[::20]
    >>> model = SemiSupervisedAAE(1, max_epochs=20, random_state=0).fit(X, y)
    >>> model.score(X, truth) > 0.9
    True
    >>> model.sample(4, label=2, random_state=0).shape
    (4, 2)
    """

    _kind = AdversarialAutoencoder
    _further = ("label_strength", "class_prior")

    def __init__(
        self,
        n_components: int = 2,
        *,
        prior: str | Sampler | Callable[..., Any] = "normal",
        class_prior: str = "labelled",
        critic_layer_sizes: Sequence[int] = (128, 128),
        critic_learning_rate: float | None = None,
        strength: float = 1.0,
        label_strength: float = 1.0,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        activation: str | Activation = "silu",
        likelihood: str | Likelihood = "gaussian",
        scale: str = "auto",
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
        self.prior = prior
        self.class_prior = class_prior
        self.critic_layer_sizes = critic_layer_sizes
        self.critic_learning_rate = critic_learning_rate
        self.strength = strength
        self.label_strength = label_strength
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.likelihood = likelihood
        self.scale = scale
        self.missing = missing
        self.architecture = architecture
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.n_init = n_init
        self.random_state = random_state
        self.verbose = verbose
        self.training = training

    def _fit(self, X: Any, y: Any) -> loop.History:
        self._check()
        inner = self._inner()
        settings = _checks.check(inner)
        numbers = self._numbered(y)
        seeds = _fitting.seeds(self.random_state, 2 + self.n_init)
        history = self._learn(inner, X, numbers, settings, seeds)
        self._take_names(inner)
        return history

    def _check(self) -> None:
        strength = self.label_strength
        number = isinstance(strength, Real) and not isinstance(strength, bool)
        if not number or not 0 < float(strength) < np.inf:
            raise ValueError(f"label_strength={strength!r} must be a positive number. Write 1.0.")
        self._check_labelling()

    def _new_learner(
        self, blueprint: Blueprint, log_prior: Float[torch.Tensor, " class"], n_restarts: int
    ) -> SemiSupervisedAdversarial:
        strength = float(self.label_strength)
        return SemiSupervisedAdversarial(blueprint, log_prior, strength, n_restarts)

    def _columns(self) -> list[Column]:
        return [Column(f"share of {label!r}") for label in self.classes_.tolist()]

    def _condition_of(
        self, shares: Float[torch.Tensor, "row class"]
    ) -> Float[torch.Tensor, "row condition"]:
        return shares

    def _read(self, X: Any) -> Any:
        return X

    def _sampled(
        self, numbers: Int64[np.ndarray, " row"], noise: bool, seeds: list[np.random.SeedSequence]
    ) -> Array:
        known, own = np.eye(len(self.classes_))[numbers], int(seeds[0].generate_state(1)[0])
        return self.autoencoder_.sample(
            len(numbers), condition=known, noise=noise, random_state=own
        )

    def transform(self, X: Any) -> Float[np.ndarray, "row component"]:
        """Return the codes of rows: what of a row its class does not tell, such as its style.

        Parameters
        ----------
        X : like `fit`, shape (rows, ...)

        Returns
        -------
        array of shape (rows, n_components)

        Raises
        ------
        NotFittedError, ValueError
            As of `predict_proba`.
        """
        return self.autoencoder_.transform(X, condition=self.predict_proba(X))

    def critic_score(self, X: Any) -> Float[np.ndarray, " row"]:
        """Return the probability, by the critic, that each row's code is a draw of the prior.

        Parameters
        ----------
        X : like `fit`, shape (rows, ...)

        Returns
        -------
        array of shape (rows,)

        Raises
        ------
        NotFittedError, ValueError
            As of `predict_proba`.
        """
        return self.autoencoder_.critic_score(X, condition=self.predict_proba(X))

    def critic_accuracy(self, X: Any, *, random_state: Any = 0) -> float:
        """Return the share that the critic tells rightly, of the codes of X and of as many draws.

        0.5 where it cannot tell; see `AdversarialAutoencoder.critic_accuracy`.

        Parameters
        ----------
        X : like `fit`, shape (rows, ...)
        random_state : int, RandomState, Generator or None, default=0
            Seed of the draws.

        Returns
        -------
        float

        Raises
        ------
        NotFittedError, ValueError
            As of `predict_proba`.
        """
        shares = self.predict_proba(X)
        return self.autoencoder_.critic_accuracy(X, condition=shares, random_state=random_state)

    def prior_test(self, X: Any, *, random_state: Any = 0) -> MMD:
        """Return a test of whether the codes of X follow the prior, by as many draws from it.

        The squared maximum mean discrepancy with its p-value, as of
        `AdversarialAutoencoder.prior_test`; best of rows that the fit did not see.

        Parameters
        ----------
        X : like `fit`, shape (rows, ...)
        random_state : int, RandomState, Generator or None, default=0
            Seed of the draws and of the divisions.

        Returns
        -------
        MMD
            `value`, `bandwidth` and `p_value`.

        Raises
        ------
        NotFittedError, ValueError
            As of `predict_proba`.
        """
        shares = self.predict_proba(X)
        return self.autoencoder_.prior_test(X, condition=shares, random_state=random_state)
