"""Novelty of rows: their distance to the nearest fitted embedding.

Nearest-neighbour distances detect rows from another distribution well (Sun et al.,
"Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022). Embeddings are compared,
not features: heads map any input close to features that they were fitted to.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64
from numpy import ndarray

from ..threads import map_in_threads
from .sampling import choose_rows

KNOWN = 1000
"""Fitted embeddings that rows are compared with, at most."""
USUAL = 0.999
"""Share of the fitted rows within the limit."""
BLOCK = 1024
"""Rows compared at once: their cosines with the known rows stay in the cache."""
MOST_CANDIDATES = 4
"""Known rows per row that are compared exactly, on average; with more, all of them are."""


class Known(NamedTuple):
    """The fitted rows that novelty is measured against."""

    center: Float32[ndarray, " d"]
    rows: Float32[ndarray, "r d"]
    """Rows minus the centre, of unit length."""
    limit: float
    """The distance within which `USUAL` of the fitted rows are."""


def fit_known(x: Float32[ndarray, "m d"], seed: int) -> Known:
    """Samples fitted embeddings, and sets the limit by comparing each with the sample."""
    center = x.mean(0)
    unit = _unit(x - center)
    chosen = choose_rows(len(x), KNOWN, seed)
    known = unit[chosen]
    cosine = unit @ known.T
    cosine[chosen, np.arange(len(chosen))] = -1  # does not compare a row with itself
    distance = 1 - cosine.max(1)
    return Known(center, known, max(float(np.quantile(distance, USUAL)), 1e-6))


def novelty(x: Float32[ndarray, "n d"], known: Known) -> Float32[ndarray, " n"]:
    """1 − the largest cosine with a known row, over the limit: above 1 is far from all of them.

    In float64, so that a row's novelty does not depend on the rows that it is computed with.
    Float32 only finds the known rows that may be the nearest, which takes half the time.
    """
    blocks = (x[at : at + BLOCK] for at in range(0, len(x), BLOCK))
    cosines = map_in_threads(lambda block: _largest_cosines(block, known), blocks)
    largest = np.concatenate([np.empty(0), *cosines])
    return ((1 - largest) / known.limit).astype(np.float32)


def _largest_cosines(x: ndarray, known: Known) -> Float64[ndarray, " n"]:
    unit = _unit(x - known.center)
    rough = unit @ known.rows.T
    # Sums of d products in float32 err by d roundings at most, one cosine up and one down.
    slack = np.float32(2 * x.shape[1] * np.finfo(np.float32).eps)
    rows, candidates = np.nonzero(rough >= rough.max(1, keepdims=True) - slack)
    unit = unit.astype(np.float64)
    if len(rows) > MOST_CANDIDATES * len(x):
        return (unit @ known.rows.T.astype(np.float64)).max(1)
    exact = np.einsum("ij,ij->i", unit[rows], known.rows[candidates].astype(np.float64))
    return np.maximum.reduceat(exact, np.searchsorted(rows, np.arange(len(x))))


def _unit(x: ndarray) -> ndarray:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)
