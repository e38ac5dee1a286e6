"""Collisions: scores of models that have seen background alone, on signal and background."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from data import ROOT, higgs
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "figures"))
from common import main, mean_error

from narrows import Autoencoder, OutlierDetector

SEEDS = range(5)
SCORES = ("combined", "reconstruction", "latent")
PEERS = ROOT / "benchmarks" / ".venv-peers" / "bin" / "python"


def detector(score, narrow=False):
    """Return what scores rows by an OutlierDetector of one score, trained on all rows given."""

    def scores(train, test, seed):
        inner = Autoencoder(14, random_state=seed) if narrow else None
        model = OutlierDetector(inner, score=score, trim=0, random_state=seed).fit(train)
        return -model.score_samples(test)

    return scores


def pca_error(train, test, seed):
    """Return squared errors of a PCA that explains 90 % of the variance."""
    pca = PCA(0.9, random_state=seed).fit(train)
    return ((test - pca.inverse_transform(pca.transform(test))) ** 2).sum(axis=1)


def mahalanobis(train, test, seed):
    """Return squared lengths of the whitened rows."""
    return (PCA(whiten=True).fit(train).transform(test) ** 2).sum(axis=1)


def forest(train, test, seed):
    """Return scores of an isolation forest."""
    return -IsolationForest(random_state=seed).fit(train).score_samples(test)


def pyod(train, test, seed):
    """Return scores of PyOD's autoencoder at its defaults, from the environment of the peers."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "rows.npz"), Path(folder, "scores.npy")
        np.savez(source, train=train, test=test)
        script = Path(__file__).with_name("pyod_scores.py")
        command = [PEERS, script, source, target, str(seed)]
        subprocess.run(command, check=True, capture_output=True)
        return np.load(target)


MODELS = {
    **{f"OutlierDetector, {score}": detector(score) for score in SCORES},
    **{f"OutlierDetector(Autoencoder(14)), {score}": detector(score, True) for score in SCORES},
    "PCA of 90 % of the variance, error": pca_error,
    "PCA of all, Mahalanobis distance": mahalanobis,
    "isolation forest": forest,
    "PyOD's autoencoder": pyod,
}


def divided(X, y, seed):
    """Return standardised background to train on; its other half with all signal, and labels."""
    background, kept = train_test_split(np.flatnonzero(y == 0), test_size=0.5, random_state=seed)
    rows = np.concatenate([kept, np.flatnonzero(y == 1)])
    scaler = StandardScaler().fit(X[background])
    return scaler.transform(X[background]), scaler.transform(X[rows]), y[rows]


def make():
    X, y = higgs()
    rows = []
    for name, scores in MODELS.items():
        if scores is pyod and not PEERS.exists():
            rows.append([name, "not installed: run benchmarks/speed/peers.sh", "", ""])
            continue
        begun, found = time.perf_counter(), []
        for seed in SEEDS:
            train, test, labels = divided(X, y, seed)
            found.append(np.array([roc_auc_score(labels, scores(train, test, seed))]))
        seconds = (time.perf_counter() - begun) / len(SEEDS)
        (mean,), (error,) = mean_error(found)
        each = " ".join(f"{value[0]:.3f}" for value in found)
        rows.append([name, f"{mean:.4f} ± {error:.4f}", each, f"{seconds:.1f}"])
        print(*rows[-1], flush=True)
    note = (
        "10 984 collisions, 28 features: half of the 5 163 background events are trained on, "
        "standardised; the other half and 5 821 signal events are scored. Labels chose nothing. "
        "OutlierDetector with its defaults but trim=0, for rows known to be clean; PyOD 3.6.7 "
        "with its defaults. The error is that of the mean over seeds of split and model. Below "
        "0.5 signal is less strange than background: the 90th and 99th percentiles of the "
        "standardised rows' lengths are longer for background."
    )
    return ["score", "ROC AUC", "seeds 0 to 4", "s per fit and score"], rows, note


if __name__ == "__main__":
    main("Collisions: background alone is known", make)
