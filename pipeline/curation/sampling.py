"""Samples of a run: diverse, typical, balanced, doubtful or novel images, and what they cover."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...stages.rows.sampled_rows import gather_rows
from ...store import Artifact, ConfigError

CANDIDATES = 50_000
"""Images among which diverse ones are searched, at most: a step of the search compares all."""

_PER_CHOSEN = 4
"""At least this many candidates for each image to be chosen."""

_JUDGED = 10_000
"""Images whose distance to the nearest chosen one is measured, at most."""

_BLOCK = 2048


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The images of a run that may be chosen, and what is known of each of all images."""

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
    """Rows that are chosen already: strategies consider them, and do not choose them again."""
    seed: int = 0

    def points(self, rows: np.ndarray) -> np.ndarray:
        """Refined features of some rows, ascending: unit rows, float32."""
        z = gather_rows(self.features, "z", rows).astype(np.float32)
        return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), np.finfo(np.float32).tiny)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How well a sample covers the images."""

    distance: float
    """Mean distance of an image to the nearest chosen one: 1 minus the cosine of features."""
    clusters: int
    groups: int | None
    """Values of the balanced column; None if clusters are balanced."""


def sample(pool: Pool, count: int, shares: Mapping[str, float]) -> np.ndarray:
    """Row numbers of `count` images, best first, no image twice; fewer if fewer are allowed.

    `shares` gives the share of each strategy. If one cannot fill its share, the next ones do.
    """
    unknown = [name for name in shares if name not in STRATEGIES]
    if unknown:
        raise ConfigError(f"--strategy must be of {', '.join(STRATEGIES)}, got {unknown[0]!r}")
    allowed = pool.allowed.copy()
    allowed[pool.chosen] = False
    count = min(count, int(allowed.sum()))
    total, rows = sum(shares.values()), np.empty(0, np.int64)
    names = list(shares)
    for place, name in enumerate(names):
        done = sum(shares[other] for other in names[: place + 1])
        missing = round(count * done / total) - len(rows)
        current = Pool(**{**vars(pool), "allowed": allowed, "chosen": np.append(pool.chosen, rows)})
        more = STRATEGIES[name](current, missing)[:missing]
        allowed[more] = False
        rows = np.append(rows, more)
    return rows


def cover(pool: Pool, rows: np.ndarray) -> Coverage:
    """The coverage of rows together with those that were chosen before."""
    from ...stages.algorithms.clustering.sampling import choose_rows

    all_chosen = np.unique(np.append(pool.chosen, rows)).astype(np.int64)
    judged = pool.allowed.nonzero()[0]
    judged = judged[choose_rows(len(judged), _JUDGED, pool.seed)]
    chosen, points = pool.points(all_chosen), pool.points(judged)
    distances = [
        1 - (points[start : start + _BLOCK] @ chosen.T).max(1)
        for start in range(0, len(points), _BLOCK)
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
    """`count` images drawn at random, with which a sample is compared."""
    from ...stages.algorithms.clustering.sampling import choose_rows

    allowed = pool.allowed.copy()
    allowed[pool.chosen] = False
    rows = allowed.nonzero()[0]
    return rows[choose_rows(len(rows), count, pool.seed)]


def _diverse(pool: Pool, count: int) -> np.ndarray:
    """Images that leave no other far from all of them, in the order of the search."""
    from ...stages.algorithms.clustering.sampling import choose_rows
    from ...stages.algorithms.farthest import farthest_rows

    rows = pool.allowed.nonzero()[0]
    most = max(CANDIDATES, _PER_CHOSEN * count)
    rows = rows[choose_rows(len(rows), most, pool.seed)]
    taken = pool.points(np.unique(pool.chosen)) if len(pool.chosen) else None
    return rows[farthest_rows(pool.points(rows), count, taken=taken, seed=pool.seed)]


def _typical(pool: Pool, count: int) -> np.ndarray:
    """The most confident images of each cluster, in proportion to its size."""
    return _in_shares(pool, count, pool.cluster, -pool.confidence)


def _balanced(pool: Pool, count: int) -> np.ndarray:
    """Random images, equally many of each group; a small group gives all that it has."""
    groups = pool.cluster if pool.groups is None else _numbered(pool.groups)
    order = np.random.default_rng(pool.seed).permutation(len(groups))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return _in_turn(pool, count, groups, rank)


def _doubtful(pool: Pool, count: int) -> np.ndarray:
    """The images whose cluster is least certain."""
    return _first(pool, count, pool.confidence)


def _novel(pool: Pool, count: int) -> np.ndarray:
    """The images that are least like those that clusters were fitted on."""
    return _first(pool, count, -pool.novelty)


STRATEGIES: Mapping[str, Callable[[Pool, int], np.ndarray]] = {
    "diverse": _diverse,
    "typical": _typical,
    "balanced": _balanced,
    "doubtful": _doubtful,
    "novel": _novel,
}
"""The functions that choose images, by the names of strategies."""


def _first(pool: Pool, count: int, order: np.ndarray) -> np.ndarray:
    rows = pool.allowed.nonzero()[0]
    return rows[np.argsort(order[rows], kind="stable")[:count]]


def _in_turn(pool: Pool, count: int, groups: np.ndarray, order: np.ndarray) -> np.ndarray:
    """One row of each group in turn, each group in its own order; rows without a group last."""
    rows, group_of, place, _ = _by_group(pool, groups, order)
    place[group_of < 0] += len(group_of)
    return rows[np.lexsort((group_of, place))[:count]]


def _in_shares(pool: Pool, count: int, groups: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The first rows of each group in its own order, in proportion to its size."""
    rows, _, place, size = _by_group(pool, groups, order)
    return rows[np.argsort((place + 0.5) / size, kind="stable")[:count]]


def _by_group(
    pool: Pool, groups: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Allowed rows by group and order; the group of each, its place there, and the group's size."""
    rows = pool.allowed.nonzero()[0]
    rows = rows[np.lexsort((order[rows], groups[rows]))]
    _, first, number, sizes = np.unique(
        groups[rows], return_index=True, return_inverse=True, return_counts=True
    )
    return rows, groups[rows], np.arange(len(rows)) - first[number], sizes[number]


def _numbered(values: Sequence[Any]) -> np.ndarray:
    """A number for each value; -1 for None."""
    names = {value: number for number, value in enumerate(sorted({*values} - {None}, key=str))}
    return np.array([-1 if value is None else names[value] for value in values], np.int64)
