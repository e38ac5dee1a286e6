"""Set-up of every test: shape checking on, one thread a worker, figures without a screen."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Self

# Before torch and numpy start their threads: the workers already fill the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"

import jaxtyping
import pytest
from beartype import BeartypeConf, beartype

ROOT = Path(__file__).resolve().parents[1]

if "narrows" in sys.modules:
    raise RuntimeError("narrows was imported before its annotations could be checked")


# An int is a float, as in the type checkers' numeric tower.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def typechecker(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check a function with beartype, which knows `Self` only where it decorates the class."""
    if function.__name__ == "__init__":
        return function  # constructors only store; what is wrong is said by `fit`
    hints = function.__annotations__.items()
    function.__annotations__ = {name: Any if hint is Self else hint for name, hint in hints}
    return checked(function)


FIRST_CALLS = 12
calls: Counter[Callable[..., Any]] = Counter()
decorate = jaxtyping.jaxtyped


def jaxtyped(**settings: Any) -> Callable[[Any], Any]:
    """Check the first calls of a function in each test: thousands, in training, are alike."""

    def decorated(function: Any) -> Any:
        if not isinstance(function, type):
            return at_first(decorate(**settings)(function), function)
        plain = function.__init__
        decorate(**settings)(function)
        if function.__init__ is not plain:
            function.__init__ = at_first(function.__init__, plain)
        return function

    return decorated


def at_first(checked: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose first calls in a test are checked."""

    @wraps(plain)
    def called(*args: Any, **kwargs: Any) -> Any:
        calls[plain] += 1
        return (checked if calls[plain] <= FIRST_CALLS else plain)(*args, **kwargs)

    return called


# The hook finds the decorator by its name.
jaxtyping.jaxtyped = jaxtyped
jaxtyping.install_import_hook("narrows", f"{__name__}.typechecker")


@pytest.fixture(autouse=True)
def _counted_anew() -> None:
    calls.clear()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of measured data sets; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("NARROWS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}; NARROWS_DATA names another folder")
    return folder


@pytest.fixture(autouse=True)
def _doctests_write_elsewhere(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run each doctest in a folder of its own."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(tmp_path)
