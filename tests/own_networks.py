"""Networks of a user's own, as they would stand in a module beside a script."""

import torch
from torch import nn


class Encoder(nn.Module):
    """Two layers with random units in between."""

    def __init__(self, n_values: int, n_features: int, n_hidden: int = 8, dropout: float = 0.0):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(n_values, n_hidden),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Linear(n_hidden, n_features),
        )

    def forward(self, x):
        return self.net(x)


class Decoder(nn.Module):
    """Two layers, unflattened to an event."""

    def __init__(self, n_features: int, shape):
        super().__init__()
        n_values = torch.Size(shape).numel()
        self.inner, self.outer = nn.Linear(n_features, 8), nn.Linear(8, n_values)
        self.shape = tuple(shape)

    def forward(self, z):
        return self.outer(torch.tanh(self.inner(z))).unflatten(1, self.shape)


class Normalised(nn.Module):
    """With statistics of the batch, one weight used twice, a frozen one, and a constant."""

    def __init__(self, n_values: int, n_features: int):
        super().__init__()
        self.first, self.norm = nn.Linear(n_values, n_values), nn.BatchNorm1d(n_values)
        self.again, self.last = nn.Linear(n_values, n_values), nn.Linear(n_values, n_features)
        self.again.weight = self.first.weight
        self.scale = nn.Parameter(torch.tensor(0.5), requires_grad=False)
        self.register_buffer("even", torch.arange(n_values) % 2 == 0, persistent=False)

    def forward(self, x):
        x = self.norm(torch.tanh(self.first(x)))
        return self.last(torch.where(self.even, x, self.scale * torch.tanh(self.again(x))))


class Recurrent(nn.Module):
    """Reads values one after another."""

    def __init__(self, kind: str, n_features: int):
        super().__init__()
        self.cell = getattr(nn, kind)(1, 4, batch_first=True)
        self.out = nn.Linear(4, n_features)

    def forward(self, x):
        return self.out(self.cell(x[..., None])[0][:, -1])


class Lazy(nn.Module):
    """Learns its input size from the first rows."""

    def __init__(self, n_features: int):
        super().__init__()
        self.net = nn.LazyLinear(n_features)

    def forward(self, x):
        return self.net(x)


class HalfHeld(nn.Module):
    """With a mask that belongs to its state."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.ones(6, dtype=torch.bool))

    def forward(self, x):
        return x[:, :3]


shortcut = torch.nn.Linear
