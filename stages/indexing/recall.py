"""Exact neighbours of held-out rows, gathered block by block, and recall against them."""

from typing import TYPE_CHECKING, NamedTuple

from .faiss_library import import_faiss

if TYPE_CHECKING:
    import numpy as np

NEIGHBOURS = 10
"""recall@10 is what is measured."""

QUERIES = 500
"""Held-out rows, at most: 5,000 neighbours tell recall to a third of a per cent."""

_TIE = 1e-6
"""Float32 sums of unit rows differ by so much with their order."""


class Nearest(NamedTuple):
    """The most similar rows to each query, best first; -1 stands where there are no more."""

    similarities: "np.ndarray"
    """float32 (q, n)."""
    rows: "np.ndarray"
    """int64 (q, n)."""


def none_yet(queries: int) -> Nearest:
    """No neighbours, for so many queries."""
    import numpy as np

    return Nearest(
        np.full((queries, NEIGHBOURS), -np.inf, np.float32),
        np.full((queries, NEIGHBOURS), -1, np.int64),
    )


def nearest_of(
    queries: "np.ndarray", block: "np.ndarray", start: int, own: "np.ndarray"
) -> Nearest:
    """The nearest rows of a block, float32 (n, d), that begins with row `start`; by one thread.

    `own` (q,) holds each query's own row, which is no neighbour of it; -1 where it has none.
    """
    import numpy as np

    if not len(queries) or not len(block):
        return none_yet(len(queries))
    faiss = import_faiss()
    n = min(NEIGHBOURS + 1, len(block))
    similarities, rows = faiss.knn(queries, block, n, metric=faiss.METRIC_INNER_PRODUCT)
    rows = np.where(rows >= 0, rows + start, -1)
    is_own = rows == own[:, None]
    return merge(
        none_yet(len(queries)),
        Nearest(np.where(is_own, -np.inf, similarities), np.where(is_own, -1, rows)),
    )


def merge(one: Nearest, other: Nearest) -> Nearest:
    """The best of two; of equals the row that comes first."""
    import numpy as np

    similarities = np.hstack([one.similarities, other.similarities]).astype(np.float32)
    rows = np.hstack([one.rows, other.rows])
    order = np.lexsort((rows, -similarities), axis=1)[:, :NEIGHBOURS]
    return Nearest(np.take_along_axis(similarities, order, 1), np.take_along_axis(rows, order, 1))


def recall(found: Nearest, truth: Nearest, own: "np.ndarray") -> float:
    """The share of true neighbours that were found; `own` rows do not count.

    A row that is as similar as the last true neighbour stands for it: copies are alike.
    """
    import numpy as np

    there = truth.rows >= 0
    total = int(there.sum())
    if not total:
        return 1.0
    last = np.where(there, truth.similarities, np.inf).min(1)
    is_hit = (found.rows >= 0) & (found.rows != own[:, None])
    is_hit &= found.similarities >= last[:, None] - _TIE
    return int(np.minimum(is_hit.sum(1), there.sum(1)).sum()) / total
