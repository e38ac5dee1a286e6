"""``narrows fit``."""

import time
from typing import Annotated, Any

import typer

from narrows.cli import _data, _show
from narrows.cli._arguments import Data, Groups, Json, Target, TestFraction, Weights


def fit(
    data: Data,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Model file: name.safetensors.")
    ],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="HierarchicalAutoencoder, Autoencoder, ...")
    ] = "HierarchicalAutoencoder",
    test_fraction: TestFraction = 0.0,
    target: Target = None,
    sample_weight: Weights = None,
    groups: Groups = None,
    validation: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Rows that choose epoch and restart."),
    ] = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Fit a model to data, save it, and print how much its components explain.

    With --test-fraction, that share of the rows is kept apart, and the table is honest: these
    rows chose nothing. Without, it is measured on the validation rows, which chose epoch and
    restart.

    Examples
    --------
    $ narrows fit table.csv --n-components 5 --test-fraction 0.2 -o model.safetensors
    $ narrows fit run1.npy run2.npy --training.split blocks --n-init 8 -o model.safetensors
    $ narrows fit data.npz:X --model Autoencoder --penalties l1 --penalties.l1.strength 0.01 \\
          --architecture.dropout 0.1 --training.patience 50 -o model.safetensors
    $ narrows fit counts.parquet --likelihood negative_binomial -o model.safetensors
    """
    from narrows.cli import _models

    _data.check_output(output, [".safetensors"])
    estimator = _models.estimator(model, _models.values(settings))
    if settings.get("verbose") is None:
        estimator.set_params(verbose=int(_show.interactive()))
'''
