"""What autoencoders are compared with, and what codes are compared by besides their errors."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA, FactorAnalysis, KernelPCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.manifold import TSNE

from narrows._types import Array
from narrows.metrics import continuity, neighbour_overlap, trustworthiness, tsne_divergence

MAX_KERNEL_ROWS = 2000
LEAST_ROWS = 11
CHUNK = 2048
_WIDTHS = (0.1, 0.3, 1.0)
_RIDGES = (1e-3, 1e-1)
_PERPLEXITY = 30.0


class Embedding(NamedTuple):
    """Codes of the rows to measure, and the rows rebuilt from them where there is a way back."""

    codes: Array
    rows: Array | None


Baseline = Callable[[Array, Array, Sequence[int], int], Iterator[Embedding]]


def _pca(train: Array, test: Array, counts: Sequence[int], seed: int) -> Iterator[Embedding]:
    fitted = PCA(min(counts[-1], *train.shape), random_state=seed).fit(train)
    codes = fitted.transform(test)
    for k in counts:
        yield Embedding(codes[:, :k], codes[:, :k] @ fitted.components_[:k] + fitted.mean_)


def _probabilistic_pca(
    train: Array, test: Array, counts: Sequence[int], seed: int
) -> Iterator[Embedding]:
    fitted = PCA(min(counts[-1], *train.shape), random_state=seed).fit(train)
    codes, variance = fitted.transform(test), fitted.explained_variance_
    total = train.var(axis=0, ddof=1).sum()
    for k in counts:
        n_discarded = train.shape[1] - k
        rest = max(total - variance[:k].sum(), 0.0)
        noise = rest / n_discarded if n_discarded > 0 else 0.0
        kept = np.where(variance[:k] > 0, 1 - noise / np.fmax(variance[:k], 1e-300), 0.0)
        rebuilt = codes[:, :k] * kept @ fitted.components_[:k] + fitted.mean_
        factors = codes[:, :k] * np.sqrt(np.fmax(kept, 0) / np.fmax(variance[:k], 1e-300))
        yield Embedding(factors, rebuilt)


def _factor_analysis(
    train: Array, test: Array, counts: Sequence[int], seed: int
) -> Iterator[Embedding]:
    for k in counts:
        if k >= train.shape[1]:  # as many factors as features leave no noise to tell apart
            yield Embedding(np.full((len(test), k), np.nan), np.full(test.shape, np.nan))
            continue
        fitted = FactorAnalysis(min(k, *train.shape), random_state=seed).fit(train)
        codes = fitted.transform(test)
        yield Embedding(codes, codes @ fitted.components_ + fitted.mean_)


def _kernel_pca(train: Array, test: Array, counts: Sequence[int], seed: int) -> Iterator[Embedding]:
    """Choose kernel width and ridge of the way back on a fifth of the rows, at the largest K."""
    order = np.random.default_rng(seed).permutation(len(train))[:MAX_KERNEL_ROWS]
    rows, n_held = train[order], max(1, len(order) // 5)
    held, fit = rows[:n_held], rows[n_held:]

    def error(choice: tuple[float, float]) -> float:
        rebuilt = _through_kernel(fit, held, counts[-1], *choice, seed).rows
        return float(((held - rebuilt) ** 2).sum())

    best = min(((width, ridge) for width in _WIDTHS for ridge in _RIDGES), key=error)
    for k in counts:
        yield _through_kernel(rows, test, k, *best, seed)


def _through_kernel(
    train: Array, test: Array, k: int, width: float, ridge: float, seed: int
) -> Embedding:
    """Encode by kernel PCA, decode by kernel ridge regression on standardised codes."""
    scale = max(float(train.var(axis=0).sum()), 1e-300)
    solver = "randomized" if k < len(train) // 5 else "dense"
    encoder = KernelPCA(
        min(k, len(train)),
        kernel="rbf",
        gamma=width / scale,
        eigen_solver=solver,
        random_state=seed,
    )
    codes, mean = encoder.fit_transform(train), train.mean(axis=0)
    spread = np.fmax(codes.std(axis=0), 1e-300)
    decoder = KernelRidge(alpha=ridge, kernel="rbf", gamma=1 / codes.shape[1])
    decoder.fit(codes / spread, train - mean)
    found = [encoder.transform(test[a : a + CHUNK]) for a in range(0, len(test), CHUNK)]
    rebuilt = [decoder.predict(block / spread) for block in found]
    return Embedding(np.concatenate(found), np.concatenate(rebuilt) + mean)


def _tsne(train: Array, test: Array, counts: Sequence[int], seed: int) -> Iterator[Embedding]:
    """Embed the rows to measure themselves: t-SNE learns nothing that it could carry over."""
    perplexity = min(_PERPLEXITY, (len(test) - 1) / 3)
    for k in counts:
        start = "pca" if k <= min(test.shape) else "random"
        method = "barnes_hut" if k < 4 else "exact"
        tsne = TSNE(k, perplexity=perplexity, init=start, method=method, random_state=seed)
        yield Embedding(tsne.fit_transform(test).astype(np.float64), None)


def _umap(train: Array, test: Array, counts: Sequence[int], seed: int) -> Iterator[Embedding]:
    try:
        from umap import UMAP
    except ImportError:
        raise ImportError(
            "The baseline 'UMAP' needs the package umap-learn. Write: pip install narrows[umap]"
        ) from None
    for k in counts:
        fitted = UMAP(n_components=k, random_state=seed, n_jobs=1).fit(train)
        yield Embedding(np.asarray(fitted.transform(test), dtype=np.float64), None)


BASELINES: dict[str, Baseline] = {
    "PCA": _pca,
    "probabilistic PCA": _probabilistic_pca,
    "factor analysis": _factor_analysis,
    "kernel PCA": _kernel_pca,
    "t-SNE": _tsne,
    "UMAP": _umap,
}
MAPS = ("t-SNE", "UMAP")


def _criterion(X: Array, Z: Array) -> float:
    """Return the divergence over a common factor; NaN of a constant code, which has no scale."""
    if not np.ptp(Z, axis=0).any():
        return np.nan
    perplexity = min(_PERPLEXITY, (len(X) - 1) / 3)
    return tsne_divergence(X, Z, perplexity, rescale=True)


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "trustworthiness": trustworthiness,
    "continuity": continuity,
    "neighbour overlap": neighbour_overlap,
    "t-SNE divergence": _criterion,
}
