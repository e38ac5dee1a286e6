"""``narrows demo``."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from narrows.cli import _data, _results, _show
from narrows.cli._arguments import Json

Out = Annotated[str, typer.Option(metavar="DIR", help="Folder to write to, made if it is missing.")]

N_COMPONENTS = 5
N_INIT = 4
MAX_EPOCHS = 200  # half a minute on two cores
TEST_FRACTION = 0.2


def demo(out: Out = "narrows-demo", as_json: Json = False) -> None:
    """Rank the components of handwritten digits, beside PCA, in less than a minute.

    Fits a HierarchicalAutoencoder with restarts to the 1797 digits that come with scikit-learn,
    prints what its components explain of a test part that chose nothing, and writes the model, a
    report page and a picture.

    Examples
    --------
    $ narrows demo
    $ narrows demo --out digits --json
    """
    folder = _folder(out)
    model = _model()
    train, test = _digits().split(model, TEST_FRACTION)
    if not as_json:
        _show.line(
            "How many numbers describe a handwritten digit of 8 × 8 values?\n"
            f"Learning from {len(train)} digits, holding out {len(test)} ...\n"
        )
    found = {
        "seconds": _results.fit(model, train, warn=False),  # corners of the images are constant
        "n_iter": model.n_iter_,
        **_results.held_out(model, test),
        "pca_fve": _results.pca_beside(model, train, test),
    }
    files = _write(folder, model, train, test, found)
    if as_json:
        _show.as_json({**found, "files": files})
        return
    _show.line(_results.heading(model, len(train), found["seconds"]))
    _results.print_table(found, N_COMPONENTS, "held-out")
    _show.line(_meaning(found, len(test)))
    _show.line(f"\nWritten to {_show.path(out)}")
    _show.facts({path: _ABOUT[kind] for kind, path in files.items()}, style="cyan")
    _show.line("\n[bold]Try next[/]")
    for command in _NEXT:
        _show.command(command.format(**files, narrows=_program()))


_ABOUT = {
    "report": "the whole story: open it in a browser",
    "picture": "the table as a picture",
    "model": "the model, for narrows.load in Python",
    "test": "the digits held out",
}
_NEXT = (
    "{narrows} info {model}",
    "{narrows} transform {model} {test} -o codes.csv",
    "{narrows} fit YOUR.csv --n-components 5 --test-fraction 0.2 -o model.safetensors",
)


def _folder(out: str) -> Path:
    """Return the folder to write to, made if it is missing."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "that is a file" if folder.is_file() else (error.strerror or "unknown").lower()
        message = f"--out needs a folder, but '{out}' cannot be made one: {why}."
        raise NotADirectoryError(message) from error
    return folder


def _program() -> str:
    """Return how the program is called from the working directory."""
    called = Path(sys.argv[0])
    if shutil.which("narrows") or called.stem != "narrows":
        return "narrows"
    here = Path.cwd()
    path = called.absolute()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _model() -> Any:
    from narrows import HierarchicalAutoencoder

    model = HierarchicalAutoencoder(N_COMPONENTS, scale="none", random_state=0)
    return model.set_params(max_epochs=MAX_EPOCHS, n_init=N_INIT)


def _digits() -> _data.Material:
    from sklearn.datasets import load_digits

    from narrows.data.source import source

    digits = load_digits()
    return _data.Material(source(digits.data / 16), labels=digits.target)


def _write(
    folder: Path, model: Any, train: _data.Material, test: _data.Material, found: dict[str, Any]
) -> dict[str, str]:
    """Write report, picture, model and held-out rows; return where they lie."""
    from narrows.cli._picture import picture
    from narrows.report import report

    names = ("report.html", "scree.png", "model.safetensors", "test.npy")
    files = {kind: str(folder / name) for kind, name in zip(_ABOUT, names, strict=True)}
    model.save(files["model"])
    _data.save(files["test"], [test.data.read(0, len(test)).astype("float32")], None)
    _data.save_figure(files["picture"], picture(model, train, test, found))
    report(
        model,
        test.data,
        files["report"],
        train=train.data,
        labels=test.labels,
        event_shape=(8, 8),
        title="Handwritten digits, ranked by importance",
    )
    return files


def _meaning(found: dict[str, Any], n_rows: int) -> str:
    """Return what the table says."""
    fve, pca = found["fve"], found["pca_fve"]
    fewer = int((fve < pca[-1]).sum()) + 1
    lead = f"{fewer} of these components say more of a digit than {len(pca)} of PCA."
    return (
        f"FVE is the fraction of variance explained of {n_rows} digits that chose nothing,\n"
        f"by components 1 to k."
    ) + (f"\n[bold]{lead}[/]" if fewer < len(pca) else "")
