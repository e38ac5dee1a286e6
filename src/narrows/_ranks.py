"""Processes that train one model together: which rows are whose, and what they tell each other.

Every process of the default group of `torch.distributed` calls `fit` with the same rows and
settings. Each computes its share of every batch; sums of gradients and losses go over all. The loss
of a process is such that the losses of all add up to that of the batch.
"""

import atexit
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Int64
from torch import Tensor, distributed, library

from narrows._errors import ProcessError, caller

Result = TypeVar("Result")

PATIENCE = 30.0  # seconds for which the other processes are awaited without a word


@dataclass(frozen=True)
class Share:
    """The rows of a batch that one process computes.

    Attributes
    ----------
    rows : Tensor of int, shape (own,)
        Their numbers among all rows of the batch.
    n_rows : int
        Number of all.
    counted : bool
        False if another process counts them: they stand in where there are too few for all.
    """

    rows: Int64[Tensor, " own"]
    n_rows: int
    counted: bool = True

    @property
    def portion(self) -> float:
        """The share of all rows that counts here."""
        return len(self.rows) / self.n_rows if self.counted else 0.0

    def of_all(self, n: int) -> int:
        """Return how many rows all processes have, where this one has n: several copies, maybe."""
        return n // len(self.rows) * self.n_rows

    def index(self, n: int) -> Int64[Tensor, " {n}"]:
        """Return the numbers of n own rows among those of all, copy after copy."""
        copies = torch.arange(n // len(self.rows), device=self.rows.device)[:, None]
        return (copies * self.n_rows + self.rows).flatten()

    def repeated_each(self, n: int) -> "Share":
        """Return the share of rows whose n copies stand together."""
        copies = torch.arange(n, device=self.rows.device)
        rows = (self.rows[:, None] * n + copies).flatten()
        return replace(self, rows=rows, n_rows=self.n_rows * n)


def share_of(
    n_rows: int, number: int, n_processes: int, where: torch.device
) -> tuple[Share, slice]:
    """Return the share of one process: as many rows as others have, or one more or less.

    Where there are none left, the first row stands in and does not count.

    Examples
    --------
    >>> [share_of(5, number, 2, torch.device("cpu"))[1] for number in range(2)]
    [slice(0, 2, None), slice(2, 5, None)]
    """
    start, stop = (n_rows * i // n_processes for i in (number, number + 1))
    counted = start < stop
    start, stop = (start, stop) if counted else (0, 1)
    return Share(torch.arange(start, stop, device=where), n_rows, counted), slice(start, stop)


# Each process draws for all rows, and keeps what belongs to its own.
_SHARE: ContextVar[Share | None] = ContextVar("rows for which noise is drawn", default=None)
_ALL: AbstractContextManager[None] = nullcontext()


def drawing(share: Share | None) -> AbstractContextManager[None]:
    """Draw noise for the rows of a share within; None leaves all as it is."""
    return _ALL if share is None else _drawing(share)


@contextmanager
def _drawing(share: Share | None) -> Iterator[None]:
    token = _SHARE.set(share)
    try:
        yield
    finally:
        _SHARE.reset(token)


def drawing_for_all() -> AbstractContextManager[None]:
    """Draw the same noise in every process within: rows are not those of a share."""
    return _ALL if _SHARE.get() is None else _drawing(None)


def n_drawn(n: int) -> int:
    """Return for how many rows to draw, where this process needs n."""
    share = _SHARE.get()
    return n if share is None else share.of_all(n)


def own_rows(draws: Tensor, dim: int, n: int) -> Tensor:
    """Return the n rows of this process, of draws for all."""
    share = _SHARE.get()
    return draws if share is None else draws.index_select(dim, share.index(n).to(draws.device))


@dataclass
class _Fit:
    """A fit of several processes: whether they exchange tensors yet, and all know of an error."""

    size: int
    number: int
    begun: bool = False
    told: bool = False


_FIT: ContextVar[_Fit | None] = ContextVar("the fit of several processes", default=None)


def size() -> int:
    """Return how many processes there are; outside a fit each is alone."""
    fit = _FIT.get()
    return 1 if fit is None else fit.size


def number() -> int:
    """Return which of them this is, from 0."""
    fit = _FIT.get()
    return 0 if fit is None else fit.number


def first() -> bool:
    """Return whether this is the one that writes, prints and warns."""
    return number() == 0


def add_up(tensor: Tensor) -> None:
    """Replace a tensor by its sum over all processes, of the same bits in each."""
    if size() > 1:
        torch.ops.narrows.add_up(tensor)


def _add_up(tensor: Tensor) -> None:
    with _reaching():
        distributed.all_reduce(tensor)


# Of torch's library, so that steps in which processes exchange tensors can be recorded.
if not hasattr(torch.ops.narrows, "add_up"):  # there already where the module is loaded anew
    _LIBRARY = library.Library("narrows", "FRAGMENT")
    _LIBRARY.define("add_up(Tensor(a!) tensor) -> ()")
    _LIBRARY.impl("add_up", _add_up, "CompositeExplicitAutograd")


def summed(tensor: Tensor) -> Tensor:
    """Return the sum over all processes, without a gradient."""
    if size() == 1:
        return tensor
    whole = tensor.detach().clone(memory_format=torch.contiguous_format)
    add_up(whole)
    return whole


def gathered(own: Tensor, share: Share | None, dim: int) -> Tensor:
    """Return the rows of all processes, of which the own ones carry a gradient.

    A function of them that every process computes thus has, in each, the part of its gradient that
    goes through own rows, and the parts add up.
    """
    if share is None:
        return own
    n = own.shape[dim]
    shape = [*own.shape[:dim], share.of_all(n), *own.shape[dim + 1 :]]
    every, index = own.new_zeros(shape), share.index(n)
    if share.counted:
        every.index_copy_(dim, index, own.detach())
    add_up(every)
    return every.index_copy(dim, index, own) if share.counted else every


def any_of(code: int) -> int:
    """Return the largest code that any process has."""
    if size() == 1:
        return code
    largest = torch.tensor(code, device=_device())
    with _reaching():
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
    return int(largest)


def take_over(tensors: Sequence[Tensor]) -> None:
    """Give tensors the values that they have in the first process."""
    if size() == 1:
        return
    for tensor in tensors:
        held = tensor.detach().to(_device()).contiguous()
        with _reaching():
            distributed.broadcast(held, 0)
        tensor.data.copy_(held)


def alike(call: Callable[[], Result]) -> list[Result]:
    """Return what a call gives in each process; where one fails, all do.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        If one was interrupted, or is to end.
    ProcessError
        If another process raised any other error, or cannot be reached.
    """
    if size() == 1:
        return [call()]
    result, caught = None, None
    try:
        result = call()
    except BaseException as error:
        caught = error
    told = None if caught is None else (type(caught).__name__, str(caught))
    every: list[Any] = [None] * size()
    with _reaching():
        distributed.all_gather_object(every, (result, told))
    failed = [(place, told) for place, (_, told) in enumerate(every) if told is not None]
    if failed and (fit := _FIT.get()) is not None:
        fit.told = True
    if caught is not None:
        raise caught
    if failed:
        raise _error_of(*failed[0])
    return [found for found, _ in every]


@contextmanager
def _reaching() -> Iterator[None]:
    """Say in a sentence that an exchange failed."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessError(
            "Another process cannot be reached: it has ended, or the network has failed. Look for "
            "its own error."
        ) from error


def _error_of(place: int, told: tuple[str, str]) -> BaseException:
    kind, text = told
    if kind == "KeyboardInterrupt":
        return KeyboardInterrupt()
    if kind == "SystemExit":
        return SystemExit(int(text) if text.isdigit() else text)
    return ProcessError(f"Process {place} stopped with {kind}: {text}")


def from_first(call: Callable[[], Result]) -> Result:
    """Return what a call gives in the first process, where alone it is made."""
    if size() == 1:
        return call()
    found: list[Any] = alike(call if first() else lambda: None)
    return found[0]


def _device() -> torch.device:
    """Return where small tensors are exchanged."""
    if distributed.get_backend() == "nccl":
        return torch.device("cuda", local_number() % torch.cuda.device_count())
    return torch.device("cpu")


def local_number() -> int:
    """Return which process of its machine this is, from 0."""
    known = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID"))
    return number() if known is None else int(known)


def n_local() -> int:
    """Return how many processes share this machine."""
    known = os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("SLURM_NTASKS_PER_NODE"))
    return 1 if size() == 1 else int(known) if known and known.isdecimal() else size()


@contextmanager
def fitting() -> Iterator[None]:
    """Fit together within: an error in the data of one process is one of all, not a deadlock."""
    if _FIT.get() is not None:
        yield
        return
    join()
    if not distributed.is_available() or not distributed.is_initialized():
        yield
        return
    fit = _Fit(distributed.get_world_size(), distributed.get_rank())
    if fit.size == 1:
        yield
        return
    token = _FIT.set(fit)
    try:
        with _awaiting():
            alike(lambda: None)
        with warnings.catch_warnings():
            if not first():
                warnings.simplefilter("ignore")
            yield
    except BaseException as error:
        if not (fit.begun or fit.told or isinstance(error, ProcessError)):
            alike(partial(_raised, error))
        raise
    finally:
        _FIT.reset(token)


@contextmanager
def _awaiting() -> Iterator[None]:
    """Say that this process waits for the others, if it does so for long."""
    text = (
        "This process waits: not every other has called fit. Call it in every process with the "
        "same rows and settings."
    )
    alarm = threading.Timer(PATIENCE, warnings.warn_explicit, [text, UserWarning, *caller()])
    alarm.daemon = True
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()


def _raised(error: BaseException) -> None:
    raise error


def begin() -> None:
    """Enter the part of a fit in which tensors are exchanged."""
    if (fit := _FIT.get()) is not None:
        fit.begun = True


def seed(random_state: Any) -> Any:
    """Return a seed that all processes of a fit share, for None."""
    if random_state is not None or _FIT.get() is None:
        return random_state
    return from_first(lambda: int.from_bytes(os.urandom(16)))


def join() -> None:
    """Join the group of processes that torchrun or SLURM describes, unless there is one already.

    Under SLURM without torchrun the addresses MASTER_ADDR and MASTER_PORT must be set.
    """
    given = os.environ
    if "MASTER_ADDR" not in given or not distributed.is_available() or distributed.is_initialized():
        return
    place = given.get("RANK", given.get("SLURM_PROCID"))
    n_processes = int(given.get("WORLD_SIZE", given.get("SLURM_NTASKS", "1")))
    if place is None or n_processes == 1 or multiprocessing.parent_process() is not None:
        return
    with _awaiting():
        distributed.init_process_group(rank=int(place), world_size=n_processes)
    atexit.register(_leave)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
