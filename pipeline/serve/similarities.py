"""The products by which clusters are compared, measured again only for clusters that changed."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .moment_products import update_products
from .single_flight import SingleFlight


@dataclass(frozen=True, kw_only=True)
class _Measured:
    state: int
    rows: Sequence[np.ndarray]
    """The sampled rows of each cluster."""
    samples: Sequence[np.ndarray]
    """Their features."""
    products: np.ndarray


class Similarities:
    """`moment_products` of groupings, by their names. Safe to call from any thread.

    `read` gives the features of rows.
    """

    def __init__(self, read: Callable[[np.ndarray], np.ndarray]) -> None:
        self._read = read
        self._measured: dict[str, _Measured] = {}
        self._flight: SingleFlight[np.ndarray] = SingleFlight()
        self._lock = threading.Lock()

    def get(self, name: str, state: int, sample: Callable[[], Sequence[np.ndarray]]) -> np.ndarray:
        """(k, k) products of a grouping in a state: the number of decisions behind it.

        `sample` gives the sampled rows of each cluster. For a state that follows another one, only
        clusters whose rows changed are measured.
        """

        def measure() -> np.ndarray:
            before = self._find(name)
            if before is not None and before.state == state:
                return before.products
            measured = self._follow(before, state, sample())
            with self._lock:
                self._measured[name] = measured
            return measured.products

        return self._flight.do(f"{name} {state}", measure)

    def _find(self, name: str) -> _Measured | None:
        with self._lock:
            return self._measured.get(name)

    def _follow(
        self, before: _Measured | None, state: int, rows: Sequence[np.ndarray]
    ) -> _Measured:
        """The measurements of before, with those of the clusters whose rows changed made again."""
        old_rows = [] if before is None else before.rows
        changed = [
            place
            for place, own in enumerate(rows)
            if place >= len(old_rows) or not np.array_equal(own, old_rows[place])
        ]
        samples = [*([] if before is None else before.samples[: len(rows)])]
        samples += [np.empty((0, 0), np.float32)] * (len(rows) - len(samples))
        if changed:
            changed_rows = [rows[place] for place in changed]
            ends = np.cumsum([len(own) for own in changed_rows])[:-1]
            vectors = np.split(self._read(np.concatenate(changed_rows)), ends)
            for place, own in zip(changed, vectors, strict=True):
                samples[place] = own
        products = np.zeros((0, 0)) if before is None else before.products
        return _Measured(
            state=state,
            rows=rows,
            samples=samples,
            products=update_products(products, samples, changed),
        )
