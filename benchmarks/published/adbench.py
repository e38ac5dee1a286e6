"""Anomalies in 17 tables of ADBench: the default OutlierDetector, every table shown."""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
from data import DATA
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "figures"))
from common import main, mean_error

from narrows import OutlierDetector

SEEDS = range(5)


def tables():
    """Yield name, rows, labels (1 for anomalies)."""
    for path in sorted((DATA / "anomaly").glob("*.npz")):
        with np.load(path) as file:
            yield path.stem.split("_", 2)[2], file["X"].astype(float), file["y"].ravel().astype(int)


def auc(X, y, seed):
    """Return the area under the ROC curve on the 30 % that were not trained on."""
    train, test, _, labels = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(train)
    detector = OutlierDetector(random_state=seed).fit(scaler.transform(train))
    return roc_auc_score(labels, -detector.score_samples(scaler.transform(test)))


def make():
    warnings.filterwarnings("ignore", message=".*features are constant")
    rows, means = [], []
    for name, X, y in tables():
        begun = time.perf_counter()
        found = np.array([auc(X, y, seed) for seed in SEEDS])
        seconds = (time.perf_counter() - begun) / len(SEEDS)
        mean, error = mean_error(list(found))
        means.append(found)
        cells = [name, f"{X.shape[0]} x {X.shape[1]}", f"{mean:.3f} ± {error:.3f}"]
        rows.append([*cells, " ".join(f"{a:.3f}" for a in found), f"{seconds:.1f}"])
        print(*rows[-1], flush=True)
    overall, error = mean_error(list(np.mean(means, 0)))
    rows.append(["**mean**", "", f"**{overall:.3f}** ± {error:.3f}", "", ""])
    head = ["table", "rows x features", "ROC AUC", "seeds 0 to 4", "s per fit and score"]
    note = (
        "70/30 split, stratified; inputs standardised on the training rows; fitted without labels "
        "on rows with their anomalies; one default setting. Asked: mean >= 0.85. Measured by "
        "others in the same protocol (PyOD 3.6.7): autoencoder 0.788, VAE 0.804, DeepSVDD 0.715, "
        "PCA 0.765, isolation forest 0.846, k nearest neighbours 0.773."
    )
    return head, rows, note


if __name__ == "__main__":
    main("Anomalies in 17 tables of ADBench", make)
