"""Ranks the images that are far from every cluster."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...stages.rows.artifact_rows import iterate
from ...store import Artifact
from ..view.captions import first_captions
from ..view.columns import read_column, take_rows
from ..view.keys import with_parts

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All rows, ordered by distance to the nearest cluster."""

    rows: np.ndarray
    """Row numbers, farthest first."""
    distances: np.ndarray
    """For each of `rows`, 1 − cosine of the embedding with the mean of the nearest cluster."""
    nearest: np.ndarray
    """For each of `rows`, the cluster whose mean is nearest; it may not be the row's own."""

    def quantile(self, share: float) -> float:
        """The distance that this share of the rows does not exceed."""
        return float(np.quantile(self.distances, share))


def rank_outliers(embeddings: Artifact, assignments: Artifact) -> Ranking:
    """Ranks all rows by the distance to the nearest cluster's mean, without the row itself.

    So a row that is a cluster by itself is far from all clusters. Compares raw embeddings, not
    centred, because heads map even outliers to features like those that they know. Two passes hold
    a part at a time.
    """
    numbers, labels = np.unique(read_column(assignments, "cluster"), return_inverse=True)
    sizes = np.bincount(labels)
    sums = np.zeros((len(numbers), embeddings.facts["model"]["embedding_size"]))
    for _, x, own_labels in _parts(embeddings, labels):
        np.add.at(sums, own_labels, x)
    means = _unit(sums).astype(np.float32)
    distances, nearest = np.empty(len(labels), np.float32), np.empty(len(labels), np.int64)
    for name, x, own_labels in _parts(embeddings, labels):
        cosines = x @ means.T
        means_of_others = _unit(sums[own_labels] - x).astype(np.float32)
        own_cosines = np.where(sizes[own_labels] > 1, (x * means_of_others).sum(1), -1)
        cosines[np.arange(len(x)), own_labels] = own_cosines
        start = embeddings.starts[name]
        distances[start : start + len(x)] = 1 - cosines.max(1)
        nearest[start : start + len(x)] = numbers[cosines.argmax(1)]
    order = np.argsort(-distances, kind="stable")
    return Ranking(rows=order, distances=distances[order], nearest=nearest[order])


def outlier_table(
    ranking: Ranking,
    embeddings: Artifact,
    assignments: Artifact,
    captions: Artifact | None,
    n: int | None = None,
) -> "pa.Table":
    """The first n rows of the ranking, or all, with keys, clusters and captions."""
    import pyarrow as pa

    rows = ranking.rows[:n]
    sources = take_rows(embeddings, rows, ("key", "shard"))
    assigned = take_rows(assignments, rows, ("cluster", "confidence", "novelty"))
    names = first_captions(captions) if captions is not None else {}
    columns: dict[str, Any] = {
        "rank": pa.array(range(1, len(rows) + 1), pa.int64()),
        "row": pa.array(rows, pa.int64()),
        **{name: sources.column(name) for name in sources.column_names},
        "distance": pa.array(ranking.distances[:n], pa.float32()),
        "nearest_cluster": pa.array(ranking.nearest[:n], pa.int32()),
        **{name: assigned.column(name) for name in assigned.column_names},
    }
    if names:
        columns["cluster_caption"] = pa.array(
            [names.get(cluster) for cluster in assigned.column("cluster").to_pylist()], pa.string()
        )
    return with_parts(embeddings, pa.table(columns))


def _parts(
    embeddings: Artifact, labels: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The name, the float32 rows and the labels of each part."""
    for name, block in iterate(embeddings):
        start = embeddings.starts[name]
        yield name, block.astype(np.float32), labels[start : start + len(block)]


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
