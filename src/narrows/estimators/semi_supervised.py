"""A classifier for few labels: a variational autoencoder whose rows come of a class and a code."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.special import xlogy
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn.functional import one_hot

from narrows._types import Array
from narrows.blueprint import Blueprint
from narrows.data.batches import Batch
from narrows.engine import devices, loop
from narrows.engine.training import Training
from narrows.estimators import _bound, _checks, _fitting, _labels
from narrows.estimators._conditions import Column
from narrows.estimators._docs import documented
from narrows.estimators._semi_supervised import Draw, SemiSupervisedClassifier
from narrows.estimators.variational import VariationalAutoencoder
from narrows.nn.activation import Activation
from narrows.nn.architecture import Architecture
from narrows.nn.posterior import GaussianCode, LaplaceCode
from narrows.objective.likelihoods import Likelihood
from narrows.semi_supervised import SemiSupervised


class LabelledElbo(NamedTuple):
    """The evidence lower bound of each row, and its terms, in nats.

    Attributes
    ----------
    reconstruction : array of shape (rows,)
        ``E ln p(x | y, z)``, of the data as given; with features z₁, ``E ln p(x | z₁)``, that of
        their model.
    divergence : array of shape (rows,)
        ``E KL(q(z | x, y) ‖ p(z))``. With features ``E[ln q(z₁ | x) - L₂(z₁)]``, where L₂ is the
        bound of M2 on the density of features without its term of labels: it can be negative.
    labels : array of shape (rows,)
        ``KL(q(y | x) ‖ p(y))``; of a row whose label is given, ``-ln p(y)``. With features, q(y) is
        that of their location.
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

    <steps>

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
        nearly by the share left out: with 2 of ten classes three to five times. None takes all.
    <class prior>
    features : VariationalAutoencoder, FrozenEstimator or None, default=None
        What learns the features that M2 reads, with a gaussian or laplace code: M1+M2. A fitted
        one stays as it is within a `sklearn.frozen.FrozenEstimator`. None is M2 on the rows
        themselves. With features, the settings below are those of M2, and ``noise="per_feature"``
        is the one to take.
    noise : {"learned", "per_feature"} or float, default="learned"
        Width of the gaussian likelihood, in units of the scaled data: learned, as one or as one
        for each value, or fixed, > 0. Features that carry nothing are as wide as their prior, the
        others narrow, so that one width fits them badly: on MNIST with 100 labels 85 % of digits
        were right with one width, 95 % with one each, after 20 epochs.
    hidden_layer_sizes : sequence of int, default=(128, 128)
        Widths of the hidden layers of both encoders, q(z | x, y) and q(y | x), mirrored in the
        decoder; () gives linear ones.
    activation : str or callable, default="silu"
        Nonlinearity of the hidden layers: "silu", "elu", "relu", "tanh", ...
    likelihood : str or Likelihood, default="gaussian"
        Of the rows, as in `VariationalAutoencoder`: "gaussian", "bernoulli", "poisson", ...
    <classifier>
    <training>

    Attributes
    ----------
    classes_ : array of shape (classes,)
    class_prior_ : array of shape (classes,)
        p(y).
    autoencoder_ : VariationalAutoencoder
        p(x | y, z) and q(z | x, y), whose condition is the label: of features for M1+M2. Its
        ``fve_`` is measured on the labelled rows held out, or on all labelled ones if none are.
    features_ : VariationalAutoencoder or None
    history_ : dict of arrays
        As of an autoencoder; the terms are "reconstruction", "divergence", "labels" and
        "classification".
    <classifier attributes>

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
    >>> X = X @ [[1.0, 0.6], [0.6, 1.0]]  # longer along one axis
    >>> y = np.full(300, -1)
    >>> y[:30] = truth[:30]
    >>> model = SemiSupervisedVAE(1, max_epochs=20, learning_rate=0.01, random_state=0).fit(X, y)
    >>> model.score(X, truth) > 0.9
    True
    >>> model.sample(4, label=2, random_state=0).shape
    (4, 2)
    """

    features_: Any
    _kind = VariationalAutoencoder
    _further = ("alpha", "top_classes", "class_prior", "features")

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

    def _fit(self, X: Any, y: Any) -> loop.History:
        self._check()
        inner = self._inner()
        settings = _checks.check(inner)
        numbers = self._numbered(y)
        split, order, first, drawn, *starts = _fitting.seeds(self.random_state, 4 + self.n_init)
        self.features_, draw = None, None
        if self.features is not None:
            self.features_ = self._learned_features(X, numbers, first)
            draw = self._drawing(X)
            (generator,) = devices.generators([drawn], torch.device("cpu"))
            X = draw(slice(None), generator).numpy()
        history = self._learn(inner, X, numbers, settings, [split, order, *starts], draw)
        self._take_names(inner if self.features_ is None else self.features_)
        return history

    def _check(self) -> None:
        alpha = self.alpha
        number = isinstance(alpha, Real) and not isinstance(alpha, bool)
        if not number or not 0 <= float(alpha) < math.inf:
            raise ValueError(f"alpha={alpha!r} must be a number, at least 0. Write 0.1.")
        if self.top_classes is not None:
            _checks.check_count("top_classes", self.top_classes, least=2)
        given = self._frozen or self.features
        if given is not None and not isinstance(given, VariationalAutoencoder):
            raise TypeError(
                f"features={self.features!r} is not what M2 can read draws of. Write "
                "features=VariationalAutoencoder(50), say, or None."
            )
        if getattr(self._frozen, "_conditions", None) is not None:
            raise ValueError(
                "The features were fitted with a condition, and rows have none here. Fit them "
                "without condition=."
            )
        self._check_labelling()

    @property
    def _frozen(self) -> Any:
        """Features that are fitted and stay as they are."""
        return self.features.estimator if isinstance(self.features, FrozenEstimator) else None

    def _learned_features(
        self, X: Any, numbers: Int64[np.ndarray, " row"], seed: np.random.SeedSequence
    ) -> VariationalAutoencoder:
        """Return the features, fitted to all rows, after all checks that take no training."""
        if self._frozen is not None:
            first = self._frozen
            blueprint = first._model_of(first).blueprint
            code, layout, rows = blueprint.code, blueprint.layout, first._known_rows(X)
        else:
            first = clone(self.features)
            settings = _checks.check(first)
            code, layout = settings.choice.code, settings.layout
            rows = first._learn_rows(X, None, settings).rows
        _labels.check_length(numbers, len(rows))
        if not isinstance(code, GaussianCode | LaplaceCode) or layout.circular:
            raise ValueError(
                "M2 describes numbers on a line, but the codes of features= are angles, shares or "
                "directions. Write posterior='gaussian' and circular=()."
            )
        if self._frozen is None:
            if first.random_state is None:
                first.random_state = int(seed.generate_state(1)[0])
            first.fit(X)
        return first

    def _drawing(self, X: Any) -> Draw:
        """Return what draws the features of rows from their posteriors."""
        model = self.features_._model
        posterior, layout = model.blueprint.posterior, model.blueprint.layout
        blank = torch.zeros(1, 1, posterior.n_noise(layout))
        found = self.features_._map(
            X, lambda x, _: model.latent(x, blank.expand(1, len(x), -1)).raw[0]
        )
        raw = torch.from_numpy(found)

        def draw(pick: Tensor | slice, generator: torch.Generator) -> Tensor:
            some = raw[None, pick]
            shape = (1, some.shape[1], posterior.n_noise(layout))
            noise = torch.randn(shape, generator=generator).to(raw)
            return posterior.draw(some, layout, noise)[0]

        return draw

    def _new_learner(
        self, blueprint: Blueprint, log_prior: Float[Tensor, " class"], n_restarts: int
    ) -> SemiSupervised:
        n_classes = len(log_prior)
        n_guesses = min(self.top_classes or n_classes, n_classes)
        return SemiSupervised(blueprint, log_prior, float(self.alpha), n_guesses, n_restarts)

    def _columns(self) -> list[Column]:
        return [Column("label", categories=tuple(self.classes_.tolist()))]

    def _condition_of(self, shares: Float[Tensor, "row class"]) -> Float[Tensor, "row condition"]:
        return one_hot(shares.argmax(1), shares.shape[1]).to(shares)

    def transform(self, X: Any) -> Float[np.ndarray, "row component"]:
        """Return the codes of rows: the location of q(z | x, y) at the most probable class y.

        What of a row its class does not tell: style, orientation, size.

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
        check_is_fitted(self)
        read = self._read(X)
        labels = self.classes_[self._shares(read).argmax(1)]
        return self.autoencoder_.transform(read, condition=labels)

    def elbo(self, X: Any, y: Any = None) -> LabelledElbo:
        """Return the evidence lower bound of each row, split into its terms, in nats.

        Of the data as given. A bound on ``ln p(x)``, or on ``ln p(x, y)`` of rows whose label is
        given. The same 64 quasi-random codes, with features also draws of these, serve every row,
        so that a row's bound does not depend on the others.

        Parameters
        ----------
        X : like `fit`, shape (rows, ...)
        y : array of shape (rows,), optional
            Labels; -1 where one is not known.

        Returns
        -------
        LabelledElbo
            `reconstruction`, `divergence`, `labels` and `total`, of shape (rows,).

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If a label is none of ``classes_``, or there is not one for each row, or rows are of
            another shape than those of the fit, or not finite.
        """
        check_is_fitted(self)
        read = self._read(X)
        share = self._shares(read).astype(np.float64)
        if y is not None:
            share = self._given_shares(y, share)
        labels = (xlogy(share, share) - xlogy(share, self.class_prior_)).sum(1)
        if self.features_ is None:
            every = [self.autoencoder_.elbo(read, condition=[label]) for label in self.classes_]
            one, two = ((share * np.stack(term, 1)).sum(1) for term in zip(*every, strict=True))
            return LabelledElbo(one, two, labels)
        log_q, bound = self._bounds_of_features(X)
        inside = self.features_.elbo(X).reconstruction
        return LabelledElbo(inside, log_q - (share * bound).sum(1), labels)

    def _read(self, X: Any) -> Any:
        """Return what M2 reads: rows, or the locations of their features."""
        return X if self.features_ is None else self.features_._angles(X)

    def _sampled(
        self, numbers: Int64[np.ndarray, " row"], noise: bool, seeds: list[np.random.SeedSequence]
    ) -> Array:
        of_rows, of_noise = seeds
        n, first, second = len(numbers), self.features_, self.autoencoder_
        settings = {
            "condition": self.classes_[numbers],
            "random_state": int(of_rows.generate_state(1)[0]),
        }
        if first is None:
            return second.sample(n, noise=noise, **settings)
        codes = torch.from_numpy(second.sample(n, **settings)).to(first._dtype)
        return first._made(first._outputs(codes, None, None), noise, of_noise)

    def _given_shares(
        self, y: Any, share: Float[np.ndarray, "row class"]
    ) -> Float[np.ndarray, "row class"]:
        """Return probabilities of classes where y says nothing, else ones and zeros."""
        labels, known = self._labels_in(y)
        _labels.check_length(labels, len(share))
        given = share.copy()
        given[known] = np.eye(len(self.classes_))[_labels.numbers_of(labels[known], self.classes_)]
        return given

    def _bounds_of_features(
        self, X: Any
    ) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, "row class"]]:
        """Return ``E ln q(z₁ | x)`` of features z₁, and M2's ``E L₂(z₁)`` under each class.

        Over the same quasi-random points for every row, each of which makes one draw of the
        features and one of M2's code.
        """
        first, second = self.features_._model, self.autoencoder_._model
        sizes = [m.blueprint.posterior.n_noise(m.blueprint.layout) for m in (first, second)]
        outer, inner = _bound.normal_points(sum(sizes)).split(sizes, 1)
        scales = self.autoencoder_._input_scale, self.autoencoder_._target_scale
        known = torch.eye(len(self.classes_), dtype=self.autoencoder_._dtype)

        def bounds(x: Tensor, _: Tensor | None) -> Tensor:
            found = []
            for one, two in zip(outer, inner, strict=True):
                latent = first.latent(x, one.expand(1, len(x), -1))
                z = latent.features[0].numpy()
                read, target = (scale.apply(z, known.dtype) for scale in scales)
                row = [latent.log_posterior()[0, 0]]
                for label in known:
                    batch = Batch(read, target, condition=label.expand(len(x), -1))
                    terms = _bound.terms(second, batch, two[None, None], scales[1])
                    row.append(terms[0] - terms[1])
                found.append(torch.stack([part.double() for part in row], 1))
            return torch.stack(found).mean(0)

        log_q, *each = self.features_._map(X, bounds).T
        return log_q, np.stack(each, 1)
