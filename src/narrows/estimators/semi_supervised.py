"""A classifier for few labels: a variational autoencoder whose rows come of a class and a code."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import xlogy
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from narrows._types import Array
from narrows.blueprint import Blueprint
from narrows.engine import devices, loop
from narrows.engine.training import Training
from narrows.estimators import _checks, _fitting, _labels
from narrows.estimators._conditions import Column
from narrows.estimators._docs import documented
from narrows.estimators._semi_supervised import Draw, SemiSupervisedClassifier
from narrows.estimators.variational import VariationalAutoencoder
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.posterior import GaussianCode, LaplaceCode
from narrows.objective.likelihoods import Likelihood
from narrows.semi_supervised import SemiSupervised

OWN = ("alpha", "top_classes", "class_prior", "features")


class LabelledElbo(NamedTuple):
    """The evidence lower bound of each row, and its terms, in nats.

    Attributes
    ----------
    reconstruction : array of shape (rows,)
        ``E ln p(x | y, z)``, of the data as given.
    divergence : array of shape (rows,)
        ``E KL(q(z | x, y) ‖ p(z))``.
    labels : array of shape (rows,)
        ``KL(q(y | x) ‖ p(y))``; of a row whose label is given, ``-ln p(y)``.
    """

    reconstruction: Float[np.ndarray, " row"]
    divergence: Float[np.ndarray, " row"]
    labels: Float[np.ndarray, " row"]

    @property
    def total(self) -> Float[np.ndarray, " row"]:
        """The bound: reconstruction minus the other two."""
        return self.reconstruction - self.divergence - self.labels


@documented
class SemiSupervisedVAE(SemiSupervisedClassifier):
    """Classifier for rows of which few have labels, which also generates rows of a class.

    In y, -1 means that a label is not known, as in `sklearn.semi_supervised`; labels that are text
    then stand in an array of dtype object beside the number -1. Use it where rows without labels
    are many; it learns from both kinds at once. It fails where classes are not what makes groups
    of rows differ: then other groups are taken for classes.

    The model M2 has rows come of a class y and a code z, ``p(y) N(z; 0, 1) p(x | y, z)``, beside a
    classifier q(y | x) and a posterior q(z | x, y). With ``L(x, y) = E_q[ln p(x | y, z)] -
    KL(q(z | x, y) ‖ p(z)) + ln p(y)`` the loss is the mean over all N rows of ``-L(x, y)`` where y
    is known and ``-Σ_y q(y | x) (L(x, y) - ln q(y | x))`` where it is not, a sum over all classes,
    plus α times the mean of ``-ln q(y | x)`` over the labelled rows: multiplied by N, the paper's
    objective with its factor α N. M1+M2 learns features of all rows first, by an ordinary
    variational autoencoder, and M2 reads draws of them, which are new in each epoch.
    (Kingma, Rezende, Mohamed & Welling 2014, arXiv:1406.5298.)

    Each step reads `batch_size` rows, the labelled ones among them in proportion or half as many
    as `batch_size`, whichever is more. Of ``validation_fraction``, unlabelled rows are held out,
    and labelled ones class by class where each class can spare five; if none are, the last weights
    are kept.

    Parameters
    ----------
    n_components : int, default=2
        Components of z, at least 1. With many, z tells of a row what its class could have told.
    alpha : float, default=0.1
        Weight α >= 0 of how well labelled rows are classified, per row of all. The smaller the
        share of labelled rows and the larger the bound, in nats, the more it may take.
    top_classes : int or None, default=None
        How many classes of a row, at least 2, the sum over classes takes in training: the most
        probable ones, whose q(y | x) are scaled to add to one, still a bound. A step is faster
        nearly by the share left out. None takes all.
    class_prior : {"labelled", "uniform"}, default="labelled"
        p(y): the shares of the classes among the labelled rows, or the same for all. Where rows to
        be labelled were not picked at random but by class, write "uniform".
    features : VariationalAutoencoder, FrozenEstimator or None, default=None
        What learns the features that M2 reads, with a gaussian or laplace code: M1+M2. A fitted
        one stays as it is within a `sklearn.frozen.FrozenEstimator`. None is M2 on the rows
        themselves. With features, the settings below are those of M2.
    noise : {"learned", "per_feature"} or float, default="learned"
        Width of the gaussian likelihood, in units of the scaled data.
    hidden_layer_sizes : sequence of int, default=(128, 128)
        Widths of the hidden layers of both encoders, q(z | x, y) and q(y | x), mirrored in the
        decoder; () gives linear ones.
    activation : str or callable, default="silu"
        Nonlinearity of the hidden layers: "silu", "elu", "relu", "tanh", ...
    likelihood : str or Likelihood, default="gaussian"
        Of the rows, as in `VariationalAutoencoder`: "gaussian", "bernoulli", "poisson", ...
    scale : {"auto", "standard", "channel", "global", "none"}, default="auto"
        Scaling of the inputs, and of the targets of real-valued likelihoods.
    missing : {"error", "ignore"}, default="error"
        Whether NaN in X is refused, or contributes nothing and enters as the feature's mean.
    architecture : str, Dense, Convolutional, Recurrent or None, default=None
        Network of both encoders and the decoder, which then replaces `hidden_layer_sizes` and
        `activation`.
    <training>

    Attributes
    ----------
    classes_ : array of shape (classes,)
    class_prior_ : array of shape (classes,)
        p(y).
    autoencoder_ : VariationalAutoencoder
        p(x | y, z) and q(z | x, y), whose condition is the label: of features for M1+M2.
    features_ : VariationalAutoencoder or None
    history_ : dict of arrays
        As of an autoencoder; the terms are "reconstruction", "divergence", "labels" and
        "classification".
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
    feature_names_in_ : array of str, if X has names

    See Also
    --------
    StackedClassifier : Layers trained on all rows first, then on the labelled ones.
    VariationalAutoencoder : Without labels.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_blobs
    >>> from narrows import SemiSupervisedVAE
    >>> X, truth = make_blobs(300, centers=3, cluster_std=0.6, random_state=0)
    >>> y = np.full(300, -1)
    >>> y[:30] = truth[:30]
    >>> model = SemiSupervisedVAE(1, max_epochs=20, learning_rate=0.01, random_state=0).fit(X, y)
    >>> model.score(X, truth) > 0.9
    True
    >>> model.sample(4, label=2, random_state=0).shape
    (4, 2)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        alpha: float = 0.1,
        top_classes: int | None = None,
        class_prior: str = "labelled",
        features: VariationalAutoencoder | FrozenEstimator | None = None,
        noise: str | float = "learned",
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
        self.alpha = alpha
        self.top_classes = top_classes
        self.class_prior = class_prior
        self.features = features
        self.noise = noise
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
        first = self if self.features is None else self.features
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = first.missing != "error"
        return tags

    def _fit(self, X: Any, y: Any) -> loop.History:
        self._check()
        inner = self._inner(VariationalAutoencoder, OWN)
        settings = _checks.check(inner)
        numbers = self._numbered(y)
        split, order, first, drawn, *starts = _fitting.seeds(self.random_state, 4 + self.n_init)
        draw = self._learn_features(X, first)
        if draw is not None:
            X = draw(devices.generators([drawn], torch.device("cpu"))[0]).numpy()
        history = self._learn(inner, X, numbers, settings, [split, order, *starts], draw)
        self._take_names(inner if self.features_ is None else self.features_)
        return history

    def _check(self) -> None:
        if not isinstance(self.alpha, Real) or not 0 <= float(self.alpha) < math.inf:
            raise ValueError(f"alpha={self.alpha!r} must be a number, at least 0. Write 0.1.")
        if self.top_classes is not None:
            _checks.check_count("top_classes", self.top_classes, least=2)
        given = self._frozen or self.features
        if given is not None and not isinstance(given, VariationalAutoencoder):
            raise TypeError(
                f"features={self.features!r} is not what M2 can read draws of. Write "
                "features=VariationalAutoencoder(50), say, or None."
            )
        self._check_labelling()

    @property
    def _frozen(self) -> Any:
        """Features that are fitted and stay as they are."""
        return self.features.estimator if isinstance(self.features, FrozenEstimator) else None

    def _learn_features(self, X: Any, seed: np.random.SeedSequence) -> Draw | None:
        """Fit the features of all rows, and return what draws them from their posteriors."""
        self.features_ = None
        if self.features is None:
            return None
        if self._frozen is not None:
            self.features_ = self._frozen
        else:
            self.features_ = clone(self.features)
            if self.features_.random_state is None:
                self.features_.random_state = int(seed.generate_state(1)[0])
            self.features_.fit(X)
        model = self.features_._model_of(self.features_)
        posterior, layout = model.blueprint.posterior, model.blueprint.layout
        if not isinstance(posterior, GaussianCode | LaplaceCode) or layout.circular:
            raise ValueError(
                "M2 describes numbers on a line, but the codes of features= are angles, shares or "
                "directions. Write posterior='gaussian' and circular=()."
            )
        blank = torch.zeros(1, 1, posterior.n_noise(layout))
        found = self.features_._map(
            X, lambda x, _: model.latent(x, blank.expand(1, len(x), -1)).raw[0]
        )
        raw = torch.from_numpy(found)

        def draw(generator: torch.Generator) -> Tensor:
            noise = torch.randn(1, len(raw), posterior.n_noise(layout), generator=generator)
            return posterior.draw(raw[None], layout, noise.to(raw))[0]

        return draw

    def _new_learner(
        self, blueprint: Blueprint, log_prior: Float[Tensor, " class"], n_restarts: int
    ) -> SemiSupervised:
        n_classes = len(log_prior)
        n_guesses = min(self.top_classes or n_classes, n_classes)
        return SemiSupervised(blueprint, log_prior, float(self.alpha), n_guesses, n_restarts)

    def _columns(self) -> list[Column]:
        return [self._label_column]

    def transform(self, X: Any) -> Float[np.ndarray, "row component"]:
        """Return the codes of rows: the location of q(z | x, y) at the most probable class y.

        What of a row its class does not tell: style, orientation, size.
        """
        labels = self.predict(X)
        return self.autoencoder_.transform(self._read(X), condition=labels)

    def elbo(self, X: Any, y: Any = None) -> LabelledElbo:
        """Return the evidence lower bound of each row, split into its terms, in nats.

        Of the data as given. A bound on ``ln p(x)``, or on ``ln p(x, y)`` of rows whose label is
        given. With features, from one draw of them for each row, always the same one.

        Parameters
        ----------
        X : like `fit`
        y : array of shape (rows,), optional
            Labels; -1 where one is not known.

        Returns
        -------
        LabelledElbo
            `reconstruction`, `divergence`, `labels` and `total`, of shape (rows,).
        """
        share = self.predict_proba(X).astype(np.float64)
        if y is not None:
            share = self._given_shares(y, share)
        inside = None
        if self.features_ is not None:
            inside = self.features_.elbo(X).reconstruction
            X, log_density = self._drawn_features(X, self.features_)
        every = [self.autoencoder_.elbo(X, condition=[label]) for label in self.classes_]
        one, two = ((share * np.stack(term, 1)).sum(1) for term in zip(*every, strict=True))
        labels = (xlogy(share, share) - xlogy(share, self.class_prior_)).sum(1)
        if inside is None:
            return LabelledElbo(one, two, labels)
        return LabelledElbo(inside, log_density - one + two, labels)

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
        of_labels, of_rows, of_noise = _fitting.seeds(random_state, 3)
        _checks.check_count("n_samples", n_samples)
        label = self._drawn_labels(n_samples, label, of_labels)
        own = int(of_rows.generate_state(1)[0])
        settings = {"condition": label, "random_state": own}
        if self.features_ is None:
            return self.autoencoder_.sample(n_samples, noise=noise, **settings)
        codes = self.autoencoder_.sample(n_samples, **settings)
        outputs = self.features_._outputs(torch.from_numpy(codes), None, None)
        return self.features_._made(outputs, noise, of_noise)

    def _read(self, X: Any) -> Any:
        """Return what M2 reads: rows, or the locations of their features."""
        return X if self.features_ is None else self.features_.transform(X)

    def _given_shares(
        self, y: Any, share: Float[np.ndarray, "row class"]
    ) -> Float[np.ndarray, "row class"]:
        """Return probabilities of classes where y says nothing, else ones and zeros."""
        labels, known = _labels.read(self, y)
        _labels.check_length(labels, len(share))
        hits = labels[:, None] == self.classes_
        new = known & ~hits.any(1)
        if new.any():
            raise ValueError(
                f"The label {labels[new].tolist()[0]!r} is not among those of the fit: "
                f"{', '.join(map(repr, self.classes_.tolist()))}. Pass one of these, or -1."
            )
        return np.where(known[:, None], hits, share)

    def _drawn_features(
        self, X: Any, first: VariationalAutoencoder
    ) -> tuple[Float[np.ndarray, "row feature"], Float[np.ndarray, " row"]]:
        """Return a draw of each row's features and its log-density, the same at every call."""
        generator, model = torch.Generator().manual_seed(0), first._model
        densities = []

        def drawn(x: Tensor, condition: Tensor | None) -> Tensor:
            noise = torch.randn(1, len(x), len(model.blueprint.layout.plain), generator=generator)
            latent = model.latent(x, noise)
            densities.append(latent.log_posterior()[0, 0])
            return latent.features[0]

        rows = first._map(X, drawn)
        return rows, torch.cat(densities).double().numpy()
