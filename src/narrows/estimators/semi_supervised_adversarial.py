"""A classifier for few labels: an autoencoder whose codes and class shares follow priors."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from narrows._types import Array
from narrows.blueprint import Blueprint
from narrows.engine import loop
from narrows.engine.training import Training
from narrows.estimators import _checks, _fitting
from narrows.estimators._conditions import Column, Conditions
from narrows.estimators._docs import documented
from narrows.estimators._semi_supervised import SemiSupervisedClassifier
from narrows.estimators.adversarial import AdversarialAutoencoder
from narrows.metrics.two_sample import MMD
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.sampler import Sampler
from narrows.objective.likelihoods import Likelihood
from narrows.semi_supervised_adversarial import SemiSupervisedAdversarial

OWN = ("label_strength", "class_prior")


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
    (Makhzani, Shlens, Jaitly, Goodfellow & Frey 2015, arXiv:1511.05644, section 5)::

        "reconstruction"      loss(x, D(z, q))                              moves e, q and D
        "critic"              -½ E[ln σ(c(u))] - ½ E[ln(1 - σ(c(z)))]       moves c
        "class_critic"        -½ E[ln σ(d(v))] - ½ E[ln(1 - σ(d(q)))]       moves d
        "adversarial"         -E[ln σ(c(z))]                                moves e
        "class_adversarial"   -E[ln σ(d(q))]                                moves q
        "classification"      -E[ln q(y | x)] over rows with labels         moves q

    with draws u of styles and v of classes, as many as rows; the critics have one optimiser, and so
    have the two terms after them. These are the terms of ``history_["train_loss"]``; those between
    the first and the last are ln 2 = 0.69 where a critic cannot tell. Each step reads `batch_size`
    rows, the labelled ones among them in proportion or half as many as `batch_size`, whichever is
    more; every mean is over all rows in their proportions. The weights are the last ones, as losses
    do not compare between epochs: rows held out, as in `SemiSupervisedVAE`, choose the restart, by
    their reconstruction, and `patience` does not count.

    Parameters
    ----------
    n_components : int, default=2
        Components of the style z, at least 1. With many, z tells of a row what its class could have
        told.
    prior : str, Sampler or callable, default="normal"
        What styles are to follow, as in `AdversarialAutoencoder`: "normal", "mixture", "uniform",
        "ring", or a function of a number n and a numpy Generator.
    class_prior : {"labelled", "uniform"}, default="labelled"
        p(y): the shares of the classes among the labelled rows, or the same for all. Where rows to
        be labelled were not picked at random but by class, write "uniform".
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
    scale : {"auto", "standard", "channel", "global", "none"}, default="auto"
        Scaling of the inputs, and of the targets of real-valued likelihoods.
    missing : {"error", "ignore"}, default="error"
        Whether NaN in X is refused, or contributes nothing and enters as the feature's mean.
    architecture : str, Dense, Convolutional, Recurrent or None, default=None
        Network of encoder, classifier and decoder, which then replaces `hidden_layer_sizes` and
        `activation`.
    <training>

    Attributes
    ----------
    classes_ : array of shape (classes,)
    class_prior_ : array of shape (classes,)
        p(y).
    autoencoder_ : AdversarialAutoencoder
        Encoder, decoder and the critic of styles, whose condition is the class shares.
    history_ : dict of arrays
        As of an autoencoder, with the terms above.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
    feature_names_in_ : array of str, if X has names

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

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.missing != "error"
        return tags

    def _fit(self, X: Any, y: Any) -> loop.History:
        own = self.label_strength
        if not isinstance(own, Real) or not 0 < float(own) < np.inf:
            raise ValueError(f"label_strength={own!r} must be a positive number. Write 1.0.")
        self._check_labelling()
        inner = self._inner(AdversarialAutoencoder, OWN)
        settings = _checks.check(inner)
        numbers = self._numbered(y)
        seeds = _fitting.seeds(self.random_state, 2 + self.n_init)
        history = self._learn(inner, X, numbers, settings, seeds)
        self._take_names(inner)
        return history

    def _new_learner(
        self, blueprint: Blueprint, log_prior: Float[torch.Tensor, " class"], n_restarts: int
    ) -> SemiSupervisedAdversarial:
        strength = float(self.label_strength)
        return SemiSupervisedAdversarial(blueprint, log_prior, strength, n_restarts)

    def _columns(self) -> list[Column]:
        return [Column(f"share of {label!r}") for label in self.classes_.tolist()]

    def _read(self, X: Any) -> Any:
        return X

    def transform(self, X: Any) -> Float[np.ndarray, "row component"]:
        """Return the codes of rows: what of a row its class does not tell, such as its style.

        Parameters
        ----------
        X : like `fit`
        """
        return self.autoencoder_.transform(X, condition=self.predict_proba(X))

    def sample(
        self,
        n_samples: int = 1,
        *,
        label: Any = None,
        noise: bool = True,
        random_state: Any = None,
    ) -> Array:
        """Return new rows of a class, in the units and shape of the data.

        Parameters
        ----------
        n_samples : int, default=1
            At least 1.
        label : label, or array of shape (n_samples,), optional
            Class of the rows; None draws classes from ``class_prior_``.
        noise : bool, default=True
            Whether to draw each value from the likelihood, or give its mean.
        random_state : int, RandomState, Generator or None, default=None

        Returns
        -------
        array of shape (n_samples, ...)
        """
        check_is_fitted(self)
        _checks.check_count("n_samples", n_samples)
        of_labels, of_rows = _fitting.seeds(random_state, 2)
        label = self._drawn_labels(n_samples, label, of_labels)
        known = Conditions((self._label_column,)).encoded(label, n_samples, torch.float64).numpy()
        own = int(of_rows.generate_state(1)[0])
        return self.autoencoder_.sample(n_samples, condition=known, noise=noise, random_state=own)

    def critic_score(self, X: Any) -> Float[np.ndarray, " row"]:
        """Return the probability, by the critic, that each row's code is a draw of the prior.

        Parameters
        ----------
        X : like `fit`
        """
        return self.autoencoder_.critic_score(X, condition=self.predict_proba(X))

    def critic_accuracy(self, X: Any, *, random_state: Any = 0) -> float:
        """Return the share that the critic tells rightly, of the codes of X and of as many draws.

        0.5 where it cannot tell; see `AdversarialAutoencoder.critic_accuracy`.

        Parameters
        ----------
        X : like `fit`
        random_state : int, RandomState, Generator or None, default=0
            Seed of the draws.
        """
        shares = self.predict_proba(X)
        return self.autoencoder_.critic_accuracy(X, condition=shares, random_state=random_state)

    def prior_test(self, X: Any, *, random_state: Any = 0) -> MMD:
        """Return a test of whether the codes of X follow the prior, by as many draws from it.

        The squared maximum mean discrepancy with its p-value, as of
        `AdversarialAutoencoder.prior_test`; best of rows that the fit did not see.

        Parameters
        ----------
        X : like `fit`
        random_state : int, RandomState, Generator or None, default=0
            Seed of the draws and of the divisions.

        Returns
        -------
        MMD
            `value`, `bandwidth` and `p_value`.
        """
        shares = self.predict_proba(X)
        return self.autoencoder_.prior_test(X, condition=shares, random_state=random_state)
