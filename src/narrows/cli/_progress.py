"""What ``narrows info`` shows of a folder of checkpoints."""

import math
import time
from typing import TYPE_CHECKING, Any

from narrows.cli import _results, _show

if TYPE_CHECKING:
    from narrows.engine.standing import Standing

_HEIGHTS = "▁▂▃▄▅▆▇█"
_WIDTH = 40  # characters of a curve


def show(folder: str, *, as_json: bool) -> None:
    """Print how far the runs of a folder are, the last one in full."""
    from narrows.engine.standing import standings

    runs, reasons = standings(folder)
    for reason in reasons:
        _show.warning(f"{reason} The one before it is shown, if there is one.")
    if as_json:
        _show.as_json({"folder": folder, "runs": [_told(run) for run in runs]})
        return
    last = runs[-1]
    _show.line(f"[bold]{last.estimator}[/], {'over' if last.over else 'not over'}\n")
    _show.facts(_facts(last))
    if len(runs) > 1:
        _show.console().print("", _table(runs), sep="\n")
        _show.line(f"\n{len(runs)} runs, the one saved last at the end.")


def _told(run: "Standing") -> dict[str, Any]:
    told = {**vars(run), "path": str(run.path), "seconds_left": run.seconds_left}
    return {name: told[name] for name in (*[n for n in told if n != "settings"], "settings")}


def _facts(run: "Standing") -> dict[str, str]:
    """Return what there is to say of one run, by name."""
    from narrows.engine.callbacks import duration

    best, losses = _best(run), run.validation_loss
    left = "" if run.over else ", how much is left is not known yet"
    if not run.over and math.isfinite(run.seconds_left):
        left = f", at most {duration(run.seconds_left)} left"
    own = losses[:, best].tolist()
    which = f" in restart {best}, of {len(run.best_loss)}" if len(run.best_loss) > 1 else ""
    epoch = int(run.best_epoch[best])
    facts = {
        "saved": f"{_when(run.saved)}, {run.path.name}",
        "epochs": f"{run.n_epochs} of {run.max_epochs}" + (" at most" if not run.over else ""),
        "time": f"{duration(run.seconds)}{left}",
        "loss": f"{own[0]:.4g} at the start, {own[-1]:.4g} now, on the validation rows",
        "": curve(own),
        "best": f"{float(run.best_loss[best]):.4g}, epoch {epoch}{which}",
        "rate": f"{run.learning_rate:.4g}" if run.n_epochs else "–",
    }
    return {name: text for name, text in facts.items() if text}


def _table(runs: "list[Standing]") -> Any:
    made = _show.table("run", "epochs", "loss", "best", "epoch", "saved")
    for run in runs:
        best = _best(run)
        losses = float(run.validation_loss[-1, best]), float(run.best_loss[best])
        done = f"{run.n_epochs} of {run.max_epochs}{', over' if run.over else ''}"
        epoch = str(int(run.best_epoch[best]))
        made.add_row(run.run[:8], done, *[f"{x:.4g}" for x in losses], epoch, _when(run.saved))
    return made


def _best(run: "Standing") -> int:
    return int(run.best_loss.nan_to_num(math.inf).argmin())


def _when(saved: float) -> str:
    """Return how long ago something was, in words."""
    seconds = max(time.time() - saved, 0.0)
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return f"{_results.count(int(seconds // size), unit)} ago"
    return f"{_results.count(int(seconds), 'second')} ago"


def curve(values: list[float]) -> str:
    """Return numbers as a row of blocks, between the least and the greatest; "" if they are few.

    Of many, one in each of 40 equal parts, the last, is shown; a dot stands for NaN and infinity.
    """
    n = min(len(values), _WIDTH)
    shown = [values[(k + 1) * len(values) // n - 1] for k in range(n)]
    finite = [value for value in shown if math.isfinite(value)]
    if len(finite) < 3 or max(finite) == min(finite):
        return ""
    low, width = min(finite), max(finite) - min(finite)
    top = len(_HEIGHTS) - 1
    return "".join(
        _HEIGHTS[round(top * (value - low) / width)] if math.isfinite(value) else "·"
        for value in shown
    )
