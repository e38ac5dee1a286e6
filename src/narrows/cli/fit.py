"""``narrows fit``."""

import os
import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from narrows.cli import _data, _models, _results, _show
from narrows.cli._arguments import ConditionFile, Data, Groups, Json, Target, TestFraction, Weights

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
Checkpoint = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Save the training here every ten minutes; the same command goes on from there.",
    ),
]
Every = Annotated[
    str | None,
    typer.Option(
        "--checkpoint-every", metavar="N", help="Save so often instead: 30s, 5min or 20epochs."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Refuse to begin anew where there is no checkpoint.")
]

Log = Annotated[
    str | None,
    typer.Option(
        "--json-log", metavar="FILE", help="Add a line of JSON for each epoch to this file."
    ),
]

_MINUTES = {"s": 1 / 60, "min": 1.0, "h": 60.0}


def fit(
    data: Data,
    output: Output,
    model: Model = "HierarchicalAutoencoder",
    test_fraction: TestFraction = 0.0,
    target: Target = None,
    sample_weight: Weights = None,
    groups: Groups = None,
    condition: ConditionFile = None,
    validation: Validation = None,
    validation_target: ValidationTarget = None,
    checkpoint: Checkpoint = None,
    every: Every = None,
    resume: Resume = False,
    log: Log = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    r"""Fit a model to data, save it, and print how much its components explain.

    With --test-fraction, a share of the rows is kept apart and the table is measured on these:
    they chose nothing. Without, it is measured on the validation rows, which chose epoch and
    restart.

    Examples
    --------
    $ narrows fit table.csv --n-components 5 --test-fraction 0.2 -o model.safetensors
    $ narrows fit run1.npy run2.npy --training.split blocks --n-init 8 -o model.safetensors
    $ narrows fit big.npy --checkpoint run/ --checkpoint-every 5min -o model.safetensors
    $ narrows fit big.npy --json-log run.jsonl -o model.safetensors
    $ torchrun --nproc-per-node 2 -m narrows fit big.npy -o model.safetensors
    $ narrows fit table.csv:x,y --condition table.csv:kind -o model.safetensors
    $ narrows fit counts.parquet --likelihood negative_binomial -o model.safetensors
    $ narrows fit data.npz:X --model Autoencoder --penalties l1 --penalties.l1.strength 0.01 \
          --architecture.dropout 0.1 --training.patience 50 -o model.safetensors
    """
    _data.check_output(output, [".safetensors"])
    from narrows.report.subject import went_back

    if condition is not None and validation is not None:
        raise ValueError(
            "--validation has no condition. Leave it out: a part of DATA chooses epoch and restart."
        )
    with _together():
        estimator = _models.estimator(model, _models.values(settings))
        _keep_checkpoints(estimator, checkpoint, every, resume)
        _keep_log(estimator, log)
        material = _data.material(data, target, sample_weight, groups, condition=condition)
        train, test = material.split(estimator, test_fraction)
        given = _validation(validation, validation_target, target)
        seconds = _results.fit(estimator, train, given)
        writes = _is_first()
    if not writes:
        return
    estimator.save(output)
    found = _found(estimator, train, test)
    if as_json:
        facts = {"path": output, "model": model, "n_train": len(train), "n_test": len(test)}
        _show.as_json({**facts, "n_iter": estimator.n_iter_, "seconds": seconds, **found})
        return

    _show.line(_results.heading(estimator, len(train), seconds))
    _results.print_table(found, estimator.n_components, found["rows"])
    if back := went_back(estimator):
        _show.line(back)
    _show.line(_on_rows(test))
    _show.line(f"Saved to {_show.path(output)}.")


def _together() -> AbstractContextManager[None]:
    """Train with the other processes that torchrun started, if it did."""
    if "MASTER_ADDR" not in os.environ:
        return nullcontext()
    from narrows import _ranks

    return _ranks.fitting()


def _is_first() -> bool:
    from narrows import _ranks

    return _ranks.first()


def _keep_checkpoints(estimator: Any, folder: str | None, every: str | None, resume: bool) -> None:
    """Let a fit be saved while it trains; one without a seed gets 0, so that it can go on."""
    from narrows import Checkpoint, Training

    if folder is None:
        for name, given in (("--resume", resume), ("--checkpoint-every", every)):
            if given:
                raise ValueError(f"{name} needs --checkpoint FOLDER.")
        return
    training = estimator.training or Training()
    training.set_params(checkpoint=Checkpoint(folder, **_often(every), resume=resume or None))
    seed = 0 if estimator.random_state is None else estimator.random_state
    estimator.set_params(training=training, random_state=seed)


def _often(every: str | None) -> dict[str, Any]:
    """Return how often to save, as settings of a checkpoint."""
    if every is None:
        return {}
    timed = re.fullmatch(r"(\d+|\d*\.\d+) ?(s|min|h)", every.strip())
    counted = re.fullmatch(r"(\d+) ?epochs?", every.strip())
    if timed and float(timed[1]):
        return {"minutes": float(timed[1]) * _MINUTES[timed[2]]}
    if counted and int(counted[1]):
        return {"minutes": None, "epochs": int(counted[1])}
    raise ValueError(
        f"--checkpoint-every {every!r} is no interval. Write 30s, 5min, 2h or 20epochs."
    )


def _keep_log(estimator: Any, path: str | None) -> None:
    """Let the epochs of a fit be written down."""
    from narrows import JsonLog, Training

    if path is None:
        return
    if not Path(path).resolve().parent.is_dir():
        raise FileNotFoundError(f"Cannot write '{path}': there is no folder '{Path(path).parent}'.")
    training = estimator.training or Training()
    estimator.set_params(training=training.set_params(callbacks=[JsonLog(path)]))


def _validation(path: str | None, target_path: str | None, target: str | None) -> Any:
    if path is None:
        return None
    if (target is None) != (target_path is None):
        raise ValueError("--validation needs --validation-target if there is a --target.")
    rows = _data.rows([path])
    return rows if target_path is None else (rows, _data.rows([target_path]))


def _found(estimator: Any, train: _data.Material, test: _data.Material) -> dict[str, Any]:
    """Return what was explained, and on which rows."""
    if not test:
        fve = {"fve": estimator.fve_, "fve_restarts": estimator.fve_restarts_}
        return {"rows": "validation", **fve}
    pca = _results.pca_beside(estimator, train, test)
    beside = {} if pca is None else {"pca_fve": pca}
    return {"rows": "held-out", **_results.held_out(estimator, test), **beside}


def _on_rows(test: _data.Material) -> str:
    if test:
        return f"Held out: {_results.count(len(test), 'row')} that chose nothing."
    return (
        "These rows chose epoch and restart. For rows that chose nothing write "
        "[bold]--test-fraction 0.2[/]."
    )
