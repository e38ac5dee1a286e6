"""A user's own torch modules as encoder and decoder."""

import copy
import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from narrows.nn.architecture import Architecture, Network, Sizes, Stage, behind, indivisible

Maker = Callable[..., nn.Module]


class Modules(Architecture):
    """Torch modules of one's own: any two classes, and the arguments to make them with.

    The encoder maps rows of shape (row, *event) to raw features of shape (row, feature); the
    decoder maps those to raw outputs of shape (row, *target), before the link of the likelihood.
    There is no linear path: training starts from the weights that the constructors draw, and is
    not bound by PCA from below. Restarts and levels are modules of their own, run one after
    another; their random layers draw from the estimator's seeds. Statistics of the batch, such as
    those of ``nn.BatchNorm1d``, tie the rows together: penalties that differentiate the code with
    respect to each row, as the contractive one does, are only right without them.

    Parameters
    ----------
    encoder, decoder : class, function or str
        What returns a module; or the import path of a class, "package.module:Class".
    encoder_settings, decoder_settings : dict or None, default=None
        Arguments by name: numbers, names, and lists of them. A model file holds the import paths
        and these; ``narrows.load(path, trusted=("package",))`` reads it.

    See Also
    --------
    Dense, Convolutional : Networks that start as PCA.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder, Modules
    >>> own = Modules(
    ...     "torch.nn:Linear",
    ...     "torch.nn:Linear",
    ...     {"in_features": 5, "out_features": 2},
    ...     {"in_features": 2, "out_features": 5},
    ... )
    >>> X = np.random.default_rng(0).normal(size=(100, 5))
    >>> Autoencoder(2, architecture=own, max_epochs=2).fit_transform(X).shape
    (100, 2)
    """

    repeats = False

    def __init__(
        self,
        encoder: str | Maker,
        decoder: str | Maker,
        encoder_settings: Mapping[str, Any] | None = None,
        decoder_settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.encoder = encoder
        self.decoder = decoder
        self.encoder_settings = encoder_settings
        self.decoder_settings = decoder_settings

    def stages(self, sizes: Sizes) -> list[Stage]:
        raise indivisible(self)

    def build(self, sizes: Sizes) -> tuple[Network, Network]:
        s, event = sizes, sizes.event
        if s.n_condition:
            if len(event) > 1:
                raise ValueError(
                    f"Modules take a condition beside rows of one axis, not of shape {event}. "
                    "Flatten the rows, or leave condition= out."
                )
            event = (s.n_values + s.n_condition,)
        there = partial(_made, "encoder", self.encoder, self.encoder_settings)
        back = partial(_made, "decoder", self.decoder, self.decoder_settings)
        return (
            ModuleNetwork("encoder", there, (event, (s.n_encoded,)), s.n_restarts, 1),
            ModuleNetwork("decoder", back, ((s.n_decoded,), s.target), s.n_restarts, s.n_decoders),
        )

    def joined(
        self,
        x: Float[Tensor, "network row value"],
        condition: Float[Tensor, "... row condition"],
        event: tuple[int, ...],
    ) -> Float[Tensor, "network row read"]:
        return behind(x, condition)


def _made(name: str, choice: str | Maker, settings: Mapping[str, Any] | None) -> nn.Module:
    """Return a new module of the chosen kind."""
    if isinstance(choice, nn.Module) or not (isinstance(choice, str) or callable(choice)):
        raise TypeError(
            f"{name}={choice!r} is not a class or an import path. Write {name}=MyModule and its "
            f"arguments as {name}_settings={{...}}."
        )
    maker = imported(choice) if isinstance(choice, str) else choice
    module = maker(**(settings or {}))
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"{name}={choice!r} returned {type(module).__name__}, not a torch.nn.Module. "
            "Write a class that derives from torch.nn.Module."
        )
    return module


def imported(path: str) -> type[nn.Module]:
    """Return the module class at an import path, if that package defines it.

    Parameters
    ----------
    path : str
        "package.module:Class".

    Raises
    ------
    ValueError
        If the path is not of this form, cannot be imported, or names something else: what another
        package defines, say, which would be trusted with this one.

    Examples
    --------
    >>> imported("torch.nn:Linear").__name__
    'Linear'
    """
    module, _, name = path.partition(":")
    if not all(word.isidentifier() for word in (*module.split("."), *name.split("."))):
        raise ValueError(f"{path!r} is not an import path. Write 'package.module:Class'.")
    try:
        found: Any = importlib.import_module(module)
        for word in name.split("."):
            found = getattr(found, word)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{path!r} cannot be imported: {error}. Install the package, or correct the path."
        ) from error
    own = isinstance(found, type) and package_of(found.__module__) == package_of(path)
    if not own or not issubclass(found, nn.Module):
        raise ValueError(
            f"{path!r} is no torch.nn.Module that {package_of(path)} defines. Write the path of "
            "the class where it is defined."
        )
    return found


def package_of(path: str) -> str:
    """Return the top-level package of an import path.

    Examples
    --------
    >>> package_of("laboratory.networks:Encoder")
    'laboratory'
    """
    return path.partition(":")[0].partition(".")[0]


def import_path(name: str, choice: Maker) -> str:
    """Return the path under which a module class can be imported again.

    Raises
    ------
    TypeError
        If there is none: of functions, and of classes that a function or a script defines.

    Examples
    --------
    >>> import_path("encoder", torch.nn.Linear)
    'torch.nn.modules.linear:Linear'
    """
    path = f"{getattr(choice, '__module__', None)}:{getattr(choice, '__qualname__', None)}"
    try:
        if package_of(path) != "__main__" and imported(path) is choice:
            return path
    except ValueError:
        pass
    raise TypeError(
        f"{name}={choice!r} cannot be written to a model file, which holds its import path. Put "
        f"a class at the top level of a module that can be imported, such as networks.py, and "
        f"write {name}='networks:MyModule'."
    )


class ModuleNetwork(Network):
    """`n_restarts` x `n_levels` modules of one's own, run one after another.

    Their parameters and buffers are stacked and are this network's own, under names with "/" for
    ".".

    Parameters
    ----------
    name : str
        "encoder" or "decoder", for the messages.
    make : callable
        Returns a new module.
    shapes : pair of tuple of int
        Shape of one row before and after the module.
    n_restarts, n_levels : int
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], nn.Module],
        shapes: tuple[tuple[int, ...], tuple[int, ...]],
        n_restarts: int,
        n_levels: int,
    ) -> None:
        super().__init__()
        self.name = name
        self.make = make
        self.shapes = shapes
        self.n_levels = n_levels
        # In a tuple, so that its parameters are not registered beside the stacked ones.
        self._template = (self._made(torch.Generator().manual_seed(0)),)
        persistent = self._template[0].state_dict().keys()
        self._places: dict[str, str] = {}
        for own, tensor in tensors_of(self._template[0]).items():
            self._register(own, tensor, n_restarts * n_levels, own in persistent)

    def _register(self, own: str, tensor: Tensor, n: int, persistent: bool) -> None:
        """Register a tensor of the module, once per network."""
        kept = tensor.is_floating_point() or tensor.dtype is torch.int64
        if persistent and not kept:
            raise TypeError(
                f"The tensor {own!r} of the {self.name} is of {tensor.dtype}, which no model file "
                "holds. Register it as a buffer with persistent=False, or make it float or int64."
            )
        place = self._places[own] = f"module/{own.replace('.', '/')}"
        stacked = torch.empty((n, *tensor.shape), dtype=tensor.dtype).copy_(tensor.detach())
        if tensor.requires_grad:
            self.register_parameter(place, nn.Parameter(stacked))
        else:
            self.register_buffer(place, stacked, persistent)

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        for i in range(len(generators) * self.n_levels):
            module = self._made(generators[i // self.n_levels])
            for own, tensor in tensors_of(module).items():
                self._stacked(own)[i].data.copy_(tensor.detach())

    @cached_property
    def rowwise(self) -> bool:  # type: ignore[override]
        """Whether the module maps each row by itself and draws nothing."""
        return rowwise(self._template[0], self.shapes[0])

    def start(self, weight: Tensor, bias: Tensor) -> None:
        """Do nothing: there is no linear path."""

    def adopt(self, layer: int, stage: Any, restart: int) -> None:
        """Do nothing: there are no layers of their own."""

    def forward(
        self, x: Tensor, levels: slice | None = None, kept: list[Tensor] | None = None
    ) -> Tensor:
        (template,) = self._template
        template.train(self.training)
        own_levels = range(self.n_levels)[levels or slice(None)]
        outputs = []
        for i, rows in enumerate(x.unflatten(2, self.shapes[0])):
            restart, level = divmod(i, len(own_levels))
            which = restart * self.n_levels + own_levels[level]
            tensors = {own: self._stacked(own)[which] for own in self._places}
            with drawing_from(self._noise(restart, x.device)):
                outputs.append(functional_call(template, tensors, (rows,)).flatten(1))
        return torch.stack(outputs)

    def _stacked(self, own: str) -> Tensor:
        place = self._places[own]
        return self._parameters.get(place, self._buffers.get(place))  # type: ignore[return-value]

    def _noise(self, restart: int, where: torch.device) -> torch.Generator:
        """Return where random layers draw from: in evaluation the same numbers every time."""
        if self.training and self.generators:
            return self.generators[restart]
        return torch.Generator(where).manual_seed(0)

    def _made(self, generator: torch.Generator) -> nn.Module:
        """Return a new module whose weights are drawn from a generator, of the right sizes."""
        with torch.device("cpu"), drawing_from(generator), torch.no_grad():
            module = self.make().eval()
            before, after = self.shapes
            wanted = f"Write a module that maps (row, {_listed(before)}) to (row, {_listed(after)})"
            try:
                out = module(torch.zeros(2, *before))
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                raise ValueError(
                    f"The {self.name} fails on 2 rows of shape {before}: "
                    f"{str(error).splitlines()[0]}. {wanted}."
                ) from error
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        if found != (2, *after):
            raise ValueError(
                f"The {self.name} makes {found} of 2 rows of shape {before}, not {(2, *after)}. "
                f"{wanted}."
            )
        return module


def rowwise(module: nn.Module, shape: tuple[int, ...]) -> bool:
    """Return whether a module, in training, maps each row by itself and draws nothing.

    Examples
    --------
    >>> rowwise(torch.nn.Linear(3, 2), (3,)), rowwise(torch.nn.Dropout(), (3,))
    (True, False)
    >>> rowwise(torch.nn.BatchNorm1d(3), (3,))
    False
    """
    own, generator = copy.deepcopy(module).cpu().train(), torch.Generator().manual_seed(0)
    dtypes = {tensor.dtype for tensor in own.parameters() if tensor.is_floating_point()}
    x = torch.linspace(-1, 1, 3 * math.prod(shape), dtype=dtypes.pop() if dtypes else None)
    x, before = x.reshape(3, *shape), generator.get_state()
    try:
        with torch.no_grad(), drawing_from(generator):
            together, alone = own(x), own(x[:1])
    except (RuntimeError, ValueError):
        return False
    close = torch.allclose(together[:1], alone, rtol=1e-4, atol=1e-6)
    return close and torch.equal(generator.get_state(), before)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module by name, shared ones once.

    Examples
    --------
    >>> list(tensors_of(torch.nn.BatchNorm1d(2, affine=False)))
    ['running_mean', 'running_var', 'num_batches_tracked']
    """
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Make torch's default generator draw what this one would; its own state is put back after.

    Examples
    --------
    >>> before = torch.get_rng_state()
    >>> with drawing_from(torch.Generator().manual_seed(1)):
    ...     drawn = torch.rand(3)
    >>> bool((drawn == torch.rand(3, generator=torch.Generator().manual_seed(1))).all())
    True
    >>> bool((before == torch.get_rng_state()).all())
    True
    """
    default = _default_generator(generator.device)
    before = default.get_state()
    default.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(default.get_state())
        default.set_state(before)


def _default_generator(where: torch.device) -> torch.Generator:
    if where.type == "cuda":
        index = torch.cuda.current_device() if where.index is None else where.index
        return torch.cuda.default_generators[index]
    if where.type == "mps":
        return torch.mps._get_default_mps_generator()
    return torch.default_generator
