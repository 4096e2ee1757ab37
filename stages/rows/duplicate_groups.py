"""Reads images in the order in which duplicates are kept, and writes groups of duplicates."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ...store import Artifact, Product, Scratch

if TYPE_CHECKING:
    import pyarrow as pa


def read_images(embeddings: Artifact) -> "pa.Table":
    """Key, shard and size of every image, in row order."""
    import pyarrow as pa

    columns = ["key", "shard", "width", "height"]
    tables = [embeddings.table(part.name, columns=columns) for part in embeddings.parts]
    return pa.concat_tables(tables)


def by_preference(images: "pa.Table") -> np.ndarray:
    """Row numbers, the largest image first, then by key and shard; unknown sizes come last."""
    import pyarrow as pa
    import pyarrow.compute as pc

    width, height = (images.column(name).cast(pa.int64()) for name in ("width", "height"))
    area = pc.fill_null(pc.multiply(width, height), 0)
    order = pc.sort_indices(
        images.append_column("area", area),
        sort_keys=[("area", "descending"), ("key", "ascending"), ("shard", "ascending")],
    )
    return order.to_numpy().astype("int64")


def write_groups(
    images: "pa.Table",
    kept: np.ndarray,
    similarity: np.ndarray,
    scratch: Scratch,
    **facts: Any,
) -> Product:
    """Writes the groups: the kept image first, then the most similar."""
    from ..algorithms.duplicates.near_duplicates import NONE

    dropped = np.flatnonzero(kept != NONE)
    leaders = np.unique(kept[dropped])
    rows = np.concatenate([leaders, dropped])
    group = np.searchsorted(leaders, np.concatenate([leaders, kept[dropped]]))
    is_kept = np.arange(len(rows)) < len(leaders)
    order = np.lexsort((rows, -similarity[rows], ~is_kept, group))
    rows, group, is_kept = rows[order], group[order], is_kept[order]
    arrays = {"group": group, "row": rows, "kept": is_kept, "similarity": similarity[rows]}
    columns = images.take(rows).to_pydict()
    scratch.write_table("rows", {**columns, **arrays})
    sizes = np.bincount(group, minlength=1)
    return Product(
        rows=len(rows),
        shared={
            "rows_in_all": len(images),
            "groups": len(leaders),
            "dropped": len(dropped),
            "largest": int(sizes.max()),
            **facts,
        },
    )
