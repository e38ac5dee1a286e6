"""``narrows info``."""

from typing import Any

from narrows.cli import _results, _show
from narrows.cli._arguments import Json, ModelFile


def info(model: ModelFile, as_json: Json = False) -> None:
    """Print what a model file holds: settings, sizes, restarts, and what was explained.

    Examples
    --------
    $ narrows info model.safetensors
    $ narrows info model.safetensors --json
    """
    import narrows
    from narrows.persist import describe

    header, estimator = describe(model), narrows.load(model)
    found = {"fve": estimator.fve_, "fve_restarts": estimator.fve_restarts_}
    if as_json:
        _show.as_json({**header, **found})
        return
    _show.line(f"[bold]{_results.title(estimator)}[/]")
    _show.console().print(_show.facts(_facts(header, estimator)))
    _results.print_table(found, "validation")
    _show.line("These rows chose epoch and restart; [bold]narrows score[/] measures on others.")
    _show.console().print(_show.facts(_settings(header["parameters"])))


def _facts(header: dict[str, Any], estimator: Any) -> dict[str, str]:
    return {}


def _settings(parameters: dict[str, Any]) -> dict[str, str]:
    return {}
