"""Which rows a search may find: those of some clusters, or that are in theirs for sure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..store import Artifact, QueryError

if TYPE_CHECKING:
    import numpy as np


def allowed_rows(
    source: Artifact,
    assignments: Artifact | None,
    clusters: Sequence[int],
    min_confidence: float | None,
) -> "np.ndarray | None":
    """Whether each row may be found, bool (n,); None where all may.

    A row that no cluster is known of may not, once anything is asked of it. QueryError without
    clusters, or for one that is not there.
    """
    import numpy as np

    if not clusters and min_confidence is None:
        return None
    if assignments is None:
        raise QueryError(
            "the rows of the run are in no clusters yet, by which hits could be chosen: "
            "`cpp-pipe assign` puts them there"
        )
    k = int(assignments.facts["k"])
    unknown = [str(one) for one in clusters if not 0 <= one < k]
    if unknown:
        raise QueryError(f"--cluster {unknown[0]} is none of the {k} clusters: 0 to {k - 1} are")
    allowed = np.zeros(source.rows, bool)
    for part in source.parts:
        if part.name not in assignments.part_names:
            continue
        told = assignments.table(part.name, columns=["cluster", "confidence"])
        passes = np.ones(part.rows, bool)
        if clusters:
            passes &= np.isin(told.column("cluster").to_numpy(), list(clusters))
        if min_confidence is not None:
            passes &= told.column("confidence").to_numpy() >= min_confidence
        start = source.starts[part.name]
        allowed[start : start + part.rows] = passes
    return allowed
