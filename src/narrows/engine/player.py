"""Players: parameters and the optimisers that move them, as one flat tensor."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from narrows import _ranks
from narrows.engine.adam import Adam
from narrows.engine.calls import Found
from narrows.engine.learner import Learner, losses_of
from narrows.engine.repeated import Repeated
from narrows.engine.training import OPTIMIZERS, Training
from narrows.engine.workspace import Workspace

_FLUSHED = 64  # steps after which moments near the smallest normal numbers are set to zero
_FUSED = (Adam, torch.optim.AdamW, torch.optim.SGD)


@dataclass(frozen=True)
class Phase:
    """One part of a training step: what it computes, and what that moves.

    Attributes
    ----------
    terms : callable
        Maps a batch to losses of shape (restart,), one per term.
    parameters : sequence of nn.Parameter
        Each leads with an axis that restarts divide.
    names : sequence of str
        Of the terms.
    rate : float
        Multiple of the learning rate.
    inputs : callable or None
        Maps a batch to its tensors by name, if the terms take the same operations for all batches
        of the same shapes once the model has settled; None if they may not.
    course : callable or None
        Called at the beginning of the phase: what its operations depend on besides the batch.
    """

    terms: Callable[[Any], list[Tensor]]
    parameters: Sequence[nn.Parameter]
    names: Sequence[str]
    rate: float = 1.0
    inputs: Callable[[Any], dict[str, Tensor]] | None = None
    course: Callable[[], Hashable] | None = None


class Player:
    """The parameters of a phase, moved together.

    While training they are views of one flat tensor, so that the optimiser takes one fused step.
    `release` gives each parameter its own memory again.

    Parameters
    ----------
    phase : Phase
    flat : Tensor
        Its parameters, one after another.
    n_restarts : int
    settings : Training
    learning_rate : float
    workspace : Workspace
        Of all players, which move in turn.
    """

    def __init__(
        self,
        phase: Phase,
        flat: Tensor,
        n_restarts: int,
        settings: Training,
        learning_rate: float,
        workspace: Workspace,
    ) -> None:
        self.phase = phase
        self.parameters = list(phase.parameters)
        self.n_restarts = n_restarts
        self.clip_norm = settings.clip_norm
        self.learning_rate = learning_rate * phase.rate
        self.flat = flat
        n_losses = len(phase.names) * n_restarts if _ranks.size() > 1 else 0
        self.sums = flat.new_zeros(len(flat) + n_losses)  # what processes add up
        self.flat.grad = self.sums[: len(flat)]
        views = self.flat.grad.split([own.numel() for own in self.parameters])
        self.places = [view.view_as(own) for view, own in zip(views, self.parameters, strict=True)]
        self.repeated = Repeated(self.places, workspace)
        optimizer = OPTIMIZERS[settings.optimizer]
        fused = {"fused": True} if optimizer in _FUSED else {}
        self.optimizer = optimizer(
            [self.flat], lr=self.learning_rate, weight_decay=settings.weight_decay, **fused
        )

    def step(self, batch: Any, rate: float, settled: bool = False) -> list[Tensor]:
        """Move the parameters down the gradient of the sum of the losses; return these.

        Both are sums over all processes.

        Parameters
        ----------
        batch : object
        rate : float
            Share of the full learning rate.
        settled : bool
            Whether all later steps take the same operations.
        """
        course = self.phase.course and self.phase.course()
        compute = partial(self._differentiated, batch)
        if settled and self.phase.inputs:
            inputs = self.phase.inputs(batch)
            found = self.repeated(compute, [*inputs.values()], (course, *inputs))
        else:
            found = compute()
        if found.written:
            torch.cat([gradient.reshape(-1) for gradient in found.written], out=self.flat.grad)
        losses = list(found.returned)
        if _ranks.size() > 1:
            losses = self._summed(losses)
        self.set_rate(rate)
        self.optimizer.step()
        if self.flat.device.type == "cpu":
            self._flush()
        return losses

    def _flush(self) -> None:
        """Set moments to zero that are about to leave the normal numbers, now and then.

        Where a gradient stays 0, as of a unit that is silent, they would shrink until rounding
        holds them at some multiple of the smallest number, and computing with those takes many
        times as long: a step took twice the time from the 700th on. What is set to zero is beneath
        what a step can tell from it.
        """
        moments = self.optimizer.state.get(self.flat, {})
        if "step" not in moments or int(moments["step"]) % _FLUSHED:
            return
        limit = 1e4 * torch.finfo(self.flat.dtype).tiny
        for moment in moments.values():
            if moment.shape == self.flat.shape:
                torch.hardshrink(moment, limit, out=moment)

    def _differentiated(self, batch: Any) -> Found:
        terms = self.phase.terms(batch)
        moving = [term.sum() for term in terms if term.requires_grad]
        if not moving:
            raise ValueError(
                f"No weight has a gradient from {' or '.join(self.phase.names)}. Compute what the "
                "network gives by operations of torch that autograd follows, without detach()."
            )
        total = torch.stack(moving).sum()
        gradients: Sequence[Tensor] = torch.autograd.grad(
            total, self.parameters, allow_unused=True, materialize_grads=True
        )
        if _ranks.size() == 1:
            gradients = self._clipped(gradients)
        return Found([term.detach() for term in terms], gradients)

    def _summed(self, losses: Sequence[Tensor]) -> list[Tensor]:
        """Add the gradients and losses of all processes up by one exchange."""
        places = self.sums[len(self.flat) :].view(len(losses), self.n_restarts)
        torch.stack(list(losses), out=places)
        _ranks.add_up(self.sums)
        if self.clip_norm is not None:
            for place, own in zip(self.places, self._clipped(self.places), strict=True):
                place.copy_(own)
        return list(places.clone())

    def set_rate(self, rate: float) -> None:
        """Set the learning rate to a share of the full one."""
        self.optimizer.param_groups[0]["lr"] = self.learning_rate * rate

    def release(self) -> None:
        """Give each parameter its own memory."""
        for parameter in self.parameters:
            parameter.data = parameter.data.clone()

    def _clipped(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """Scale each restart's gradient to a norm of at most `clip_norm`, if there is one."""
        if self.clip_norm is None:
            return gradients
        rows = [gradient.reshape(self.n_restarts, -1) for gradient in gradients]
        norm = sum(row.square().sum(1) for row in rows)
        factor = (self.clip_norm / torch.as_tensor(norm).sqrt().clamp_min(1e-30)).clamp_max(1)
        scaled = (row * factor[:, None] for row in rows)
        return [row.view_as(own) for row, own in zip(scaled, self.parameters, strict=True)]


def own_of(model: Learner, phases: Sequence[Phase]) -> Sequence[Phase]:
    """Return phases whose losses are what one of several processes adds to them."""
    return [replace(phase, terms=partial(losses_of, model, phase.terms)) for phase in phases]


def players_of(
    phases: Sequence[Phase], n_restarts: int, settings: Training, learning_rate: float
) -> list[Player]:
    """Return a player for each phase; the parameters of all are views of one flat tensor.

    Parameters stand there in the order in which the phases name them first, and those of a phase
    must follow one another.
    """
    parameters = list(dict.fromkeys(own for phase in phases for own in phase.parameters))
    sizes = [parameter.numel() for parameter in parameters]
    flat = torch.cat([parameter.data.flatten() for parameter in parameters])
    for parameter, view in zip(parameters, flat.split(sizes), strict=True):
        parameter.data = view.view_as(parameter)
    first = dict(zip(parameters, accumulate(sizes, initial=0), strict=False))
    workspace, players = Workspace(), []
    for phase in phases:
        start = first[phase.parameters[0]]
        size = sum(parameter.numel() for parameter in phase.parameters)
        own = flat[start : start + size]
        players.append(Player(phase, own, n_restarts, settings, learning_rate, workspace))
    return players


class Best:
    """The best state of a model so far, restart by restart: parameters and what else it keeps.

    A restart that ran out of patience is left alone, as if it had been trained by itself.

    Attributes
    ----------
    loss : Tensor of shape (restart,)
    epoch : Tensor of int, shape (restart,)
        Epochs trained when the loss was reached; 0 is the start.
    """

    def __init__(self, state: Sequence[Tensor], loss: Tensor, patience: int | None) -> None:
        self.state = state
        self.kept = [tensor.clone() for tensor in state]
        self.loss = loss.clone()
        self.epoch = torch.zeros(len(loss), dtype=torch.int64)
        self.done = torch.zeros(len(loss), dtype=torch.bool)
        self.patience = patience

    def update(self, loss: Tensor, epoch: int, settled: int = 0) -> bool:
        """Take in the losses after an epoch; return whether no restart has patience left.

        Patience counts from the best epoch, and not before the epoch in which parts have settled.
        """
        better = (loss < self.loss) & ~self.done
        for restart in better.nonzero().flatten().tolist():
            self.loss[restart], self.epoch[restart] = loss[restart], epoch
            for kept, tensor in zip(self.kept, self.state, strict=True):
                size = len(kept) // len(loss)
                rows = slice(restart * size, (restart + 1) * size)
                kept[rows] = tensor[rows]
        if self.patience is not None:
            self.done |= epoch - self.epoch.clamp_min(settled) >= self.patience
        return bool(self.done.all())

    def restore(self, which: Tensor) -> None:
        """Put the best state of some restarts back, given by a mask."""
        for kept, tensor in zip(self.kept, self.state, strict=True):
            rows = which.repeat_interleave(len(kept) // len(which)).to(kept.device)
            tensor[rows] = kept[rows]
