"""The command line: every command, every setting, every mistake in one line."""

import contextlib
import inspect
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

import narrows
from narrows.cli import COMMANDS, _data, _models, _settings, _show, app
from narrows.cli.fit import _often
from narrows.data.split import split_rows
from narrows.data.views import Rows
from narrows.parts import ESTIMATORS, PARTS, load

QUICK = ["--max-epochs", "2", "--hidden-layer-sizes", "4", "--random-state", "1"]
NAMES = ["a", "b", "c", "d"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def succeed(*arguments: str) -> str:
    """Run a command that must end well; return what it printed."""
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of data, good and bad, and a model of the good ones."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(60, 4))
    arrays = {"X": X, "Y": X[:, :2], "w": rng.random(60), "g": np.arange(60) // 6}
    np.savez(folder / "all.npz", **arrays)
    np.save(folder / "X.npy", X)
    np.save(folder / "line.npy", X[:, 0])
    np.save(folder / "row.npy", X[:1])
    np.save(folder / "empty.npy", X[:0])
    np.save(folder / "few.npy", X[:, :3])
    holes = X.copy()
    holes[[3, 9], 2] = np.nan
    for name, rows in {"X": X, "holes": holes, "inf": np.where(X[4, 1] == X, np.inf, X)}.items():
        np.savetxt(folder / f"{name}.csv", rows, delimiter=",", header=",".join(NAMES), comments="")
    np.savetxt(folder / "flat.csv", X * [1, 0, 1, 1], delimiter=",")
    (folder / "text.csv").write_text("x,name\n1,anna\n2,berta\n")
    (folder / "bad.safetensors").write_bytes(b"not a model")
    with contextlib.chdir(folder):
        succeed("fit", "X.csv", "-o", "m.safetensors", "--n-components", "3", *QUICK)
    whole = (folder / "m.safetensors").read_bytes()
    (folder / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture
def model() -> narrows.HierarchicalAutoencoder:
    return narrows.load("m.safetensors")


# Help


def test_help_names_every_command() -> None:
    shown = succeed("--help")
    assert shown == succeed()
    assert re.findall(r"^  ([a-z]+)  ", shown, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_describes_a_command_with_examples(command: str) -> None:
    shown = succeed(command, "--help")
    assert shown.startswith(f"narrows {command} ")
    assert f"  $ narrows {command}" in shown.partition("\nExamples\n")[2]
    assert not re.findall(r"^  -\S+(?: [A-Z]\S*)?$(?!\n {10})", shown, re.MULTILINE), "no text"
    layout = shown.partition("\nExamples\n")[0]
    assert max(map(len, layout.splitlines())) <= 80
    assert "inspect._empty" not in shown


def test_version() -> None:
    assert succeed("--version") == f"narrows {narrows.__version__}\n"


# Settings


def parameters(path: str) -> list[str]:
    found = inspect.signature(load(path)).parameters
    unnamed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [name for name, each in found.items() if each.kind not in unnamed]
    aside = ("training", "callbacks", "checkpoint")  # --checkpoint is an option of `fit`
    return [name.replace("_", "-") for name in names if name not in aside]


def test_every_parameter_of_every_estimator_and_part_is_an_option() -> None:
    shown = succeed("fit", "--help")
    options = re.findall(r"^ +--(\S+)", shown, re.MULTILINE)
    written = {re.sub(r"(^|\.)no-", r"\1", name) for name in options}
    wanted = {name for path in ESTIMATORS.values() for name in parameters(path)}
    wanted |= {f"training.{name}" for name in parameters("narrows:Training")}
    for axis, known in PARTS.items():
        for part, path in known.items():
            above = f"penalties.{part.replace('_', '-')}" if axis == "penalty" else axis
            above = "prior" if axis == "sampler" else above
            wanted |= {f"{above}.{name}" for name in parameters(path)}
    assert not wanted - written


def test_every_option_says_what_it_does() -> None:
    assert not [each.option for each in _settings.settings().values() if len(each.help) < 5]


def test_options_make_the_estimator_that_python_makes() -> None:
    written = {
        "n_components": "3",
        "hidden_layer_sizes": "8,4",
        "circular": "none",
        "learning_rate": "1e-2",
        "random_state": "none",
        "likelihood": "student_t",
        "likelihood__degrees_of_freedom": "3",
        "architecture__tied": True,
        "architecture__dropout": "0.1",
        "architecture__linear_path": True,
        "penalties": "l1,decorrelation",
        "penalties__l1__strength": "0.01",
        "training__patience": "none",
        "training__keep_restarts": True,
        "verbose": None,
    }
    from narrows.nn.dense import Dense
    from narrows.objective.penalties import L1, Decorrelation

    made = _models.estimator("Autoencoder", _models.values(written))
    expected = narrows.Autoencoder(
        3,
        hidden_layer_sizes=(8, 4),
        circular=(),
        learning_rate=0.01,
        likelihood=narrows.StudentT(degrees_of_freedom=3.0),
        architecture=Dense((8, 4), tied=True, dropout=0.1, linear_path=False),
        penalties=(L1(strength=0.01), Decorrelation()),
        training=narrows.Training(patience=None, keep_restarts=False),
    )
    assert repr(made) == repr(expected)


# Commands


def test_fit_measures_on_rows_that_chose_nothing() -> None:
    arguments = ["X.csv", "-o", "held.safetensors", "--n-components", "2", *QUICK]
    found = json.loads(succeed("fit", *arguments, "--test-fraction", "0.25", "--json"))
    fitted, X = narrows.load("held.safetensors"), narrows.source("X.csv")
    train, test = split_rows(60, 0.25, "random", rng=np.random.default_rng([1, 1]))
    settings = {"max_epochs": 2, "hidden_layer_sizes": (4,), "random_state": 1}
    twin = narrows.HierarchicalAutoencoder(2, **settings).fit(Rows(X, train))
    np.testing.assert_array_equal(fitted.transform(X), twin.transform(X))
    np.testing.assert_allclose(found["fve"], twin.fve(Rows(X, test)), rtol=1e-6)
    assert (found["n_train"], found["n_test"], found["rows"]) == (45, 15, "held-out")
    assert list(fitted.feature_names_in_) == NAMES


def test_fit_prints_a_table_with_spread_and_pca() -> None:
    arguments = ["X.csv", "-o", "t.safetensors", "--n-components", "3", "--n-init", "2", *QUICK]
    shown = succeed("fit", *arguments, "--test-fraction", "0.25")
    row = r"^\d +-?\d\.\d{3} ± \d\.\d{3} +-?\d\.\d{3} +-?\d\.\d{3} "
    assert len(re.findall(row, shown, re.MULTILINE)) == 3
    assert "PCA" in shown
    assert "Held out: 15 rows that chose nothing.\nSaved to t.safetensors." in shown
    assert "\x1b" not in shown
    assert shown.count("± is the standard deviation over restarts.") == 1


def test_fit_says_which_restarts_went_back_to_their_start() -> None:
    arguments = ["X.csv", "-o", "b.safetensors", "--n-components", "2", "--n-init", "2", *QUICK]
    shown = succeed("fit", *arguments, "--learning-rate", "1e-9")
    n_back = int((narrows.load("b.safetensors").history_["best_epoch"] == 0).sum())
    told = {0: "", 1: "1 of 2 restarts went back to its PCA start.", 2: "All 2 restarts went back"}
    assert told[n_back] in shown
    assert ("went back" in shown) == bool(n_back)


def test_compare_leaves_out_factor_analysis_of_as_many_factors_as_features() -> None:
    arguments = ["compare", "X.csv", "-k", "3,4", "--models", "none", "--baselines", "pca,fa"]
    shown = succeed(*arguments)
    assert re.search(r"^4 +\d\.\d{3} +–", shown, re.MULTILINE)
    assert "–: factor analysis needs fewer components than features." in shown


def test_compare_says_which_models_stayed_pca() -> None:
    arguments = ["compare", "X.csv", "-k", "2", "--models", "Autoencoder", "--max-epochs", "2"]
    assert "Autoencoder stayed PCA: no gain" in succeed(*arguments, "--learning-rate", "1e-9")
    assert "stayed" not in succeed(*arguments, "--learning-rate", "1e-9", "--baselines", "ppca")


def test_fit_without_a_test_part_says_so() -> None:
    shown = succeed("fit", "X.npy", "-o", "v.safetensors", "--model", "Autoencoder", *QUICK)
    assert "validation FVE" in shown
    assert "--test-fraction 0.2" in shown


def test_fit_takes_all_that_goes_with_rows() -> None:
    columns = ["--sample-weight", "all.npz:w", "--groups", "all.npz:g", "--target", "all.npz:Y"]
    given = ["--validation", "X.npy", "--validation-target", "all.npz:Y"]
    kept = ["--test-fraction", "0.5", "--training.split", "groups"]
    arguments = ["X.npy", "-o", "w.safetensors", *columns, *given, *kept, *QUICK]
    found = json.loads(succeed("fit", *arguments, "--json"))
    assert (found["n_train"], found["n_test"]) == (30, 30)
    assert "pca_fve" not in found
    assert narrows.load("w.safetensors").reconstruct(np.load("X.npy")).shape == (60, 2)
    again = ["X.npy", "--target", "all.npz:Y", "--sample-weight", "all.npz:w"]
    same = ["--groups", "all.npz:g", "--test-fraction", "0.5", "--json"]
    assert json.loads(succeed("score", "w.safetensors", *again, *same))["fve"] == found["fve"]


def test_several_files_are_segments() -> None:
    arguments = ["X.npy", "all.npz:X", "-o", "s.safetensors", "--training.split", "blocks"]
    found = json.loads(succeed("fit", *arguments, *QUICK, "--test-fraction", "0.2", "--json"))
    assert found["n_train"] + found["n_test"] == 120


PACKAGES = {".parquet": "pyarrow", ".h5": "h5py", ".zarr": "zarr"}


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".tsv", ".txt", *PACKAGES])
def test_transform_writes_by_suffix(suffix: str, model: narrows.HierarchicalAutoencoder) -> None:
    pytest.importorskip(PACKAGES.get(suffix, "numpy"))
    succeed("transform", "m.safetensors", "X.csv", "-o", f"codes{suffix}")
    written = narrows.source(f"codes{suffix}")
    expected = model.transform("X.csv")
    np.testing.assert_allclose(written.read(0, 60), expected, rtol=1e-4, atol=1e-6)
    if suffix not in (".npy", ".npz", ".h5", ".zarr"):
        assert written.names == tuple(model.get_feature_names_out())


def test_reconstruct_keeps_names_and_knows_levels(model: narrows.HierarchicalAutoencoder) -> None:
    arguments = ["m.safetensors", "X.csv", "-o", "rebuilt.csv", "--level", "2", "--json"]
    found = json.loads(succeed("reconstruct", *arguments))
    assert found == {"path": "rebuilt.csv", "shape": [60, 4], "names": NAMES}
    written = narrows.source("rebuilt.csv")
    assert written.names == tuple(NAMES)
    expected = model.reconstruct("X.csv", 2)
    np.testing.assert_allclose(written.read(0, 60), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("values", [4, 28, 100])
def test_results_come_block_by_block(
    values: int, model: narrows.HierarchicalAutoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_data, "_VALUES", values)
    expected = {
        "transform": model.transform("X.csv"),
        "reconstruct": model.reconstruct("X.csv"),
        "score": model.score_samples("X.csv")[:, None],
    }
    for command, whole in expected.items():
        succeed(command, "m.safetensors", "X.csv", "-o", "blocks.npy")
        np.testing.assert_allclose(np.load("blocks.npy"), whole, rtol=1e-5, atol=1e-6)


def test_a_bar_shows_blocks_where_a_person_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(_show, "console", lambda **_: watched)
    for interactive in (False, True):
        monkeypatch.setattr(_show, "interactive", lambda seen=interactive: seen)
        assert list(_show.progress(range(0, 10, 3))) == [0, 3, 6, 9]
        assert ("100%" in watched.file.getvalue()) == interactive


def test_an_error_in_a_block_names_the_row_of_the_file(
    model: narrows.HierarchicalAutoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_data, "_VALUES", 28)
    rows = narrows.source("X.csv").read(0, 60).copy()
    rows[45, 2] = np.nan
    np.save("holes.npy", rows)
    shown = run("transform", "m.safetensors", "holes.npy", "-o", "gaps.npy")
    assert "missing entries (NaN): 1, the first in row 45, column 2." in shown.stderr
    assert not list(Path().glob("*gaps*"))


@pytest.fixture
def generator() -> narrows.Autoencoder:
    fitted = narrows.Autoencoder(2, max_epochs=1, hidden_layer_sizes=(4,), random_state=0)
    fitted.fit("X.csv").fit_density("X.csv", random_state=0).save("g.safetensors")
    return fitted


def test_sample_writes_rows_of_the_density(generator: narrows.Autoencoder) -> None:
    arguments = ["sample", "g.safetensors", "-n", "20", "--seed", "3", "-o"]
    found = json.loads(succeed(*arguments, "new.csv", "--json"))
    assert found == {"path": "new.csv", "shape": [20, 4], "names": NAMES}
    written = narrows.source("new.csv").read(0, 20)
    np.testing.assert_allclose(written, generator.sample(20, random_state=3), rtol=1e-4, atol=1e-6)


def test_sample_gives_means_without_noise() -> None:
    fitted = narrows.VariationalAutoencoder(2, max_epochs=1, random_state=0).fit("X.csv")
    fitted.save("v.safetensors")
    arguments = ["sample", "v.safetensors", "-n", "20", "--seed", "3", "-o"]
    for option, noise in (("--noise", True), ("--no-noise", False)):
        succeed(*arguments, "new.npy", option)
        expected = fitted.sample(20, noise=noise, random_state=3)
        np.testing.assert_allclose(np.load("new.npy"), expected, rtol=1e-5)


@pytest.mark.parametrize("at_once", [2**23, 40])
def test_commands_take_a_condition(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_data, "_VALUES", at_once)
    n_rows = len(narrows.source("X.csv"))
    lines = [f"{'ab'[i % 2]},{i % 7}.5" for i in range(n_rows)]
    Path("known.csv").write_text("\n".join(["kind,energy", *lines]))
    settings = ["--n-components", "2", "--max-epochs", "1", "--random-state", "0"]
    known = ["--condition", "known.csv:kind,energy"]
    fit = ["fit", "X.csv", *known, "--model", "Autoencoder", *settings, "--test-fraction", "0.2"]
    succeed(*fit, "-o", "k.safetensors")
    model = narrows.load("k.safetensors")
    for command, expected in {
        "transform": model.transform("X.csv", condition="known.csv"),
        "reconstruct": model.reconstruct("X.csv", condition="known.csv"),
        "score": model.score_samples("X.csv", condition="known.csv")[:, None],
    }.items():
        succeed(command, "k.safetensors", "X.csv", *known, "-o", "found.npy")
        np.testing.assert_allclose(np.load("found.npy"), expected, rtol=1e-5, err_msg=command)
    shown = " ".join(succeed("info", "k.safetensors").split())
    assert "condition kind (2 categories), energy (numbers)" in shown
    model.fit_density("X.csv", condition="known.csv").save("k.safetensors")
    assert "density Mixture" in " ".join(succeed("info", "k.safetensors").split())
    Path("few.csv").write_text("kind\na\nb\n")
    result = run("fit", "X.csv", "--condition", "few.csv", "-o", "k.safetensors")
    assert result.exit_code != 0
    said = " ".join(result.output.split())
    assert (
        f"--condition needs one row per row of DATA, but 'few.csv' has 2 and DATA {n_rows}." in said
    )


def test_sample_takes_a_condition() -> None:
    rows = narrows.source("X.csv").read(0, 20)
    known = [["12"[i % 2], float(i)] for i in range(20)]
    fitted = narrows.VariationalAutoencoder(2, max_epochs=1, random_state=0)
    fitted.fit(rows, condition=known).save("c.safetensors")
    arguments = ["sample", "c.safetensors", "-n", "5", "--seed", "3", "-o", "new.npy"]
    succeed(*arguments, "--condition", "2,0.5")
    expected = fitted.sample(5, condition=["2", 0.5], random_state=3)
    np.testing.assert_allclose(np.load("new.npy"), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_interpolate_writes_a_path(model: narrows.HierarchicalAutoencoder, kind: str) -> None:
    arguments = ["m.safetensors", "X.csv", "--from", "2", "--to", "5", "--steps", "4"]
    succeed("interpolate", *arguments, "--kind", kind, "-o", "path.npy")
    X = narrows.source("X.csv")
    expected = model.interpolate(Rows(X, np.array([2])), Rows(X, np.array([5])), 4, kind=kind)[0]
    np.testing.assert_allclose(np.load("path.npy"), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("command", "hurt"),
    [
        ("transform", "vanished"),
        ("transform", "damaged"),
        ("reconstruct", "vanished"),
        ("reconstruct", "damaged"),
        ("score", "vanished"),
    ],
)
def test_a_file_that_goes_bad_while_it_is_read_leaves_nothing(
    command: str, hurt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    h5py = pytest.importorskip("h5py")
    path, output = tmp_path / ("X.csv" if hurt == "vanished" else "X.h5"), tmp_path / "out.npy"
    X = np.tile(np.load("X.npy"), (50, 1))
    if hurt == "vanished":
        np.savetxt(path, X, delimiter=",", header=",".join(NAMES), comments="")
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("data", data=X, chunks=(500, 4), compression="gzip")
    output.write_bytes(b"the old one")
    monkeypatch.setattr(_data, "_VALUES", 2000)
    monkeypatch.setattr("narrows.data.blocks._BLOCK", 1)
    method = "score_samples" if command == "score" else command
    own = getattr(narrows.HierarchicalAutoencoder, method)

    def hurting(self: object, *arguments: object, **more: object) -> object:
        if hurt == "vanished":
            path.unlink(missing_ok=True)
        else:
            content = bytearray(path.read_bytes())
            content[-2000:] = bytes(2000)
            path.write_bytes(content)
        return own(self, *arguments, **more)

    monkeypatch.setattr(narrows.HierarchicalAutoencoder, method, hurting)
    result = run(command, "m.safetensors", str(path), "-o", str(output))
    assert result.exit_code == 2
    assert re.fullmatch(rf"narrows: [^\n]*{path}[^\n]*\n", result.stderr)
    assert output.read_bytes() == b"the old one"
    assert not [each for each in tmp_path.iterdir() if each not in (path, output)]


def test_score_prints_levels_and_writes_rows(model: narrows.HierarchicalAutoencoder) -> None:
    arguments = ["score", "m.safetensors", "X.csv", "-o", "scores.npy"]
    found, X = json.loads(succeed(*arguments, "--json")), "X.csv"
    np.testing.assert_allclose(found["fve"], model.fve(X), rtol=1e-6)
    np.testing.assert_allclose(np.load("scores.npy")[:, 0], model.score_samples(X), rtol=1e-4)
    assert "Wrote a score per row to scores.npy." in succeed(*arguments)


def test_compare_prints_and_draws_every_model() -> None:
    models = "HierarchicalAutoencoder:boosted,Autoencoder"
    arguments = ["compare", "X.csv", "-k", "1,2", "--models", models, "--penalties", "l1", *QUICK]
    found = json.loads(succeed(*arguments, "--baselines", "pca,fa", "--json"))
    names = ["PCA", "factor analysis", "HierarchicalAutoencoder (boosted)", "Autoencoder"]
    assert list(found["fve"]) == names
    assert found["n_components"] == [1, 2]
    shown = succeed(*arguments, "--n-splits", "2", "--plot", "k.png")
    assert "12 held out; mean and standard error over 2 splits." in shown
    assert len(re.findall(r"^[12]( +0\.\d{3} ± 0\.\d{3}){5}$", shown, re.MULTILINE)) == 2
    assert Path("k.png").read_bytes().startswith(b"\x89PNG")


def test_compare_measures_neighbours() -> None:
    arguments = ["compare", "X.csv", "-k", "2", "--models", "none", "--baselines", "pca,tsne"]
    found = json.loads(succeed(*arguments, "--metrics", "all", "--json"))
    assert list(found["fve"]) == ["PCA"]
    assert set(found["metrics"]["continuity"]["mean"]) == {"PCA", "t-SNE"}
    shown = succeed(*arguments, "--metrics", "trustworthiness,neighbour-overlap")
    assert "\ntrustworthiness:\n" in shown
    assert "\nneighbour overlap:\n" in shown


def test_report_is_a_page_on_the_rows_held_out() -> None:
    arguments = ["report", "m.safetensors", "X.csv", "-o", "r.html", "--event-shape", "2,2"]
    told = ["--labels", "all.npz:g", "--test-fraction", "0.5", "--title", "Two by two"]
    assert json.loads(succeed(*arguments, *told, "--json")) == {"path": "r.html", "n_rows": 30}
    page = Path("r.html").read_text(encoding="utf-8")
    assert "Two by two" in page
    assert "PCA" in page


def test_export_writes_a_graph_of_named_parts(model: narrows.HierarchicalAutoencoder) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    arguments = ["m.safetensors", "--to", "m.onnx", "--part", "encoder,reconstruction"]
    found = json.loads(succeed("export", *arguments, "--level", "1", "--rows", "X.csv", "--json"))
    assert found["path"] == "m.onnx"
    assert max(found["differences"].values()) < 1e-5
    X = np.load("X.npy")
    codes, rebuilt = onnxruntime.InferenceSession("m.onnx").run(None, {"rows": X})
    np.testing.assert_allclose(codes, model.transform("X.csv"), atol=1e-5)
    np.testing.assert_allclose(rebuilt, model.reconstruct("X.csv", 1), atol=1e-5)


def test_info_shows_settings_and_sizes(model: narrows.HierarchicalAutoencoder) -> None:
    found = json.loads(succeed("info", "m.safetensors", "--json"))
    assert found["estimator"] == "HierarchicalAutoencoder"
    assert found["parameters"]["n_components"] == 3
    np.testing.assert_allclose(found["fve"], model.fve_)
    shown = succeed("info", "m.safetensors")
    for text in ("collective, 3 components", "4 (a, b, c, d)", "1 kept", "max_epochs", "4"):
        assert text in shown


def test_info_shows_how_far_a_fit_is() -> None:
    told = ["--checkpoint", "run", "--json-log", "run.jsonl"]
    succeed("fit", "X.csv", "-o", "r.safetensors", *QUICK, "--max-epochs", "7", *told)
    (found,) = json.loads(succeed("info", "run", "--json"))["runs"]
    log = [json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]
    assert [found["n_epochs"], found["max_epochs"], found["over"]] == [7, 7, True]
    assert found["run"] == log[0]["run"]
    assert found["validation_loss"][-1] == log[-2]["validation_loss"]
    shown = succeed("info", "run/")
    assert "HierarchicalAutoencoder, over" in shown
    assert re.search(r"now, on the validation rows *\n {10}[▁-█]{8} *\n", shown)
    for text in ("7 of 7", f"best    {found['best_loss'][0]:.4g}, epoch ", "second"):
        assert text in shown
    succeed("fit", "X.csv", "-o", "r.safetensors", *QUICK, "--max-epochs", "8", *told)
    assert "2 runs, the one saved last at the end." in succeed("info", "run")
    Path("run", "0123456789abcdef-000001.safetensors").write_bytes(b"no")
    assert (
        "narrows: warning: The checkpoint 'run/0123456789abcdef-000001" in run("info", "run").stderr
    )
    Path("bare").mkdir()
    assert run("info", "bare").stderr == (
        "narrows: The folder 'bare' holds no checkpoints, or none yet: the first comes after ten "
        "minutes, unless the fit was told otherwise.\n"
    )


@pytest.fixture
def short_demo(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    from narrows.cli import demo

    call = inspect.signature(narrows.report.report)

    def page(*arguments: object, **named: object) -> None:
        Path(call.bind(*arguments, **named).arguments["path"]).write_text("page")

    monkeypatch.setattr(narrows.report, "report", page)
    monkeypatch.setattr(demo, "N_INIT", 2)
    monkeypatch.setattr(demo, "MAX_EPOCHS", 1)
    return lambda *arguments: succeed("demo", *arguments)


def test_demo_prints_a_table_and_writes_its_files(short_demo: Callable[..., str]) -> None:
    shown = short_demo()
    assert len(re.findall(r"^\d( +0\.\d{3})( ± 0\.\d{3})?( +0\.\d{3}){2} ", shown, re.M)) == 5
    for name in ("report.html", "scree.png", "model.safetensors", "test.npy"):
        assert f"  {Path('narrows-demo', name)}  " in shown
        assert Path("narrows-demo", name).stat().st_size > 0
    assert "narrows info narrows-demo/model.safetensors" in shown
    assert narrows.source("narrows-demo/test.npy").shape == (64,)


@pytest.mark.parametrize("on_path", [True, False])
def test_demo_names_the_program_as_it_can_be_called(
    on_path: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from narrows.cli import demo

    monkeypatch.setattr(sys, "argv", [str(Path.cwd() / ".venv" / "bin" / "narrows")])
    monkeypatch.setattr(demo.shutil, "which", lambda name: name if on_path else None)
    assert demo._program() == ("narrows" if on_path else str(Path(".venv", "bin", "narrows")))


# For machines


def test_json_has_no_numbers_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    _show.as_json({"a": np.array([1.0, np.nan]), "b": (np.int64(2), float("inf")), "c": None})
    assert json.loads(capsys.readouterr().out) == {"a": [1.0, None], "b": [2, None], "c": None}


def test_brackets_in_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    _show.facts({"features": "energy [ev], [bold]"})
    _show.line(f"Saved to {_show.path('a[b].npy')}.")
    first, second, _ = capsys.readouterr().out.split("\n")
    assert first.split() == ["features", "energy", "[ev],", "[bold]"]
    assert second == "Saved to a[b].npy."


def test_stdout_is_for_results_alone() -> None:
    arguments = ["flat.csv", "-o", "f.safetensors", "--verbose", "1", "--json", *QUICK]
    result = run("fit", *arguments)
    assert json.loads(result.stdout)["path"] == "f.safetensors"
    assert result.stderr.startswith(
        "narrows: warning: 1 of 4 features are constant, the first is 1; "
        "they carry no information and are only centred.\n"
    )


# Mistakes

FIT = ["fit", "X.csv", "-o", "x.safetensors"]
MISTAKES = [
    (["fti"], "There is no command 'fti'. Did you mean 'fit'?"),
    (["fit"], "Missing argument 'DATA...'. See narrows fit --help."),
    (
        [*FIT, "--n-component", "2"],
        "There is no option '--n-component'. Did you mean '--n-components'?",
    ),
    (
        ["score", "m.safetensors", "X.csv", "--missing", "ignore"],
        "There is no option '--missing' of narrows score. It is one of narrows fit, for a "
        "new model.",
    ),
    ([*FIT, "--n-components", "two"], "--n-components takes a whole number, not 'two'."),
    ([*FIT, "--n-components", "0"], "--n-components 0 must be a whole number, at least 1."),
    ([*FIT, "--circular", "0;1"], None),
    ([*FIT, "--model", "Autoencodr"], None),
    (
        [*FIT, "--penalties", "l1"],
        "HierarchicalAutoencoder has no setting --penalties. Write --model Autoencoder.",
    ),
    (
        [*FIT, "--likelihood.degrees-of-freedom", "3"],
        "--likelihood.degrees-of-freedom is for student_t, not for gaussian. "
        "Write --likelihood student_t as well.",
    ),
    (
        [*FIT, "--model", "Autoencoder", "--penalties.l1.strength", "1"],
        "--penalties.l1.strength needs 'l1' among --penalties.",
    ),
    (
        [*FIT, "--likelihood", "poissn"],
        "--likelihood poissn is not known. Did you mean 'poisson'? Known are: gaussian, normal, "
        "bernoulli, continuous_bernoulli, categorical, poisson, negative_binomial, laplace, "
        "student_t.",
    ),
    (
        [*FIT, "--training.patience", "0"],
        "--training.patience 0 must be at least 1. Write none for none.",
    ),
    ([*FIT, "--likelihood", "bernoulli"], None),
    ([*FIT, "--test-fraction", "1"], "--test-fraction 1.0 must be in [0, 1). Write 0.2, say."),
    ([*FIT, "--test-fraction", "half"], None),
    ([*FIT, "--sample-weight", "row.npy"], None),
    ([*FIT, "--validation", "X.npy", "--target", "all.npz:Y"], None),
    (["fit", "X.npz", "-o", "x.safetensors"], "There is no file 'X.npz'. Did you mean 'X.npy'?"),
    (["fit", "X.npi", "-o", "x.safetensors"], None),
    (["fit", "X.csv:e", "-o", "x.safetensors"], None),
    (["fit", "all.npz", "-o", "x.safetensors"], None),
    (["fit", "holes.csv", "-o", "x.safetensors"], None),
    (["fit", "inf.csv", "-o", "x.safetensors"], None),
    (["fit", "line.npy", "-o", "x.safetensors"], None),
    (["fit", "row.npy", "-o", "x.safetensors"], None),
    (["fit", "empty.npy", "-o", "x.safetensors"], None),
    (
        ["fit", "text.csv", "-o", "x.safetensors"],
        "The file 'text.csv' has columns of text or dates: 'name'. Encode them as numbers or "
        "drop them. Or select columns: 'text.csv:x'.",
    ),
    (["fit", "X.csv", "-o", "x.pkl"], "Unknown suffix '.pkl' of 'x.pkl'. Known: .safetensors."),
    (
        ["fit", "X.csv", "-o", "no/x.safetensors"],
        "Cannot write 'no/x.safetensors': there is no folder 'no'.",
    ),
    (["transform", "m.safetensors", "few.npy", "-o", "c.npy"], None),
    (["transform", "m.safetensors", "X.csv", "-o", "c.xlsx"], None),
    (["transform", "m.safetensor", "X.csv", "-o", "c.npy"], None),
    (["transform", "X.csv", "X.csv", "-o", "c.npy"], None),
    (["info", "bad.safetensors"], None),
    (["info", "half.safetensors"], None),
    (["reconstruct", "m.safetensors", "X.csv", "-o", "c.npy", "--level", "9"], None),
    (
        ["score", "m.safetensors", "holes.csv"],
        "X has missing entries (NaN): 2, the first in row 3, column 'c'. Fill them, drop their "
        "rows, or write narrows fit --missing ignore.",
    ),
    (
        [*FIT, "--json-log", "no/beta=4/None.jsonl"],
        "Cannot write 'no/beta=4/None.jsonl': there is no folder 'no/beta=4'.",
    ),
    (
        [*FIT, "--json-log", "."],
        "Cannot write '.': is a directory. Write --json-log run.jsonl, say.",
    ),
    (
        ["sample", "m.safetensors", "-o", "s.npy"],
        "This HierarchicalAutoencoder has no prior to draw codes from, and no density of its codes "
        "was fitted. Write model.fit_density(X) first.",
    ),
    (
        ["sample", "m.safetensors", "-n", "0", "-o", "s.npy"],
        "--n-samples 0 must be a whole number, at least 1. Write 100, say.",
    ),
    (
        ["interpolate", "m.safetensors", "X.csv", "--from", "0", "--to", "60", "-o", "s.npy"],
        "--to 60 is no row of DATA. Write a number from 0 to 59.",
    ),
    (
        ["interpolate", "m.safetensors", "X.csv", "--from", "0", "-o", "s.npy"],
        "Missing option '--to'. See narrows interpolate --help.",
    ),
    (
        ["compare", "X.csv", "--baselines", "pcaa"],
        "There is no method 'pcaa'. Did you mean 'pca'? "
        "Known are: pca, ppca, fa, kpca, tsne, umap.",
    ),
    (
        ["compare", "X.csv", "--models", "PCA"],
        "'PCA' is a baseline, which --baselines shows already. "
        "Write --models none for no model beside them.",
    ),
    (["compare", "X.csv", "-k", "few"], None),
    (
        ["compare", "X.csv", "--models", "none", "--n-init", "2"],
        "No model here has a setting --n-init.",
    ),
    (["report", "m.safetensors", "X.csv", "-o", "r.html", "--event-shape", "3,3"], None),
    (["report", "m.safetensors", "X.csv", "-o", "r.pdf"], None),
    (
        ["export", "m.safetensors", "--to", "m.pt"],
        "Unknown suffix '.pt' of 'm.pt'. Known: .onnx.",
    ),
    (
        ["export", "m.safetensors", "--to", "m.onnx", "--part", "encoder,scores"],
        "--part scores is not known. Did you mean 'score'? "
        "Known are: encoder, decoder, reconstruction, score, sampler.",
    ),
    (
        ["demo", "--out", "X.csv"],
        "--out needs a folder, but 'X.csv' cannot be made one: that is a file.",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "sentence"), MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES]
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], sentence: str | None) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert re.fullmatch(r"narrows: [^\n]{20,}[.?]", lines[0])
    assert sentence is None or lines[0] == f"narrows: {sentence}"
    assert not Path("x.safetensors").exists()


def test_mistakes_name_the_option() -> None:
    arguments = ["reconstruct", "m.safetensors", "X.csv", "-o", "c.npy", "--level", "9"]
    assert run(*arguments).stderr.startswith("narrows: --level 9 must be")
    arguments = ["report", "m.safetensors", "X.csv", "-o", "r.html", "--event-shape", "3,3"]
    assert run(*arguments).stderr.startswith("narrows: --event-shape 3,3 holds 9 values")
    assert run("info", "X.csv").stderr.endswith("that narrows fit wrote.\n")


@pytest.mark.parametrize("command", ["transform", "reconstruct", "score", "interpolate"])
def test_what_is_read_is_not_written_over(command: str) -> None:
    content = Path("X.npy").read_bytes()
    more = ["--from", "0", "--to", "1"] if command == "interpolate" else []
    result = run(command, "m.safetensors", "./X.npy", "-o", "X.npy", *more)
    said = "narrows: 'X.npy' is read too, and would be lost. Write to another file.\n"
    assert (result.exit_code, result.stderr) == (2, said)
    assert Path("X.npy").read_bytes() == content


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "s3://a/x.npy",
            "Results go to local files, not to 's3://a/x.npy'. Write the name of one.",
        ),
        ("o.h5:/a/b", "Results fill a file of their own, not a part of it. Write 'o.h5'."),
    ],
)
def test_results_are_whole_local_files(output: str, said: str) -> None:
    result = run("transform", "m.safetensors", "X.npy", "-o", output)
    assert (result.exit_code, result.stderr) == (2, f"narrows: {said}\n")


def test_an_old_file_survives_a_failed_fit() -> None:
    Path("old.safetensors").write_text("old")
    assert run("fit", "holes.csv", "-o", "old.safetensors").exit_code == 2
    assert Path("old.safetensors").read_text() == "old"


def test_mistakes_are_traced_when_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_DEBUG", "1")
    assert isinstance(run("info", "bad.safetensors").exception, narrows._errors.ModelFileError)


def test_interruption_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(narrows.persist, "load", interrupted)
    result = run("transform", "m.safetensors", "X.csv", "-o", "c.npy")
    assert (result.exit_code, result.stderr) == (130, "narrows: Interrupted.\n")


def test_a_process_ends_as_a_command_should() -> None:
    code = "from narrows.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "fti"], capture_output=True, text=True)
    message = "narrows: There is no command 'fti'. Did you mean 'fit'?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


@pytest.mark.parametrize(
    ("every", "wanted"),
    [
        ("30s", {"minutes": 0.5}),
        ("2.5 min", {"minutes": 2.5}),
        ("2h", {"minutes": 120}),
        ("1epoch", {"minutes": None, "epochs": 1}),
        ("20epochs", {"minutes": None, "epochs": 20}),
        (None, {}),
    ],
)
def test_intervals(every: str | None, wanted: dict[str, object]) -> None:
    assert _often(every) == wanted


@pytest.mark.parametrize("every", ["often", "0.5epochs", "0s", "5", "-1min", "0 epochs", ""])
def test_what_is_no_interval(every: str) -> None:
    with pytest.raises(ValueError, match=r"is no interval. Write 30s, 5min, 2h or 20epochs\."):
        _often(every)


@pytest.mark.usefixtures("folder")
def test_a_fit_with_checkpoints_goes_on(tmp_path: Path) -> None:
    run_folder, out = str(tmp_path / "run"), str(tmp_path / "m.safetensors")
    given = ["fit", "X.csv", "-o", out, "--n-components", "3", *QUICK[:-2]]
    result = run(*given, "--resume")
    assert result.exit_code != 0
    assert "--resume needs --checkpoint FOLDER." in result.stderr
    result = run(*given, "--checkpoint", run_folder, "--resume")
    assert f"'{run_folder}' holds no checkpoint. To begin anew, do not ask to resume." in " ".join(
        result.stderr.split()
    )
    assert not Path(run_folder).exists()
    for every, said in (
        (["--checkpoint-every", "5min"], "--checkpoint-every needs --checkpoint FOLDER."),
        (
            ["--checkpoint", run_folder, "--checkpoint-every", "often"],
            "--checkpoint-every 'often' is no interval. Write 30s, 5min, 2h or 20epochs.",
        ),
    ):
        assert said in " ".join(run(*given, *every).stderr.split())
    succeed(*given, "--checkpoint", run_folder, "--checkpoint-every", "1epoch")
    first = Path(out).read_bytes()
    result = run(*given, "--checkpoint", run_folder, "--checkpoint-every", "1epoch", "--resume")
    assert f"narrows: '{run_folder}' holds a checkpoint of this training, complete." in " ".join(
        result.stderr.split()
    )
    assert Path(out).read_bytes() == first
    assert narrows.load(out).random_state == 0
