"""The rows that a search may find: those of some clusters, or with enough confidence."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...store import Artifact, QueryError
from .columns import read_column

if TYPE_CHECKING:
    import numpy as np

    from ...stages.edits.replay import Edited


def allowed_rows(
    source: Artifact,
    assignments: Artifact,
    clusters: Sequence[int],
    min_confidence: float | None,
    edited: "Edited | None" = None,
) -> "np.ndarray":
    """Whether a search may find each row, bool (n,); with `edited`, by the decided clusters.

    QueryError for a cluster that does not exist.
    """
    import numpy as np

    k = int(assignments.facts["k"]) if edited is None else int(edited.cluster.max(initial=-1)) + 1
    unknown = [str(cluster) for cluster in clusters if not 0 <= cluster < k]
    if unknown:
        raise QueryError(f"cluster must be from 0 to {k - 1}, got {unknown[0]}")
    allowed = np.ones(source.rows, bool)
    if edited is not None:
        allowed &= ~edited.excluded
    if clusters:
        column = read_column(assignments, "cluster") if edited is None else edited.cluster
        allowed &= np.isin(column, list(clusters))
    if min_confidence is not None:
        allowed &= read_column(assignments, "confidence") >= min_confidence
    return allowed
