"""The job by hand: five ranked components of the digits, collective decoders one by one.

python job_bare.py EPOCHS FILE
"""

import sys
from itertools import pairwise

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

K, WIDTH, BATCH = 5, 128, 128


def layers(*widths):
    found = []
    for n_in, n_out in pairwise(widths):
        found += [nn.Linear(n_in, n_out), nn.SiLU()]
    return nn.Sequential(*found[:-1])


def main(n_epochs, path):
    X = torch.from_numpy(load_digits().data).float()
    width = X.std(0)
    X = (X - X.mean(0)) / torch.where(width > 0, width, 1)
    X = X[torch.randperm(len(X))[len(X) // 10 :]]
    encoder = layers(X.shape[1], WIDTH, WIDTH, K)
    decoders = nn.ModuleList(layers(k, WIDTH, WIDTH, X.shape[1]) for k in range(1, K + 1))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoders.parameters()])
    for _ in range(n_epochs):
        for rows in torch.randperm(len(X)).split(BATCH):
            x = X[rows]
            z = encoder(x)
            losses = [F.mse_loss(decoder(z[:, : k + 1]), x) for k, decoder in enumerate(decoders)]
            loss = sum(losses) / K
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.save({"encoder": encoder.state_dict(), "decoders": decoders.state_dict()}, path)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
