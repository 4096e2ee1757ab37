"""Confirms proposed pairs: compares pixels to decide which images are copies of a kept one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt64
from numpy import ndarray

from .image_hashes import DISTANCE, QUARTERS, distances, turned
from .near_duplicates import NONE
from .registration import Images, Registration


class Confirmed(NamedTuple):
    """For each image, the image that is kept in its place."""

    kept: Int64[ndarray, " n"]
    """`NONE` if the image itself is kept."""
    similarity: Float32[ndarray, " n"]
    """Correlation with that image; 1 if the image itself is kept."""


class _Pairs:
    """The partners of each row."""

    def __init__(self, pairs: ndarray, n: int) -> None:
        both = np.concatenate([pairs, pairs[:, ::-1]])
        both = both[np.lexsort((both[:, 1], both[:, 0]))]
        self._others = both[:, 1]
        self._starts = np.searchsorted(both[:, 0], np.arange(n + 1))

    def of(self, row: int) -> ndarray:
        return self._others[self._starts[row] : self._starts[row + 1]]


class Confirmation:
    """Images in order of preference; of each group of copies the first is kept.

    A correlation that was computed once is remembered.
    """

    def __init__(self, images: Images, hashes: UInt64[ndarray, " n"], threshold: float) -> None:
        self._registration = Registration(images)
        self._hashes = hashes
        self._threshold = threshold
        self._known: dict[tuple[int, int], float] = {}

    def confirm(
        self,
        pairs: Int64[ndarray, "m 2"],
        report: Callable[[int], None] = lambda images: None,
    ) -> Confirmed:
        """Decides all images by the proposed pairs.

        An image is compared with its partners, and with the partners of those that are copies of
        it, so that a chain of pairs is enough to find a group. Each copy is compared with the kept
        image.
        """
        n = len(self._hashes)
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
                values = self._correlations(place, waiting)
                copies = waiting[values >= self._threshold]
                kept[copies] = place
                similarity[copies] = values[values >= self._threshold]
                further = {int(row) for copy in copies for row in near.of(int(copy))} - seen
                waiting = np.array(sorted(further), np.int64)
                waiting = waiting[(waiting > place) & (kept[waiting] == NONE)]
        return Confirmed(kept, similarity)

    def _correlations(self, place: int, others: ndarray) -> ndarray:
        known = [self._known.get((place, other)) for other in others.tolist()]
        new = np.array([value is None for value in known])
        values = np.array([0.0 if value is None else value for value in known], np.float32)
        if new.any():
            values[new] = self._compare(place, others[new])
            places = zip(others[new].tolist(), values[new].tolist(), strict=True)
            self._known.update({(place, other): value for other, value in places})
        return values

    def _compare(self, place: int, others: ndarray) -> ndarray:
        """Correlations with others, also turned if their hashes then agree better."""
        values = self._registration.correlations(place, others, enough=self._threshold)
        own = self._hashes[place : place + 1]
        versions = [turned(own, quarters) for quarters in range(QUARTERS)]
        away = np.stack([distances(version, self._hashes[others]) for version in versions])
        away[1:][away[1:] > DISTANCE] = 64
        away[1:, values >= self._threshold] = 64
        best = away.argmin(0)
        for quarters in np.unique(best[best > 0]).tolist():
            those = (best == quarters).nonzero()[0]
            correlations = self._registration.correlations(
                place, others[those], quarters, enough=self._threshold
            )
            values[those] = np.maximum(values[those], correlations)
        return values
