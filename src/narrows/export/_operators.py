"""Networks in operators that ONNX has."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from narrows.export import _special
from narrows.model import Model
from narrows.nn.modules import ModuleNetwork
from narrows.nn.prior import Members, PriorNetwork
from narrows.nn.recurrent import Cells, RecurrentDecoder, RecurrentEncoder
from narrows.nn.simplex import gamma_from


class InOperators(TorchFunctionMode):
    """Functions that ONNX lacks, or has in single precision only, in operators that it has."""

    instead: ClassVar[dict[Any, Callable[..., Tensor]]] = {
        torch.lgamma: _special.log_gamma,
        torch.digamma: _special.digamma,
        torch.special.log_ndtr: _special.log_ndtr,
        functional.softplus: _special.softplus,
        gamma_from: _special.gamma_from,
    }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.instead.get(func, func)(*args, **(kwargs or {}))


def portable(model: Model, dtype: torch.dtype) -> Model:
    """Return a copy of a model of one restart whose networks have operations of their own in ONNX.

    Parameters
    ----------
    model : Model
    dtype : torch.dtype
        Of its weights.
    """
    copied = model.select(0).to(dtype)
    if copied.prior is not None:
        with torch.no_grad():
            copied.prior = Known(copied.prior(copied.encoder))
    for name in ("encoder", "decoder"):
        setattr(copied, name, in_operators(getattr(copied, name)))
    return copied


def in_operators(network: Any) -> nn.Module:
    """Return a network of operations that ONNX has: itself, changed, or one that holds it."""
    if isinstance(network, ModuleNetwork):
        return Direct(network)
    if isinstance(network, RecurrentEncoder | RecurrentDecoder):
        network.cells = RecurrentOperators(network.cells)  # type: ignore[assignment]
    return network


class Known(PriorNetwork):
    """Members of a prior, which nothing moves any more."""

    raw: Tensor
    log_weight: Tensor

    def __init__(self, members: Members) -> None:
        super().__init__()
        self.register_buffer("raw", members.raw.detach())
        self.register_buffer("log_weight", members.log_weight.detach())

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Do nothing."""

    def forward(self, encode: Callable[[Tensor], Tensor]) -> Members:
        return Members(self.raw, self.log_weight)


class Direct(nn.Module):
    """Modules of one's own, run without regard to random numbers, of which there are none."""

    def __init__(self, network: ModuleNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, x: Tensor, levels: slice | None = None, kept: list[Tensor] | None = None
    ) -> Tensor:
        network = self.network
        (template,) = network._template
        own = range(network.n_levels)[levels or slice(None)]
        outputs = []
        for which, rows in zip(own, x.unflatten(2, network.shapes[0]).unbind(0), strict=True):
            tensors = {name: network._stacked(name)[which] for name in network._places}
            outputs.append(functional_call(template.eval(), tensors, (rows,)).flatten(1))
        return torch.stack(outputs)


class RecurrentOperators(nn.Module):
    """Recurrent layers as the operators GRU and LSTM, which take any number of steps."""

    def __init__(self, cells: Cells) -> None:
        super().__init__()
        self.shape = cells.shape
        lstm = cells.shape[0] == 2
        # ONNX has the gates of an LSTM as input, output, forget, cell; of a GRU the update first.
        order = [0, 3, 1, 2] if lstm else [1, 0, 2]
        self.operator = "LSTM" if lstm else "GRU"
        self.options: dict[str, Any] = {"hidden_size": cells.shape[2]}
        if not lstm:
            self.options["linear_before_reset"] = 1
        for layer in range(cells.shape[1]):
            turned = {}
            for name in ("input", "hidden", "b_input", "b"):
                gates = getattr(cells, f"{name}{layer}").detach().unflatten(2, (len(order), -1))
                turned[name] = gates[:, :, order].flatten(2).transpose(1, 2)
            self.register_buffer(f"input{layer}", turned["input"].contiguous())
            self.register_buffer(f"hidden{layer}", turned["hidden"].contiguous())
            biases = torch.cat([turned["b_input"], turned["b"]], 1).squeeze(2)
            self.register_buffer(f"biases{layer}", biases)

    def forward(
        self,
        x: Float[Tensor, "network row step input"],
        states: Float[Tensor, "state layer network row hidden"],
        n_steps: Any,
        pick: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "network row n_steps hidden"]:
        x = x.transpose(1, 2)
        x = x if x.shape[1] == n_steps else x.expand(-1, n_steps, -1, -1)
        for layer in range(self.shape[1]):
            names = (f"{name}{layer}" for name in ("input", "hidden", "biases"))
            weights = [pick(getattr(self, name)).split(1) for name in names]
            networks = zip(x.unbind(0), states.select(1, layer).unbind(1), *weights, strict=True)
            x = torch.cat([self._run(*network) for network in networks], 1).transpose(0, 1)
        return x.transpose(1, 2)

    def _run(
        self,
        x: Float[Tensor, "step row input"],
        states: Float[Tensor, "state row hidden"],
        to_gates: Tensor,
        weight: Tensor,
        biases: Tensor,
    ) -> Float[Tensor, "step 1 row hidden"]:
        """Return what one layer of one network holds after each step."""
        return torch.onnx.ops.symbolic(
            self.operator,
            [x, to_gates, weight, biases, None, *states.split(1)],
            self.options,
            dtype=x.dtype,
            shape=(x.shape[0], 1, *states.shape[1:]),
        )
