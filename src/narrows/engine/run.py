"""A training under way: all that changes from step to step."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from narrows.engine.history import History
from narrows.engine.learner import Learner
from narrows.engine.player import Best, Player


class Run:
    """What a checkpoint holds: with it and the same data a training goes on to the same bits.

    Parameters
    ----------
    model : Learner
    players : sequence of Player
    start : Tensor of shape (restart,)
        The loss of the start.
    patience : int or None
    generator : torch.Generator
        Orders the batches.
    noise : sequence of torch.Generator
        All others that training draws from.

    Attributes
    ----------
    history : History
    best : Best
    alive : Tensor of bool, shape (restart,)
        Which restarts still learn.
    losses : list of Tensor, each of shape (term, restart)
        Of the steps that the present epoch has taken.
    order : Tensor
        State of `generator` at the beginning of the present epoch.
    over : bool
        Whether training has ended, though epochs may be left.
    seconds : float
        What the complete epochs took.
    """

    def __init__(
        self,
        model: Learner,
        players: Sequence[Player],
        start: Float[Tensor, " restart"],
        patience: int | None,
        generator: torch.Generator,
        noise: Sequence[torch.Generator] = (),
    ) -> None:
        self.model = model
        self.players = players
        self.generator = generator
        self.noise = noise
        self.history = History(validation_loss=[start])
        loss = start.nan_to_num(math.inf, math.inf)
        self.best = Best(list(model.state_dict().values()), loss, patience)
        self.alive = torch.ones(len(start), dtype=torch.bool)
        self.losses: list[Float[Tensor, "term restart"]] = []
        self.order = generator.get_state()
        self.over = False
        self.seconds = 0.0

    @property
    def n_epochs(self) -> int:
        """Epochs that are complete."""
        return len(self.history.train_loss)

    def close_epoch(self, train: Tensor, held: Tensor, learning_rate: float) -> int:
        """Enter the losses of an epoch that is complete; return how many there are now."""
        self.history.train_loss.append(train)
        self.history.validation_loss.append(held)
        self.history.learning_rate.append(learning_rate)
        self.losses = []
        self.order = self.generator.get_state()
        return self.n_epochs

    def go_to(self, progress: float, rate: float) -> None:
        """Set what a step at that progress had set, from which the run goes on."""
        self.model.progress = progress
        for player in self.players:
            player.set_rate(rate)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state, on the processor; some of it shares memory with the run."""
        history, best = self.history, self.best
        found = {f"model.{name}": tensor for name, tensor in self._of_model()}
        for number, player in enumerate(self.players):
            moments = player.optimizer.state_dict()["state"].get(0, {})
            named = {f"player.{number}.{name}": moment for name, moment in moments.items()}
            found |= {name: moment for name, moment in named.items() if moment is not None}
        found |= {f"best.{number}": kept for number, kept in enumerate(best.kept)}
        found |= {"best.loss": best.loss, "best.epoch": best.epoch, "best.done": best.done}
        found |= {f"noise.{number}": own.get_state() for number, own in enumerate(self.noise)}
        found |= {"order": self.order, "alive": self.alive, "over": torch.tensor(self.over)}
        found["losses"] = _stacked(self.losses)
        found["train_loss"] = _stacked(history.train_loss)
        found["validation_loss"] = _stacked(history.validation_loss)
        found["learning_rate"] = torch.tensor(history.learning_rate, dtype=torch.float64)
        return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a state that a run of the same settings returned."""
        for name, own in self._of_model():
            own.data.copy_(tensors[f"model.{name}"])
        for number, player in enumerate(self.players):
            moments = _named(tensors, f"player.{number}.")
            state = player.optimizer.state_dict() | {"state": {0: moments} if moments else {}}
            player.optimizer.load_state_dict(state)
        for number, kept in enumerate(self.best.kept):
            kept.copy_(tensors[f"best.{number}"])
        self.best.loss, self.best.epoch = tensors["best.loss"], tensors["best.epoch"]
        self.best.done, self.alive = tensors["best.done"], tensors["alive"]
        for number, generator in enumerate(self.noise):
            generator.set_state(tensors[f"noise.{number}"])
        self.order, self.over = tensors["order"], bool(tensors["over"])
        self.generator.set_state(self.order)
        where = next(self.model.parameters()).device
        self.losses = [loss.to(where) for loss in tensors["losses"]]
        self.history.train_loss = list(tensors["train_loss"])
        self.history.validation_loss = list(tensors["validation_loss"])
        self.history.learning_rate = tensors["learning_rate"].tolist()

    def _of_model(self) -> Iterator[tuple[str, Tensor]]:
        """Yield parameters and buffers by name, those that no model file holds among them."""
        yield from self.model.named_parameters()
        yield from self.model.named_buffers()


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(rows)) if len(rows) else torch.zeros(0)


def _named(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
