"""The rules of the code, kept mechanically: sizes, inheritance, imports, docstrings."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import narrows

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "narrows"
FILES = sorted(SRC.rglob("*.py"))
OPTIONAL = {"dask", "fsspec", "h5py", "mlflow", "onnx", "onnxruntime", "onnxscript", "pandas"}
OPTIONAL |= {"polars", "pyarrow", "tensorboard", "umap", "uproot", "zarr", "zuko"}
HEAVY = {"torch", "sklearn", "scipy", "matplotlib"} | OPTIONAL
# Where the import's name is not the distribution's
PACKAGES = {"mlflow": "mlflow-skinny", "sklearn": "scikit-learn", "umap": "umap-learn"}

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def nodes(path: Path, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, kinds))


def docstring_lines(node: ast.AST) -> set[int]:
    """Lines of every docstring at or below a node."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [n.body[0] for n in ast.walk(node) if isinstance(n, owners) and ast.get_docstring(n)]
    return {line for text in found for line in range(text.lineno, text.end_lineno + 1)}


@cache
def code_lines(path: Path) -> frozenset[int]:
    """Numbers of the lines that are neither blank, comment nor docstring."""
    text = path.read_text(encoding="utf-8").splitlines()
    code = {n for n, line in enumerate(text, 1) if line.strip() and line.lstrip()[0] != "#"}
    return frozenset(code - docstring_lines(tree(path)))


def function_sizes() -> dict[str, int]:
    """Lines of code in the body of every function."""
    return {
        f"{path.relative_to(SRC)}:{node.lineno} {node.name}": len(
            code_lines(path) & set(range(node.body[0].lineno, node.end_lineno + 1))
        )
        for path in FILES
        for node in nodes(path, ast.FunctionDef, ast.AsyncFunctionDef)
    }


def test_functions_are_short() -> None:
    sizes = function_sizes()
    assert not {name: n for name, n in sizes.items() if n > 60}
    assert statistics.median(sizes.values()) <= 8


@each_file
def test_modules_are_short(path: Path) -> None:
    assert len(code_lines(path)) <= (150 if path == SRC / "engine" / "loop.py" else 400)


# Classes


@cache
def modules() -> list[ModuleType]:
    """Every module of the package."""
    names = [m.name for m in pkgutil.walk_packages(narrows.__path__, "narrows.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def own_classes() -> list[type]:
    return [
        cls
        for module in modules()
        for cls in vars(module).values()
        if inspect.isclass(cls) and cls.__module__ == module.__name__
    ]


def own_bases(cls: type) -> list[type]:
    """Classes of ours that a class derives from; a protocol is a type, not an ancestor."""
    ours = [base for base in cls.__bases__ if base.__module__.partition(".")[0] == "narrows"]
    return [base for base in ours if not getattr(base, "_is_protocol", False)]


def depth(cls: type) -> int:
    """Length of the longest chain of own classes above one: a part, its axis, the class."""
    return max((1 + depth(base) for base in own_bases(cls)), default=0)


def implemented(cls: type) -> set[str]:
    """Methods with a body, less the hooks that scikit-learn, torch and Python call."""
    abstract = getattr(cls, "__abstractmethods__", frozenset())
    kinds = (FunctionType, classmethod, staticmethod, property)
    names = {name for name, value in vars(cls).items() if isinstance(value, kinds)}
    return {n for n in names - abstract if n != "forward" and not re.fullmatch("__.*__", n)}


def test_inheritance_is_shallow() -> None:
    assert not [cls for cls in own_classes() if depth(cls) > 2]


def test_no_implemented_method_is_overridden() -> None:
    pairs = [(cls, base) for cls in own_classes() for base in own_bases(cls)]
    overridden = {(c.__name__, b.__name__): implemented(b) & vars(c).keys() for c, b in pairs}
    assert not {pair: names for pair, names in overridden.items() if names}


def test_no_custom_autograd_function() -> None:
    import torch

    assert not [cls for cls in own_classes() if issubclass(cls, torch.autograd.Function)]


# What may not be written


def imported(path: Path) -> set[str]:
    """Top-level names of the packages a file imports, `require("package", ...)` included."""
    found = {alias.name for node in nodes(path, ast.Import) for alias in node.names}
    found |= {node.module for node in nodes(path, ast.ImportFrom) if not node.level}
    found |= required(path)
    return {name.partition(".")[0] for name in found}


def required(path: Path) -> set[str]:
    """Names passed to `narrows._errors.require`."""
    calls = [node for node in nodes(path, ast.Call) if called(node).endswith("require")]
    first = [call.args[0] for call in calls if call.args]
    return {arg.value for arg in first if isinstance(arg, ast.Constant)}


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


@each_file
def test_nothing_is_unpickled_evaluated_or_asserted(path: Path) -> None:
    assert not imported(path) & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    banned = {"eval", "exec", "torch.load", "torch.save"}
    assert not [node.lineno for node in nodes(path, ast.Call) if called(node) in banned]
    assert "allow_pickle=True" not in ast.unparse(tree(path))
    assert not [node.lineno for node in nodes(path, ast.Assert)]


@each_file
def test_third_party_packages_are_declared(path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [text for extra in project["optional-dependencies"].values() for text in extra]
    declared = {re.match(r"[\w-]+", text)[0] for text in project["dependencies"] + extras}
    third_party = imported(path) - sys.stdlib_module_names - {"narrows"}
    assert {PACKAGES.get(name, name) for name in third_party} <= declared


def test_an_optional_package_has_one_home() -> None:
    homes = {name: {p.name for p in FILES if name in imported(p)} for name in OPTIONAL}
    assert not {name: where for name, where in homes.items() if len(where) > 1}


# What a user meets first


@pytest.mark.parametrize(
    "statement",
    ["import narrows", "from narrows.cli import main; sys.argv[1:] = ['--help']; main()"],
)
def test_start_loads_nothing_heavy(statement: str) -> None:
    code = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules)), flush=True))\n"
        f"{statement}\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert not HEAVY & set(json.loads(run.stdout.splitlines()[-1]))


def test_public_names_are_documented() -> None:
    values = {name: getattr(narrows, name) for name in narrows.__all__}
    api = {n: v for n, v in values.items() if inspect.isclass(v) or inspect.isfunction(v)}
    examples = re.compile(r"^Examples\n-{8}$", re.MULTILINE)
    assert not [n for n, value in api.items() if not examples.search(inspect.getdoc(value) or "")]


def test_version_is_the_same_everywhere() -> None:
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    assert narrows.__version__ == metadata.version("narrows") == cited
