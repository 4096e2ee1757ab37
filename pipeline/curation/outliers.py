"""Pictures that are far from every cluster, the farthest first."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...stages.artifact_rows import iterate
from ...store import Artifact
from ..view.searcher import first_captions

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All rows by their distance to the nearest cluster."""

    rows: "np.ndarray"
    """Row numbers, the farthest first."""
    distances: "np.ndarray"
    """In that order: 1 − cosine of the embedding with the mean of the nearest cluster."""
    nearest: "np.ndarray"
    """In that order: the cluster whose mean is nearest, which need not be the row's own."""

    def quantile(self, share: float) -> float:
        """The distance that so large a share of the rows does not exceed."""
        import numpy as np

        return float(np.quantile(self.distances, share))


def rank_outliers(embeddings: Artifact, assignments: Artifact) -> Ranking:
    """Distances of all rows to the nearest cluster, each row left out of its own cluster's mean.

    Raw embeddings are compared, not centred, as heads map whatever they get among the features that
    they know. Without itself in the mean, a row that is a cluster alone is far from all. The two
    passes over the rows hold a part at a time.
    """
    import numpy as np

    labels = np.array(assignments.column("cluster"), np.int64)
    numbers, labels = np.unique(labels, return_inverse=True)
    sizes = np.bincount(labels)
    sums = np.zeros((len(numbers), embeddings.facts["model"]["embedding_size"]))
    for _, x, own in _parts(embeddings, labels):
        np.add.at(sums, own, x)
    means = _unit(sums).astype(np.float32)
    distances, nearest = np.empty(len(labels), np.float32), np.empty(len(labels), np.int64)
    for name, x, own in _parts(embeddings, labels):
        cosine = x @ means.T
        others = _unit(sums[own] - x).astype(np.float32)
        alone = np.where(sizes[own] > 1, (x * others).sum(1), -1)
        cosine[np.arange(len(x)), own] = alone
        start = embeddings.starts[name]
        distances[start : start + len(x)] = 1 - cosine.max(1)
        nearest[start : start + len(x)] = numbers[cosine.argmax(1)]
    order = np.argsort(-distances, kind="stable")
    return Ranking(rows=order, distances=distances[order], nearest=nearest[order])


def outlier_table(
    ranking: Ranking,
    embeddings: Artifact,
    assignments: Artifact,
    captions: Artifact | None,
    n: int | None = None,
) -> "pa.Table":
    """The first n rows of the ranking, or all, with what is known of each."""
    import pyarrow as pa

    rows = ranking.rows[:n]
    told = _columns(embeddings, ["key", "shard"]).take(rows)
    given = _columns(assignments, ["cluster", "confidence", "novelty"]).take(rows)
    names = first_captions(captions) if captions is not None else {}
    columns: dict[str, Any] = {
        "rank": pa.array(range(1, len(rows) + 1), pa.int64()),
        "row": pa.array(rows, pa.int64()),
        **{name: told.column(name) for name in told.column_names},
        "distance": pa.array(ranking.distances[:n], pa.float32()),
        "nearest_cluster": pa.array(ranking.nearest[:n], pa.int32()),
        **{name: given.column(name) for name in given.column_names},
    }
    if names:
        columns["cluster_caption"] = pa.array(
            [names.get(one) for one in given.column("cluster").to_pylist()], pa.string()
        )
    return pa.table(columns)


def _columns(artifact: Artifact, names: list[str]) -> "pa.Table":
    import pyarrow as pa

    return pa.concat_tables([artifact.table(part.name, columns=names) for part in artifact.parts])


def _parts(embeddings: Artifact, labels: "np.ndarray"):
    """Name, float32 rows and labels of each part."""
    import numpy as np

    for name, block in iterate(embeddings):
        start = embeddings.starts[name]
        yield name, block.astype(np.float32), labels[start : start + len(block)]


def _unit(x: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
