"""Time of a training step of a variational autoencoder: narrows beside the bare loop and peers."""

from dataclasses import replace

import bare
import ours
from cases import Case
from common import cells, options, rounds, show, table
from steps import Peers

# The likelihood, and the peer that has it
CASES = {
    "images": (
        Case("images", (784, 400, 20), "relu", 128, 20_000, "shares"),
        "bernoulli",
        "pythae, VAE",
    ),
    "counts": (
        Case("counts", (2000, 128, 10), "relu", 128, 10_000, "counts"),
        "poisson",
        "scvi-tools",
    ),
}
LOOP, OURS = "bare torch loop", "narrows"
NOTES = (
    "One epoch divided by its steps, in one run that interleaves all programs in rounds; ratio: "
    "median (lowest to highest) over rounds. Same network, batch size, Adam, float32, one draw per "
    "row, all rows trained on, no linear path, no batch normalisation, no dropout. scvi-tools' "
    "decoder has two further heads of the size of the data, and its library size is the observed "
    "one; its Poisson mean is a softmax over the values, ours a softplus of each.",
)


def main():
    arguments = options("Time of a training step of a variational autoencoder")
    effort, peers, parts = arguments.effort, Peers(), []
    for case, likelihood, peer in CASES.values():
        if effort.quick:
            case = replace(case, n_rows=8 * case.batch_size)
        X = case.data()
        timed = {
            LOOP: lambda c=case, X=X, k=likelihood: bare.variational_loop(c, X, effort.n_epochs, k),
            OURS: lambda c=case, X=X, k=likelihood: ours.variational(c, X, effort.n_epochs, k),
            peer: lambda c=case, p=peer: peers(p, c, effort.n_epochs),
        }
        found = rounds(timed, effort.n_rounds)
        rows = [
            [name, *cells(found, name, LOOP, 1e6), cells(found, name, OURS, 1e6)[1]]
            for name in timed
        ]
        head = [f"{case}, {likelihood}", "µs a step", "ratio to the bare loop", "ratio to narrows"]
        parts.append(table(head, rows))
    show(arguments, parts, [*NOTES, peers.versions])


if __name__ == "__main__":
    main()
