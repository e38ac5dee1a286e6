"""``narrows interpolate``."""

from functools import partial
from typing import Annotated

import typer

from narrows.cli import _data
from narrows.cli._arguments import Data, Json, ModelFile, Table, names_of

Start = Annotated[int, typer.Option("--from", metavar="ROW", help="Row to start at, from 0.")]
End = Annotated[int, typer.Option("--to", metavar="ROW", help="Row to end at.")]
Steps = Annotated[
    int, typer.Option("--n-steps", "--steps", metavar="N", help="Rows to write, with both ends.")
]
Kind = Annotated[
    str,
    typer.Option(
        metavar="WORD", help="linear, or spherical: along great circles around the code's origin."
    ),
]


def interpolate(
    model: ModelFile,
    data: Data,
    output: Table,
    start: Start,
    end: End,
    n_steps: Steps = 10,
    kind: Kind = "linear",
    as_json: Json = False,
) -> None:
    """Write the rows on the way from one row to another through the code.

    The first and the last are the reconstructions of the two rows.

    Examples
    --------
    $ narrows interpolate model.safetensors table.csv --from 0 --to 5 -o path.csv
    $ narrows interpolate model.safetensors X.npy --from 2 --to 7 --kind spherical -o path.npy
    """
    _data.check_table(output, *data)
    import numpy as np

    import narrows
    from narrows.data.views import Rows

    estimator, rows = narrows.load(model), _data.rows(data)
    for option, row in (("--from", start), ("--to", end)):
        if not 0 <= row < len(rows):
            raise ValueError(
                f"{option} {row} is no row of DATA. Write a number from 0 to {len(rows) - 1}."
            )
    a, b = (Rows(rows, np.array([row])) for row in (start, end))
    found = estimator.interpolate(a, b, n_steps, kind=kind)[0]
    _data.write(output, [found], partial(names_of, estimator), as_json)
