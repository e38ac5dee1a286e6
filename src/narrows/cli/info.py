"""``narrows info``."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from narrows.cli import _progress, _results, _show
from narrows.cli._arguments import Json

Subject = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="File written by narrows fit, or the folder of its --checkpoint.",
        show_default=False,
    ),
]


def info(model: Subject, as_json: Json = False) -> None:
    """Print what a model file holds: sizes, what was explained, settings.

    Of a folder of checkpoints it prints how far the fit is: epochs, losses, time left, and when it
    was saved, while it goes on and after.

    Examples
    --------
    $ narrows info model.safetensors
    $ narrows info model.safetensors --json
    $ narrows info run/
    """
    if Path(model).is_dir():
        _progress.show(model, as_json=as_json)
        return
    import narrows
    from narrows.persist import describe

    header, estimator = describe(model), narrows.load(model)
    found = {"fve": estimator.fve_, "fve_restarts": estimator.fve_restarts_}
    if as_json:
        _show.as_json({**header, **found})
        return
    _show.line(f"[bold]{_results.title(estimator)}[/]\n")
    _show.facts(_facts(model, header, estimator))
    _results.print_table(found, estimator.n_components, "validation")
    _show.line("These rows chose epoch and restart; [cyan]narrows score[/] measures on others.\n")
    _show.line("[bold]Settings[/]")
    _show.facts({key: _text(value) for key, value in header["parameters"].items()})


def _facts(path: str, header: dict[str, Any], estimator: Any) -> dict[str, str]:
    """Return sizes, by name."""
    features, names = header["event_shape"], header["feature_names"]
    n_weights = sum(weight.numel() for weight in estimator._model.parameters())
    best = int(estimator.history_["best_epoch"][estimator.history_["best_loss"].argmin()])
    return {
        "file": f"{path}, {Path(path).stat().st_size / 1e6:.1f} MB, narrows {header['version']}",
        "features": f"{math.prod(features)}" + (_short(names) if names else _shape(features)),
        **_beside(estimator),
        "weights": f"{n_weights} a restart",
        "restarts": f"{header['n_restarts']} kept",
        "epochs": f"{header['n_iter']}, the best after {best}",
    }


def _beside(estimator: Any) -> dict[str, str]:
    """Return what the model knows of rows besides, and what it draws codes from."""
    found = {}
    conditions = estimator._conditions
    if conditions is not None:
        found["condition"] = ", ".join(map(_column, conditions.columns))
    if hasattr(estimator, "density_"):
        found["density"] = type(estimator.density_).__name__
    return found


def _column(column: Any) -> str:
    if column.categories is None:
        return f"{column.name} (numbers)"
    return f"{column.name} ({_results.count(len(column.categories), 'category')})".replace(
        "categorys", "categories"
    )


def _shape(shape: list[int]) -> str:
    return f" ({' × '.join(map(str, shape))})" if len(shape) > 1 else ""


def _short(names: list[str]) -> str:
    return f" ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"


def _text(value: Any) -> str:
    """Return a setting as it is written on the command line."""
    if isinstance(value, dict):
        name = value["part"].partition(".")[2]
        inner = ", ".join(f"{key} {_text(each)}" for key, each in value.items() if key != "part")
        return f"{name} ({inner})" if inner else name
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value)) or "none"
    return "none" if value is None else str(value)
