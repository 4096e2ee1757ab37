"""The rows by which clusters are compared, read again only for clusters that changed."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .moment_products import cosines, moment_products, own_products
from .single_flight import SingleFlight


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Some rows of each cluster of a grouping, with their features."""

    state: int
    rows: Sequence[np.ndarray]
    samples: Sequence[np.ndarray]
    own: np.ndarray
    """(k,) `own_products` of the samples."""

    def cosines(self, cluster: int) -> np.ndarray:
        """(k,) the similarity of a cluster to each.

        Computed for one cluster at a time: of very many, all products would not fit into memory.
        """
        return cosines(moment_products(self.samples, [cluster])[0], self.own, cluster)

    @cached_property
    def products(self) -> np.ndarray:
        """(k, k) `moment_products` of the samples."""
        return moment_products(self.samples)


class Similarities:
    """Samples of groupings, by their names. Safe to call from any thread.

    `read` gives the features of rows.
    """

    def __init__(self, read: Callable[[np.ndarray], np.ndarray]) -> None:
        self._read = read
        self._sampled: dict[str, Sampled] = {}
        self._flight: SingleFlight[Sampled] = SingleFlight()
        self._lock = threading.Lock()

    def get(self, name: str, state: int, sample: Callable[[], Sequence[np.ndarray]]) -> Sampled:
        """The sample of a grouping in a state: the number of decisions behind it.

        `sample` gives the sampled rows of each cluster. For a state that follows another one, only
        clusters whose rows changed are read.
        """

        def measure() -> Sampled:
            before = self._find(name)
            if before is not None and before.state == state:
                return before
            sampled = self._follow(before, state, sample())
            with self._lock:
                self._sampled[name] = sampled
            return sampled

        return self._flight.do(f"{name} {state}", measure)

    def _find(self, name: str) -> Sampled | None:
        with self._lock:
            return self._sampled.get(name)

    def _follow(self, before: Sampled | None, state: int, rows: Sequence[np.ndarray]) -> Sampled:
        """The sample of before, with the clusters whose rows changed read again."""
        old_rows = [] if before is None else before.rows
        changed = [
            place
            for place, own in enumerate(rows)
            if place >= len(old_rows) or not np.array_equal(own, old_rows[place])
        ]
        samples = [*([] if before is None else before.samples[: len(rows)])]
        samples += [np.empty((0, 0), np.float32)] * (len(rows) - len(samples))
        own_of_each = np.zeros(len(rows))
        if before is not None:
            own_of_each[: len(old_rows)] = before.own[: len(rows)]
        if changed:
            changed_rows = [rows[place] for place in changed]
            ends = np.cumsum([len(own) for own in changed_rows])[:-1]
            vectors = np.split(self._read(np.concatenate(changed_rows)), ends)
            for place, own in zip(changed, vectors, strict=True):
                samples[place] = own
            own_of_each[changed] = own_products(vectors)
        return Sampled(state=state, rows=rows, samples=samples, own=own_of_each)
