"""Embeddings of the same images in another run, by another model, matched by key."""

from typing import Any

import numpy as np

from ...store import Artifact, ConfigError

OTHER = "embeddings/"
"""How the slot of another run's embeddings begins; the name of the run follows."""


def rows_beside(
    embeddings: Artifact, part: str, other: Artifact, run: str
) -> tuple[np.ndarray, np.ndarray]:
    """Another run's embeddings (n, d) of the images of a part, and which of them it has (n,).

    Images that it lacks get the mean of those that it has.

    A part of the same name holds the same shard. Without one, a key may be in one part only.
    """
    names = [part] if part in other.part_names else [record.name for record in other.parts]
    n, size = embeddings.part_names[part].rows, int(other.facts["model"]["embedding_size"])
    keys = embeddings.table(part, columns=["key"]).column(0)
    rows, is_found = np.zeros((n, size), np.float16), np.zeros(n, bool)
    for name in names:
        rows_here, rows_there = _find(keys, other, name)
        if not len(rows_here):
            continue
        repeated = rows_here[is_found[rows_here]]
        if len(repeated):
            raise ConfigError(
                f"the key {keys[int(repeated[0])].as_py()!r} is in several shards of run {run!r}: "
                "embed the same shards in both runs"
            )
        rows[rows_here] = other.embeddings(name)[rows_there]
        is_found[rows_here] = True
    if is_found.any():
        rows[~is_found] = rows[is_found].mean(0, dtype=np.float32)
    return rows, is_found


def _find(keys: Any, other: Artifact, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the keys that are in a part of another artifact, and its rows with them."""
    import pyarrow.compute as pc

    other_keys = other.table(part, columns=["key"]).column(0).combine_chunks()
    matches = pc.index_in(keys, value_set=other_keys)
    rows_here = np.flatnonzero(pc.is_valid(matches).to_numpy())
    return rows_here, pc.drop_null(matches).to_numpy().astype(np.int64)
