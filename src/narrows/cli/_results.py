"""What a fit found, as numbers for programs and as lines and tables for people."""

import time
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from narrows.cli import _show

if TYPE_CHECKING:
    from narrows._types import Array
    from narrows.cli._data import Material


def fit(estimator: Any, train: "Material", validation: Any = None, *, warn: bool = True) -> float:
    """Fit, with a progress bar where a person watches; return the seconds it took."""
    verbose, started = estimator.verbose, time.monotonic()
    with _show.quiet_stdout(), warnings.catch_warnings():
        if not warn:
            warnings.simplefilter("ignore")
        estimator.set_params(verbose=verbose or int(_show.interactive()))
        estimator.fit(
            train.data,
            target=train.target,
            sample_weight=train.weight,
            groups=train.groups,
            validation=validation,
            **train.known,
        )
    estimator.set_params(verbose=verbose)
    return time.monotonic() - started


def held_out(estimator: Any, test: "Material") -> dict[str, "Array"]:
    """Return the FVE of the model, and of all its restarts, on rows that chose nothing."""
    import numpy as np

    told = {"target": test.target, "sample_weight": test.weight, **test.known}
    each = [restart.fve(test.data, **told) for restart in estimator.restarts_]
    return {"fve": estimator.fve(test.data, **told), "fve_restarts": np.stack(each)}


def pca_beside(estimator: Any, train: "Material", test: "Material") -> "Array | None":
    """Return PCA's FVE on the same rows, None where it would not compare with the model's."""
    from narrows.objective.likelihoods import Gaussian
    from narrows.parts import resolve
    from narrows.report import pca_fve

    squared = isinstance(resolve("likelihood", estimator.likelihood), Gaussian)
    if (
        not squared
        or test.condition is not None
        or test.target is not None
        or test.weight is not None
    ):
        return None
    scale = "standard" if estimator.scale == "auto" else estimator.scale
    return pca_fve(train.data, test.data, estimator.n_components, scale)


def print_table(found: Mapping[str, Any], n_components: int, label: str) -> None:
    """Print FVE by component, with the spread over restarts and PCA where they are known."""
    restarts, pca = found["fve_restarts"], found.get("pca_fve")
    table = _show.fve_table(
        found["fve"].tolist(),
        n_components,
        label=label,
        spread=restarts.std(axis=0, ddof=1).tolist() if len(restarts) > 1 else None,
        reference=None if pca is None else pca.tolist(),
    )
    _show.console().print("", table, "", sep="\n")
    if len(restarts) > 1:
        _show.line("± is the standard deviation over restarts.")


def heading(estimator: Any, n_rows: int, seconds: float) -> str:
    """Return what was fitted, to what, and how long it took."""
    return (
        f"[bold]{title(estimator)}[/]\n{n_rows} rows, {count(estimator.n_init, 'restart')}, "
        f"{count(estimator.n_iter_, 'epoch')}, {seconds:.1f} s"
    )


def title(estimator: Any) -> str:
    """Return the name of a model, its ordering and number of components."""
    parts = [type(estimator).__name__, count(estimator.n_components, "component")]
    ordering = estimator.get_params(deep=False).get("ordering", "none")
    ordering = ordering if isinstance(ordering, str) else type(ordering).__name__.lower()
    return ", ".join(parts if ordering == "none" else [parts[0], ordering, parts[1]])


def count(n: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
