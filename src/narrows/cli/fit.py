"""``narrows fit``."""

import time
from typing import Annotated, Any

import typer

from narrows.cli import _data, _models, _results, _show
from narrows.cli._arguments import Data, Groups, Json, Target, TestFraction, Weights

Output = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="Model file: name.safetensors.")
]
Model = Annotated[str, typer.Option(metavar="NAME", help="Estimator, by its name in Python.")]
Validation = Annotated[
    str | None, typer.Option(metavar="FILE", help="Rows that choose epoch and restart.")
]
ValidationTarget = Annotated[
    str | None, typer.Option(metavar="FILE", help="Their target, where there is a --target.")
]


def fit(
    data: Data,
    output: Output,
    model: Model = "HierarchicalAutoencoder",
    test_fraction: TestFraction = 0.0,
    target: Target = None,
    sample_weight: Weights = None,
    groups: Groups = None,
    validation: Validation = None,
    validation_target: ValidationTarget = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Fit a model to data, save it, and print how much its components explain.

    With --test-fraction, a share of the rows is kept apart and the table is measured on these:
    they chose nothing. Without, it is measured on the validation rows, which chose epoch and
    restart.

    Examples
    --------
    $ narrows fit table.csv --n-components 5 --test-fraction 0.2 -o model.safetensors
    $ narrows fit run1.npy run2.npy --training.split blocks --n-init 8 -o model.safetensors
    $ narrows fit counts.parquet --likelihood negative_binomial -o model.safetensors
    $ narrows fit data.npz:X --model Autoencoder --penalties l1 --penalties.l1.strength 0.01 \\
          --architecture.dropout 0.1 --training.patience 50 -o model.safetensors
    """
    _data.check_output(output, [".safetensors"])
    estimator = _models.estimator(model, _models.values(settings))
    if settings.get("verbose") is None:
        estimator.set_params(verbose=int(_show.interactive()))
    material = _data.material(data, target, sample_weight, groups)
    train, test = material.split(estimator, test_fraction)
    started = time.monotonic()
    with _show.quiet_stdout():
        estimator.fit(
            train.data,
            target=train.target,
            sample_weight=train.weight,
            groups=train.groups,
            validation=_validation(validation, validation_target, target),
        )
    seconds = time.monotonic() - started
    estimator.save(output)
    found = _found(estimator, train, test)
    if as_json:
        n_test = 0 if test is None else len(test.data)
        facts = {"path": output, "model": model, "n_train": len(train.data), "n_test": n_test}
        _show.as_json({**facts, "n_iter": estimator.n_iter_, "seconds": seconds, **found})
        return
    _show.line(_results.heading(estimator, len(train.data), seconds))
    _results.print_table(found, "validation" if test is None else "held-out")
    _show.line(_rows_line(test))
    _show.line(f"Saved to [bold]{output}[/].")


def _validation(path: str | None, target_path: str | None, target: str | None) -> Any:
    if path is None:
        return None
    if (target is None) != (target_path is None):
        raise ValueError("--validation needs --validation-target if there is a --target.")
    rows = _data.rows([path])
    return rows if target_path is None else (rows, _data.rows([target_path]))


def _found(
    estimator: Any, train: _data.Material, test: _data.Material | None
) -> dict[str, Any]:
    if test is None:
        return {"rows": "validation", "fve": estimator.fve_, "fve_restarts": estimator.fve_restarts_}
    pca = _results.pca_beside(estimator, train, test)
    beside = {} if pca is None else {"pca_fve": pca}
    return {"rows": "held-out", **_results.held_out(estimator, test), **beside}


def _rows_line(test: _data.Material | None) -> str:
    if test is None:
        return (
            "These rows chose epoch and restart. For rows that chose nothing write "
            "[bold]--test-fraction 0.2[/]."
        )
    return f"Held out: {_results.count(len(test.data), 'row')} that chose nothing."
