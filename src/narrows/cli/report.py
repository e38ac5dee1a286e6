"""``narrows report``."""

from typing import Annotated, Any

import typer

from narrows.cli import _data, _results, _show
from narrows.cli._arguments import Data, Groups, Json, ModelFile, Target, TestFraction

Page = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="Page to write: name.html.")
]
Train = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Rows of the fit, for PCA and the summary of the data."),
]
Labels = Annotated[
    str | None, typer.Option(metavar="FILE", help="One number per row: colours of the codes.")
]
Shape = Annotated[
    str | None,
    typer.Option(metavar="N,...", help="How a row is drawn: 8,8 as an image, 51 as a curve."),
]
Swap = Annotated[
    bool, typer.Option("--swap-check", help="Check the order of the components too; takes longer.")
]
Title = Annotated[str | None, typer.Option(metavar="TEXT", help="Heading of the page.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Which rows are drawn where there are many.")]


def report(
    model: ModelFile,
    data: Data,
    output: Page,
    test_fraction: TestFraction = 0.0,
    train: Train = None,
    target: Target = None,
    labels: Labels = None,
    groups: Groups = None,
    event_shape: Shape = None,
    swap_check: Swap = False,
    title: Title = None,
    random_state: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write one page on what a model found: tables and figures, readable without a network.

    DATA are rows that the model never saw; with the --test-fraction, and the --groups, of the fit
    they are found again among all rows, and the others serve as --train.

    Examples
    --------
    $ narrows report model.safetensors table.csv --test-fraction 0.2 -o report.html
    $ narrows report model.safetensors new.npy --train old.npy --event-shape 28,28 -o report.html
    """
    _data.check_output(output, [".html"])
    if train is not None and target is not None:
        raise ValueError("--train lacks its target. Write --test-fraction 0.2 of all rows instead.")
    import narrows
    from narrows.report import report as write

    estimator = narrows.load(model)
    everything = _data.material(data, target, None, groups, labels)
    rest, test = everything.split(estimator, test_fraction)
    shown = test or everything
    with _show.quiet_stdout():
        write(
            estimator,
            shown.data,
            output,
            target=shown.target,
            train=_train(train, rest if test else None),
            labels=shown.labels,
            event_shape=_sizes(event_shape),
            swap_check=swap_check,
            title=title,
            random_state=random_state,
        )
    if as_json:
        _show.as_json({"path": output, "n_rows": len(shown)})
        return
    rows = _results.count(len(shown), "row")
    _show.line(f"Wrote {_show.path(output)} on {rows}; open it in a browser.")
    if train is None and not test:
        _show.line(
            "It calls these rows held out. If the fit has seen some, write the --test-fraction of "
            "the fit, or pass rows that it has not."
        )


def _train(path: str | None, rest: _data.Material | None) -> Any:
    if path is not None:
        return _data.rows([path])
    if rest is None:
        return None
    return rest.data if rest.target is None else (rest.data, rest.target)


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        message = f"--event-shape takes whole numbers with commas, as in 8,8, not {text!r}."
        raise ValueError(message) from None
