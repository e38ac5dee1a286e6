"""A torch module as a scikit-learn regressor, trained by the package's own loop."""

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from narrows import _ranks
from narrows._types import Array
from narrows.data.arrays import ArraySource, refuse_lazy
from narrows.data.batches import Batch, Batches
from narrows.engine import devices, loop
from narrows.engine.callbacks import Progress
from narrows.engine.learner import Learner
from narrows.engine.player import Phase
from narrows.engine.training import Training
from narrows.estimators import _checks, _fitting, _guards, _rows
from narrows.estimators._chunks import over_chunks
from narrows.estimators._settings import Settings
from narrows.nn.modules import rowwise, tensors_of

Factory = Callable[[int, int], nn.Module]
_SCALES = ("auto", "standard", "global")


class ModuleRegressor(RegressorMixin, Settings):
    """A torch module that predicts: trained on squared error, with rows and outputs scaled.

    Use it where scikit-learn has no regressor of the shape needed; `CodeRegressor` uses it for a
    bare module. The module is copied, and starts from the weights it has. Nothing stops a large
    module from learning few rows by heart but the validation rows, which choose the epoch.

    Minimises the mean of ``(f(x) - y)²`` over rows and outputs, x standardised and y scaled.

    Parameters
    ----------
    module : torch.nn.Module or callable
        Maps rows of shape (rows, features) to (rows, outputs); or a function of the two sizes,
        features and outputs, that returns such a module, with new weights at every fit.
    max_epochs : int, default=200
        Passes over the training rows, at most: the learning rate falls towards this one.
    batch_size : int, default=128
        Rows per step; one or two more where the last step would be left with a single row, of
        which batch normalisation can make nothing.
    learning_rate : float, default=5e-3
        Full speed of the optimiser, > 0.
    random_state : int, RandomState, Generator or None, default=None
        Seed of split, order of batches, and of what the module draws (dropout, new weights).
    scale : {"auto", "standard", "global"}, default="auto"
        How outputs are scaled: each by its own mean and width ("standard"), so that all count the
        same, or by its own mean and one width of all ("global"), so that an error counts as in y.
        "auto" is "global" for the codes of `CodeRegressor`, which are weighted already, and
        "standard" otherwise.
    verbose : int, default=0
        1 shows a progress bar.
    training : Training or None, default=None
        Optimiser, schedule, validation, device and more; None means the defaults of `Training`.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained copy, of standardised rows and outputs, on the processor.
    history_ : dict of arrays
        As of an autoencoder: "train_loss", "validation_loss", "learning_rate", "best_epoch",
        "best_loss".
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
    feature_names_in_ : array of str, if X has names

    See Also
    --------
    CodeRegressor : Predicts large outputs through their code.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from narrows import ModuleRegressor
    >>> X = np.random.default_rng(0).uniform(-2, 2, (500, 1))
    >>> module = torch.nn.Sequential(
    ...     torch.nn.Linear(1, 32), torch.nn.SiLU(), torch.nn.Linear(32, 1)
    ... )
    >>> model = ModuleRegressor(module, max_epochs=50, random_state=0).fit(X, np.sin(X))
    >>> bool(model.score(X, np.sin(X)) > 0.9)
    True
    """

    def __init__(
        self,
        module: nn.Module | Factory,
        *,
        max_epochs: int = 200,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        random_state: Any = None,
        scale: str = "auto",
        verbose: int = 0,
        training: Training | None = None,
    ) -> None:
        self.module = module
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.scale = scale
        self.verbose = verbose
        self.training = training

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, groups: Any = None) -> Self:
        """Train a copy of the module.

        Parameters
        ----------
        X : array or frame of shape (rows, features)
        y : array of shape (rows,) or (rows, outputs)
        sample_weight : array of shape (rows,), optional
            Weights >= 0, of any scale.
        groups : array of shape (rows,), optional
            Which rows belong together, for ``Training(split="groups")``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a setting is out of range, the data are not finite or too few, or the module does
            not fit their sizes.
        NonFiniteLossError
            If the loss became NaN or infinite; the weights before are kept.
        """
        with _guards.all_or_nothing(self):
            history = self._fit(X, y, sample_weight, groups)
        _guards.refuse_failure(history)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> loop.History:
        training = _checks.check_training(self)
        _checks.refuse_stream(training)
        if self.scale not in _SCALES:
            raise ValueError(
                f"scale={self.scale!r} must be one of {', '.join(_SCALES)}. Write scale='standard'."
            )
        refuse_lazy(X)
        X, y = validate_data(
            self, X, y, dtype="numeric", multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        self._one = y.ndim == 1
        self._row = y.shape[1:]
        y = y.reshape(len(y), -1)
        rows = ArraySource(X)
        weight = _rows.weights_of(sample_weight, rows, minimum=2)
        split, order, drawn = _fitting.seeds(self.random_state, 3)
        train, held = _rows.divided(rows, weight, groups, training, split, all_train=False)
        if weight is not None:
            weight *= len(train) / weight[train].sum()
        self._input = StandardScaler().fit(X, sample_weight=weight)
        self._output = StandardScaler().fit(y, sample_weight=weight)
        if self.scale == "global":
            width = np.sqrt(self._output.var_.mean())
            self._output.scale_ = np.full(y.shape[1], width if width > 0 else 1.0)
        where = devices.device(training.device, training.precision)
        with _drawing(drawn, where):
            self.module_ = self._sized(X.shape[1], y.shape[1])
            parts = [self._batch(X, y, weight, index) for index in (train, held) if len(index)]
            history = self._train(training, [part.to(where) for part in parts], order)
        self.n_iter_ = len(history.train_loss)
        self.history_ = _fitting.as_arrays(history, 1)
        return history

    def _batch(self, X: Array, y: Array, weight: Array | None, index: Array) -> Batch:
        x = self._tensor(self._input.transform(X[index]))
        target = self._tensor(self._output.transform(y[index]))
        return Batch(x, target, None if weight is None else self._tensor(weight[index]))

    def _train(
        self, training: Training, parts: list[Batch], order: np.random.SeedSequence
    ) -> loop.History:
        train = Batches(parts[0], self._batch_size(len(parts[0])))
        held = [Batches(part, self.batch_size) for part in parts[1:]]
        model = Restart(self.module_)
        model.rowwise = _ranks.size() == 1 or rowwise(self.module_, parts[0].x.shape[1:])
        model.to(train.rows.x.device)
        work = self.batch_size * sum(parameter.numel() for parameter in model.parameters())
        model.mixed = devices.mixed(training.precision, work, train.rows.x.device)
        with ExitStack() as stack:
            stack.enter_context(devices.threads(work))
            watching = [stack.enter_context(Progress())] if self.verbose and _ranks.first() else []
            history = loop.fit(
                model,
                train,
                held[0] if held else None,
                phases=[Phase(model, list(model.parameters()), ("squared error",))],
                settings=training,
                learning_rate=float(self.learning_rate),
                max_epochs=int(self.max_epochs),
                generator=devices.generators([order], torch.device("cpu"))[0],
                noise=_defaults(train.rows.x.device),
                identity={
                    "module": self.module_,
                    "batch_size": self.batch_size,
                    "mixed": model.mixed,
                },
                callbacks=[*training.callbacks, *watching],
            )
        model.give_back(self.module_)
        return history

    def _batch_size(self, n_rows: int) -> int:
        """Return the first size that leaves no single row at the end, for all processes."""
        size = int(self.batch_size) * _ranks.size()
        while 1 < size < n_rows and n_rows % size == 1:
            size += 1
        return size

    def check_sizes(self, n_features: int, n_outputs: int) -> None:
        """Raise ValueError unless the module maps rows of that many features to as many outputs."""
        (seed,) = _fitting.seeds(0, 1)
        with _drawing(seed, torch.device("cpu")):
            self._sized(n_features, n_outputs)

    def _sized(self, n_features: int, n_outputs: int) -> nn.Module:
        """Return a copy of the module, in evaluation mode, after checks of its sizes."""
        made = self.module
        if not isinstance(made, nn.Module) and callable(made):
            made = made(n_features, n_outputs)
        if not isinstance(made, nn.Module):
            raise TypeError(
                f"module={made!r} is not a torch module. Write torch.nn.Linear({n_features}, "
                f"{n_outputs}), say, or a function of the two sizes that returns a module."
            )
        module = copy.deepcopy(made).to(self._dtype).eval()
        try:
            with torch.no_grad():
                outputs = module(torch.zeros(2, n_features, dtype=self._dtype))
        except RuntimeError as error:
            raise ValueError(
                f"The module does not take rows of {n_features} features: {error}. Begin it with "
                f"torch.nn.Linear({n_features}, ...), say."
            ) from error
        if outputs.numel() != 2 * n_outputs:
            raise ValueError(
                f"The module gives {outputs.numel() / 2:g} values a row, but {n_outputs} are to be "
                "predicted (a code has one per plain component and two per circular one). End it "
                f"with torch.nn.Linear(..., {n_outputs}), say."
            )
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise ValueError("The module has no parameters to train. Write a module that has some.")
        return module

    @property
    def _dtype(self) -> torch.dtype:
        return devices.dtype(_checks.training_of(self).precision)

    def _tensor(self, values: Array) -> Tensor:
        return torch.as_tensor(values, dtype=self._dtype)

    @over_chunks(lambda self: np.empty((0, *self._row)))
    def predict(self, X: Any) -> Float[np.ndarray, "row ..."]:
        """Return predictions for rows of X, in the units and shape of y.

        Parameters
        ----------
        X : array or frame of shape (rows, features)
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype="numeric", reset=False)
        dtype = next(self.module_.parameters()).dtype  # that of the fit, whatever is set since
        x = torch.as_tensor(self._input.transform(X), dtype=dtype)
        with torch.no_grad():
            parts = [self.module_(part) for part in x.split(_fitting.EVALUATION_ROWS)]
        outputs = torch.cat(parts).reshape(len(x), -1).double().numpy()
        y = self._output.inverse_transform(outputs)
        return y[:, 0] if self._one else y


class Restart(Learner):
    """A module as the loop trains it: one restart, with a leading axis in every tensor.

    Frozen parameters are kept as buffers, which no gradient moves.

    Parameters
    ----------
    module : nn.Module
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._of = (module,)  # in a tuple, its tensors are not registered a second time
        self._names = {name: name.replace(".", "/") for name in tensors_of(module)}
        for name, tensor in tensors_of(module).items():
            kept = tensor.detach().clone()[None]
            if tensor.requires_grad:
                self.register_parameter(self._names[name], nn.Parameter(kept))
            else:
                self.register_buffer(self._names[name], kept)

    def forward(self, batch: Batch) -> list[Float[Tensor, "1"]]:
        """Return the mean squared error."""
        (module,) = self._of
        module.train(self.training)
        state = {name: getattr(self, own)[0] for name, own in self._names.items()}
        mixed = self.mixed and self.training
        with torch.autocast(batch.x.device.type, torch.bfloat16, enabled=mixed):
            outputs = torch.func.functional_call(module, state, (batch.x,)).to(batch.target)
        error = (outputs.reshape(batch.target.shape) - batch.target).square().mean(1)
        mean = (error if batch.weight is None else error * batch.weight).mean()[None]
        return [batch.portion_of(mean)]

    def give_back(self, module: nn.Module) -> None:
        """Write the tensors into a module, for evaluation."""
        for name, tensor in tensors_of(module).items():
            tensor.data.copy_(getattr(self, self._names[name]).detach()[0])
        module.eval()


@contextmanager
def _drawing(seed: np.random.SeedSequence, where: torch.device) -> Iterator[None]:
    """Draw torch's global random numbers from a seed, and leave their state as it was."""
    gpus = [where] if where.type == "cuda" else []
    state = int(seed.generate_state(1, np.uint64)[0] >> 1)
    with torch.random.fork_rng(gpus):
        torch.default_generator.manual_seed(state)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(state)
        yield


def _defaults(where: torch.device) -> list[torch.Generator]:
    """Return the generators behind torch's global random numbers."""
    gpus = torch.cuda.default_generators
    return [torch.default_generator, *([gpus[where.index or 0]] if where.type == "cuda" else [])]
