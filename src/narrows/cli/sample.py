"""``narrows sample``."""

from functools import partial
from itertools import zip_longest
from typing import Annotated, Any

import typer

from narrows.cli import _data
from narrows.cli._arguments import Json, ModelFile, Seed, Table, names_of

Count = Annotated[
    int, typer.Option("--n-samples", "-n", metavar="N", help="How many rows, at least 1.")
]
Condition = Annotated[
    str | None,
    typer.Option(
        metavar="VALUE,...",
        help="Of a model fitted with a condition: the value of each of its columns.",
    ),
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
    condition: Condition = None,
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
    $ narrows sample model.safetensors -n 1000 --condition electron,2.5 -o rows.csv
    """
    _data.check_table(output)
    import narrows

    estimator = narrows.load(model)
    known = None if condition is None else _values(estimator, condition)
    found = estimator.sample(n_samples, condition=known, noise=noise, random_state=random_state)
    _data.write(output, [found], partial(names_of, estimator), as_json)


def _values(estimator: Any, text: str) -> list[Any]:
    """Return the values of a condition: categories as the fit had them, else numbers."""
    columns = () if estimator._conditions is None else estimator._conditions.columns
    pairs = zip_longest(text.split(","), columns[: text.count(",") + 1])
    return [_value(value, column) for value, column in pairs]


def _value(text: str, column: Any) -> Any:
    known = {str(category): category for category in (column and column.categories) or ()}
    try:
        return known[text] if text in known else float(text)
    except ValueError:
        return text
