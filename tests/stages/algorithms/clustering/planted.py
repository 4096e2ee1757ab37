"""Rows with planted clusters: around directions, or in subspaces."""

from functools import cache

import numpy as np

from cpp_pipe.stages.algorithms.clustering.landmarks import (
    Landmarks,
    clustering_rows,
    fit_landmarks,
)

from ....strategies import random_unit_rows

GROUPS = 6
"""The number of subspaces of `subspaces_in_turn`."""


def unit(x: np.ndarray) -> np.ndarray:
    """The rows scaled to unit length, float32."""
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def planted_directions(
    k: int, each: int, spread: float, seed: int = 0, *, d: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around k orthogonal directions of d (default 3k) in turn, and their directions."""
    labels, d = np.arange(k * each) % k, d or 3 * k
    noise = random_unit_rows(k * each, d, seed).numpy()
    return unit(np.eye(k, d)[labels] + spread * noise), labels


def blobs(groups: int, each: int, d: int, spread: float, seed: int = 0) -> np.ndarray:
    """Unit rows around random directions in turn."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((groups, d)) / d**0.5
    noise = generator.standard_normal((groups * each, d))
    return unit(np.tile(centres, (each, 1)) + spread * noise / d**0.5)


def planted_subspaces(
    k: int, dimension: int, q: int, each: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows, uniform in each of k random subspaces, and the subspace of each row."""
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(k):
        basis = np.linalg.qr(generator.standard_normal((q, dimension)))[0]
        rows.append(generator.standard_normal((each, dimension)) @ basis.T)
    return unit(np.concatenate(rows)), np.repeat(np.arange(k), each)


@cache
def subspaces_in_turn() -> np.ndarray:
    """Rows in six subspaces of dimension 3 of 32, in turn."""
    rows, _ = planted_subspaces(GROUPS, 3, 32, 120)
    return np.ascontiguousarray(rows.reshape(GROUPS, 120, 32).swapaxes(0, 1).reshape(-1, 32))


def landmarks_of(z: np.ndarray, k_max: int = 16) -> Landmarks:
    """Landmarks fitted to all rows, by the membership of the paper."""
    return fit_landmarks(
        clustering_rows(z, z),
        z,
        z,
        affinity="membership",
        k_max=k_max,
        clusterings=8,
        eta=0.1,
        seed=0,
    )
