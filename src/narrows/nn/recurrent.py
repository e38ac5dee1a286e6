"""Recurrent networks: sequences of any length in and out, one step after the other.

Steps follow one another, networks do not: each step is one batched product for all restarts and
decoders. It is written in plain operations, so that penalties can differentiate it twice.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from narrows.nn.architecture import Architecture, Network, Sizes, Stage, indivisible
from narrows.nn.layers import picker


class Recurrent(Architecture):
    """GRU or LSTM layers, which read a sequence step by step and write it from its code.

    Use it for sequences, also of different lengths: rows of shape (steps,) or (steps, features),
    padded with NaN at the end, or a list of arrays. The code is a linear function of what the top
    layer holds after a row's last step. The decoder unrolls from states set by the code, which is
    also its input at every step; it never reads its own output. Padding contributes exactly
    nothing. A loss is a sum over steps: longer sequences weigh more.

    Parameters
    ----------
    cell : {"gru", "lstm"}, default="gru"
        Gated recurrent units, or long short-term memory, whose second state remembers longer.
    hidden_size : int, default=64
        Units of each layer.
    n_layers : int, default=1
        Layers of encoder and decoder, each reading the one below.

    References
    ----------
    Cho, van Merriënboer, Gulcehre, Bahdanau, Bougares, Schwenk & Bengio 2014, arXiv:1406.1078.
    Hochreiter & Schmidhuber 1997, 10.1162/neco.1997.9.8.1735.
    Srivastava, Mansimov & Salakhutdinov 2015, arXiv:1502.04681.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder, Recurrent
    >>> rng = np.random.default_rng(0)
    >>> X = [np.sin(np.arange(rng.integers(5, 9)) + rng.uniform(0, 6)) for _ in range(100)]
    >>> small = Recurrent("lstm", hidden_size=8)
    >>> model = Autoencoder(2, architecture=small, max_epochs=2, random_state=0).fit(X)
    >>> model.transform(X).shape
    (100, 2)
    >>> len(model.reconstruct(X)[0]) == len(X[0])
    True
    """

    sequential = True

    def __init__(self, cell: str = "gru", hidden_size: int = 64, n_layers: int = 1) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.n_layers = n_layers

    def stages(self, sizes: Sizes) -> list[Stage]:
        raise indivisible(self)

    def build(self, sizes: Sizes) -> tuple[Network, Network]:
        self._check()
        n_inputs, n_outputs = (_features("X", sizes.event), _features("target", sizes.target))
        return (
            RecurrentEncoder(sizes.n_restarts, n_inputs + sizes.n_condition, sizes.n_encoded, self),
            RecurrentDecoder(sizes, n_outputs, self),
        )

    def joined(
        self,
        x: Float[Tensor, "network row value"],
        condition: Float[Tensor, "... row condition"],
        event: tuple[int, ...],
    ) -> Float[Tensor, "network row read"]:
        steps = x.unflatten(-1, (-1, _features("X", event)))
        each = condition.unsqueeze(-2).expand(*steps.shape[:-1], -1)
        return torch.cat([steps, each], -1).flatten(-2)

    def _check(self) -> None:
        if self.cell not in _CELLS:
            raise ValueError(f"cell={self.cell!r} is not known. Write 'gru' or 'lstm'.")
        for name in ("hidden_size", "n_layers"):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number, at least 1.")


def _features(name: str, shape: tuple[int, ...]) -> int:
    """Return the number of features of each step."""
    if len(shape) > 2:
        raise ValueError(
            f"Recurrent takes sequences of shape (steps, features), but {name} has events of "
            f"shape {shape}. Write {name}.reshape(len({name}), {shape[0]}, -1)."
        )
    return shape[1] if len(shape) == 2 else 1


class Cells(nn.Module):
    """Layers of `n` networks side by side.

    Gates stand in torch's order: reset, update, new; input, forget, cell, output.
    """

    def __init__(self, n: int, n_inputs: int, settings: Recurrent) -> None:
        super().__init__()
        self.run, n_gates, n_states = _CELLS[settings.cell]
        hidden = settings.hidden_size
        self.shape = (n_states, settings.n_layers, hidden)
        for layer in range(settings.n_layers):
            width = hidden if layer else n_inputs
            for name, size in (("input", width), ("hidden", hidden), ("b_input", 1), ("b", 1)):
                zeros = torch.zeros(n, size, n_gates * hidden)
                self.register_parameter(f"{name}{layer}", nn.Parameter(zeros))

    def forward(
        self,
        x: Float[Tensor, "network row step input"],
        states: Float[Tensor, "state layer network row hidden"],
        n_steps: int,
        pick: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "network row n_steps hidden"]:
        """Return what the top layer holds after each step; one step of input serves them all."""
        for layer in range(self.shape[1]):
            names = (f"{name}{layer}" for name in ("input", "hidden", "b_input", "b"))
            to_gates, weight, bias, own_bias = (pick(getattr(self, name)) for name in names)
            gates = torch.baddbmm(bias, x.flatten(1, 2), to_gates).unflatten(1, x.shape[1:3])
            gates = gates.expand(-1, -1, n_steps, -1)
            x = torch.stack(self.run(gates, states[:, layer], weight, own_bias), 2)
        return x


def _gru(
    gates: Float[Tensor, "network row step gate"], states: Tensor, weight: Tensor, bias: Tensor
) -> list[Float[Tensor, "network row hidden"]]:
    """Return ``h ← (1 - z) tanh(a_n + r (W_n h + b_n)) + z h`` after each step."""
    (h,), found = states, []
    sizes = [2 * h.shape[-1], h.shape[-1]]
    for fresh, new in zip(*(part.unbind(2) for part in gates.split(sizes, -1)), strict=True):
        old, own = torch.baddbmm(bias, h, weight).split(sizes, -1)
        reset, update = (fresh + old).sigmoid().chunk(2, -1)
        h = torch.lerp(torch.addcmul(new, reset, own).tanh(), h, update)
        found.append(h)
    return found


def _lstm(
    gates: Float[Tensor, "network row step gate"], states: Tensor, weight: Tensor, bias: Tensor
) -> list[Float[Tensor, "network row hidden"]]:
    """Return ``h ← o tanh c``, with ``c ← f c + i g``, after each step."""
    (h, c), found = states, []
    for step in (gates + bias[:, :, None]).unbind(2):
        i, f, g, o = torch.baddbmm(step, h, weight).chunk(4, -1)
        c = torch.addcmul(f.sigmoid() * c, i.sigmoid(), g.tanh())
        h = o.sigmoid() * c.tanh()
        found.append(h)
    return found


# How to run a cell, its gates, and the states that go from step to step
_CELLS = {"gru": (_gru, 3, 1), "lstm": (_lstm, 4, 2)}


class RecurrentEncoder(Network):
    """One encoder per restart."""

    n_hidden = 1

    def __init__(self, n: int, n_inputs: int, n_features: int, settings: Recurrent) -> None:
        super().__init__()
        self.n_inputs = n_inputs
        self.cells = Cells(n, n_inputs, settings)
        self.weight = nn.Parameter(torch.zeros(n, settings.hidden_size, n_features))
        self.bias = nn.Parameter(torch.zeros(n, 1, n_features))

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        for weight in (*self.cells.parameters(), self.weight):
            _draw(weight, generators, self.weight.shape[1])

    def start(self, weight: Tensor, bias: Tensor) -> None:
        """Do nothing: there is no linear path."""

    def adopt(self, layer: int, stage: Any, restart: int) -> None:
        """Do nothing: there are no layers of their own."""

    def forward(
        self, x: Tensor, levels: slice | None = None, kept: list[Tensor] | None = None
    ) -> Tensor:
        steps = x.unflatten(-1, (-1, self.n_inputs))
        padding = steps.isnan()
        last = (~padding[..., 0]).sum(-1) - 1
        n_states, n_layers, hidden = self.cells.shape
        zeros = x.new_zeros(n_states, n_layers, *x.shape[:2], hidden)
        states = self.cells(steps.masked_fill(padding, 0), zeros, steps.shape[2], lambda p: p)
        top = states.gather(2, last[..., None, None].expand(-1, -1, 1, hidden)).squeeze(2)
        if kept is not None:
            kept.append(top)
        return torch.baddbmm(self.bias, top, self.weight)


class RecurrentDecoder(Network):
    """Decoders of the levels of each restart."""

    def __init__(self, sizes: Sizes, n_outputs: int, settings: Recurrent) -> None:
        super().__init__()
        n, hidden = sizes.n_restarts * sizes.n_decoders, settings.hidden_size
        self.n_levels, self.n_steps = sizes.n_decoders, sizes.target[0]
        self.cells = Cells(n, sizes.n_decoded, settings)
        n_states = math.prod(self.cells.shape)
        self.first_weight = nn.Parameter(torch.zeros(n, sizes.n_decoded, n_states))
        self.first_bias = nn.Parameter(torch.zeros(n, 1, n_states))
        self.weight = nn.Parameter(torch.zeros(n, hidden, n_outputs))
        self.bias = nn.Parameter(torch.zeros(n, 1, n_outputs))

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        _draw(self.first_weight, generators, self.first_weight.shape[1])
        for weight in (*self.cells.parameters(), self.weight):
            _draw(weight, generators, self.weight.shape[1])

    def start(self, weight: Tensor, bias: Tensor) -> None:
        """Do nothing: there is no linear path."""

    def adopt(self, layer: int, stage: Any, restart: int) -> None:
        """Do nothing: there are no layers of their own."""

    def forward(
        self, x: Tensor, levels: slice | None = None, kept: list[Tensor] | None = None
    ) -> Tensor:
        pick = picker(self.n_levels, levels)
        first = torch.baddbmm(pick(self.first_bias), x, pick(self.first_weight))
        states = first.unflatten(2, self.cells.shape).permute(2, 3, 0, 1, 4)
        # What cells give out lies between -1 and 1; the second state of an LSTM does not.
        states = torch.cat([states[:1].tanh(), states[1:]])
        hidden = self.cells(x[:, :, None], states, self.n_steps, pick).flatten(1, 2)
        outputs = torch.baddbmm(pick(self.bias), hidden, pick(self.weight))
        return outputs.unflatten(1, (-1, self.n_steps)).flatten(2)


def _draw(weight: Tensor, generators: Sequence[torch.Generator], fan_in: int) -> None:
    """Draw evenly between ±1/√fan_in, each restart from its own generator."""
    for part, generator in zip(weight.data.chunk(len(generators)), generators, strict=True):
        part.copy_((2 * torch.rand(part.shape, generator=generator) - 1) / math.sqrt(fan_in))
