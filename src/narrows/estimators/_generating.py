"""New rows from a fitted autoencoder: drawn, between two others, or along a component."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from sklearn.exceptions import NotFittedError
from torch import Tensor

from narrows import parts
from narrows._errors import nearest
from narrows._types import Array
from narrows.data import sequences
from narrows.engine.devices import generators
from narrows.estimators._checks import sampler_of
from narrows.estimators._densities import Density, check_whole
from narrows.estimators._fitting import seeds
from narrows.model import Model
from narrows.nn.code import Layout
from narrows.nn.scale import Scale

PATHS = ("linear", "spherical")
_SHARES = (0.05, 0.95)


class Generating(ABC):
    """What autoencoders make of codes that belong to no row."""

    _event_shape: tuple[int, ...]
    _target_shape: tuple[int, ...]
    _target_scale: Scale
    _sequential: bool
    density_: Density

    @staticmethod
    @abstractmethod
    def _model_of(estimator: Any) -> Model:
        """Return the fitted model."""

    @abstractmethod
    def _pairs(self, X: Any, condition: Any = None) -> Array:
        """Return codes in double precision, circular components as (cos, sin)."""

    @abstractmethod
    def _angles(self, X: Any, condition: Any = None) -> Array:
        """Return codes in double precision, circular components as angles."""

    @abstractmethod
    def _outputs(self, features: Tensor, level: int | None, condition: Tensor | None) -> Tensor:
        """Return the decoder's outputs for features of codes."""

    @abstractmethod
    def _known_condition(self, condition: Any, n_rows: int) -> Tensor | None:
        """Return a condition as numbers, if the model has one."""

    @abstractmethod
    def _decoded(self, Z: Any, level: int | None, condition: Tensor | None = None) -> Array:
        """Return reconstructions in double precision."""

    @abstractmethod
    def _to_data(self, outputs: Tensor) -> Array:
        """Return means in the units and shape of the data."""

    @abstractmethod
    def _shaped(self, flat: Array) -> Array:
        """Return flat rows in the shape of the data."""

    @property
    @abstractmethod
    def _dtype(self) -> torch.dtype:
        """The type of the network's numbers."""

    @abstractmethod
    def _stored(self, rows: Array) -> Array:
        """Return rows in the units of the data, in the precision that they need."""

    def fit_density(
        self,
        X: Any,
        kind: Any = "mixture",
        *,
        condition: Any = None,
        random_state: Any = None,
        **settings: Any,
    ) -> Self:
        """Learn the density of the codes of rows, for `sample` to draw from.

        Any autoencoder becomes a generator by this, also one without a prior; of one that has a
        prior it draws nearer to the rows where their codes differ from the prior (Ghosh, Sajjadi,
        Vergari, Black & Schölkopf 2020, arXiv:1903.12436). Circular components are learned as
        pairs (cos, sin) and their draws put back on the circle. Codes that are sparse are learned
        as they are: draws keep their range, units that are always silent stay silent, and under
        `TopK` only the k largest survive; other exact zeros of draws are small numbers instead.

        Parameters
        ----------
        X : like `fit`
            Best rows that the fit did not see.
        kind : {"mixture", "kernel", "flow"}, default="mixture"
            A mixture of Gaussians whose members and kind of covariance are chosen by BIC; a
            Gaussian around every code, of a width chosen by leaving codes out; or a normalising
            flow, which needs the extra `flow`.
        condition : like `fit`
            The density is that of all codes, whatever their condition.
        random_state : int, RandomState, Generator or None, default=None
        **settings
            Of the kind: ``max_members=10`` of a mixture; ``n_transforms=3, hidden_features=64,
            max_epochs=100, patience=10, learning_rate=2e-3`` of a flow.

        Returns
        -------
        self
            With the attribute ``density_``, whose ``sample(n)`` and ``log_density(codes)`` are of
            codes as ``circular_output="cos_sin"`` gives them. Another fit of the model drops it.

        Raises
        ------
        ValueError
            The kind is not known, a setting is out of range, or the codes are all the same.
        MissingExtraError
            A flow without zuko.

        Examples
        --------
        >>> import numpy as np
        >>> from narrows import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(200, 5))
        >>> model = Autoencoder(2, max_epochs=2, random_state=0).fit(X).fit_density(X)
        >>> model.sample(3, random_state=0).shape
        (3, 5)
        """
        self._model_of(self)
        if kind not in parts.DENSITIES:
            raise ValueError(
                f"kind={kind!r} is not a density.{nearest(str(kind), parts.DENSITIES)} "
                f"Known are: {', '.join(parts.DENSITIES)}."
            )
        density = parts.load(parts.DENSITIES[kind])(**settings)
        self.density_ = density.fit(self._pairs(X, condition), random_state)
        return self

    def sample(
        self,
        n_samples: int = 1,
        *,
        condition: Any = None,
        noise: bool = True,
        random_state: Any = None,
    ) -> Array:
        """Return new rows, in the units and shape of the data, or of the target if there was one.

        Codes are drawn from ``density_`` after `fit_density`, else from the prior of a model that
        has one, and decoded. Noise is that of the likelihood: with it, rows are draws of the
        model, such as zeros and ones, whole counts, or one category with the share 1. Squared
        error has no noise of its own; `Normal` has. Sequences have the length of the fit.

        Parameters
        ----------
        n_samples : int, default=1
            At least 1.
        condition : like `fit`
            One row for each sample, or a single one for all: ``condition="a"``, say.
        noise : bool, default=True
            Whether to draw each value from the likelihood, or give its mean.
        random_state : int, RandomState, Generator or None, default=None
            The same seed gives the same rows; the same codes also without noise.

        Returns
        -------
        array of shape (n_samples, ...)

        Raises
        ------
        NotFittedError
            The model has neither a prior nor a density.

        Examples
        --------
        >>> import numpy as np
        >>> from narrows import VariationalAutoencoder
        >>> X = np.random.default_rng(0).normal(size=(200, 5))
        >>> model = VariationalAutoencoder(2, max_epochs=2, random_state=0).fit(X)
        >>> model.sample(3, random_state=0).shape
        (3, 5)
        """
        self._model_of(self)
        check_whole("n_samples", n_samples, 100)
        of_codes, of_noise = seeds(random_state, 2)
        known = self._known_condition(condition, n_samples)
        outputs = self._outputs(self._drawn(n_samples, of_codes), None, known)
        return self._made(outputs, noise, of_noise)

    def _made(
        self, outputs: Float[Tensor, "row output"], noise: bool, seed: np.random.SeedSequence
    ) -> Array:
        """Return rows, from outputs of the decoder: drawn from the likelihood, or its means."""
        if not noise:
            return self._stored(self._to_data(outputs))
        model = self._model_of(self)
        with torch.no_grad():
            width = None if model.log_width is None else model.log_width[:, -1]
            own = generators([seed], torch.device("cpu"))
            drawn = model.blueprint.likelihood.draw(outputs[None], width, own)[0]
        rows = self._target_scale.invert(drawn.double()).numpy()
        return self._stored(self._shaped(rows))

    def _drawn(self, n: int, seed: np.random.SeedSequence) -> Float[Tensor, "{n} feature"]:
        """Return features of codes drawn from the density, else from the prior."""
        model = self._model_of(self)
        if hasattr(self, "density_"):
            codes = torch.from_numpy(self.density_.sample(n, np.random.default_rng(seed)))
            features = model.blueprint.layout.features(codes)
            return model.blueprint.code.project(features, model.blueprint.layout).to(self._dtype)
        own = generators([seed], torch.device("cpu"))
        if model.critic is not None:
            return sampler_of(self).features(n, model.blueprint.layout, own)[0].to(self._dtype)
        if model.prior is None:
            raise NotFittedError(
                f"This {type(self).__name__} has no prior to draw codes from, and no density of "
                "its codes was fitted. Write model.fit_density(X) first."
            )
        with torch.no_grad():
            return model.drawn_from_prior(n, own)[0]

    def interpolate(
        self, a: Any, b: Any, n_steps: int = 10, *, kind: str = "linear", condition: Any = None
    ) -> Float[np.ndarray, "pair {n_steps} *event"]:
        """Return rows on the way from each row of a to that of b, through the code.

        The first and last step are the reconstructions of a and b; every step is the
        reconstruction of a code that the model could give: `TopK` keeps k units at each.
        Circular components go along the shorter arc. Sequences have the length of the fit.

        Parameters
        ----------
        a, b : like `fit`, or one row each
            As many rows of each.
        n_steps : int, default=10
            With both ends, at least 2.
        kind : {"linear", "spherical"}, default="linear"
            Straight, or along great circles around the origin of the code with lengths that
            change evenly, which keeps away from the middle, where a normal prior in many
            dimensions has no codes (White 2016, arXiv:1609.04468). Between opposite directions,
            where there are many great circles, straight.
        condition : like `fit`
            Of each pair: that of both rows and of all steps.

        Returns
        -------
        array of shape (pairs, n_steps, ...)

        Examples
        --------
        >>> import numpy as np
        >>> from narrows import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(200, 5))
        >>> model = Autoencoder(2, max_epochs=2, random_state=0).fit(X)
        >>> model.interpolate(X[0], X[1], 4).shape
        (1, 4, 5)
        """
        model = self._model_of(self)
        check_whole("n_steps", n_steps, 10, least=2)
        if kind not in PATHS:
            raise ValueError(
                f"kind={kind!r} is not a path.{nearest(str(kind), PATHS)} "
                f"Known are: {', '.join(PATHS)}."
            )
        layout = model.blueprint.layout
        starts, ends = (
            torch.from_numpy(self._pairs(self._rows_from(each), condition)) for each in (a, b)
        )
        if len(starts) != len(ends):
            raise ValueError(
                f"a has {len(starts)} rows and b {len(ends)}. Write as many of each: pairs are "
                "those of equal number."
            )
        share = torch.linspace(0, 1, n_steps, dtype=torch.float64)
        path = along(layout.features(starts), layout.features(ends), share, layout, kind)
        path = layout.pairs(model.blueprint.code.project(path, layout))
        return self._decoded_path(path, condition)

    def traverse(
        self,
        X: Any,
        component: Any,
        values: Sequence[float] | Array | None = None,
        n_steps: int = 10,
        *,
        condition: Any = None,
    ) -> Float[np.ndarray, "row step *event"]:
        """Return rows whose code is theirs but for one component, which takes values in turn.

        Parameters
        ----------
        X : like `fit`, or one row
        component : int
            From 0, as in ``circular=[0]``.
        values : sequence of float, optional
            As `transform` gives them, angles in radians. By default `n_steps` even quantiles of
            the component on X, from 5 % to 95 %, or even angles around the circle.
        n_steps : int, default=10
            At least 1.
        condition : like `fit`

        Returns
        -------
        array of shape (rows, values, ...)

        Examples
        --------
        >>> import numpy as np
        >>> from narrows import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(200, 5))
        >>> model = Autoencoder(2, max_epochs=2, random_state=0).fit(X)
        >>> model.traverse(X, 0, n_steps=4).shape
        (200, 4, 5)
        """
        layout = self._model_of(self).blueprint.layout
        check_whole("n_steps", n_steps, 10)
        if not hasattr(component, "__index__") or component not in range(layout.n_components):
            raise ValueError(
                f"component={component!r} is not one of the {layout.n_components} components. "
                f"Write a number from 0 to {layout.n_components - 1}."
            )
        codes = self._angles(self._rows_from(X), condition)
        if values is None:
            values = _usual(codes[:, component], n_steps, component in layout.circular)
        chosen = np.asarray(values, dtype=np.float64)
        if chosen.ndim != 1 or not len(chosen) or not np.isfinite(chosen).all():
            raise ValueError(
                f"values={values!r} must be finite numbers in a row. Write values=[-1, 0, 1], say."
            )
        moved = np.repeat(codes[:, None], len(chosen), 1)
        moved[:, :, component] = chosen
        return self._decoded_path(torch.from_numpy(moved), condition)

    def _rows_from(self, rows: Any) -> Any:
        """Return rows, one that stands alone as the only one."""
        if sequences.listed(rows) or np.ndim(rows) != len(self._event_shape):
            return rows
        if hasattr(self, "feature_names_in_") and hasattr(rows, "to_frame"):
            return rows.to_frame().T
        return [np.asarray(rows)] if self._sequential else np.asarray(rows)[None]

    def _decoded_path(
        self, codes: Float[Tensor, "row step code"], condition: Any
    ) -> Float[np.ndarray, "row step *event"]:
        known = self._known_condition(condition, len(codes))
        known = None if known is None else known.repeat_interleave(codes.shape[1], 0)
        rows = self._decoded(codes.flatten(0, 1).numpy(), None, known)
        return self._stored(rows).reshape(*codes.shape[:2], *self._target_shape)


def _usual(codes: Float[np.ndarray, " row"], n: int, circular: bool) -> Float[np.ndarray, " {n}"]:
    """Return values to move a component through."""
    if circular:
        return np.linspace(-math.pi, math.pi, n, endpoint=False)
    if len(codes) < 2:
        raise ValueError(
            "One row does not tell how far its component may move. Write values=[-1, 0, 1], say, "
            "or pass more rows."
        )
    return np.quantile(codes, np.linspace(*_SHARES, n) if n > 1 else [0.5])


def along(
    a: Float[Tensor, "row feature"],
    b: Float[Tensor, "row feature"],
    share: Float[Tensor, " step"],
    layout: Layout,
    kind: str,
) -> Float[Tensor, "row step feature"]:
    """Return features at shares from 0 to 1 of the way from a to b.

    Angles go along the shorter arc, plain components straight or along a great circle.
    """
    (plain, c, s), (other, d, t) = layout.split(a[:, None]), layout.split(b[:, None])
    step = share[:, None]
    way = _straight if kind == "linear" else _great_circle
    turn = torch.atan2(t * c - d * s, c * d + s * t) * step
    cosine, sine = c * turn.cos() - s * turn.sin(), s * turn.cos() + c * turn.sin()
    return torch.cat([way(plain, other, step), cosine, sine], -1)


def _straight(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    return a * (1 - share) + b * share


def _great_circle(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    size_a, size_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    one, two = a / size_a.clamp_min(1e-300), b / size_b.clamp_min(1e-300)
    gap, sum_ = ((one + sign * two).norm(dim=-1, keepdim=True) for sign in (-1, 1))
    angle = 2 * torch.atan2(gap, sum_)
    unclear = (angle.sin() < 1e-6) | (size_a == 0) | (size_b == 0)
    safe = torch.where(unclear, 1.0, angle)
    direction = (((1 - share) * safe).sin() * one + (share * safe).sin() * two) / safe.sin()
    return torch.where(
        unclear, _straight(a, b, share), _straight(size_a, size_b, share) * direction
    )
