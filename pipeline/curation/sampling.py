"""Chooses samples of a run (diverse, typical, balanced, doubtful, novel), and their coverage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...stages.rows.sampled_rows import gather_rows
from ...store import Artifact, ConfigError

CANDIDATES = 50_000
"""The most images among which diverse ones are searched: each step compares all of them."""

_CANDIDATES_PER_IMAGE = 4
"""The least number of candidates for each image to choose; may exceed `CANDIDATES`."""

_MEASURED = 10_000
"""The most images whose distance to the nearest chosen one is measured."""

_BLOCK = 2048
"""Measured images that are compared with all chosen ones at once."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """All images of a run, and which of them may be chosen."""

    features: Artifact
    cluster: np.ndarray
    """(n,) cluster of each row."""
    confidence: np.ndarray
    novelty: np.ndarray
    allowed: np.ndarray
    """Whether each row may be chosen, bool (n,)."""
    groups: Sequence[Any] | None = None
    """A value for each row, which `balanced` balances; if None, it balances clusters."""
    chosen: np.ndarray
    """Rows that are chosen already: strategies take them into account, and choose others."""
    seed: int = 0

    def unit_features(self, rows: np.ndarray) -> np.ndarray:
        """Refined features of ascending rows, as unit rows in float32."""
        z = gather_rows(self.features, "z", rows).astype(np.float32)
        return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), np.finfo(np.float32).tiny)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How well a sample covers the images."""

    distance: float
    """Mean distance of an image to the nearest chosen one: 1 minus the cosine of features."""
    clusters: int
    """The number of clusters with a chosen image."""
    groups: int | None
    """The number of balanced values with a chosen image; None if clusters are balanced."""


def choose_sample(pool: Pool, count: int, shares: Mapping[str, float]) -> np.ndarray:
    """The rows of `count` images, best first and each once; fewer if fewer are allowed.

    `shares` has the share of each strategy. If one cannot fill its share, the next ones do.
    ConfigError if none is allowed.
    """
    unknown = [name for name in shares if name not in STRATEGIES]
    if unknown:
        raise ConfigError(f"--strategy must be of {', '.join(STRATEGIES)}, got {unknown[0]!r}")
    allowed = pool.allowed.copy()
    allowed[pool.chosen] = False
    if not allowed.any():
        which = "excluded, chosen already, or outside --where"
        raise ConfigError(f"no image is left to choose from: all are {which}")
    count = min(count, int(allowed.sum()))
    total, rows = sum(shares.values()), np.empty(0, np.int64)
    names = list(shares)
    for index, name in enumerate(names):
        share_so_far = sum(shares[earlier] for earlier in names[: index + 1])
        missing = round(count * share_so_far / total) - len(rows)
        current = replace(pool, allowed=allowed, chosen=np.append(pool.chosen, rows))
        added = STRATEGIES[name](current, missing)[:missing]
        allowed[added] = False
        rows = np.append(rows, added)
    return rows


def measure_coverage(pool: Pool, rows: np.ndarray) -> Coverage:
    """The coverage of these rows together with those that were chosen before."""
    from ...stages.algorithms.clustering.sampling import choose_rows

    all_chosen = np.unique(np.append(pool.chosen, rows)).astype(np.int64)
    measured = pool.allowed.nonzero()[0]
    measured = measured[choose_rows(len(measured), _MEASURED, pool.seed)]
    chosen_features, features = pool.unit_features(all_chosen), pool.unit_features(measured)
    distances = [
        1 - (features[start : start + _BLOCK] @ chosen_features.T).max(1)
        for start in range(0, len(features), _BLOCK)
    ]
    groups = (
        None if pool.groups is None else {pool.groups[row] for row in all_chosen.tolist()} - {None}
    )
    return Coverage(
        distance=float(np.maximum(np.concatenate(distances), 0).mean()),
        clusters=len(np.unique(pool.cluster[all_chosen])),
        groups=None if groups is None else len(groups),
    )


def random_rows(pool: Pool, count: int) -> np.ndarray:
    """The rows of `count` random images, to compare a sample with."""
    from ...stages.algorithms.clustering.sampling import choose_rows

    allowed = pool.allowed.copy()
    allowed[pool.chosen] = False
    rows = allowed.nonzero()[0]
    return rows[choose_rows(len(rows), count, pool.seed)]


def _diverse(pool: Pool, count: int) -> np.ndarray:
    """Images such that no other image is far from all of them, in the order of the search."""
    from ...stages.algorithms.clustering.sampling import choose_rows
    from ...stages.algorithms.farthest import farthest_rows

    rows = pool.allowed.nonzero()[0]
    most = max(CANDIDATES, _CANDIDATES_PER_IMAGE * count)
    rows = rows[choose_rows(len(rows), most, pool.seed)]
    taken = pool.unit_features(np.unique(pool.chosen)) if len(pool.chosen) else None
    return rows[farthest_rows(pool.unit_features(rows), count, taken=taken, seed=pool.seed)]


def _typical(pool: Pool, count: int) -> np.ndarray:
    """The most confident images of each cluster, in proportion to its size."""
    return _proportional(pool, count, pool.cluster, -pool.confidence)


def _balanced(pool: Pool, count: int) -> np.ndarray:
    """Random images, equally many of each group; all images of a group that is too small."""
    groups = pool.cluster if pool.groups is None else _number_values(pool.groups)
    order = np.random.default_rng(pool.seed).permutation(len(groups))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return _equal(pool, count, groups, rank)


def _doubtful(pool: Pool, count: int) -> np.ndarray:
    """The images whose cluster is least certain."""
    return _lowest(pool, count, pool.confidence)


def _novel(pool: Pool, count: int) -> np.ndarray:
    """The images that are least like those that clusters were fitted on."""
    return _lowest(pool, count, -pool.novelty)


STRATEGIES: Mapping[str, Callable[[Pool, int], np.ndarray]] = {
    "diverse": _diverse,
    "typical": _typical,
    "balanced": _balanced,
    "doubtful": _doubtful,
    "novel": _novel,
}
"""The functions that choose images, by the names of strategies."""


def _lowest(pool: Pool, count: int, values: np.ndarray) -> np.ndarray:
    """The allowed rows with the lowest values."""
    rows = pool.allowed.nonzero()[0]
    return rows[np.argsort(values[rows], kind="stable")[:count]]


def _equal(pool: Pool, count: int, groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Equally many rows of each group, those with the lowest values; rows without a group last."""
    rows, own_groups, ranks, _ = _rank_in_groups(pool, groups, values)
    ranks[own_groups < 0] += len(own_groups)
    return rows[np.lexsort((own_groups, ranks))[:count]]


def _proportional(pool: Pool, count: int, groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rows of each group in proportion to its size, those with the lowest values."""
    rows, _, ranks, sizes = _rank_in_groups(pool, groups, values)
    return rows[np.argsort((ranks + 0.5) / sizes, kind="stable")[:count]]


def _rank_in_groups(
    pool: Pool, groups: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The allowed rows by group and value, with their group, rank in it, and the group's size."""
    rows = pool.allowed.nonzero()[0]
    rows = rows[np.lexsort((values[rows], groups[rows]))]
    _, first, indices, sizes = np.unique(
        groups[rows], return_index=True, return_inverse=True, return_counts=True
    )
    return rows, groups[rows], np.arange(len(rows)) - first[indices], sizes[indices]


def _number_values(values: Sequence[Any]) -> np.ndarray:
    """A number for each value; -1 for None."""
    names = {value: number for number, value in enumerate(sorted({*values} - {None}, key=str))}
    return np.array([-1 if value is None else names[value] for value in values], np.int64)
