"""What one would write without cpp-pipe for each step after the embeddings, on made rows.

FAISS, NumPy and scikit-learn, all threads, in memory; for `benchmarks.ten_million`. Each function
takes the folder of `clip_like.write_embeddings` and how many rows the way can do, and loads what it
needs before its clock starts.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .clip_like import read_rows

FEATURES = 128
GRID = (25, 50, 100, 200, 300, 400)
"""The k of the plain choice of k."""
ITERATIONS = 20
"""Of FAISS' k-means."""
SIMILARITY = 0.95
NEIGHBOURS = 10
_BLOCK = 2048


class Plain(NamedTuple):
    """A plain way, and how many rows it can do in a minute or two."""

    name: str
    rows: int
    run: Callable[[Path, int], float]
    """Returns its seconds."""


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def copy_rows(folder: Path, rows: int) -> float:
    """NumPy: read, scale to unit length, write float16."""

    def work() -> None:
        x = read_rows(folder, rows)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        np.save(folder / "copied.npy", x.astype(np.float16))

    seconds = _seconds(work)
    (folder / "copied.npy").unlink()
    return seconds


def fit_whitening(folder: Path, rows: int) -> float:
    """scikit-learn: principal directions, whitened."""
    from sklearn.decomposition import PCA

    x = read_rows(folder, rows)
    return _seconds(lambda: PCA(FEATURES, whiten=True, random_state=0).fit(x))


def whiten(folder: Path, rows: int) -> float:
    """scikit-learn: rows along whitened directions."""
    from sklearn.decomposition import PCA

    x = read_rows(folder, rows)
    model = PCA(FEATURES, whiten=True, random_state=0).fit(x[:20_000])
    return _seconds(lambda: model.transform(x))


def spectral(folder: Path, rows: int) -> float:
    """scikit-learn: spectral clustering on the graph of ten neighbours."""
    from sklearn.cluster import SpectralClustering

    x = _centred(folder, rows)
    k = min(100, rows // 20)
    model = SpectralClustering(k, affinity="nearest_neighbors", random_state=0, n_jobs=-1)
    return _seconds(lambda: model.fit(x))


def choose_k(folder: Path, rows: int) -> float:
    """FAISS: k-means at several k, and BIC."""
    x = _centred(folder, rows)
    return _seconds(lambda: [_kmeans(x, k) for k in GRID if k < rows // 4])


def kmeans(folder: Path, rows: int) -> float:
    """FAISS: k-means of all rows, and the nearest centroid of each."""
    x = _centred(folder, rows)
    return _seconds(lambda: _kmeans(x, min(300, rows // 10)))


def build_index(folder: Path, rows: int) -> float:
    """FAISS: inverted lists in memory."""
    import faiss

    x = read_rows(folder, rows)
    lists = max(1, int(4 * rows**0.5))

    def work() -> None:
        index = faiss.index_factory(x.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(x)
        index.add(x)

    return _seconds(work)


def search(folder: Path, rows: int) -> float:
    """FAISS: one query, compared with all rows."""
    import faiss

    x = read_rows(folder, rows)
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    return float(np.median([_seconds(lambda: index.search(x[:1], NEIGHBOURS)) for _ in range(10)]))


def all_pairs(folder: Path, rows: int) -> float:
    """NumPy: all pairs in blocks."""
    x = read_rows(folder, rows)

    def work() -> None:
        for start in range(0, rows, _BLOCK):
            np.argwhere(x[start : start + _BLOCK] @ x[start:].T >= SIMILARITY)

    return _seconds(work)


def tsne(folder: Path, rows: int) -> float:
    """scikit-learn: t-SNE of all rows."""
    from sklearn.manifold import TSNE

    x = _centred(folder, rows)[:, :50].copy()
    return _seconds(lambda: TSNE(random_state=0, init="pca").fit_transform(x))


def _centred(folder: Path, rows: int) -> ndarray:
    x = read_rows(folder, rows)
    x -= x.mean(0)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _kmeans(x: ndarray, k: int) -> float:
    import faiss

    model = faiss.Kmeans(x.shape[1], k, niter=ITERATIONS, seed=1, max_points_per_centroid=10**9)
    model.train(x)
    distances, _ = model.index.search(x, 1)
    (n, d), variance = x.shape, max(float(distances.mean()) / x.shape[1], 1e-9)
    return -n * d / 2 * np.log(variance) - k * (d + 1) / 2 * np.log(n)


PLAIN: Mapping[str, Plain] = {
    "import": Plain("NumPy", 200_000, copy_rows),
    "train": Plain("sklearn PCA, whitened", 200_000, fit_whitening),
    "project": Plain("sklearn PCA, whitened", 200_000, whiten),
    "spectrum": Plain("sklearn spectral", 5_000, spectral),
    "select-k": Plain(f"FAISS k-means, {len(GRID)} k", 20_000, choose_k),
    "assign": Plain("FAISS k-means, k 300", 100_000, kmeans),
    "index": Plain("FAISS IVF,Flat", 100_000, build_index),
    "query": Plain("FAISS exact", 200_000, search),
    "duplicates": Plain("NumPy, all pairs", 20_000, all_pairs),
    "map": Plain("sklearn t-SNE", 3_000, tsne),
}
