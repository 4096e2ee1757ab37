"""Counts over the clusters of all rows, and the rows that are drawn."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ..view.facts import FAR
from .contents import Sample, Tally

BINS = 1000
"""Steps of confidence, so that the median is known to a thousandth."""

NOVELTY_BINS = 40


def count(
    parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, Callable[[int], str]]], k: int
) -> Tally:
    """Counts the rows of all parts in one pass.

    A part is its rows' clusters, confidences and novelties, and a function from a row to its key.
    """
    sizes, far = np.zeros(k, np.int64), np.zeros(k, np.int64)
    sums = np.zeros(k)
    bins, novelty_bins = np.zeros(BINS, np.int64), np.zeros(NOVELTY_BINS, np.int64)
    best = np.full(k, -1.0)
    surest: list[str | None] = [None] * k
    for clusters, confidence, novelty, key_of in parts:
        sizes += np.bincount(clusters, minlength=k)
        far += np.bincount(clusters[novelty > FAR], minlength=k)
        sums += np.bincount(clusters, weights=confidence, minlength=k)
        bins += _histogram(confidence, 1.0, BINS)
        novelty_bins += _histogram(novelty, 2 * FAR, NOVELTY_BINS)
        # Sorted by cluster, then from the surest row; of equally sure rows the first comes first.
        order = np.lexsort((-confidence, clusters))
        present, first = np.unique(clusters[order], return_index=True)
        for cluster, row in zip(present.tolist(), order[first].tolist(), strict=True):
            if confidence[row] > best[cluster]:
                best[cluster], surest[cluster] = float(confidence[row]), key_of(row)
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


def _histogram(values: np.ndarray, end: float, bins: int) -> np.ndarray:
    """Counts in equal steps from 0 to the end; the last holds all beyond."""
    steps = np.clip(values / end * bins, 0, bins - 1)
    return np.bincount(steps.astype(np.int64), minlength=bins)


def sample_overall(rows: int, most: int, seed: int) -> np.ndarray:
    """Ascending row numbers: all, or `most` of them, drawn without replacement."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False, shuffle=False))


def sample_clusters(
    parts: Iterable[np.ndarray], chosen: Sequence[int], most: int, seed: int
) -> dict[int, np.ndarray]:
    """Up to `most` rows of each chosen cluster, in random order.

    `parts` hold the clusters of rows, in row order. The draw does not depend on how rows are cut
    into parts. Memory holds `most` rows of each cluster.
    """
    generator = np.random.default_rng(seed)
    drawn = {cluster: (np.empty(0), np.empty(0, np.int64)) for cluster in chosen}
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
    parts: Iterable[tuple[np.ndarray, ...]], chosen: Sequence[int], most: int, few: int
) -> dict[int, tuple[list[int], list[int]]]:
    """The surest `most` and the most doubtful `few` rows of each chosen cluster, extremes first.

    `parts` hold clusters and confidences of rows, in row order. Of equals, the first row counts as
    surer. No row is in both lists.
    """
    numbers = np.asarray(chosen)
    ends = {cluster: (np.empty(0, np.float32), np.empty(0, np.int64)) for cluster in chosen}
    start = 0
    for clusters, confidence in parts:
        order = np.lexsort((-confidence, clusters))
        ordered = clusters[order]
        first = np.searchsorted(ordered, numbers, "left")
        last = np.searchsorted(ordered, numbers, "right")
        for cluster, low, high in zip(chosen, first.tolist(), last.tolist(), strict=True):
            inside = _both_ends(order[low:high], most, few)
            confidences, rows = ends[cluster]
            confidences = np.concatenate([confidences, confidence[inside]])
            rows = np.concatenate([rows, inside + start])
            keep = _both_ends(np.argsort(-confidences, kind="stable"), most, few)
            ends[cluster] = confidences[keep], rows[keep]
        start += len(clusters)
    return {
        cluster: (rows[:most].tolist(), rows[most:][::-1].tolist())
        for cluster, (_, rows) in ends.items()
    }


def _both_ends(order: np.ndarray, most: int, few: int) -> np.ndarray:
    """The first `most` and the last `few`; all, if there are no more."""
    if len(order) <= most + few:
        return order
    return np.concatenate([order[:most], order[len(order) - few :]])


def draw_sample(
    overall: np.ndarray, of_cluster: Mapping[int, np.ndarray], heat_map_rows: int
) -> Sample:
    """The rows of all figures; the heat map shows at most `heat_map_rows`."""
    most_of_each = max(1, heat_map_rows // max(1, len(of_cluster)))
    return Sample(
        overall=overall,
        of_cluster=of_cluster,
        heat_map_rows={
            cluster: min(most_of_each, len(rows)) for cluster, rows in of_cluster.items()
        },
    )
