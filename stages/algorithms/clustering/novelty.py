"""How far rows are from everything that was fitted: the distance to the nearest known embedding.

Nearest-neighbour distances find rows of another kind well (Sun et al., "Out-of-Distribution
Detection with Deep Nearest Neighbors", ICML 2022). Embeddings are asked, not features: heads map
whatever they get among the features that they know.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from .sampling import choose_rows

KNOWN = 1000
"""Embeddings that rows are compared with, at most."""
USUAL = 0.999
"""Share of the fitted rows that are no farther than the limit."""


class Known(NamedTuple):
    """What was fitted, as far as novelty asks."""

    center: Float32[ndarray, " d"]
    rows: Float32[ndarray, "r d"]
    """Unit rows about the centre."""
    limit: float
    """The distance that is just usual."""


def fit_known(x: Float32[ndarray, "m d"], seed: int) -> Known:
    """Learns what is usual from fitted embeddings, of which each is compared with the others."""
    center = x.mean(0)
    unit = _unit(x - center)
    chosen = choose_rows(len(x), KNOWN, seed)
    known = unit[chosen]
    cosine = unit @ known.T
    cosine[chosen, np.arange(len(chosen))] = -1  # a row with itself
    distance = 1 - cosine.max(1)
    return Known(center, known, max(float(np.quantile(distance, USUAL)), 1e-6))


def novelty(x: Float32[ndarray, "n d"], known: Known) -> Float32[ndarray, " n"]:
    """1 − the largest cosine with what is known, over the limit: above 1 is far from all of it.

    In float64, so that a row's novelty does not depend on the rows that it is computed with.
    """
    cosine = _unit(x - known.center).astype(np.float64) @ known.rows.T.astype(np.float64)
    return ((1 - cosine.max(1)) / known.limit).astype(np.float32)


def _unit(x: ndarray) -> ndarray:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)
