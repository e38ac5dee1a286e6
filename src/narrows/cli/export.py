"""``narrows export``."""

from typing import Annotated

import typer

from narrows.cli import _data, _results, _show
from narrows.cli._arguments import Json, ModelFile, Target

To = Annotated[str, typer.Option("--to", "-o", metavar="FILE", help="Where to write: name.onnx.")]
Parts = Annotated[
    str,
    typer.Option(
        "--part",
        metavar="PART,...",
        help="encoder (rows to codes), decoder (codes to rows), reconstruction (rows to rows), "
        "score (rows to a score each), sampler (noise to rows), prediction (rows to classes or "
        "values, of a classifier or regressor). Several that read rows go into "
        "one file.",
    ),
]
Level = Annotated[
    int | None,
    typer.Option(metavar="K", help="Decode the first K components only; all by default."),
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="TYPE",
        help="Type of rows and reconstructions: float64, or float32, which keeps the whole "
        "graph in single precision.",
    ),
]
Rows = Annotated[
    str | None,
    typer.Option(
        "--rows", metavar="FILE", help="Rows to compare with the model; random ones by default."
    ),
]
NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="Write the file without comparing it with the model.")
]


def export(
    model: ModelFile,
    to: To,
    part: Parts = "encoder",
    level: Level = None,
    dtype: Dtype = "float64",
    rows: Rows = None,
    target: Target = None,
    no_verify: NoVerify = False,
    as_json: Json = False,
) -> None:
    """Write a model as an ONNX graph, which runs without Python, and compare the two.

    The graph reads and writes the units of the data, any number of rows at once.

    Examples
    --------
    $ narrows export model.safetensors --to encoder.onnx
    $ narrows export model.safetensors --to model.onnx --part encoder,score --rows table.csv
    $ narrows export model.safetensors --to decoder.onnx --part decoder --level 2
    """
    _data.check_output(to, [".onnx"])
    import narrows
    from narrows.export.onnx import export as write

    found = write(
        narrows.load(model),
        to,
        part=part.split(","),
        level=level,
        dtype=dtype,
        verify=not no_verify,
        rows=None if rows is None else _data.rows([rows]),
        target=None if target is None else _data.rows([target]),
    )
    if as_json:
        _show.as_json({"path": to, "differences": found})
        return
    _show.line(f"Wrote {_show.path(to)}, {_results.count(len(part.split(',')), 'output')}.")
    for name, size in found.items():
        _show.line(f"  {name} as the model gives it, to {size:.1g} of its largest value.")
