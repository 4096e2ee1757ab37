"""Coding lengths over a grid of k, all read off the same eigenvectors (arXiv 2306.05272).

The paper's code clusters 15,000 rows anew for each of eight fixed k. Here the grid is denser where
the curve bends, lengths are those of all rows, and curves of resampled landmarks tell how sure they
are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float32, Int
from numpy import ndarray

from ..coding_length import coding_length, coding_length_of_all
from .landmarks import Landmarks, Partition
from .sampling import choose_rows

RATIO = 2**0.5
"""Between neighbours of the first grid."""
CLOSE = 0.01
"""The neighbours of the best k are refined until they are this share of it away, or one."""
BENDS = 2
"""Other places, where the curve bends most, that get a point on either side."""
RESTARTS = 5
"""Starts of k-means for each k, of which the one with the shortest code counts."""
MANY = 100
"""Clusters beyond which one start must do: k-means then costs more than all the rest."""
RESAMPLED = 4000
"""Landmarks of a resampled curve, at most; half of them where that is less."""


@dataclass(frozen=True, kw_only=True)
class Ruler:
    """Measures the code of all rows for any k, on an even sample of them."""

    landmarks: Landmarks
    z: Float32[ndarray, "n p"]
    """Features of the sample."""
    places: Float32[ndarray, "n k_max"]
    """The sample's among the eigenvectors."""
    total: int
    """How many rows there are in all."""
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
        restarts: int = RESTARTS,
    ) -> "Ruler":
        """Places the sample once, for every k."""
        return cls(
            landmarks=landmarks,
            z=z,
            places=landmarks.place(points, len(landmarks.values)),
            total=total,
            eps_sq=eps_sq,
            restarts=restarts,
        )

    def length(self, k: int) -> float:
        """The coding length of all rows in k clusters, in nats."""
        return self._shortest(k)[0]

    def labels(self, k: int) -> Int[ndarray, " n"]:
        """Clusters of the sample. Pieces of one group are not joined: the code has to say so."""
        return self._shortest(k)[1]

    def _shortest(self, k: int) -> tuple[float, Int[ndarray, " n"]]:
        """The shortest code of several starts, and its clusters."""
        rows, found = torch.from_numpy(self.z), []
        for start in range(self.restarts if 1 < k <= MANY else 1):
            labels = self._start(k, start)
            length = coding_length_of_all(
                rows, torch.from_numpy(labels), k, eps_sq=self.eps_sq, total=self.total
            )
            found.append((length, labels))
        return min(found, key=lambda one: one[0])

    def _start(self, k: int, start: int) -> Int[ndarray, " n"]:
        if k == 1:
            return np.zeros(len(self.z), np.int64)
        pieces, centroids = self.landmarks.cluster(k, 1, start)
        return Partition(pieces, centroids, np.arange(len(centroids))).nearest(self.places)

    def loose(self, k: int) -> int:
        """How many of k clusters hold rows that are less alike than all rows are.

        Outliers that are like nothing else end up so: a row of such a cluster takes more nats in
        its cluster's code than in that of all rows.
        """
        rows, labels = torch.from_numpy(self.z), torch.from_numpy(self.labels(k))
        found = coding_length(rows, labels, k, eps_sq=self.eps_sq).length_per_cluster
        everything = coding_length(rows, torch.zeros_like(labels), 1, eps_sq=self.eps_sq)
        m, (n, p) = torch.bincount(labels, minlength=k), self.z.shape
        all_rate = float(everything.length_per_cluster) / (n + p)
        return int(((found / (m + p) > all_rate) & (m > 0)).sum())


def first_grid(k_max: int) -> list[int]:
    """k from 2 up to k_max in equal ratios; k_max alone where that is less than 2."""
    grid, k = [], 2.0
    while round(k) < k_max:
        grid.append(round(k))
        k = max(k * RATIO, round(k) + 1)
    return [*grid, k_max]


def explore(length: Callable[[int], float], k_max: int) -> Iterator[tuple[int, float]]:
    """k and its code, over a grid that gets denser around the shortest code and where it bends."""
    found: dict[int, float] = {}

    def take(k: int) -> tuple[int, float]:
        found[k] = length(k)
        return k, found[k]

    for k in first_grid(k_max):
        yield take(k)
    while (wanted := _beside_the_best(found)) is not None:
        yield take(wanted)
    for k in _bends(found):
        yield take(k)
    while (wanted := _beside_the_best(found)) is not None:
        yield take(wanted)


def resampled_curves(
    ruler: Ruler,
    points: Float32[ndarray, "n q"],
    grid: Sequence[int],
    resamples: int,
    seed: int,
) -> Iterator[list[float]]:
    """The curve again from other landmarks and another seed each time: half of all, drawn anew.

    Each measures the code of the same rows, so that curves differ by their clusters alone.
    """
    m = len(ruler.landmarks.z)
    for number in range(1, resamples + 1):
        own = seed + number
        rows = choose_rows(m, min(RESAMPLED, max(2, m // 2)), own)
        again = Ruler.of(
            ruler.landmarks.resample(rows, own),
            ruler.z,
            points,
            total=ruler.total,
            eps_sq=ruler.eps_sq,
            restarts=1,
        )
        yield [again.length(min(k, len(again.landmarks.values))) for k in grid]


def _beside_the_best(found: Mapping[int, float]) -> int | None:
    """The middle of the wider gap beside the shortest code, while it is wide enough."""
    grid = sorted(found)
    best = min(grid, key=lambda k: (found[k], k))
    at = grid.index(best)
    gaps = [(b - a, (a + b) // 2) for a, b in pairwise(grid)]
    beside = [gaps[i] for i in (at - 1, at) if 0 <= i < len(gaps)]
    wide = [one for one in beside if one[0] > max(1, CLOSE * best)]
    return max(wide)[1] if wide else None


def _bends(found: Mapping[int, float]) -> list[int]:
    """Middles of the gaps beside the k where the curve over ln k turns upwards the most."""
    grid = sorted(found)
    x, y = np.log(grid), np.array([found[k] for k in grid])
    if len(grid) < 3:
        return []
    slope = np.diff(y) / np.diff(x)
    turn = np.diff(slope) / ((x[2:] - x[:-2]) / 2)
    wanted: set[int] = set()
    for at in np.argsort(-turn, kind="stable")[:BENDS] + 1:
        wanted |= {(grid[at - 1] + grid[at]) // 2, (grid[at] + grid[at + 1]) // 2}
    return sorted(wanted - set(grid))
