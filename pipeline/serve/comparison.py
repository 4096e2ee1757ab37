"""Two clusters beside one another: what is typical of each, and what each might give the other."""

import numpy as np

from ...stages.rows.artifact_rows import pick_evenly
from ...store import QueryError
from .cluster_facts import find_rows
from .image_facts import list_items
from .open_run import OpenRun
from .partition import Partition
from .set_models import Compared, Comparison, Side

_SAMPLE_ROWS = 4000
"""Rows of each cluster that are compared."""

_SHOWN = 24
"""Images of each list."""


def compare_clusters(opened: OpenRun, grouping: str, a: int, b: int) -> Comparison:
    """Two clusters of a grouping, or two nodes of the hierarchy.

    An image might belong to the other cluster where the mean of the other's features is nearer to
    it, or nearly so, than the mean of its own. MissingError if a cluster does not exist.
    """
    if a == b:
        raise QueryError(f"a and b must be two clusters, got {a} twice")
    found = [find_rows(opened, grouping, cluster) for cluster in (a, b)]
    samples = [pick_evenly(rows, _SAMPLE_ROWS) for rows, _ in found]
    if not all(map(len, samples)):
        raise QueryError(f"cluster {a if not len(samples[0]) else b} has no images")
    space = opened.finder.spaces[0]
    vectors = [_unit(opened.finder.read(rows, space).astype(np.float32)) for rows in samples]
    middles = [_unit(each.mean(0)) for each in vectors]
    sides = [
        _side(
            opened, samples[side], found[side], vectors[side] @ (middles[1 - side] - middles[side])
        )
        for side in (0, 1)
    ]
    return Comparison(
        alike=round(float(middles[0] @ middles[1]), 4),
        sampled=any(len(rows) > _SAMPLE_ROWS for rows, _ in found),
        sides=sides,
    )


def _side(
    opened: OpenRun, rows: np.ndarray, found: tuple[np.ndarray, Partition], margins: np.ndarray
) -> Side:
    """A cluster, with how much nearer each of its sampled rows is to the other's middle."""
    all_rows, partition = found
    order = (-margins).argsort(kind="stable")[:_SHOWN]
    near = list_items(opened, rows[order], partition)
    return Side(
        typical=[
            Compared(**item.model_dump())
            for item in list_items(opened, all_rows[:_SHOWN], partition)
        ],
        near=[
            Compared(**item.model_dump(), margin=round(float(margin), 4))
            for item, margin in zip(near, margins[order].tolist(), strict=True)
        ],
        nearer=int((margins > 0).sum()),
    )


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.maximum(length, 1e-12)
