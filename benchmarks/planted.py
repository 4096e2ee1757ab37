"""Rows with known clusters: unions of random subspaces, the model of the theory of CPP."""

import numpy as np
from numpy import ndarray

BLOCK = 1 << 14
"""Rows made at once, so that temporary memory does not grow with the number of rows."""


def planted(
    k: int,
    n: int,
    *,
    p: int = 128,
    dimension: int = 4,
    ratio: float = 10.0,
    outliers: float = 0.0,
    noise: float = 0.1,
    seed: int = 0,
) -> tuple[ndarray, ndarray]:
    """Shuffled unit rows (n, p) in float32 around k random subspaces, and labels, −1 for outliers.

    Group sizes grow geometrically; the last is `ratio` times the first. A row is a random unit
    vector in its subspace plus Gaussian noise of length `noise`, normalised. A share `outliers` of
    the rows is uniform on the sphere.
    """
    generator = np.random.default_rng(seed)
    bases = np.linalg.qr(generator.standard_normal((k, p, dimension)))[0].astype(np.float32)
    outlier_rows = round(outliers * n)
    labels = np.repeat(np.arange(-1, k), [outlier_rows, *group_sizes(k, n - outlier_rows, ratio)])
    generator.shuffle(labels)
    rows = np.empty((n, p), np.float32)
    for start in range(0, n, BLOCK):
        block = slice(start, start + BLOCK)
        rows[block] = _rows(labels[block], bases, noise, generator)
    return rows, labels


def group_sizes(k: int, n: int, ratio: float) -> list[int]:
    """Sizes of k groups of n rows, growing geometrically from 1 to `ratio`."""
    weights = ratio ** np.linspace(0, 1, k)
    ends = np.round(np.cumsum(weights) / weights.sum() * n).astype(int)
    return np.diff(ends, prepend=0).tolist()


def _rows(labels: ndarray, bases: ndarray, noise: float, generator: np.random.Generator) -> ndarray:
    _, p, dimension = bases.shape
    rows = generator.standard_normal((len(labels), p), np.float32)
    places = generator.standard_normal((len(labels), dimension, 1), np.float32)
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    inside = labels >= 0
    rows[inside] *= np.float32(noise / np.sqrt(p))
    rows[inside] += (bases[labels[inside]] @ places[inside])[:, :, 0]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
