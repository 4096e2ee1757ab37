"""Which images of the proposed pairs are copies of one that is kept, by comparing their pixels."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt64
from numpy import ndarray

from .image_hashes import DISTANCE, QUARTERS, distances, turned
from .near_duplicates import NONE
from .registration import Registration


class Confirmed(NamedTuple):
    """For each image the one that is kept for it."""

    kept: Int64[ndarray, " n"]
    """`NONE` where the image itself is kept."""
    similarity: Float32[ndarray, " n"]
    """Correlation with that image; 1 where the image itself is kept."""


class _Pairs:
    """The partners of each row."""

    def __init__(self, pairs: ndarray, n: int) -> None:
        both = np.concatenate([pairs, pairs[:, ::-1]])
        both = both[np.lexsort((both[:, 1], both[:, 0]))]
        self._others = both[:, 1]
        self._starts = np.searchsorted(both[:, 0], np.arange(n + 1))

    def of(self, row: int) -> ndarray:
        return self._others[self._starts[row] : self._starts[row + 1]]


def confirm(
    pairs: Int64[ndarray, "m 2"],
    registration: Registration,
    hashes: UInt64[ndarray, " n"],
    threshold: float,
    report: Callable[[int], None] = lambda images: None,
) -> Confirmed:
    """Images in order of preference; of each group of copies the first is kept.

    An image is compared with its partners, and with the partners of those that are copies of it,
    so that a chain of pairs is enough to find a group. Each copy is compared with the kept image.
    """
    n = len(hashes)
    near = _Pairs(pairs, n)
    kept, similarity = np.full(n, NONE), np.ones(n, np.float32)
    for place in range(n):
        report(1)
        others = near.of(place)
        if kept[place] != NONE or not len(others):
            continue
        seen = {place}
        waiting = others[(others > place) & (kept[others] == NONE)]
        while len(waiting):
            seen.update(waiting.tolist())
            values = _correlations(registration, hashes, place, waiting)
            copies = waiting[values >= threshold]
            kept[copies] = place
            similarity[copies] = values[values >= threshold]
            further = {int(row) for copy in copies for row in near.of(int(copy))} - seen
            waiting = np.array(sorted(further), np.int64)
            waiting = waiting[(waiting > place) & (kept[waiting] == NONE)]
    return Confirmed(kept, similarity)


def _correlations(
    registration: Registration, hashes: ndarray, place: int, others: ndarray
) -> ndarray:
    """Correlations with others, turned as well where their hashes agree better then."""
    values = registration.correlations(place, others)
    versions = [turned(hashes[place : place + 1], quarters) for quarters in range(QUARTERS)]
    away = np.stack([distances(version, hashes[others]) for version in versions])
    away[1:][away[1:] > DISTANCE] = 64
    best = away.argmin(0)
    for quarters in np.unique(best[best > 0]).tolist():
        those = (best == quarters).nonzero()[0]
        values[those] = np.maximum(
            values[those], registration.correlations(place, others[those], quarters)
        )
    return values
