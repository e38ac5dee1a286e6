"""What narrows is measured against: matrix products alone, and the loop that anybody writes."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from cases import Clock, halves, layers
from torch import nn


def floor(case, n_epochs):
    """Time the matrix products of a step, forward and backward, issued one by one."""
    rows = [torch.randn(case.batch_size, width) for width in case.widths]
    weights = [torch.randn(a, b) for a, b in pairwise(case.widths)]
    products = list(_forward(rows, weights)) + list(_backward(rows, weights))
    return _epochs(n_epochs, case.n_steps, lambda: [torch.mm(a, b, out=c) for a, b, c in products])


def _forward(rows, weights):
    for x, weight, y in zip(rows[:-1], weights, rows[1:], strict=True):
        yield x, weight, torch.empty_like(y)


def _backward(rows, weights):
    for i, weight in reversed(list(enumerate(weights))):
        yield rows[i].T, rows[i + 1], torch.empty_like(weight)
        if i:
            yield rows[i + 1], weight.T, torch.empty_like(rows[i])


def adam_step(case, n_epochs):
    """Time one fused step of Adam on all parameters in one tensor."""
    flat = torch.zeros(sum((a + 1) * b for a, b in pairwise(case.widths)))
    flat.grad = torch.ones_like(flat)
    optimizer = torch.optim.Adam([flat], fused=True)
    return _epochs(n_epochs, case.n_steps, optimizer.step)


def exchange(case, n_epochs):
    """Time the sum of as many numbers as there are parameters, over all processes."""
    flat = torch.zeros(case.n_parameters)
    return _epochs(n_epochs, case.n_steps, lambda: torch.distributed.all_reduce(flat))


def loop(case, X, n_epochs):
    """Time the bare loop of torch."""
    model = nn.Sequential(*halves(case))
    optimizer = torch.optim.Adam(model.parameters())
    X = torch.from_numpy(X)

    def epoch():
        for rows in torch.randperm(len(X)).split(case.batch_size):
            x = X[rows]
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return _epochs(n_epochs, 1, epoch, per=case.n_steps)


def variational_loop(case, X, n_epochs, likelihood):
    """Time the bare loop of torch on a variational autoencoder."""
    *there, n_code = case.encoder
    encoder = layers((*there, 2 * n_code), case.activation)
    _, decoder = halves(case)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
    X = torch.from_numpy(X)
    losses = {
        "bernoulli": lambda out, x: F.binary_cross_entropy_with_logits(out, x, reduction="sum"),
        "poisson": lambda out, x: F.poisson_nll_loss(
            F.softplus(out), x, log_input=False, reduction="sum"
        ),
    }

    def epoch():
        for rows in torch.randperm(len(X)).split(case.batch_size):
            x = X[rows]
            mean, log_variance = encoder(x).chunk(2, 1)
            out = decoder(mean + torch.randn_like(mean) * (log_variance / 2).exp())
            divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2
            loss = (losses[likelihood](out, x) + divergence) / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return _epochs(n_epochs, 1, epoch, per=case.n_steps)


def one_thread(program):
    """Return a program that runs on one thread."""

    def run(*arguments):
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return program(*arguments)
        finally:
            torch.set_num_threads(n_threads)

    return run


def _epochs(n_epochs, n_calls, call, per=None):
    clock = Clock()
    for _ in range(n_epochs + 1):
        for _ in range(n_calls):
            call()
        clock()
    return clock.seconds(per or n_calls)
