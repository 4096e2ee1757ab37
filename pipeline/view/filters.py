"""Which rows a search may find: those of some clusters, or with enough confidence."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...store import Artifact, QueryError

if TYPE_CHECKING:
    import numpy as np


def allowed_rows(
    source: Artifact,
    assignments: Artifact | None,
    clusters: Sequence[int],
    min_confidence: float | None,
) -> "np.ndarray":
    """Whether each row may be found, bool (n,).

    A row without a known cluster may not. QueryError without clusters, or for a cluster that does
    not exist.
    """
    import numpy as np

    if assignments is None:
        raise QueryError("the run has no current clusters to filter by: run `cpp-pipe assign`")
    k = int(assignments.facts["k"])
    unknown = [str(one) for one in clusters if not 0 <= one < k]
    if unknown:
        raise QueryError(f"cluster must be from 0 to {k - 1}, got {unknown[0]}")
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
