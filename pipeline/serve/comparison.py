"""Two clusters side by side: the typical images of each, and those that may belong to the other."""

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


def compare_clusters(
    opened: OpenRun, grouping: str, a: int, b: int, *, most: int = _SAMPLE_ROWS
) -> Comparison:
    """Two clusters of a grouping, or two nodes of the hierarchy.

    An image may belong to the other cluster if it is nearer to the mean of the other's features
    than to the mean of its own, or almost as near. Of each cluster `most` images are compared.
    MissingError if a cluster does not exist.
    """
    if a == b:
        raise QueryError(f"a and b must be two clusters, got {a} twice")
    clusters = [find_rows(opened, grouping, cluster) for cluster in (a, b)]
    samples = [pick_evenly(rows, most) for rows, _ in clusters]
    if not all(map(len, samples)):
        raise QueryError(f"cluster {a if not len(samples[0]) else b} has no images")
    space = opened.finder.spaces[0]
    vectors = [_unit(opened.finder.read(rows, space).astype(np.float32)) for rows in samples]
    means = [_unit(sample.mean(0)) for sample in vectors]
    sides = [
        _side(
            opened, samples[side], clusters[side], vectors[side] @ (means[1 - side] - means[side])
        )
        for side in (0, 1)
    ]
    return Comparison(
        alike=round(float(means[0] @ means[1]), 4),
        sampled=any(side.sampled is not None for side in sides),
        sides=sides,
    )


def _side(
    opened: OpenRun, rows: np.ndarray, cluster: tuple[np.ndarray, Partition], margins: np.ndarray
) -> Side:
    """One of the clusters; `margins` say how much nearer each sampled row is to the other mean."""
    all_rows, partition = cluster
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
        sampled=len(rows) if len(rows) < len(all_rows) else None,
    )


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.maximum(length, 1e-12)
