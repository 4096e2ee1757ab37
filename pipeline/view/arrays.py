"""Embeddings and features of all rows as one array."""

from typing import TYPE_CHECKING

from ...stages.rows.artifact_rows import gather
from ...store import Artifact, ConfigError
from ...store.kinds import EMBEDDINGS, FEATURES

if TYPE_CHECKING:
    import numpy as np


def read_array(artifact: Artifact) -> "np.ndarray":
    """The vectors of embeddings or features, (n, d).

    Features of a single part are the mapped file itself, read as it is used.
    """
    if artifact.kind not in (EMBEDDINGS, FEATURES):
        raise ConfigError(f"{artifact.kind.name} are no array: embeddings and features are")
    if artifact.kind is EMBEDDINGS:
        return gather(artifact)
    if len(artifact.parts) == 1:
        return artifact.array(artifact.only_part, "z")
    return gather(artifact, "z")
