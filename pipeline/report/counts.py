"""One pass over the clusters of all rows: what is counted, and which rows are drawn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from .contents import Sample, Tally

if TYPE_CHECKING:
    import numpy as np

BINS = 1000
"""Steps of confidence, by which the median is known to a thousandth."""

NOVELTY_BINS = 40
FAR = 1.0
"""Novelty above it is far from everything that was fitted."""


def count(
    parts: "Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, Callable[[int], str]]]", k: int
) -> Tally:
    """Counts parts: clusters, confidences and novelties of rows, and what tells a row's key."""
    import numpy as np

    sizes, far = np.zeros(k, np.int64), np.zeros(k, np.int64)
    sums = np.zeros(k)
    bins, novelty_bins = np.zeros(BINS, np.int64), np.zeros(NOVELTY_BINS, np.int64)
    best = np.full(k, -1.0)
    surest: list[str | None] = [None] * k
    for cluster, confidence, novelty, key_of in parts:
        sizes += np.bincount(cluster, minlength=k)
        far += np.bincount(cluster[novelty > FAR], minlength=k)
        sums += np.bincount(cluster, weights=confidence, minlength=k)
        bins += _histogram(confidence, 1.0, BINS)
        novelty_bins += _histogram(novelty, 2 * FAR, NOVELTY_BINS)
        # Clusters in order, and in each the surest row first; of equals the first one.
        order = np.lexsort((-confidence, cluster))
        present, first = np.unique(cluster[order], return_index=True)
        for one, row in zip(present.tolist(), order[first].tolist(), strict=True):
            if confidence[row] > best[one]:
                best[one], surest[one] = float(confidence[row]), key_of(row)
    with np.errstate(invalid="ignore"):
        confidence = sums / sizes
    return Tally(
        sizes=sizes,
        confidence=confidence,
        far=far,
        bins=bins,
        novelty_bins=novelty_bins,
        surest=surest,
    )


def _histogram(values: "np.ndarray", end: float, bins: int) -> "np.ndarray":
    """Counts in equal steps from 0; what lies beyond the end is in the last."""
    import numpy as np

    steps = np.clip(values / end * bins, 0, bins - 1)
    return np.bincount(steps.astype(np.int64), minlength=bins)


def sample_overall(rows: int, most: int, seed: int) -> "np.ndarray":
    """Ascending numbers of rows: all, or `most` of them without repeats."""
    import numpy as np

    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False, shuffle=False))


def sample_clusters(
    parts: "Iterable[np.ndarray]", wanted: Sequence[int], most: int, seed: int
) -> "dict[int, np.ndarray]":
    """For each wanted cluster up to `most` of its rows, in random order.

    `parts` hold the clusters of rows, in row order. The draw does not depend on how rows are cut
    into parts, and holds `most` rows a cluster in memory.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    drawn = {cluster: (np.empty(0), np.empty(0, np.int64)) for cluster in wanted}
    start = 0
    for clusters in parts:
        lots = generator.random(len(clusters))
        for cluster, (old_lots, old_rows) in drawn.items():
            inside = np.flatnonzero(clusters == cluster)
            lot = np.concatenate([old_lots, lots[inside]])
            rows = np.concatenate([old_rows, inside + start])
            keep = np.argsort(lot, kind="stable")[:most]
            drawn[cluster] = lot[keep], rows[keep]
        start += len(clusters)
    return {cluster: rows for cluster, (_, rows) in drawn.items()}


def surest_and_doubtful(
    parts: "Iterable[tuple[np.ndarray, np.ndarray]]", wanted: Sequence[int], most: int, few: int
) -> dict[int, tuple[list[int], list[int]]]:
    """For each wanted cluster its surest rows and its most doubtful ones, both from the ends on.

    `parts` hold clusters and confidences of rows, in row order; of equals the first row counts as
    surer. No row is in both.
    """
    import numpy as np

    clusters = np.asarray(wanted)
    ends = {one: (np.empty(0, np.float32), np.empty(0, np.int64)) for one in wanted}
    start = 0
    for cluster, confidence in parts:
        order = np.lexsort((-confidence, cluster))
        sorted_clusters = cluster[order]
        first = np.searchsorted(sorted_clusters, clusters, "left")
        last = np.searchsorted(sorted_clusters, clusters, "right")
        for one, low, high in zip(wanted, first.tolist(), last.tolist(), strict=True):
            inside = _both_ends(order[low:high], most, few)
            held, rows = ends[one]
            held = np.concatenate([held, confidence[inside]])
            rows = np.concatenate([rows, inside + start])
            keep = _both_ends(np.argsort(-held, kind="stable"), most, few)
            ends[one] = held[keep], rows[keep]
        start += len(cluster)
    return {
        one: (rows[:most].tolist(), rows[most:][::-1].tolist()) for one, (_, rows) in ends.items()
    }


def _both_ends(order: "np.ndarray", most: int, few: int) -> "np.ndarray":
    """The first so many and the last few; all, where there are no more."""
    import numpy as np

    if len(order) <= most + few:
        return order
    return np.concatenate([order[:most], order[len(order) - few :]])


def draw_sample(
    overall: "np.ndarray", of_cluster: "Mapping[int, np.ndarray]", pictured: int
) -> Sample:
    """The rows of all figures; `pictured` rows, at most, stand in the picture of cosines."""
    each = max(1, pictured // max(1, len(of_cluster)))
    return Sample(
        overall=overall,
        of_cluster=of_cluster,
        pictured={cluster: min(each, len(rows)) for cluster, rows in of_cluster.items()},
    )
