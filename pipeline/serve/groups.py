"""Clusters with all that a view needs of them, and sets of images that are made of them."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .models import Card
from .partition import Partition
from .set_models import Section
from .single_flight import SingleFlight

_CACHE_BYTES = 64 * 2**20
"""Bytes of the rows of all sets in memory; the latest set is always kept."""

_MAX_SETS = 32


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The clusters of a grouping, or the nodes of a level."""

    numbers: np.ndarray
    """(k,) int64: the cluster or node that each number of the partition stands for."""
    partition: Partition
    cards: list[Card]
    """The card of each number of the partition."""


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Rows in the order they are shown in."""

    groups: Groups
    rows: np.ndarray
    """(m,) int32."""
    sections: list[Section]
    """Those of an order by clusters; empty for any other order."""
    clusters: list[tuple[int, int]]
    """Each cluster that has images here, in the order of clusters, with how many."""


class ImageSets:
    """The sets that were requested last, by name. Safe to call from any thread."""

    def __init__(self) -> None:
        self._sets: OrderedDict[str, ImageSet] = OrderedDict()
        self._flight: SingleFlight[ImageSet] = SingleFlight()
        self._lock = threading.Lock()

    def get(self, name: str, make: Callable[[], ImageSet]) -> ImageSet:
        """A set, made unless it is in memory; made once if several threads ask for it."""
        return self._find(name) or self._flight.do(name, lambda: self._make(name, make))

    def _find(self, name: str) -> ImageSet | None:
        with self._lock:
            images = self._sets.get(name)
            if images is not None:
                self._sets.move_to_end(name)
            return images

    def _make(self, name: str, make: Callable[[], ImageSet]) -> ImageSet:
        images = self._find(name)  # another thread may have made it just before
        if images is not None:
            return images
        images = make()
        with self._lock:
            self._sets[name] = images
            while len(self._sets) > 1 and (
                len(self._sets) > _MAX_SETS or self._bytes() > _CACHE_BYTES
            ):
                self._sets.popitem(last=False)
        return images

    def _bytes(self) -> int:
        return sum(images.rows.nbytes for images in self._sets.values())
