"""Training of an inverted file before it holds rows: centroids of lists, and words of codes."""

from typing import Any

import numpy as np

from .centroids import ASSIGN_ROWS, assign_lists, count_groups, flat_index, kmeans
from .factory import CODE_WORDS, Factory
from .faiss_library import import_faiss, map_in_threads, one_thread

ROWS_A_LIST = 64
"""Rows per list to which centroids are fitted; FAISS asks for at least 39."""

MIN_GROUPED_LISTS = 256
"""From this many lists on, centroids are fitted in groups."""

ROUNDS = 4
"""Rounds of k-means over all centroids, after fitting each group. If there are about as many
lists as clouds of rows, two visited lists then hold 0.99 of a row's neighbours instead of 0.89."""

_ROWS_A_GROUP = 1000
"""Rows per group of the first level."""

_CODE_ROWS = 65_536
"""Rows to which code words are fitted: 256 per word, as in FAISS."""

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
            return kmeans(faiss, sample, k, seed)
        groups = count_groups(k)
        coarse = kmeans(faiss, sample[: groups * _ROWS_A_GROUP], groups, seed)
    group_of = assign_lists(flat_index(coarse), sample)
    order, sizes = np.argsort(group_of, kind="stable"), np.bincount(group_of, minlength=groups)
    ends = np.cumsum(sizes)
    shares = np.diff(ends * k // len(sample), prepend=0)

    def fit(group: int) -> np.ndarray:
        rows = sample[order[ends[group] - sizes[group] : ends[group]]]
        return kmeans(faiss, rows, int(shares[group]), seed + group)

    centroids = np.vstack(list(map_in_threads(fit, np.flatnonzero(shares).tolist())))
    for _ in range(ROUNDS):
        centroids = _kmeans_round(centroids, sample, device)
    return centroids


def _kmeans_round(centroids: np.ndarray, sample: np.ndarray, device: str) -> np.ndarray:
    """A round of k-means: each centroid becomes the mean direction of the rows nearest to it."""
    list_of, sums = assign_lists(flat_index(centroids), sample, device), np.zeros_like(centroids)
    for start in range(0, len(sample), ASSIGN_ROWS):
        lists = list_of[start : start + ASSIGN_ROWS]
        order = np.argsort(lists, kind="stable")
        numbers, first = np.unique(lists[order], return_index=True)
        rows = sample[start : start + ASSIGN_ROWS][order].astype(np.float32)
        sums[numbers] += np.add.reduceat(rows, first)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # A centroid without rows stays where it is.
    return np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centroids)


def _train_words(faiss: Any, index: Any, centroids: np.ndarray, x: np.ndarray, seed: int) -> None:
    """Words of a product code: k-means of each piece of the residuals."""
    pieces = np.split(x - centroids[assign_lists(index.quantizer, x)], index.pq.M, axis=1)

    def fit(number: int) -> np.ndarray:
        piece = pieces[number]
        return kmeans(faiss, piece, CODE_WORDS, seed + number, faiss.IndexFlatL2(piece.shape[1]))

    words = np.stack([*map_in_threads(fit, range(len(pieces)))])  # (pieces, 256, d / pieces)
    faiss.copy_array_to_vector(words.ravel(), index.pq.centroids)
