"""``narrows sample``."""

from typing import Annotated

import typer

from narrows.cli import _data
from narrows.cli._arguments import Json, ModelFile, Seed, Table, names_of

Count = Annotated[
    int, typer.Option("--n-samples", "-n", metavar="N", help="How many rows, at least 1.")
]
Noise = Annotated[
    bool,
    typer.Option(
        help="Draw each value from the likelihood; --no-noise gives the means instead.",
    ),
]


def sample(
    model: ModelFile,
    output: Table,
    n_samples: Count = 1,
    noise: Noise = True,
    random_state: Seed = None,
    as_json: Json = False,
) -> None:
    """Write new rows like those of the fit, in the units of the data.

    Codes come from the density that was fitted to them in Python, by fit_density, before the model
    was saved, else from the prior of a variational model.

    Examples
    --------
    $ narrows sample model.safetensors -n 1000 -o rows.csv
    $ narrows sample model.safetensors -n 1000 --seed 0 --no-noise -o means.npy
    """
    _data.check_table(output)
    import narrows

    estimator = narrows.load(model)
    found = estimator.sample(n_samples, noise=noise, random_state=random_state)
    _data.write(output, found, names_of(estimator, found), as_json)
