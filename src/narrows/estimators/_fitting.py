"""Fitting: from settings and rows to a trained model."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.special import stdtrit
from torch import Tensor

from narrows import _ranks, adversarial
from narrows.blueprint import Blueprint, Disturbance
from narrows.data.batches import Batch
from narrows.data.streamed import Streamed, TrainingRows
from narrows.engine import devices, loop
from narrows.engine.agreement import agree
from narrows.engine.callbacks import Progress
from narrows.engine.history import failure
from narrows.engine.player import Phase, Player, own_of, players_of
from narrows.engine.schedule import schedule
from narrows.engine.training import Training
from narrows.estimators._starting import start_as_pca
from narrows.model import Model
from narrows.nn.sampler import UnkeptSampler

EVALUATION_ROWS = 4096
_EVALUATED = 2**19  # outputs at a time
FEWEST_JUDGED = 100
_JUDGED = 2**18  # rows by which a gain over PCA is judged


@dataclass(frozen=True)
class Task:
    """Rows to learn from and rows to choose by."""

    train: TrainingRows
    validation: TrainingRows | None
    given: bool = False  # validation rows that are no part of X: the start must not see them

    @property
    def judged(self) -> Batch:
        """Rows to judge codes by: those held out, if there are enough."""
        held = self.validation
        rows = self.train if held is None or len(held) < FEWEST_JUDGED else held
        return rows.sample().spread(EVALUATION_ROWS)


@dataclass(frozen=True)
class Recipe:
    """The settings of an estimator, resolved.

    What is trained may be a part of a whole, of no use without the rest.
    """

    blueprint: Blueprint
    disturbance: Disturbance | None
    training: Training
    learning_rate: float
    batch_size: int
    max_epochs: int
    verbose: int
    is_part: bool = False


def evaluated_at_once(model: Model) -> int:
    """Return how many rows are evaluated together: fewer of many restarts, levels or outputs."""
    outputs = model.n_restarts * model.n_levels * model.blueprint.n_outputs
    return max(64, min(EVALUATION_ROWS, _EVALUATED // outputs))


def build(recipe: Recipe, task: Task, seeds: list[np.random.SeedSequence]) -> Model:
    """Return a model of one restart per seed, at its start."""
    model = Model(recipe.blueprint, len(seeds))
    model.reset(devices.generators(seeds, torch.device("cpu")))
    if _starts_as_pca(recipe):
        start_as_pca(model, *_rows_of(task))
    return model.to(devices.dtype(recipe.training.precision))


def _starts_as_pca(recipe: Recipe) -> bool:
    return recipe.blueprint.architecture.init == "pca"


def _rows_of(task: Task) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the rows of X with their targets, weights and condition; some where they stream."""
    held = [] if task.validation is None or task.given else [task.validation]
    parts = [rows.sample() for rows in (task.train, *held)]
    rows = torch.cat([part.x for part in parts])
    targets = (
        rows
        if all(part.target is part.x for part in parts)
        else torch.cat([part.target for part in parts])
    )
    weights = [torch.ones(len(part)) if part.weight is None else part.weight for part in parts]
    known = [part.condition for part in parts if part.condition is not None]
    return rows, targets, torch.cat(weights).to(rows), torch.cat(known) if known else None


def learn(
    model: Model, recipe: Recipe, task: Task, seeds: list[np.random.SeedSequence]
) -> loop.History:
    """Train a model from its start, and go back to PCA where nothing is gained for sure.

    The seeds are one for the order of batches, then one per restart. A restart that starts as PCA
    and whose gain on the validation rows is in doubt (`_certain`) returns to its start: with few
    validation rows, or heavy tails, the best of many epochs wins by luck. A model that keeps its
    last weights asks for more than that loss tells, and stays.
    """
    start_is_pca = _starts_as_pca(recipe) and recipe.blueprint.code.linear
    start_is_pca &= not model.keeps_last
    if task.validation is None or not start_is_pca:
        return train(model, recipe, task, seeds)
    before = _row_objective(model, recipe, task.validation, seeds)
    history = train(model, recipe, task, seeds)
    after = _row_objective(model, recipe, task.validation, seeds)
    doubtful = ~_certain(before - after)
    _ranks.take_over([doubtful])
    if doubtful.any():
        model.restore(build(recipe, task, seeds[1:]), doubtful)
        history.best_loss[doubtful] = history.validation_loss[0][doubtful]
        history.best_epoch[doubtful] = 0
    return history


def _row_objective(
    model: Model, recipe: Recipe, rows: TrainingRows, seeds: list[np.random.SeedSequence]
) -> Float[Tensor, "restart row"]:
    """Return the objective of rows; of very many, those at equal distances."""
    model.eval()
    every = slice(None, None, -(-len(rows) // _JUDGED))
    with _placed(model, recipe, seeds[1:]) as where, torch.no_grad():
        batches = rows.to(where).batches(evaluated_at_once(model))
        found = [model.objective(batch[every]).cpu() for batch in batches]
        return torch.cat(found, 1).double()


def _certain(gain: Float[Tensor, "restart row"]) -> Bool[Tensor, " restart"]:
    """Return which restarts gain by a paired test, nominally at 1 %: Student's or Hall's.

    Gains are skewed: a few rows that PCA rebuilds worst gain most, and hide the rest from
    Student's t. Hall's transformation of it takes the skewness into account (Hall 1992,
    On the removal of skewness by transformation, J. R. Stat. Soc. B 54, 221-228).
    """
    n_rows = gain.shape[1]
    if n_rows < 2:
        return torch.zeros(len(gain), dtype=torch.bool)
    centred = gain - gain.mean(1, keepdim=True)
    width = centred.square().mean(1).sqrt().clamp_min(1e-300)
    ratio = gain.mean(1) / width
    skewness = (centred / width[:, None]).pow(3).mean(1)
    hall = ratio + skewness * ratio**2 / 3 + skewness**2 * ratio**3 / 27 + skewness / (6 * n_rows)
    quantile = float(stdtrit(n_rows - 1, 0.99))
    return (ratio * (n_rows - 1) ** 0.5 > quantile) | (
        (hall * n_rows**0.5 > quantile) & (n_rows >= 5)
    )


@contextmanager
def _placed(
    model: Model, recipe: Recipe, noise: list[np.random.SeedSequence]
) -> Iterator[torch.device]:
    """Put a model where it trains, with its noise and threads, and back when that is over."""
    where = devices.device(recipe.training.device, recipe.training.precision)
    work = recipe.batch_size * sum(parameter.numel() for parameter in model.parameters())
    model.to(where)
    model.seed(devices.generators(noise, where, stream=1))
    model.disturbance = recipe.disturbance
    model.mixed = devices.mixed(recipe.training.precision, work, where)
    try:
        with devices.threads(work):
            yield where
    finally:
        model.seed(())
        model.disturbance, model.mixed = None, False
        model.to("cpu")


def train(
    model: Model, recipe: Recipe, task: Task, seeds: list[np.random.SeedSequence]
) -> loop.History:
    """Train a model in place; the first seed orders the batches."""
    order, *noise = seeds
    with ExitStack() as stack:
        where = stack.enter_context(_placed(model, recipe, noise))
        shown = recipe.verbose and _ranks.first()
        watching = [stack.enter_context(Progress())] if shown else []
        held = None
        if task.validation is not None:
            held = task.validation.to(where).batches(evaluated_at_once(model))
        drawn = devices.generators(noise, where, stream=2)
        return loop.fit(
            model,
            task.train.to(where).batches(recipe.batch_size),
            held,
            phases=_phases(model, recipe, drawn),
            settings=recipe.training,
            learning_rate=recipe.learning_rate,
            max_epochs=recipe.max_epochs,
            generator=devices.generators([order], torch.device("cpu"))[0],
            noise=[*model.generators, *drawn],
            identity={
                "blueprint": recipe.blueprint,
                "disturbance": recipe.disturbance,
                "batch_size": recipe.batch_size,
                "mixed": model.mixed,
                **_order(task.train),
            },
            callbacks=[*recipe.training.callbacks, *watching],
            is_part=recipe.is_part,
        )


def _order(rows: TrainingRows) -> dict[str, Any]:
    """Return what the order of the batches depends on, besides the rows."""
    if not isinstance(rows, Streamed):
        return {"streamed": False}
    return {"streamed": True, "blocks": rows.blocks, "pool_rows": rows.pool_rows}


def _phases(model: Model, recipe: Recipe, generators: tuple[torch.Generator, ...]) -> list[Phase]:
    """Return what a step consists of; only a sampler that no file holds is the settings' own."""
    critic = model.blueprint.critic
    if critic is not None and isinstance(critic.sampler, UnkeptSampler):
        critic = recipe.blueprint.critic
    return adversarial.phases(model, critic, recipe.learning_rate, generators)


class Stream:
    """A model that is trained pass by pass, with the states of its optimisers.

    Parameters
    ----------
    model : Model
    seeds : list of SeedSequence
        The order of batches, then the noise of each restart.
    """

    def __init__(self, model: Model, seeds: list[np.random.SeedSequence]) -> None:
        self.model = model
        self.seeds = seeds
        self.n_passes = 0
        self.optimizers: list[dict[str, Any]] = []

    def resume(self, moments: dict[str, Tensor], training: Training, learning_rate: float) -> None:
        """Take the states of the optimisers from a file, those after the first by number.

        Raises
        ------
        ValueError
            If they are of other sizes than the network.
        """
        phases = adversarial.phases(self.model, self.model.blueprint.critic, learning_rate)
        players = players_of(phases, self.model.n_restarts, training, learning_rate)
        for number, player in enumerate(players):
            player.release()
            own = _numbered(moments, number)
            if any(moment.shape not in ((), player.flat.shape) for moment in own.values()):
                raise ValueError("The state of the optimiser does not fit the network.")
            state = player.optimizer.state_dict() | {"state": {0: own} if own else {}}
            self.optimizers.append(state)

    def pass_over(self, recipe: Recipe, task: Task) -> loop.History:
        """Take one step per batch of the rows; return the losses of the pass.

        A pass whose losses are not finite is undone, and the history says so.
        """
        order, *noise = (child for seed in self.seeds for child in seed.spawn(1))
        kind, progress = recipe.training.lr_schedule, min(1, self.n_passes / recipe.max_epochs)
        before = {name: kept.clone() for name, kept in self.model.state_dict().items()}
        with _placed(self.model, recipe, noise) as where:
            rows = task.train.to(where).batches(recipe.batch_size)
            phases = _phases(self.model, recipe, devices.generators(noise, where, stream=2))
            n, rate = self.model.n_restarts, recipe.learning_rate
            players = players_of(own_of(self.model, phases), n, recipe.training, rate)
            for player, state in zip(players, self.optimizers, strict=False):
                player.optimizer.load_state_dict(state)
            generator = devices.generators([order], torch.device("cpu"))[0]
            told = {"training": recipe.training.decisive, "batch_size": recipe.batch_size}
            agree(self.model, (rows,), told, [generator, *self.model.generators])
            shares = [progress] * len(rows)
            try:
                with closing(rows.shuffled(generator)) as shuffled:
                    taken = [*loop.steps(self.model, players, shuffled, shares, kind)]
            except BaseException:
                self._settle(players, before)
                raise
            self._settle(players)
        b = self.model.blueprint
        losses = torch.stack(taken).cpu()
        mean, lost = losses.mean(0), failure(losses, 1, b.trained_names)
        objective = mean[: len(b.term_names)].sum(0)
        if lost is None:
            self.optimizers = [player.optimizer.state_dict() for player in players]
            self.n_passes += 1
        else:
            self.model.load_state_dict(before)
        return loop.History(
            [mean],
            [objective],
            [recipe.learning_rate * schedule(kind, progress)],
            torch.full((mean.shape[1],), self.n_passes),
            objective.nan_to_num(math.inf, math.inf),
            lost,
        )

    def _settle(self, players: list[Player], before: dict[str, Tensor] | None = None) -> None:
        """End a pass; go back to the state before it, if one is given."""
        for player in players:
            player.release()
        self.model.eval()
        if before is not None:
            self.model.load_state_dict(before)


def _numbered(moments: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    """Return the moments of one optimiser; the names of those of the first have no number."""
    start = f"{number}." if number else ""
    named = {name.removeprefix(start): m for name, m in moments.items() if name.startswith(start)}
    return {name: moment for name, moment in named.items() if "." not in name}


def as_arrays(history: loop.History, n_terms: int) -> dict[str, np.ndarray]:
    """Return a history as arrays: losses per value with axes epoch, (term,) restart."""
    shape = (len(history.train_loss), n_terms, len(history.best_loss))
    return {
        "train_loss": np.array([loss.numpy() for loss in history.train_loss]).reshape(shape),
        "validation_loss": torch.stack(history.validation_loss).numpy(),
        "learning_rate": np.asarray(history.learning_rate),
        "best_epoch": history.best_epoch.numpy(),
        "best_loss": history.best_loss.numpy(),
    }


def seeds(random_state: Any, n: int) -> list[np.random.SeedSequence]:
    """Return seeds for the split, the order of batches, and each restart."""
    if isinstance(random_state, np.random.RandomState):
        random_state = random_state.randint(2**31 - 1)
    elif isinstance(random_state, np.random.Generator):
        random_state = int(random_state.integers(2**31 - 1))
    random_state = _ranks.seed(random_state)
    try:
        return np.random.SeedSequence(random_state).spawn(n)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"random_state={random_state!r} is not a seed. Write a whole number >= 0, a "
            "RandomState, a Generator, or None."
        ) from error
