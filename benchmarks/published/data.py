"""Reads the measured data that the published figures are about."""

import csv
import gzip
import os
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("NARROWS_DATA", ROOT.parent / "shared" / "data"))


def mnist(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images of one part ("train", "t10k") as rows of values in [0, 1], and labels."""
    folder = DATA / "images" / "mnist"
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as stream:
        images = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as stream:
        labels = np.frombuffer(stream.read(), np.uint8, offset=8)
    return (images / 255).astype(np.float32), labels.astype(int)


def sequences(name: str, part: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return series of shape (steps, features) and labels of one part ("TRAIN", "TEST")."""
    rows, labels = [], []
    text = (DATA / "sequences" / f"aeon_{name}_{part}.ts").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.strip() and not line.startswith(("@", "#")):
            *features, label = line.split(":")
            rows.append(np.array([[float(v) for v in f.split(",")] for f in features]).T)
            labels.append(label)
    return rows, np.array(labels)


def metabolites() -> np.ndarray:
    """Return log ratios of 154 metabolites (rows) in 52 samples; NaN where they are missing."""
    path = DATA / "missing" / "derived_metaboliteData.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        _, *lines = csv.reader(stream)
    return np.array([[float(cell or "nan") for cell in line[1:]] for line in lines])


def higgs() -> tuple[np.ndarray, np.ndarray]:
    """Return 28 features of collisions, and labels: 1 for signal, 0 for background."""
    rows = np.loadtxt(DATA / "hep" / "uci_higgs_10984.csv", delimiter=",", skiprows=1)
    return rows[:, :-1], rows[:, -1].astype(int)
