"""Rows with classes, and the scores of clusters and of k-means on them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...stages.rows.artifact_rows import gather
from ...store import Artifact
from ..view.columns import read_column
from ..view.evaluation import (
    Scores,
    cluster_by_kmeans,
    name_kmeans,
    score_chance,
    score_clusters,
)
from ..view.labels import read_labels


@dataclass(frozen=True, kw_only=True)
class ClassedRows:
    """Embeddings whose rows have classes."""

    embeddings: Artifact
    has_label: np.ndarray
    """For each row, whether it has a label: the others are clustered and not scored."""
    y: np.ndarray
    """The classes of the rows with labels, as numbers from 0."""
    classes: int

    def score(self, assignments: Artifact, seed: int) -> tuple[Scores, Scores]:
        """The scores of clusters, and of clusters of the same sizes drawn at random."""
        pred = read_column(assignments, "cluster")[self.has_label].astype(np.int64)
        return score_clusters(self.y, pred), score_chance(self.y, pred, seed)

    @property
    def kmeans_method(self) -> str:
        """The method of `score_kmeans`: of many rows it is mini-batch k-means."""
        return name_kmeans(len(self.has_label))

    def score_kmeans(self, k: int, seeds: Iterable[int]) -> tuple[Scores, ...]:
        """The scores of k-means of the centred embeddings, fitted to all rows, for each seed."""
        x = gather(self.embeddings)
        scored = x if self.has_label.all() else x[self.has_label]
        return tuple(
            score_clusters(self.y, cluster_by_kmeans(x, scored, k, seed)) for seed in seeds
        )


def read_classes(embeddings: Artifact, label: str) -> ClassedRows:
    """The rows with the classes that a label gives them; there may be none."""
    labels = np.array(read_labels(embeddings, label, None), dtype=object)
    has_label = np.array([value is not None for value in labels], dtype=bool)
    names, y = np.unique(labels[has_label], return_inverse=True)
    return ClassedRows(embeddings=embeddings, has_label=has_label, y=y, classes=len(names))
