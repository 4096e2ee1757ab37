"""What a curve of coding lengths says of the number of clusters, and how surely."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

RUNNERS_UP = 3


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The chosen k and what else would do."""

    chosen: int
    """The k with the shortest code; the smallest of several."""
    as_good: tuple[int, ...]
    """The k around it, itself included, whose codes are longer by no more than they vary."""
    votes: tuple[float, ...]
    """For each k of the grid the share of resampled curves that are the lowest there."""
    runners_up: tuple[int, ...]
    """The next shortest codes, shortest first."""

    @property
    def is_flat(self) -> bool:
        """Whether other k would do as well."""
        return len(self.as_good) > 1


def judge(
    grid: Sequence[int],
    lengths: Sequence[float],
    resampled: Float[ndarray, "b grid"],
) -> Verdict:
    """The verdict over a rising grid of k; `resampled` holds a curve a row, or none.

    A k is as good as the chosen one when its code, compared with that of the chosen k within each
    resampled curve, is longer on average by no more than one standard deviation of that difference
    (in the manner of the one-standard-error rule of Breiman et al., 1984), and every k between is.
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
