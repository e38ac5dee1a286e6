"""What the scripts of figures share: data, splits, baselines, tables."""

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import sklearn
import torch

import narrows

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("NARROWS_DATA", ROOT.parent / "shared" / "data"))
SPLITS = 5
TEST = 0.2

warnings.filterwarnings("ignore", message=".*features are constant")


def splits(n: int, n_splits: int = SPLITS) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (number, training rows, test rows): the seeds are the numbers."""
    for number in range(n_splits):
        order = np.random.default_rng(number).permutation(n)
        n_test = round(TEST * n)
        yield number, order[n_test:], order[:n_test]


def pca_fve(train: np.ndarray, test: np.ndarray, n_components: int, scale: str) -> np.ndarray:
    """Return PCA's held-out FVE for 1..n_components, in the space of `scale`."""
    width = train.std(0) if scale == "standard" else np.ones(train.shape[1])
    width = np.where(width > 1e-12 * np.abs(train).max(0), width, 1)
    mean = train.mean(0)
    a, b = (train - mean) / width, (test - mean) / width
    axes = np.linalg.svd(a, full_matrices=False)[2][:n_components]
    found = ((b @ axes.T) ** 2).sum(0).cumsum() / (b**2).sum()
    return np.pad(found, (0, n_components - len(found)), mode="edge")


def mean_error(values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard error over splits."""
    stacked = np.stack(values)
    return stacked.mean(0), stacked.std(0, ddof=1) / np.sqrt(len(stacked))


def row(name: str, values: list[np.ndarray], digits: int = 3) -> list[str]:
    """Return a row of a table: mean ± standard error."""
    mean, error = mean_error(values)
    return [name, *(f"{m:.{digits}f} ± {e:.{digits}f}" for m, e in zip(mean, error, strict=True))]


def main(title: str, make: Callable[[], tuple[list[str], list[list[str]], str]]) -> None:
    """Print the table that `make` returns, and write it to results/ with --write."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--write", action="store_true", help="keep the table in results/")
    arguments = parser.parse_args()
    begun = time.process_time()
    head, rows, note = make()
    lines = [f"# {title}", "", f"`{_command()}`", "", _line(head), _line(["---"] * len(head))]
    lines += [_line(cells) for cells in rows]
    seconds = time.process_time() - begun
    spent = "" if "NARROWS_RUNS" in os.environ else f"; {seconds:.0f} s of processor time"
    lines += ["", note, "", f"{_versions()}{spent}."]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        target = ROOT / "benchmarks" / "results" / f"{Path(sys.argv[0]).stem}.md"
        target.write_text(text, encoding="utf-8")


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _command() -> str:
    script = Path(sys.argv[0]).resolve()
    return f"python benchmarks/{script.parent.name}/{script.name} --write"


def _versions() -> str:
    return (
        f"narrows {narrows.__version__}, torch {torch.__version__}, scikit-learn "
        f"{sklearn.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads"
    )
