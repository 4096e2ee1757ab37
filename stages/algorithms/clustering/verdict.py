"""The verdict of a curve of coding lengths on the number of clusters, and its certainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

RUNNERS_UP = 3


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The k with the shortest code, and the k that are nearly as good."""

    chosen: int
    """The k with the shortest code; the smallest in a tie."""
    as_good: tuple[int, ...]
    """The k around it, itself included, whose codes are longer by no more than they vary."""
    votes: tuple[float, ...]
    """For each k of the grid, the share of resampled curves with their minimum there."""
    runners_up: tuple[int, ...]
    """The k with the next shortest codes, shortest first."""

    @property
    def is_flat(self) -> bool:
        """Whether other k are as good."""
        return len(self.as_good) > 1


def judge(
    grid: Sequence[int],
    lengths: Sequence[float],
    resampled: Float[ndarray, "b grid"],
) -> Verdict:
    """The verdict over a rising grid of k; `resampled` holds one curve per row, or none.

    A k is as good as the chosen one if, over the resampled curves, its code is on average longer
    than that of the chosen k by at most one standard deviation of the difference (in the manner of
    the one-standard-error rule of Breiman et al., 1984), and the same holds for every k between.
    """
    order = sorted(range(len(grid)), key=lambda i: (lengths[i], grid[i]))
    best = order[0]
    votes = np.zeros(len(grid))
    good = np.zeros(len(grid), bool)
    if len(resampled):
        votes = np.bincount(resampled.argmin(1), minlength=len(grid)) / len(resampled)
    if len(resampled) > 1:
        difference = resampled - resampled[:, [best]]
        good = difference.mean(0) <= difference.std(0, ddof=1)
    good[best] = True
    low = high = best
    while low > 0 and good[low - 1]:
        low -= 1
    while high + 1 < len(grid) and good[high + 1]:
        high += 1
    return Verdict(
        chosen=grid[best],
        as_good=tuple(grid[low : high + 1]),
        votes=tuple(votes.tolist()),
        runners_up=tuple(grid[i] for i in order[1 : 1 + RUNNERS_UP]),
    )
