"""``narrows reconstruct``."""

from functools import partial
from typing import Annotated

import typer

from narrows.cli import _data
from narrows.cli._arguments import ConditionFile, Data, Json, ModelFile, Table, names_of

Level = Annotated[
    int | None,
    typer.Option(metavar="K", help="Use the first K components only; all by default."),
]


def reconstruct(
    model: ModelFile,
    data: Data,
    output: Table,
    level: Level = None,
    condition: ConditionFile = None,
    as_json: Json = False,
) -> None:
    """Write what rows become after passing through their code, in the units of the data.

    Examples
    --------
    $ narrows reconstruct model.safetensors table.csv -o reconstructed.csv
    $ narrows reconstruct model.safetensors table.csv --level 2 -o two.npy
    """
    _data.check_table(output, *data, condition)
    import narrows

    estimator = narrows.load(model)
    rows = _data.material(data, condition=condition)
    found = _data.mapped(lambda some: estimator.reconstruct(some.data, level, **some.known), rows)
    _data.write(output, found, partial(names_of, estimator), as_json)
