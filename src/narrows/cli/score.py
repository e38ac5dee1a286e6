"""``narrows score``."""

from typing import Annotated, Any

import typer

from narrows.cli import _data, _results, _show
from narrows.cli._arguments import (
    ConditionFile,
    Data,
    Groups,
    Json,
    ModelFile,
    Target,
    TestFraction,
    Weights,
)

Scores = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write a score per row, minus its loss: higher is more normal.",
    ),
]


def score(
    model: ModelFile,
    data: Data,
    output: Scores = None,
    test_fraction: TestFraction = 0.0,
    target: Target = None,
    sample_weight: Weights = None,
    groups: Groups = None,
    condition: ConditionFile = None,
    as_json: Json = False,
) -> None:
    """Print how much of the data each number of components explains, and score its rows.

    On rows that the model never saw this is the honest figure; with the --test-fraction, and the
    --groups, of the fit these are found again.

    Examples
    --------
    $ narrows score model.safetensors new.csv
    $ narrows score model.safetensors table.csv --test-fraction 0.2
    $ narrows score model.safetensors new.csv -o scores.csv --json
    """
    if output is not None:
        _data.check_table(output, *data, target, sample_weight, groups, condition)
    import narrows

    estimator = narrows.load(model)
    everything = _data.material(data, target, sample_weight, groups, condition=condition)
    test = everything.split(estimator, test_fraction)[1] or everything
    found = _results.held_out(estimator, test)
    if output is not None:

        def scored(some: _data.Material) -> Any:
            found = estimator.score_samples(some.data, target=some.target, **some.known)
            return found[:, None]

        scores = _data.mapped(scored, test)
        _data.save(output, scores, ["score"])
    if as_json:
        _show.as_json({"n_rows": len(test), **found, "path": output})
        return
    _results.print_table(found, estimator.n_components, "")
    _show.line(f"{_results.count(len(test), 'row')}.")
    if output is not None:
        _show.line(f"Wrote a score per row to {_show.path(output)}.")
