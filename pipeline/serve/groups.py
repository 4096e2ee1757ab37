"""Clusters with all that a view needs of them: their rows, numbers and cards."""

from dataclasses import dataclass

import numpy as np

from .models import Card
from .partition import Partition


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The clusters of a grouping, or the nodes of a level."""

    numbers: np.ndarray
    """(k,) int64: the cluster or node that each number of the partition stands for."""
    partition: Partition
    cards: list[Card]
    """Of each number of the partition."""
