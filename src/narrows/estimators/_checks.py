"""Settings of an estimator, checked and resolved to parts."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.base import clone

from narrows import _ranks
from narrows._errors import nearest, warn
from narrows.blueprint import Blueprint, Disturbance
from narrows.corruption import Clean, Custom, Unkept
from narrows.data.source import Source
from narrows.engine import devices
from narrows.engine.training import Training
from narrows.estimators._fitting import Recipe
from narrows.estimators._stacking import LAYERS, LayerWise
from narrows.nn.architecture import Architecture
from narrows.nn.code import Code, Layout
from narrows.nn.critic import Critic
from narrows.nn.dense import Dense
from narrows.nn.headed import Headed
from narrows.nn.ordering import Ordering
from narrows.nn.prior import Prior
from narrows.nn.sampler import CustomSampler, Sampler, UnkeptSampler
from narrows.nn.scale import SCALES, Moments, Scale, scale_from
from narrows.objective.likelihoods import Likelihood
from narrows.objective.mixed import Mixed
from narrows.objective.penalties import Contractive, Penalty
from narrows.parts import Part, resolve

MISSING = ("error", "ignore")
CIRCULAR_OUTPUT = ("angle", "cos_sin")


@dataclass(frozen=True)
class Choice:
    """One part per axis."""

    architecture: Architecture
    code: Code
    ordering: Ordering
    likelihood: Likelihood
    penalties: tuple[Penalty, ...]
    disturbance: Disturbance | None = None
    schedule: LayerWise | None = None
    prior: Prior | None = None
    n_draws: int = 1
    critic: Critic | None = None

    @property
    def free(self) -> bool:
        """Whether nothing but its size constrains the code."""
        how = self.disturbance if self.schedule is None else self.schedule.disturbance
        added = self.penalties if self.schedule is None else self.schedule.penalties
        predicts = isinstance(self.architecture, Headed)
        free = how is None and not added and self.code.elementwise and not predicts
        return free and self.critic is None


@dataclass(frozen=True)
class Checked:
    """Settings that passed the checks, waiting for the sizes of the data."""

    estimator: Any
    choice: Choice
    layout: Layout

    @property
    def scale(self) -> str:
        """How inputs, and targets of real values, are scaled."""
        return "standard" if self.estimator.scale == "auto" else str(self.estimator.scale)

    @property
    def target_scale(self) -> str:
        """How targets are scaled; the real columns of a mixed table, as the inputs."""
        likelihood = self.choice.likelihood
        return self.scale if isinstance(likelihood, Mixed) or likelihood.scales_target else "none"

    def placed(self, targets: Source) -> "Checked":
        """Return the same for these targets, whose columns a mixed likelihood names."""
        if not isinstance(self.choice.likelihood, Mixed):
            return self
        likelihood = self.choice.likelihood.placed(targets.names, math.prod(targets.shape))
        return replace(self, choice=replace(self.choice, likelihood=likelihood))

    def scale_of(self, moments: Moments, shape: tuple[int, ...]) -> Scale:
        """Return the scale that rows of a shape are read by."""
        return scale_from(moments, self.scale, self.n_channels(shape))

    def target_of(self, moments: Moments, shape: tuple[int, ...]) -> Scale:
        """Return the scale of targets that are not the rows; that of y is none of X's."""
        kind = "standard" if isinstance(self.choice.architecture, Headed) else self.scale
        return scale_from(moments, kind, self.n_channels(shape))

    def n_channels(self, shape: tuple[int, ...]) -> int:
        """Return the channels of rows of a shape, as the architecture reads them."""
        n_dims, n = self.choice.architecture.n_dims, len(shape)
        n_axes = {3: 2, 4: 3}.get(n, n) if n_dims is None else n_dims
        return math.prod(shape[: max(n - n_axes, 0)])

    @property
    def dtype(self) -> torch.dtype:
        """Type of the network's numbers."""
        return devices.dtype(training_of(self.estimator).precision)

    def recipe(
        self, event_shape: tuple[int, ...], target_shape: tuple[int, ...], n_condition: int = 0
    ) -> Recipe:
        """Return all that training needs for events of these shapes."""
        e, c = self.estimator, self.choice
        n_values, n_outputs = math.prod(event_shape), math.prod(target_shape)
        if e.n_components > n_values and event_shape == target_shape and c.free:
            warn(
                f"n_components={e.n_components} exceeds the {n_values} features: the code is "
                "overcomplete, and can copy its input unless something else constrains it.",
            )
        if c.disturbance is not None and n_values != n_outputs and c.disturbance.emphasised:
            raise ValueError(
                f"emphasis weighs values of the input, but the target has {n_outputs} values and "
                f"the input {n_values}. Leave emphasis out."
            )
        blueprint = Blueprint(
            c.architecture,
            c.code,
            self.layout,
            c.ordering,
            c.likelihood,
            c.penalties,
            event_shape,
            target_shape,
            c.prior,
            c.n_draws,
            n_condition,
            c.critic,
        )
        return Recipe(
            blueprint,
            c.disturbance,
            training_of(e),
            float(e.learning_rate),
            int(e.batch_size) * _ranks.size(),
            int(e.max_epochs),
            int(e.verbose),
        )


def training_of(estimator: Any) -> Training:
    """Return the training settings, defaults for None."""
    if estimator.training is None:
        return Training()
    if not isinstance(estimator.training, Training):
        raise TypeError(
            f"training={estimator.training!r} is not Training settings. "
            "Write training=narrows.Training(patience=10), say."
        )
    if estimator.training.checkpoint is not None and not isinstance(estimator.random_state, int):
        raise ValueError(
            f"random_state={estimator.random_state!r} draws anew at every fit, so that none could "
            "go on from a checkpoint. Write random_state=0."
        )
    return estimator.training


def check(estimator: Any) -> Checked:
    """Check the settings of an estimator that do not depend on data."""
    for name in ("n_components", "n_init"):
        check_count(name, getattr(estimator, name))
    check_training(estimator)
    for name, known in (
        ("scale", SCALES),
        ("missing", MISSING),
        ("circular_output", CIRCULAR_OUTPUT),
    ):
        check_name(name, getattr(estimator, name), known)
    choice = estimator._choose_parts()
    return Checked(estimator, choice, _layout(estimator))


def check_training(estimator: Any) -> Training:
    """Check the settings of a run, and return those of its training."""
    for name in ("max_epochs", "batch_size"):
        check_count(name, getattr(estimator, name))
    rate = estimator.learning_rate
    if not isinstance(rate, Real) or not float(rate) > 0:
        raise ValueError(f"learning_rate={rate!r} must be a positive number. Write 5e-3.")
    if not isinstance(estimator.verbose, (int, np.integer)):
        raise ValueError(f"verbose={estimator.verbose!r} must be 0 or 1.")
    training = training_of(estimator)
    training.check()
    return training


def refuse_stream(training: Training) -> None:
    """Raise ValueError if rows are to be streamed where a fit takes them all at once."""
    if training.stream is True:
        raise ValueError(
            "stream=True has no place here: all rows are held in memory, beside what is known of "
            "each. Write Training(stream=False)."
        )


def check_names(estimator: Any, params: dict[str, Any]) -> None:
    """Raise ValueError for a parameter that does not exist, with the nearest that does."""
    known = {*estimator.get_params(), *(f"training__{name}" for name in Training().get_params())}
    for name in params:
        owner, _, rest = name.rpartition("__")
        if name not in known:
            beside = [k.rpartition("__")[2] for k in known if k.rpartition("__")[0] == owner]
            raise ValueError(
                f"{name!r} is not a parameter of {type(estimator).__name__}.{nearest(rest, beside)}"
            )


def check_name(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Raise ValueError unless a value is one of the known names."""
    if value not in known:
        raise ValueError(
            f"{name}={value!r} is not known.{nearest(str(value), known)} "
            f"Known are: {', '.join(known)}."
        )


def choose(
    estimator: Any,
    *,
    architecture: Any = None,
    ordering: Any = None,
    code: Any = None,
    penalties: Any = (),
    disturbance: Disturbance | None = None,
    schedule: LayerWise | None = None,
    likelihood: Any = None,
    prior: Any = None,
    n_draws: int = 1,
    critic: Critic | None = None,
) -> Choice:
    """Return the parts that the common settings and an estimator's own ones name.

    Parts are copies: changing a setting after `fit` leaves the fitted model alone.
    """
    if architecture is None:
        architecture = estimator.architecture
    if architecture is None:
        architecture = Dense(estimator.hidden_layer_sizes, estimator.activation)
    if isinstance(penalties, (str, Penalty)):
        penalties = (penalties,)
    if not isinstance(penalties, Iterable):
        raise TypeError(f"penalties={penalties!r} must be a sequence. Write ['l1'], say.")
    terms = tuple(clone(resolve("penalty", penalty)) for penalty in penalties)
    for term in terms:
        if getattr(term, "strength", 0) < 0:
            raise ValueError(f"strength={term.strength} of {term!r} must be at least 0.")
        if not 0 < getattr(term, "rate", 0.5) < 1:
            raise ValueError(f"rate={term.rate} must be in (0, 1). Write 0.05.")
        n_probes = getattr(term, "n_probes", None)
        if n_probes is not None and (not hasattr(n_probes, "__index__") or n_probes < 1):
            raise ValueError(
                f"n_probes={n_probes} must be a whole number, at least 1, or None for the exact "
                "penalty."
            )
    return Choice(
        clone(resolve("architecture", architecture)),
        clone(resolve("code", code)),
        clone(resolve("ordering", ordering)),
        clone(resolve("likelihood", estimator.likelihood if likelihood is None else likelihood)),
        terms,
        disturbance,
        schedule,
        None if prior is None else clone(resolve("prior", prior)),
        n_draws,
        None if critic is None else clone(critic),
    )


def sampler(prior: Any) -> Sampler:
    """Return what draws from a prior that is named, a part, or a function."""
    if callable(prior) and not isinstance(prior, Part | type):
        prior = CustomSampler(prior)
    found: Sampler = clone(resolve("sampler", prior, "prior"))
    return found


def sampler_of(estimator: Any) -> Sampler:
    """Return what draws from the prior of a fitted model, set anew where a file did not keep it."""
    b = estimator._model.blueprint
    kept: Sampler = b.critic.sampler
    if isinstance(kept, UnkeptSampler):
        kept = sampler(estimator.prior)
        kept.check(b.layout.n_components)
    return kept


def disturbed(
    corruption: Any, strength: float | None = None, emphasis: Any = (1.0, 1.0)
) -> Disturbance | None:
    """Return what training does to the input; None for nothing.

    Parameters
    ----------
    corruption : str, Corruption or callable
    strength : float or None
        That of a corruption given by name.
    emphasis : pair of float
    """
    if callable(corruption) and not isinstance(corruption, Part | type):
        corruption = Custom(corruption)
    part = clone(resolve("corruption", corruption))
    if isinstance(part, Clean):
        return None
    if isinstance(part, Unkept):
        raise ValueError(
            f"The corruption {part.name} was not kept in the file, which holds no code. "
            "Set it anew: model.set_params(corruption=...)."
        )
    if isinstance(corruption, str) and strength is not None:
        part.set_params(strength=strength)
    if not 0 < getattr(part, "strength", 0.5) < part.highest:
        raise ValueError(
            f"strength={part.strength} of {type(part).__name__} must be above 0"
            + (f" and below {part.highest:g}, a share of the values" if part.highest == 1 else "")
            + ". Write 0.3, say."
        )
    weights = tuple(float(weight) for weight in np.ravel(emphasis))
    if len(weights) != 2 or min(weights) < 0 or not sum(weights) > 0:
        raise ValueError(
            f"emphasis={emphasis!r} must be two weights >= 0, of values that were hit and of those "
            "that were not, not both 0. Write (1.0, 0.5), say."
        )
    if weights[0] != weights[1] and not part.partial:
        raise ValueError(
            f"emphasis={emphasis!r} tells values that were hit from others, but "
            f"{type(part).__name__} hits all. Write corruption='masking', or leave emphasis out."
        )
    return Disturbance(part, weights)


def stacked(estimator: Any, hidden_layer_sizes: Sequence[int]) -> Architecture:
    """Return the architecture whose layers are trained one by one: without a linear path."""
    if estimator.architecture is None:
        act, init = estimator.activation, estimator.init
        return Dense(hidden_layer_sizes, act, linear_path=False, init=init)
    given = clone(resolve("architecture", estimator.architecture))
    own, known = {"linear_path": False, "init": estimator.init}, given.get_params()
    if known.get("decoder_layer_sizes") is not None:
        raise ValueError(
            f"decoder_layer_sizes={known['decoder_layer_sizes']!r} has no place here: each layer "
            "is undone by one of its own. Leave it out."
        )
    return given.set_params(**{name: own[name] for name in own.keys() & known.keys()})


def layer_wise(estimator: Any) -> LayerWise:
    """Return how an estimator's layers are trained one by one.

    Raises
    ------
    ValueError
        If a setting of the layers is out of range or misspelt.
    """
    e = estimator
    check_name("layer", e.layer, LAYERS)
    check_count("layer_epochs", e.layer_epochs)
    if e.init == "pca":
        raise ValueError("init='pca' is a start of the whole, not of layers. Write 'xavier'.")
    tied = e.layer == "contractive"
    strength = (0.1 if tied else 0.3) if e.strength is None else e.strength
    return LayerWise(
        disturbed(e.corruption, strength) if e.layer == "denoising" else None,
        (Contractive(strength),) if tied else (),
        tied,
        e.layer_epochs,
        float(e.learning_rate),
        e.fine_tune,
    )


def check_count(name: str, value: Any, least: int = 1) -> None:
    whole = isinstance(value, bool) is False and hasattr(value, "__index__")
    if not whole or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number, at least {least}.")


def _layout(estimator: Any) -> Layout:
    circular = estimator.circular
    n = estimator.n_components
    places = () if circular is None else tuple(np.atleast_1d(circular).tolist())
    if not all(isinstance(j, int) for j in places):
        raise ValueError(f"circular={circular!r} must be whole numbers. Write circular=(0,).")
    circular = places
    if len(set(circular)) < len(circular) or any(not 0 <= j < n for j in circular):
        raise ValueError(
            f"circular={circular} must name different components, counted from 0, of the {n} "
            f"there are. Write circular=(0,) for the first."
        )
    return Layout(n, circular)
