"""Arguments and options that several commands have."""

from typing import Annotated

import typer

Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Rows: .npy, .npz, .csv, .tsv, .txt or .parquet, with a selector where needed: "
        "file.npz:key, table.csv:column,column. Several files are segments, each consecutive "
        "in time.",
        show_default=False,
    ),
]
ModelFile = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="File written by narrows fit.", show_default=False),
]
Target = Annotated[
    str | None,
    typer.Option("--target", metavar="FILE", help="What to reconstruct, if not DATA itself."),
]
Weights = Annotated[
    str | None,
    typer.Option("--sample-weight", metavar="FILE", help="One weight per row, >= 0."),
]
Groups = Annotated[
    str | None,
    typer.Option(
        "--groups", metavar="FILE", help="One number per row; rows of a group stay together."
    ),
]
TestFraction = Annotated[
    float,
    typer.Option(
        metavar="X",
        help="Share of the rows kept apart as the test part, in [0, 1). The same share of the "
        "same data is the same rows in every command but compare, which draws splits of its own.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result for a program to read, and nothing else.")
]
Table = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write: .npy, .npz, .csv, .tsv, .txt or .parquet.",
    ),
]
