"""A Parquet file for embedding-atlas: places on a map, neighbours, and small pictures if asked."""

import importlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...stages.indexing.vectors import VectorRows
from ...store import MissingError
from ..curation.files import whole
from ..curation.sources import read_pictures
from .rows import Rows, write_tables

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Projection = Literal["pca", "umap"]

NEIGHBOURS = 15
"""For each row, as embedding-atlas itself finds."""
_QUERIES = 1024
"""Rows that are compared with all others at once."""


def export_embedding_atlas(
    rows: Rows,
    out: Path,
    *,
    projection: Projection = "pca",
    thumbnail: int = 0,
    places: Mapping[str, str] | None = None,
) -> None:
    """Writes `projection_x`, `projection_y` and `neighbors` beside the columns of `Rows.tables`.

    All three are of the features where there are any, else of the embeddings. `neighbors` holds row
    numbers and distances (1 − cosine), nearest first. With a `thumbnail` of so many pixels a side
    `image` holds JPEGs, for which `places` says where the sources lie. Every pair of rows is
    compared. MissingError where UMAP is asked for and not there.
    """
    import numpy as np

    source = rows.embeddings if rows.features is None else rows.features
    x = VectorRows(source).take(np.arange(source.rows)).astype(np.float32)
    with whole(out) as temporary:
        places_of = project(x, projection)
        near = neighbours(x, min(NEIGHBOURS, len(x) - 1))
        pictures = read_pictures(rows.embeddings, places or {}) if thumbnail else None
        tables = _tables(rows, places_of, near, pictures, thumbnail)
        write_tables(temporary, tables)


def _tables(
    rows: Rows,
    x_y: "np.ndarray",
    near: "tuple[np.ndarray, np.ndarray]",
    pictures: Iterator[bytes] | None,
    thumbnail: int,
) -> "Iterator[pa.Table]":
    import pyarrow as pa

    start = 0
    for table in rows.tables(vectors=()):
        own = slice(start, start + len(table))
        start += len(table)
        columns: dict[str, Any] = {
            "projection_x": pa.array(x_y[own, 0]),
            "projection_y": pa.array(x_y[own, 1]),
            "neighbors": _as_structs(near[0][own], near[1][own]),
        }
        if pictures is not None:
            columns["image"] = _thumbnails(pictures, table, thumbnail)
        for name, column in columns.items():
            table = table.append_column(name, column)
        yield table


def project(x: "np.ndarray", how: Projection) -> "np.ndarray":
    """Rows (n, d) as points (n, 2) in float32: their leading principal directions, or UMAP's."""
    import numpy as np

    if how == "umap":
        try:
            umap = importlib.import_module("umap")
        except ImportError as error:
            raise MissingError(
                "--projection umap needs umap-learn, which comes with embedding-atlas: "
                "pip install 'cpp-pipe[atlas]'"
            ) from error
        return umap.UMAP(metric="cosine", random_state=0).fit_transform(x).astype(np.float32)
    centred = x - x.mean(0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return (centred @ vectors[:, :-3:-1]).astype(np.float32)


def neighbours(x: "np.ndarray", k: int) -> "tuple[np.ndarray, np.ndarray]":
    """Numbers (n, k) of the rows nearest to each row, itself left out, and 1 − their cosines."""
    import numpy as np

    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    ids, distances = np.empty((len(x), k), np.int64), np.empty((len(x), k), np.float32)
    for start in range(0, len(x), _QUERIES):
        queries = np.arange(start, min(start + _QUERIES, len(x)))
        cosine = unit[queries] @ unit.T
        cosine[queries - start, queries] = -np.inf
        some = np.argpartition(-cosine, max(0, k - 1), axis=1)[:, :k]
        near = np.take_along_axis(cosine, some, 1)
        order = np.lexsort((some, -near), axis=1)
        ids[queries] = np.take_along_axis(some, order, 1)
        distances[queries] = np.maximum(0, 1 - np.take_along_axis(near, order, 1))
    return ids, distances


def _as_structs(ids: "np.ndarray", distances: "np.ndarray") -> "pa.Array":
    import pyarrow as pa

    n, k = ids.shape
    ends = pa.array(range(0, (n + 1) * k, k) if k else [0] * (n + 1), pa.int32())
    lists = [pa.ListArray.from_arrays(ends, pa.array(one.reshape(-1))) for one in (ids, distances)]
    return pa.StructArray.from_arrays(lists, ["ids", "distances"])


def _thumbnails(pictures: Iterator[bytes], table: "pa.Table", side: int) -> "pa.Array":
    """Small JPEGs as Hugging Face's struct of bytes and path."""
    import pyarrow as pa

    from ...stages.sources.images.pixels import decode

    found = []
    for key in table.column("key").to_pylist():
        picture = decode(next(pictures), at_least=side).rgb
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=85)
        found.append({"bytes": buffer.getvalue(), "path": key})
    return pa.array(found, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
