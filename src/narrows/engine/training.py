"""Settings of training beyond those that people turn in their first hour."""

import os
from collections.abc import Callable, Sequence
from numbers import Real
from types import NoneType
from typing import Any

import torch

from narrows._errors import nearest
from narrows._types import PathLike
from narrows.engine.adam import Adam
from narrows.engine.checkpoint import Checkpoint
from narrows.parts import Part

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "adam": Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}
SCHEDULES = ("cosine", "linear", "constant")
SPLITS = ("random", "blocks", "groups")
PRECISIONS = ("auto", "float32", "bfloat16", "float64")


class Training(Part):
    """How a model is trained.

    Parameters
    ----------
    optimizer : {"adam", "adamw", "nadam", "rmsprop", "sgd"}, default="adam"
        Optimiser of torch; `learning_rate` belongs to the estimator.
    weight_decay : float, default=0.0
        Decay of the weights, >= 0, as the optimiser defines it.
    lr_schedule : {"cosine", "linear", "constant"}, default="cosine"
        How the learning rate falls, step by step, to a hundredth at `max_epochs`.
    validation_fraction : float, default=0.1
        Share of the rows, in [0, 1), that no gradient sees and that choose epoch and restart;
        0 keeps the last epoch, and chooses the restart on the training rows.
    split : {"random", "blocks", "groups"}, default="random"
        How validation rows are chosen: at random, in blocks (series, trajectories), or as whole
        groups (then `fit` needs `groups`).
    patience : int or None, default=20
        Stop after that many epochs without improvement on the validation rows; None never stops.
    precision : {"auto", "float32", "bfloat16", "float64"}, default="auto"
        Arithmetic of the network. "bfloat16" is mixed: layers compute in it while training,
        weights, losses and all that comes after are in single precision. "auto" is single
        precision, mixed for large networks where the processor or card is faster so.
    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps"; "auto" takes a GPU where there is one.
    clip_norm : float or None, default=None
        Bound on the norm of each restart's gradient.
    keep_restarts : bool, default=True
        Whether all restarts are kept and saved, or the best alone.
    stream : "auto" or bool, default="auto"
        Whether rows are read from their files in every epoch, a few MiB at a time and shuffled in
        blocks, instead of once into memory; "auto" does so for files whose scaled rows would take
        more than a quarter of the memory that there is.
    checkpoint : Checkpoint, str, PathLike or None, default=None
        Where and how often the training is saved, so that it can go on after a fault; a path is a
        folder in which it is saved every ten minutes.
    callbacks : sequence of callable, default=()
        Called after each epoch with the `narrows.engine.callbacks.Epoch` just finished; a callback
        that returns "stop" ends training.

    Examples
    --------
    >>> from narrows import Autoencoder, Training
    >>> Autoencoder(training=Training(split="blocks", patience=5)).get_params()[
    ...     "training__patience"
    ... ]
    5
    """

    def __init__(
        self,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
        lr_schedule: str = "cosine",
        validation_fraction: float = 0.1,
        split: str = "random",
        patience: int | None = 20,
        precision: str = "auto",
        device: str = "auto",
        clip_norm: float | None = None,
        keep_restarts: bool = True,
        stream: str | bool = "auto",
        checkpoint: Checkpoint | PathLike | None = None,
        callbacks: Sequence[Callable[[Any], str | None]] = (),
    ) -> None:
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.validation_fraction = validation_fraction
        self.split = split
        self.patience = patience
        self.precision = precision
        self.device = device
        self.clip_norm = clip_norm
        self.keep_restarts = keep_restarts
        self.stream = stream
        self.checkpoint = checkpoint
        self.callbacks = callbacks

    @property
    def decisive(self) -> dict[str, Any]:
        """Settings that the course of a training depends on."""
        aside = ("keep_restarts", "stream", "checkpoint", "callbacks")
        return {name: value for name, value in vars(self).items() if name not in aside}

    def check(self) -> None:
        """Raise ValueError for a setting that is out of range or misspelt, else TypeError."""
        for name, known in (
            ("optimizer", tuple(OPTIMIZERS)),
            ("lr_schedule", SCHEDULES),
            ("split", SPLITS),
            ("precision", PRECISIONS),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"{name}={value!r} is not known.{nearest(str(value), known)} "
                    f"Known are: {', '.join(known)}."
                )
        for name in ("validation_fraction", "patience", "weight_decay", "clip_norm"):
            value = getattr(self, name)
            if not isinstance(value, (Real, NoneType)):
                raise ValueError(f"{name}={value!r} must be a number.")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} must be in [0, 1). Write 0.1."
            )
        if not isinstance(self.stream, bool) and self.stream != "auto":
            raise ValueError(f"stream={self.stream!r} is not known. Write 'auto', True or False.")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience={self.patience} must be at least 1. Write None for none.")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay={self.weight_decay} must be at least 0. Write 0.")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError(f"clip_norm={self.clip_norm} must be positive. Write None for none.")
        self._check_watchers()

    def _check_watchers(self) -> None:
        known = self.callbacks if isinstance(self.callbacks, Sequence) else [None]
        if any(isinstance(each, type) or not callable(each) for each in known):
            raise TypeError(
                f"callbacks={self.callbacks!r} must be a sequence of functions. Write "
                "callbacks=[JsonLog('run.jsonl')], say."
            )
        if isinstance(self.checkpoint, Checkpoint):
            self.checkpoint.check()
        elif not isinstance(self.checkpoint, str | os.PathLike | None):
            raise TypeError(
                f"checkpoint={self.checkpoint!r} is not a folder. Write 'run/', say, or "
                "Checkpoint('run/', minutes=5)."
            )
