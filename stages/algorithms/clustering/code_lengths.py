"""Coding lengths over a grid of k, all from the same eigenvectors (arXiv 2306.05272).

The paper's code clusters 15,000 rows again for each of eight fixed k. Here the grid becomes denser
where the curve bends, lengths are those of all rows, and curves of resampled landmarks show how
certain they are.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float32, Int, Shaped
from numpy import ndarray

from ....store.errors import NumericError
from ..coding_length import coding_length, coding_length_of_all
from ..threads import map_in_threads
from .landmarks import Landmarks, Partition
from .sampling import choose_rows

RATIO = 2**0.5
"""Ratio of neighbouring k in the first grid."""
CLOSE = 0.01
"""The grid is refined until the neighbours of the best k differ from it by this share, or by one.
"""
BENDS = 2
"""Number of other k, where the curve bends most, that get a point on either side."""
RESTARTS = 5
"""Starts of k-means for each k; the one with the shortest code counts."""
MANY = 100
"""Above this many clusters there is one start: k-means then costs more than all the rest."""
RESAMPLED = 4000
"""Landmarks of a resampled curve, at most; half of all landmarks if that is less."""


@dataclass(frozen=True, kw_only=True)
class Ruler:
    """Measures the coding length of all rows for any k, on a uniform sample."""

    landmarks: Landmarks
    z: Float32[ndarray, "n p"]
    """Features of the sample."""
    reached: Shaped[ndarray, "n _"]
    """What the sample needs to be placed among resampled landmarks: `Landmarks.reach`."""
    places: Float32[ndarray, "n k_max"]
    """Coordinates of the sample along the eigenvectors."""
    total: int
    """Number of all rows."""
    eps_sq: float
    restarts: int = RESTARTS

    @classmethod
    def of(
        cls,
        landmarks: Landmarks,
        z: Float32[ndarray, "n p"],
        points: Float32[ndarray, "n q"],
        *,
        total: int,
        eps_sq: float,
    ) -> "Ruler":
        """Places the sample among the eigenvectors once, for all k."""
        reached = landmarks.reach(points)
        return cls(
            landmarks=landmarks,
            z=z,
            reached=reached,
            places=landmarks.place_reached(reached, len(landmarks.values)),
            total=total,
            eps_sq=eps_sq,
        )

    def resample(self, rows: Int[ndarray, " s"], seed: int) -> "Ruler":
        """The same sample measured by some of the landmarks, with one start for each k."""
        landmarks = self.landmarks.resample(rows, seed)
        places = landmarks.place_reached(self.reached, len(landmarks.values))
        return replace(self, landmarks=landmarks, places=places, restarts=1)

    def length(self, k: int) -> float:
        """The coding length of all rows in k clusters, in nats."""
        return self._shortest(k)[0]

    def labels(self, k: int) -> Int[ndarray, " n"]:
        """Clusters of the sample, at the shortest code. Pieces of one group are not joined."""
        return self._shortest(k)[1]

    def _shortest(self, k: int) -> tuple[float, Int[ndarray, " n"]]:
        """The shortest coding length of several starts, and its clusters."""
        rows, candidates = torch.from_numpy(self.z), []
        for start in range(self.restarts if 1 < k <= MANY else 1):
            labels = self._start(k, start)
            length = coding_length_of_all(
                rows, torch.from_numpy(labels), k, eps_sq=self.eps_sq, total=self.total
            )
            if not math.isfinite(length):
                raise NumericError(
                    f"the coding length of {k} clusters is not finite at eps_sq {self.eps_sq:g}: "
                    "raise eps_sq, or check the features"
                )
            candidates.append((length, labels))
        return min(candidates, key=lambda candidate: candidate[0])

    def _start(self, k: int, start: int) -> Int[ndarray, " n"]:
        if k == 1:
            return np.zeros(len(self.z), np.int64)
        pieces, centroids = self.landmarks.cluster(k, 1, start)
        return Partition(pieces, centroids, np.arange(len(centroids))).nearest(self.places)

    def loose(self, k: int) -> int:
        """How many of k clusters hold rows that are less alike than all rows are.

        Outliers without similar rows end up in such clusters: a row takes more nats in its
        cluster's code than in the code of all rows.
        """
        rows, labels = torch.from_numpy(self.z), torch.from_numpy(self.labels(k))
        lengths = coding_length(rows, labels, k, eps_sq=self.eps_sq).length_per_cluster
        everything = coding_length(rows, torch.zeros_like(labels), 1, eps_sq=self.eps_sq)
        m, (n, p) = torch.bincount(labels, minlength=k), self.z.shape
        all_rate = float(everything.length_per_cluster) / (n + p)
        return int(((lengths / (m + p) > all_rate) & (m > 0)).sum())


def first_grid(k_max: int) -> list[int]:
    """k from 2 up to k_max in equal ratios; only k_max if that is less than 2."""
    grid, k = [], 2.0
    while round(k) < k_max:
        grid.append(round(k))
        k = max(k * RATIO, round(k) + 1)
    return [*grid, k_max]


def explore(length: Callable[[int], float], k_max: int) -> Iterator[tuple[int, float]]:
    """Each k with its length, over a grid that becomes denser at the minimum and at bends."""
    lengths: dict[int, float] = {}

    def measure(k: int) -> tuple[int, float]:
        lengths[k] = length(k)
        return k, lengths[k]

    first = first_grid(k_max)
    for k, lengths[k] in zip(first, map_in_threads(length, first), strict=True):
        yield k, lengths[k]
    while (k := _next_to_the_best(lengths)) is not None:
        yield measure(k)
    for k in _next_to_bends(lengths):
        yield measure(k)
    while (k := _next_to_the_best(lengths)) is not None:
        yield measure(k)


def resampled_curves(
    ruler: Ruler, grid: Sequence[int], resamples: int, seed: int
) -> Iterator[list[float]]:
    """Curves with half of the landmarks, drawn again each time, and another seed.

    All measure the code of the same rows, so that curves only differ by their clusters.
    """
    m = len(ruler.landmarks.z)

    def curve(own_seed: int) -> list[float]:
        rows = choose_rows(m, min(RESAMPLED, max(2, m // 2)), own_seed)
        resampled = ruler.resample(rows, own_seed)
        return [resampled.length(min(k, len(resampled.landmarks.values))) for k in grid]

    yield from map_in_threads(curve, range(seed + 1, seed + resamples + 1))


def _next_to_the_best(lengths: Mapping[int, float]) -> int | None:
    """The middle of the wider gap next to the best k; None where both gaps are narrow."""
    grid = sorted(lengths)
    best = min(grid, key=lambda k: (lengths[k], k))
    at = grid.index(best)
    gaps = [(b - a, (a + b) // 2) for a, b in pairwise(grid)]
    adjacent = [gaps[i] for i in (at - 1, at) if 0 <= i < len(gaps)]
    wide = [(width, middle) for width, middle in adjacent if width > max(1, CLOSE * best)]
    return max(wide)[1] if wide else None


def _next_to_bends(lengths: Mapping[int, float]) -> list[int]:
    """Middles of the gaps next to the k where the curve over ln k turns upwards the most."""
    grid = sorted(lengths)
    x, y = np.log(grid), np.array([lengths[k] for k in grid])
    if len(grid) < 3:
        return []
    slope = np.diff(y) / np.diff(x)
    turn = np.diff(slope) / ((x[2:] - x[:-2]) / 2)
    middles: set[int] = set()
    for at in np.argsort(-turn, kind="stable")[:BENDS] + 1:
        middles |= {(grid[at - 1] + grid[at]) // 2, (grid[at] + grid[at + 1]) // 2}
    return sorted(middles - set(grid))
