"""Training of an inverted file before it holds rows: centroids of lists, and words of codes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .factory import CODE_WORDS, Factory
from .faiss_library import import_faiss, map_in_threads, on_gpu, one_thread

ITERATIONS = 10
"""Iterations of k-means at each level; more gave no better lists for a million rows."""

ROWS_A_LIST = 64
"""Rows per list to which centroids are fitted; FAISS asks for at least 39."""

MIN_GROUPED_LISTS = 256
"""From this many lists on, centroids are fitted in groups."""

ROUNDS = 4
"""Rounds of k-means over all centroids, after fitting each group. If there are about as many
lists as clouds of rows, two visited lists then hold 0.99 of a row's neighbours instead of 0.89."""

MAX_ROUND_LISTS = 8192
"""With more lists and no GPU, the rounds would take longer than everything else."""

_ROWS_A_GROUP = 1000
"""Rows per group of the first level."""

_CODE_ROWS = 65_536
"""Rows to which code words are fitted: 256 per word, as in FAISS."""

_ASSIGN_ROWS = 8192
_PRODUCT_ROWS = 1024
"""Rows compared at once: their similarities stay in the cache."""

_COARSE_WIDTHS = 80, 16
"""Search widths in the graph of centroids, for linking it and for finding a row's list. With 16,384
lists at 128 dimensions it finds the nearest for 0.999 of rows in 38 µs; comparing all takes 56."""


def train(factory: Factory, sample: np.ndarray, seed: int, device: str) -> Any:
    """A FAISS index without rows, trained on a sample: float16 (m, d).

    The sample must be in random order. Equal samples give equal bytes for any number of threads; a
    GPU rounds differently.
    """
    faiss = import_faiss()
    index = faiss.index_factory(sample.shape[1], factory.text, faiss.METRIC_INNER_PRODUCT)
    centroids = fit_centroids(sample, factory.lists, seed, device)
    code_sample = np.ascontiguousarray(sample[:_CODE_ROWS], np.float32)
    coarse = faiss.downcast_index(index.quantizer)
    if factory.links:
        coarse.hnsw.efConstruction, coarse.hnsw.efSearch = _COARSE_WIDTHS
    with one_thread(faiss):
        coarse.add(centroids)
    if factory.code == "PQ":
        _train_words(faiss, index, centroids, code_sample, seed)
    else:
        if factory.code == "SQfp16":
            # Unchanged float16 numbers give the same similarities as the store's rows.
            index.by_residual = False
        with one_thread(faiss):
            index.train(code_sample)
    index.is_trained = True
    return index


def fit_centroids(sample: np.ndarray, k: int, seed: int, device: str) -> np.ndarray:
    """k centroids of unit length, float32 (k, d).

    Clusters the sample into groups, then each group into its share of centroids, then runs rounds
    of k-means over all centroids, which correct the borders of the groups. For 4,096 centroids of
    262,144 rows at 128 dimensions this takes a third of the time of fitting all at once, and a
    query finds as many neighbours in as many lists. For the rounds, a GPU finds the nearest
    centroids.
    """
    faiss = import_faiss()
    with one_thread(faiss):
        if k < MIN_GROUPED_LISTS:
            return _kmeans(faiss, sample, k, seed)
        groups = round(k**0.5)
        coarse = _kmeans(faiss, sample[: groups * _ROWS_A_GROUP], groups, seed)
    group_of = assign_lists(flat_index(coarse), sample)
    order, sizes = np.argsort(group_of, kind="stable"), np.bincount(group_of, minlength=groups)
    ends = np.cumsum(sizes)
    shares = np.diff(ends * k // len(sample), prepend=0)

    def fit(group: int) -> np.ndarray:
        rows = sample[order[ends[group] - sizes[group] : ends[group]]]
        return _kmeans(faiss, rows, int(shares[group]), seed + group)

    centroids = np.vstack(list(map_in_threads(fit, np.flatnonzero(shares).tolist())))
    has_rounds = k <= MAX_ROUND_LISTS or on_gpu(faiss, flat_index(coarse), device) is not None
    for _ in range(ROUNDS if has_rounds else 0):
        centroids = _kmeans_round(centroids, sample, device)
    return centroids


def _kmeans_round(centroids: np.ndarray, sample: np.ndarray, device: str) -> np.ndarray:
    """A round of k-means: each centroid becomes the mean direction of the rows nearest to it."""
    list_of, sums = assign_lists(flat_index(centroids), sample, device), np.zeros_like(centroids)
    for start in range(0, len(sample), _ASSIGN_ROWS):
        lists = list_of[start : start + _ASSIGN_ROWS]
        order = np.argsort(lists, kind="stable")
        numbers, first = np.unique(lists[order], return_index=True)
        rows = sample[start : start + _ASSIGN_ROWS][order].astype(np.float32)
        sums[numbers] += np.add.reduceat(rows, first)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # A centroid without rows stays where it is.
    return np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centroids)


def flat_index(centroids: np.ndarray) -> Any:
    """An index that compares a query with every centroid."""
    faiss = import_faiss()
    index = faiss.IndexFlatIP(centroids.shape[1])
    index.add(centroids)
    return index


def assign_lists(coarse: Any, rows: np.ndarray, device: str = "cpu") -> np.ndarray:
    """The list (m,) of each row: that of the most similar centroid."""
    on_device = on_gpu(import_faiss(), coarse, device)
    nearest_of = nearest_centroid(coarse) if on_device is None else _searcher(on_device)

    def nearest(start: int) -> np.ndarray:
        return nearest_of(np.ascontiguousarray(rows[start : start + _ASSIGN_ROWS], np.float32))

    # A GPU takes one block at a time.
    apply = map_in_threads if on_device is None else map
    blocks = [*apply(nearest, range(0, len(rows), _ASSIGN_ROWS))]
    return np.concatenate([np.empty(0, np.int64), *blocks])


def nearest_centroid(coarse: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Finds the most similar centroid (n,) of rows, float32 (n, d); any thread may call it.

    NumPy's product is three times as fast as FAISS' search for one neighbour: 8,192 rows and 4,096
    centroids at 512 dimensions take 0.45 s of a core instead of 1.2.
    """
    faiss = import_faiss()
    flat = faiss.downcast_index(coarse)
    if not isinstance(flat, faiss.IndexFlatIP):
        return _searcher(coarse)
    centroids = faiss.vector_to_array(flat.codes).view(np.float32).reshape(flat.ntotal, flat.d)

    def nearest(rows: np.ndarray) -> np.ndarray:
        blocks = np.split(rows, range(_PRODUCT_ROWS, len(rows), _PRODUCT_ROWS))
        return np.concatenate([(block @ centroids.T).argmax(1) for block in blocks])

    return nearest


def _searcher(index: Any) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: index.search(rows, 1)[1][:, 0]


def _kmeans(faiss: Any, rows: np.ndarray, k: int, seed: int, assigner: Any = None) -> np.ndarray:
    """Unit centroids by inner product or, with an assigner, centroids by its metric."""
    x = np.ascontiguousarray(rows, np.float32)
    assigner = assigner or faiss.IndexFlatIP(x.shape[1])
    clustering = faiss.Clustering(x.shape[1], k)
    clustering.niter, clustering.seed = ITERATIONS, seed
    clustering.spherical = assigner.metric_type == faiss.METRIC_INNER_PRODUCT
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, len(x)
    clustering.train(x, assigner)
    return faiss.vector_to_array(clustering.centroids).reshape(k, -1)


def _train_words(faiss: Any, index: Any, centroids: np.ndarray, x: np.ndarray, seed: int) -> None:
    """Words of a product code: k-means of each piece of the residuals."""
    pieces = np.split(x - centroids[assign_lists(index.quantizer, x)], index.pq.M, axis=1)

    def fit(number: int) -> np.ndarray:
        piece = pieces[number]
        return _kmeans(faiss, piece, CODE_WORDS, seed + number, faiss.IndexFlatL2(piece.shape[1]))

    words = np.stack([*map_in_threads(fit, range(len(pieces)))])  # (pieces, 256, d / pieces)
    faiss.copy_array_to_vector(words.ravel(), index.pq.centroids)
