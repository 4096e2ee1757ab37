"""Searching a run: the rows that are nearest to a query, with what is known of each."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..stages.gather import iterate
from ..store import Artifact

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One row that was found."""

    rank: int
    similarity: float
    """Cosine, in the space that was searched."""
    key: str
    shard: str
    row: int
    """Its number over all parts."""
    cluster: int | None = None
    confidence: float | None = None
    caption: str | None = None
    """Of its cluster, where clusters are captioned."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def has_faiss() -> bool:
    """Whether an index can be opened; without FAISS every row is compared."""
    return importlib.util.find_spec("faiss") is not None


def nearest(
    query: "np.ndarray", source: Artifact, role: str, index: Artifact | None, n: int
) -> "tuple[np.ndarray, np.ndarray]":
    """Similarities (n,) and rows (n,) of the nearest to a query (1, d), best first.

    With an index its own search, else every row is compared: exact, a part at a time.
    """
    n = min(n, source.rows)
    return _by_index(query, index, n) if index is not None else _exact(query, source, role, n)


def _by_index(query: "np.ndarray", index: Artifact, n: int) -> "tuple[np.ndarray, np.ndarray]":
    import os

    import numpy as np

    from ..stages.index import import_faiss, set_search_width

    faiss = import_faiss()
    path = index.path(index.parts[0].name, "index")
    opened = faiss.read_index(os.fspath(path), faiss.IO_FLAG_MMAP_IFC)
    set_search_width(faiss, opened, max(index.facts["search_width"], n))
    similarity, rows = opened.search(np.ascontiguousarray(query, np.float32), n)
    found = rows[0] >= 0
    return similarity[0][found], rows[0][found]


def _exact(
    query: "np.ndarray", source: Artifact, role: str, n: int
) -> "tuple[np.ndarray, np.ndarray]":
    import numpy as np

    wanted = query[0].astype(np.float32)
    best, rows = np.empty(0, np.float32), np.empty(0, np.int64)
    for name, block in iterate(source, role):
        best = np.concatenate([best, block.astype(np.float32) @ wanted])
        rows = np.concatenate([rows, np.arange(len(block)) + source.starts[name]])
        keep = np.argsort(-best, kind="stable")[:n]
        best, rows = best[keep], rows[keep]
    return best, rows


def describe_rows(
    rows: Sequence[int],
    similarities: Sequence[float],
    embeddings: Artifact,
    assignments: Artifact | None,
    captions: Artifact | None,
) -> list[Hit]:
    """What is known of rows: key, shard, cluster and caption, read from their parts alone."""
    names = first_captions(captions) if captions is not None else {}
    hits = []
    for rank, (row, similarity) in enumerate(zip(rows, similarities, strict=True), start=1):
        part, inside = embeddings.locate(int(row))
        told = embeddings.table(part, columns=["key", "shard"]).slice(inside, 1).to_pylist()[0]
        cluster = confidence = None
        if assignments is not None and part in assignments.part_names:
            found = assignments.table(part).slice(inside, 1).to_pylist()[0]
            cluster, confidence = found["cluster"], found["confidence"]
        hits.append(
            Hit(
                rank=rank,
                # Rows are rounded to float16, so that a row with itself can come out above 1.
                similarity=min(1.0, float(similarity)),
                row=int(row),
                cluster=cluster,
                confidence=confidence,
                caption=names.get(cluster) if cluster is not None else None,
                **told,
            )
        )
    return hits


def first_captions(captions: Artifact) -> Mapping[int, str]:
    """The best caption of each cluster."""
    return {
        row["cluster"]: row["caption"]
        for row in captions.table(captions.parts[0].name).to_pylist()
        if row["rank"] == 1
    }
