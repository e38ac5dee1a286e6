"""The one list of parts: an autoencoder is a choice of one part per axis.

A part is named by a string, or given as an object when its own settings matter:
``likelihood="student_t"`` or ``likelihood=StudentT(degrees_of_freedom=3)``. A new part is a class
in one file and a line here; tests, command line and files pick it up from this list.
"""

import importlib
import inspect
import re
from typing import Any, Self

from sklearn.base import BaseEstimator

from narrows._errors import nearest

# The first of each axis but the penalties is its default.
PARTS: dict[str, dict[str, str]] = {
    "architecture": {
        "dense": "narrows.nn.dense:Dense",
        "convolutional": "narrows.nn.convolutional:Convolutional",
        "recurrent": "narrows.nn.recurrent:Recurrent",
    },
    "code": {
        "plain": "narrows.nn.code:Plain",
        "top_k": "narrows.nn.code:TopK",
        "gaussian": "narrows.nn.posterior:GaussianCode",
        "laplace": "narrows.nn.posterior:LaplaceCode",
        "logistic_normal": "narrows.nn.simplex:LogisticNormalCode",
        "dirichlet": "narrows.nn.simplex:DirichletCode",
        "relaxed_categorical": "narrows.nn.simplex:RelaxedCategoricalCode",
        "power_spherical": "narrows.nn.sphere:PowerSphericalCode",
    },
    "prior": {
        "standard": "narrows.nn.prior:StandardPrior",
        "mixture": "narrows.nn.prior:MixturePrior",
        "vamp": "narrows.nn.prior:VampPrior",
    },
    "sampler": {
        "normal": "narrows.nn.sampler:NormalSampler",
        "mixture": "narrows.nn.sampler:MixtureSampler",
        "uniform": "narrows.nn.sampler:UniformSampler",
        "ring": "narrows.nn.sampler:RingSampler",
    },
    "ordering": {
        "none": "narrows.nn.ordering:Unordered",
        "collective": "narrows.nn.ordering:Collective",
        "boosted": "narrows.nn.ordering:Boosted",
        "shared": "narrows.nn.ordering:Shared",
        "nested": "narrows.nn.ordering:Nested",
    },
    "likelihood": {
        "gaussian": "narrows.objective.likelihoods:Gaussian",
        "normal": "narrows.objective.likelihoods:Normal",
        "bernoulli": "narrows.objective.likelihoods:Bernoulli",
        "continuous_bernoulli": "narrows.objective.likelihoods:ContinuousBernoulli",
        "categorical": "narrows.objective.likelihoods:Categorical",
        "poisson": "narrows.objective.likelihoods:Poisson",
        "negative_binomial": "narrows.objective.likelihoods:NegativeBinomial",
        "laplace": "narrows.objective.likelihoods:Laplace",
        "student_t": "narrows.objective.likelihoods:StudentT",
    },
    "corruption": {
        "none": "narrows.corruption:Clean",
        "gaussian": "narrows.corruption:GaussianNoise",
        "masking": "narrows.corruption:Masking",
        "salt_and_pepper": "narrows.corruption:SaltAndPepper",
        "dropout": "narrows.corruption:Dropout",
    },
    "penalty": {
        "l1": "narrows.objective.penalties:L1",
        "kl_sparsity": "narrows.objective.penalties:KLSparsity",
        "revival": "narrows.objective.penalties:Revival",
        "contractive": "narrows.objective.penalties:Contractive",
        "decorrelation": "narrows.objective.penalties:Decorrelation",
        "divergence": "narrows.objective.variational:Divergence",
        "total_correlation": "narrows.objective.variational:TotalCorrelation",
        "mmd": "narrows.objective.variational:MMD",
    },
}

ESTIMATORS: dict[str, str] = {
    "Autoencoder": "narrows.estimators.autoencoder:Autoencoder",
    "HierarchicalAutoencoder": "narrows.estimators.hierarchical:HierarchicalAutoencoder",
    "SparseAutoencoder": "narrows.estimators.sparse:SparseAutoencoder",
    "ContractiveAutoencoder": "narrows.estimators.contractive:ContractiveAutoencoder",
    "DenoisingAutoencoder": "narrows.estimators.denoising:DenoisingAutoencoder",
    "StackedAutoencoder": "narrows.estimators.stacked:StackedAutoencoder",
    "VariationalAutoencoder": "narrows.estimators.variational:VariationalAutoencoder",
    "AdversarialAutoencoder": "narrows.estimators.adversarial:AdversarialAutoencoder",
}

# Of codes, fitted after training: no part of a model, but kept in its file.
DENSITIES: dict[str, str] = {
    "mixture": "narrows.estimators._densities:MixtureDensity",
    "kernel": "narrows.estimators._densities:KernelDensity",
    "flow": "narrows.estimators._flow:FlowDensity",
}


def refuse_unknown(cls: type, settings: dict[str, Any]) -> None:
    """Raise TypeError for a setting that the constructor does not know, with the nearest."""
    known = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    for name in settings:
        if name not in known:
            names = [parameter for parameter in known if parameter != "self"]
            raise TypeError(
                f"{cls.__name__} has no parameter {name!r}.{nearest(name, names)} "
                f"It has: {', '.join(names)}."
            )


class Part(BaseEstimator):
    """Base of all parts: constructor arguments are stored as they come and are the part's JSON.

    Attributes
    ----------
    repeats : bool
        Whether all training steps on rows of the same shapes take the same operations of torch, and
        so do codes and reconstructions, so that one can be recorded for all; always False for parts
        of one's own.
    """

    repeats: bool = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.repeats &= cls.__module__.startswith(f"{__package__}.")

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        """Refuse a misspelt setting with a suggestion, which Python's own error lacks."""
        refuse_unknown(cls, settings)
        return super().__new__(cls)


def load(path: str) -> Any:
    """Return the object at a dotted path ``package.module:name``."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def resolve(axis: str, choice: Any, argument: str | None = None) -> Any:
    """Return the part of an axis that a user chose by name or as an object.

    Parameters
    ----------
    axis : str
        A key of `PARTS`.
    choice : str, Part or None
        A name from the list of the axis, a part, or None for the first of the axis.
    argument : str, optional
        What errors call it, if not by the axis.

    Raises
    ------
    ValueError
        If the name is not in the list; the message lists the names and suggests the nearest.
    TypeError
        If the choice is neither a name nor a part of this axis.

    Examples
    --------
    >>> from narrows.parts import resolve
    >>> resolve("likelihood", "poisson")
    Poisson()
    """
    known, argument = PARTS[axis], argument or axis
    if choice is None:
        choice = next(iter(known))
    if isinstance(choice, str):
        if choice not in known:
            raise ValueError(
                f"{argument}={choice!r} is not known.{nearest(choice, known)} "
                f"Known are: {', '.join(known)}."
            )
        return load(known[choice])()
    base = load(next(iter(known.values()))).__mro__[1]
    if isinstance(choice, type) or not isinstance(choice, base):
        raise TypeError(
            f"{argument}={choice!r} is not {_article(axis)}. "
            f"Write one of the names {', '.join(known)}, or an object such as "
            f"{load(next(reversed(known.values()))).__name__}()."
        )
    return choice


def listed(value: Any) -> bool:
    """Return whether an object is a part of the list, which a file can name."""
    return type(value) in _names()


def snake_case(name: str) -> str:
    """Return the name of a class as words: "KLSparsity" is "kl_sparsity"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def to_json(value: Any) -> Any:
    """Return settings as JSON: parts become their name and arguments."""
    if isinstance(value, Part):
        name = _names().get(type(value))
        if name is None:
            raise TypeError(
                f"{value!r} is a part of your own and cannot be written to a file. "
                "Keep the estimator in memory, or add the part to narrows.parts.PARTS."
            )
        return {"part": name, **to_json(value.get_params(deep=False))}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def from_json(value: Any) -> Any:
    """Return settings from JSON; only parts in the list are ever constructed."""
    if isinstance(value, dict) and "part" in value:
        axis, _, name = value["part"].partition(".")
        settings = {key: from_json(item) for key, item in value.items() if key != "part"}
        return load(_path(axis, name))(**settings)
    if isinstance(value, dict):
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(from_json(item) for item in value)
    return value


def _path(axis: str, name: str) -> str:
    listed = _listed().get(axis, {})
    if name not in listed:
        raise ValueError(f"The part {axis}.{name} is not known to this version of narrows.")
    return listed[name]


def _names() -> dict[type, str]:
    return {
        load(path): f"{axis}.{name}"
        for axis, parts in _listed().items()
        for name, path in parts.items()
    }


def _listed() -> dict[str, dict[str, str]]:
    return {"settings": _SETTINGS, "density": DENSITIES, **PARTS}


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


_SETTINGS = {
    "training": "narrows.engine.training:Training",
    "unkept": "narrows.corruption:Unkept",
    "unkept_sampler": "narrows.nn.sampler:UnkeptSampler",
    "critic": "narrows.nn.critic:Critic",
    "mixed": "narrows.objective.mixed:Mixed",
    "headed": "narrows.nn.headed:Headed",
    "modules": "narrows.nn.modules:Modules",
}
