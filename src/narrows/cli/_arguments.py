"""Arguments and options that several commands have."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from narrows._types import Array

Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Rows: .npy, .npz, .csv, .tsv, .txt, .parquet, .h5, .zarr or .root, a folder of "
        "them, or a URL; with a selector where needed: file.npz:key, table.csv:column,column, "
        "file.h5:/entry/data, file.root:tree:branch,branch. Several files are segments, each "
        "consecutive in time.",
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
ConditionFile = Annotated[
    str | None,
    typer.Option(
        "--condition",
        metavar="FILE",
        help="What is known of each row besides: table.csv:column,column, one line a row. Columns "
        "of texts or whole numbers are categories.",
    ),
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
        help="Where to write: .npy, .npz, .csv, .tsv, .txt, .parquet, .h5 or .zarr.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--random-state", "--seed", metavar="N", help="The same seed, >= 0, gives the same rows."
    ),
]


def names_of(estimator: Any, rows: "Array") -> list[str] | None:
    """Return the names of the columns of decoded rows, None where the target was something else."""
    names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    return names if rows.shape[1:] == (len(names),) else None
