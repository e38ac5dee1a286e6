"""``narrows demo``."""

import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from narrows.cli import _data, _results, _show
from narrows.cli._arguments import Json

Out = Annotated[str, typer.Option(metavar="DIR", help="Folder to write to, made if it is missing.")]

N_COMPONENTS = 5
N_INIT = 4  # with these, a minute is enough on two cores
MAX_EPOCHS = 120
TEST_FRACTION = 0.2


def demo(out: Out = "narrows-demo", as_json: Json = False) -> None:
    """Rank the components of handwritten digits, beside PCA, in less than a minute.

    Fits a HierarchicalAutoencoder with restarts to the 1797 digits that come with scikit-learn,
    prints what its components explain of a test part that chose nothing, and writes the model, a
    report page and a scree plot.

    Examples
    --------
    $ narrows demo
    $ narrows demo --out digits --json
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    model = _model()
    train, test = _digits().split(model, TEST_FRACTION)
    if not as_json:
        _show.line(
            "Handwritten digits: 1797 images of 8 × 8 values. How many numbers describe one?\n"
            f"Learning from {len(train.data)}, holding out {len(test.data)} ..."
        )
    started = time.monotonic()
    with _show.quiet_stdout(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the corners of the images are constant
        model.fit(train.data)
    found = {
        "seconds": time.monotonic() - started,
        "n_iter": model.n_iter_,
        **_results.held_out(model, test),
        "pca_fve": _results.pca_beside(model, train, test),
    }
    files = _write(folder, model, train, test, found)
    if as_json:
        _show.as_json({**found, "files": files})
        return
    _show.line()
    _show.line(_results.heading(model, len(train.data), found["seconds"]))
    _results.print_table(found, "held-out")
    _show.line(_closing(found, len(test.data), files))


def _model() -> Any:
    from narrows import HierarchicalAutoencoder

    return HierarchicalAutoencoder(
        N_COMPONENTS,
        scale="none",
        max_epochs=MAX_EPOCHS,
        n_init=N_INIT,
        random_state=0,
        verbose=int(_show.interactive()),
    )


def _digits() -> _data.Material:
    from sklearn.datasets import load_digits

    from narrows.data.source import source

    digits = load_digits()
    return _data.Material(source(digits.data / 16), labels=digits.target)


def _write(
    folder: Path, model: Any, train: _data.Material, test: _data.Material, found: dict[str, Any]
) -> dict[str, str]:
    """Write model, report, picture and test rows; return where they lie."""
    from narrows import plots
    from narrows.metrics import elbow
    from narrows.report import report

    names = {"report": "report.html", "model": "model.safetensors", "scree": "scree.png"}
    files = {kind: str(folder / name) for kind, name in {**names, "test": "test.npy"}.items()}
    model.save(files["model"])
    _data.save(files["test"], test.data.read(0, len(test.data)).astype("float32"), None)
    spread = found["fve_restarts"].std(axis=0, ddof=1)
    axes = plots.scree(found["fve"], spread, found["pca_fve"], elbow=elbow(found["fve"]))
    axes.set_title("Handwritten digits: held-out rows", loc="left")
    _data.save_figure(files["scree"], axes)
    shape, title = (8, 8), "Handwritten digits, ranked by importance"
    report(
        model, test.data, files["report"], train=train.data, labels=test.labels,
        event_shape=shape, title=title,
    )
    return files


def _closing(found: dict[str, Any], n_rows: int, files: dict[str, str]) -> str:
    """Return what the table says, where the files lie and what to try next."""
    fve, pca, model = found["fve"], found["pca_fve"], files["model"]
    fewer = int((fve < pca[-1]).sum()) + 1
    lead = ""
    if fewer < len(pca):
        lead = f"{_results.count(fewer, 'component')} of these explain more than {len(pca)} of PCA."
    return f"""\
FVE: fraction of the variance of {n_rows} held-out rows, which chose nothing, that
1 to {len(pca)} components explain; ± is the standard deviation over {N_INIT} restarts.
[bold]{lead}[/]

Written to {Path(model).parent}
  [cyan]{files["report"]}[/]  open it in a browser
  [cyan]{files["scree"]}[/]  the table as a picture
  [cyan]{model}[/]  the fitted model
  [cyan]{files["test"]}[/]  the held-out rows

Try next
  [cyan]narrows info {model}[/]
  [cyan]narrows transform {model} {files["test"]} -o codes.csv[/]
  [cyan]narrows fit YOUR.csv --n-components 5 --test-fraction 0.2 -o model.safetensors[/]"""
