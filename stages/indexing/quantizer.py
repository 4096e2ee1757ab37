"""What is learned before rows are listed: centroids of the lists, and words of the codes."""

from typing import TYPE_CHECKING, Any

from .factory import CODE_WORDS, Factory
from .faiss_library import import_faiss, on_gpu, one_thread, side_by_side

if TYPE_CHECKING:
    import numpy as np

ITERATIONS = 10
"""Of k-means at each level; more found no better lists for a million rows."""

ROWS_A_LIST = 64
"""Rows for each list that centroids are fitted to; FAISS asks for 39 at least."""

FEWEST_LISTS = 256
"""From so many on centroids are fitted at two levels."""

ROUNDS = 4
"""Of all centroids together, after those of each group: where there are about as many lists as
there are clouds of rows, two visited lists then hold 0.99 of a row's neighbours and not 0.89."""

MOST_MENDED_LISTS = 8192
"""Of more lists, without a GPU, rounds would take longer than all else does."""

_ROWS_A_GROUP = 1000
"""Rows for each group of the first level, of which there are few."""

_CODE_ROWS = 65_536
"""Rows that words are fitted to, 256 for each as FAISS takes."""

_ASSIGN_ROWS = 8192

_COARSE_WIDTHS = 80, 16
"""Of the graph of centroids, while it is linked and when a row's list is looked for in it: that of
16,384 lists, 128 wide, finds the nearest for 0.999 of rows, in 38 µs; comparing all takes 56."""


def train(factory: Factory, sample: "np.ndarray", seed: int, device: str) -> Any:
    """A FAISS index without rows, ready to take them, fitted to a sample: float16 (m, d).

    The rows of the sample must be in no order. Equal samples give equal bytes, however many
    threads there are; a GPU rounds in another way.
    """
    import numpy as np

    faiss = import_faiss()
    index = faiss.index_factory(sample.shape[1], factory.text, faiss.METRIC_INNER_PRODUCT)
    centroids = fit_centroids(sample, factory.lists, seed, device)
    some = np.ascontiguousarray(sample[:_CODE_ROWS], np.float32)
    coarse = faiss.downcast_index(index.quantizer)
    if factory.links:
        coarse.hnsw.efConstruction, coarse.hnsw.efSearch = _COARSE_WIDTHS
    with one_thread(faiss):
        coarse.add(centroids)
    if factory.code == "PQ":
        _train_words(faiss, index, centroids, some, seed)
    else:
        if factory.code == "SQfp16":
            # Float16 numbers, kept as they are, give the similarities that the store's rows have.
            index.by_residual = False
        with one_thread(faiss):
            index.train(some)
    index.is_trained = True
    return index


def fit_centroids(sample: "np.ndarray", k: int, seed: int, device: str) -> "np.ndarray":
    """k centroids of unit length, float32 (k, d).

    Groups of the sample first, then each group's own centroids, as many as its share of rows, and
    then some rounds of all centroids together, which mend what the groups cut apart. 4,096 of
    262,144 rows, 128 wide, take a third of the time of fitting all at once, and a query finds as
    many of its neighbours in as many lists. A GPU finds the nearest of all centroids for the
    rounds.
    """
    import numpy as np

    faiss = import_faiss()
    with one_thread(faiss):
        if k < FEWEST_LISTS:
            return _kmeans(faiss, sample, k, seed)
        groups = round(k**0.5)
        coarse = _kmeans(faiss, sample[: groups * _ROWS_A_GROUP], groups, seed)
    found = assign(flat(coarse), sample)
    order, sizes = np.argsort(found, kind="stable"), np.bincount(found, minlength=groups)
    ends = np.cumsum(sizes)
    shares = np.diff(ends * k // len(sample), prepend=0)

    def fit(group: int) -> "np.ndarray":
        rows = sample[order[ends[group] - sizes[group] : ends[group]]]
        return _kmeans(faiss, rows, int(shares[group]), seed + group)

    centroids = np.vstack(list(side_by_side(fit, np.flatnonzero(shares).tolist())))
    is_mended = k <= MOST_MENDED_LISTS or on_gpu(faiss, flat(coarse), device) is not None
    for _ in range(ROUNDS if is_mended else 0):
        centroids = _mended(centroids, sample, device)
    return centroids


def _mended(centroids: "np.ndarray", sample: "np.ndarray", device: str) -> "np.ndarray":
    """A round of k-means: each centroid becomes the direction of the rows nearest to it."""
    import numpy as np

    found, sums = assign(flat(centroids), sample, device), np.zeros_like(centroids)
    for start in range(0, len(sample), _ASSIGN_ROWS):
        lists = found[start : start + _ASSIGN_ROWS]
        order = np.argsort(lists, kind="stable")
        numbers, first = np.unique(lists[order], return_index=True)
        rows = sample[start : start + _ASSIGN_ROWS][order].astype(np.float32)
        sums[numbers] += np.add.reduceat(rows, first)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # One without rows stays where it is.
    return np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centroids)


def flat(centroids: "np.ndarray") -> Any:
    """An index that compares every centroid."""
    faiss = import_faiss()
    index = faiss.IndexFlatIP(centroids.shape[1])
    index.add(centroids)
    return index


def assign(coarse: Any, rows: "np.ndarray", device: str = "cpu") -> "np.ndarray":
    """The list (m,) of each row: that of the most similar centroid."""
    import numpy as np

    on_device = on_gpu(import_faiss(), coarse, device)

    def nearest(start: int) -> "np.ndarray":
        block = np.ascontiguousarray(rows[start : start + _ASSIGN_ROWS], np.float32)
        return (on_device or coarse).search(block, 1)[1][:, 0]

    # A GPU takes one block at a time.
    apply = side_by_side if on_device is None else map
    found = [*apply(nearest, range(0, len(rows), _ASSIGN_ROWS))]
    return np.concatenate([np.empty(0, np.int64), *found])


def _kmeans(
    faiss: Any, rows: "np.ndarray", k: int, seed: int, assigner: Any = None
) -> "np.ndarray":
    """Centroids of unit length, by inner products; those of the assigner's metric where one is."""
    import numpy as np

    x = np.ascontiguousarray(rows, np.float32)
    assigner = assigner or faiss.IndexFlatIP(x.shape[1])
    clustering = faiss.Clustering(x.shape[1], k)
    clustering.niter, clustering.seed = ITERATIONS, seed
    clustering.spherical = assigner.metric_type == faiss.METRIC_INNER_PRODUCT
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, len(x)
    clustering.train(x, assigner)
    return faiss.vector_to_array(clustering.centroids).reshape(k, -1)


def _train_words(
    faiss: Any, index: Any, centroids: "np.ndarray", x: "np.ndarray", seed: int
) -> None:
    """Words of a product code: k-means of each piece of what centroids leave over."""
    import numpy as np

    pieces = np.split(x - centroids[assign(index.quantizer, x)], index.pq.M, axis=1)

    def fit(number: int) -> "np.ndarray":
        piece = pieces[number]
        return _kmeans(faiss, piece, CODE_WORDS, seed + number, faiss.IndexFlatL2(piece.shape[1]))

    words = np.stack([*side_by_side(fit, range(len(pieces)))])  # (pieces, 256, d / pieces)
    faiss.copy_array_to_vector(words.ravel(), index.pq.centroids)
