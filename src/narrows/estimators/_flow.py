"""A density of codes by a normalising flow."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from narrows._errors import require
from narrows._types import Array
from narrows.estimators._densities import Density, Logs, White, check_whole
from narrows.nn.modules import drawing_from

_SHARE = 0.1  # of the rows, that choose the epoch
_BATCH = 256


class FlowDensity(Density):
    """A neural spline flow: an invertible network that makes the codes normal.

    ``ln p(u) = ln N(f(u)) + ln |det ∂f/∂u|`` with f from autoregressive rational-quadratic splines
    (Durkan, Bekasov, Murray & Papamakarios 2019, arXiv:1906.04032), by the package zuko. The epoch
    that is best on a tenth of the rows is kept. It needs thousands of rows to beat a mixture.

    Parameters
    ----------
    n_transforms : int, default=3
        Layers of splines, at least 1.
    hidden_features : int, default=64
        Width of the two hidden layers that each takes its splines from, at least 1.
    max_epochs : int, default=100
    patience : int, default=10
        Epochs without a gain after which training stops.
    learning_rate : float, default=2e-3

    Attributes
    ----------
    weights_ : array of shape (weight,)
        Parameters of the network.
    """

    weights_: Float[np.ndarray, " weight"]

    def __init__(
        self,
        n_transforms: int = 3,
        hidden_features: int = 64,
        max_epochs: int = 100,
        patience: int = 10,
        learning_rate: float = 2e-3,
    ) -> None:
        self.n_transforms = n_transforms
        self.hidden_features = hidden_features
        self.max_epochs = max_epochs
        self.patience = patience
        self.learning_rate = learning_rate

    def _learn(self, white: White, rng: np.random.Generator) -> None:
        usual = {"n_transforms": 3, "hidden_features": 64, "max_epochs": 100, "patience": 10}
        for name, value in usual.items():
            check_whole(name, getattr(self, name), value)
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate!r} must be positive. Write 2e-3.")
        generator = torch.Generator().manual_seed(int(rng.integers(2**31 - 1)))
        flow = self._built(white.shape[1], generator)
        rows = torch.as_tensor(white, dtype=torch.float32)
        rows = rows[torch.randperm(len(rows), generator=generator)]
        n_held = max(1, int(_SHARE * len(rows)))
        best = self._trained(flow, rows[n_held:], rows[:n_held], generator)
        self.weights_ = best.numpy()

    def _trained(
        self, flow: nn.Module, train: Tensor, held: Tensor, generator: torch.Generator
    ) -> Float[Tensor, " weight"]:
        """Return the weights of the best epoch."""
        optimizer = torch.optim.Adam(flow.parameters(), self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.max_epochs)
        lowest, since, best = math.inf, 0, _weights(flow)
        for _ in range(self.max_epochs):
            for index in torch.randperm(len(train), generator=generator).split(_BATCH):
                optimizer.zero_grad()
                loss = -flow().log_prob(train[index]).mean()
                loss.backward()
                nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
                optimizer.step()
            schedule.step()
            with torch.no_grad():
                found = float(-flow().log_prob(held).mean())
            since += 1
            if found < lowest:
                lowest, since, best = found, 0, _weights(flow)
            if since == self.patience:
                break
        return best

    def _draw(self, n_samples: int, rng: np.random.Generator) -> White:
        noise = torch.as_tensor(rng.normal(size=(n_samples, self.axes_.shape[1])))
        with torch.no_grad():
            return self._restored()().transform.inv(noise.float()).double().numpy()

    def _log_white(self, white: White) -> Logs:
        rows = torch.as_tensor(white, dtype=torch.float32)
        with torch.no_grad():
            return self._restored()().log_prob(rows).double().numpy()

    def _shapes(self, arrays: dict[str, Array]) -> dict[str, tuple[int, ...]]:
        n_directions = arrays["axes_"].shape[-1]
        width = self.hidden_features if n_directions > 1 else 1
        if self.n_transforms * width**2 > arrays["weights_"].size:
            raise ValueError("The sizes of the flow exceed its tensors.")
        flow = self._built(n_directions, torch.Generator())
        return {"weights_": (len(_weights(flow)),)}

    def _built(self, n_directions: int, generator: torch.Generator) -> Any:
        zuko = require("zuko", "flow")
        with drawing_from(generator):
            return zuko.flows.NSF(
                features=n_directions,
                transforms=self.n_transforms,
                hidden_features=(self.hidden_features,) * 2,
            )

    def _restored(self) -> Any:
        flow = self._built(self.axes_.shape[1], torch.Generator())
        vector_to_parameters(torch.tensor(self.weights_), flow.parameters())
        return flow


def _weights(flow: nn.Module) -> Float[Tensor, " weight"]:
    return parameters_to_vector(flow.parameters()).detach().clone()
