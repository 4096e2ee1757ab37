"""The clusters of a run as rows: size, mean confidence and caption of each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...stages.edits.replay import Edited
from ...store import Artifact
from .searcher import first_captions


@dataclass(frozen=True, kw_only=True)
class ClusterRow:
    """One cluster."""

    cluster: int
    size: int
    confidence: float
    """The mean of its rows."""
    caption: str | None
    """Its best caption; None if clusters have none."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def list_clusters(
    assignments: Artifact,
    captions: Artifact | None,
    edited: Edited | None = None,
    allowed: np.ndarray | None = None,
) -> list[ClusterRow]:
    """Every cluster that has rows, by number; with decisions, the decided ones.

    Only rows that are `allowed`, bool (n,), count; None allows all.
    """
    k = int(assignments.facts["k"])
    if edited is not None:
        k = max(k, int(edited.cluster.max(initial=-1)) + 1)
    sizes, sums = np.zeros(k, np.int64), np.zeros(k)
    for part in assignments.parts:
        table = assignments.table(part.name, columns=["cluster", "confidence"])
        clusters, confidence = (table.column(name).to_numpy() for name in table.column_names)
        rows = slice(start := assignments.starts[part.name], start + part.rows)
        is_in = np.ones(part.rows, bool) if allowed is None else allowed[rows]
        if edited is not None:
            is_in = is_in & ~edited.excluded[rows]
            clusters = edited.cluster[rows]
        clusters, confidence = clusters[is_in], confidence[is_in]
        sizes += np.bincount(clusters, minlength=k)
        sums += np.bincount(clusters, weights=confidence, minlength=k)
    names: Mapping[int, str] = {} if captions is None else first_captions(captions)
    if edited is not None:
        names = {**names, **edited.names}
    return [
        ClusterRow(
            cluster=cluster,
            size=int(sizes[cluster]),
            confidence=float(sums[cluster] / sizes[cluster]),
            caption=names.get(cluster),
        )
        for cluster in np.flatnonzero(sizes).tolist()
    ]
