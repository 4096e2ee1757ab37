"""Names of images: SHARD:KEY, or PART:KEY if two parts hold the same shard and key.

The shard of a folder is its base name, so two folders may hold the same SHARD:KEY. Names of parts
are unique in an artifact.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...store import Artifact


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """The images of embeddings whose SHARD:KEY is in several parts."""

    names: Mapping[int, str]
    """PART:KEY of each, by its row."""
    ambiguous: frozenset[str]
    """Each SHARD:KEY that is in several parts, and so names no image."""


@lru_cache(maxsize=4)
def repeated_names(embeddings: Artifact) -> Repeated:
    """The images whose SHARD:KEY is ambiguous, found once for an opened artifact."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(embeddings.parts) < 2:
        return Repeated(names={}, ambiguous=frozenset())
    parts = [part.name for part in embeddings.parts]
    tables = [embeddings.table(part, columns=["shard", "key"]) for part in parts]
    columns = pa.concat_tables(tables)
    wide = [columns.column(name).cast(pa.large_string()) for name in ("shard", "key")]
    names = pc.binary_join_element_wise(*wide, pa.scalar(":", pa.large_string())).combine_chunks()
    encoded = names.dictionary_encode()
    codes = encoded.indices.to_numpy()
    part_of = np.repeat(np.arange(len(parts)), [len(table) for table in tables])
    first, last = np.zeros((2, len(encoded.dictionary)), np.int64)
    # Of several values assigned to one index, NumPy keeps the last.
    first[codes[::-1]], last[codes] = part_of[::-1], part_of
    is_repeated = first != last
    rows = is_repeated[codes].nonzero()[0]
    keys = columns.column("key").take(pa.array(rows)).to_pylist()
    return Repeated(
        names={
            row: f"{parts[part]}:{key}"
            for row, part, key in zip(rows.tolist(), part_of[rows].tolist(), keys, strict=True)
        },
        ambiguous=frozenset(
            encoded.dictionary.take(pa.array(is_repeated.nonzero()[0])).to_pylist()
        ),
    )


def image_names(embeddings: Artifact) -> list[str]:
    """The name of each image, in row order."""
    columns = (embeddings.column(name) for name in ("shard", "key"))
    names = [f"{shard}:{key}" for shard, key in zip(*columns, strict=True)]
    for row, name in repeated_names(embeddings).names.items():
        names[row] = name
    return names


def rows_of_images(embeddings: Artifact, names: Collection[str]) -> dict[str, int]:
    """The row of each of the names that names an image."""
    if not names:
        return {}
    names = frozenset(names)
    return {name: row for row, name in enumerate(image_names(embeddings)) if name in names}
