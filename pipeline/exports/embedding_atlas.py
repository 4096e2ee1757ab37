"""A Parquet file for embedding-atlas: places on a map, neighbours, and thumbnails on request."""

import importlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...stages.indexing.vectors import VectorRows
from ...store import MissingError
from ..curation.files import whole_file
from ..curation.sources import read_images, requiring_image
from .image_table import ImageTable, write_tables

if TYPE_CHECKING:
    import pyarrow as pa

Projection = Literal["pca", "umap"]

NEIGHBOURS = 15
"""Neighbours of each row: as many as embedding-atlas itself finds."""
_QUERIES = 1024
"""Rows that are compared with all others at once."""


def export_embedding_atlas(
    images: ImageTable,
    out: Path,
    *,
    projection: Projection = "pca",
    thumbnail: int = 0,
    places: Mapping[str, str] | None = None,
) -> None:
    """Writes the columns of the table, `projection_x`, `projection_y` and `neighbors`.

    The latter three are of the features if there are any, else of the embeddings. `neighbors` holds
    row numbers and distances (1 − cosine), nearest first. `thumbnail` is the pixels a side of the
    JPEGs in `image`, 0 for none; they need `places`, where each part's source lies. Every row is
    compared with every other. MissingError if UMAP is wanted and not installed.
    """
    source = images.embeddings if images.features is None else images.features
    x = VectorRows(source).take(np.arange(source.rows)).astype(np.float32)
    with whole_file(out) as temporary:
        x_y = project(x, projection)
        nearest = find_neighbours(x, min(NEIGHBOURS, len(x) - 1))
        encoded = read_images(images.embeddings, places or {}) if thumbnail else None
        write_tables(temporary, _tables(images, x_y, nearest, encoded, thumbnail))


def _tables(
    images: ImageTable,
    x_y: np.ndarray,
    nearest: tuple[np.ndarray, np.ndarray],
    encoded: Iterator[bytes] | None,
    thumbnail: int,
) -> "Iterator[pa.Table]":
    import pyarrow as pa

    start = 0
    for table in images.tables(vectors=()):
        own = slice(start, start + len(table))
        start += len(table)
        columns: dict[str, Any] = {
            "projection_x": pa.array(x_y[own, 0]),
            "projection_y": pa.array(x_y[own, 1]),
            "neighbors": _as_structs(nearest[0][own], nearest[1][own]),
        }
        if encoded is not None:
            columns["image"] = _thumbnails(encoded, table, thumbnail)
        for name, column in columns.items():
            table = table.append_column(name, column)
        yield table


def project(x: np.ndarray, how: Projection) -> np.ndarray:
    """Rows (n, d) as points (n, 2) in float32: their leading principal directions, or UMAP's."""
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


def find_neighbours(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (n, k) of the rows nearest to each row, itself left out, and 1 − their cosines."""
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    ids, distances = np.empty((len(x), k), np.int64), np.empty((len(x), k), np.float32)
    for start in range(0, len(x), _QUERIES):
        queries = np.arange(start, min(start + _QUERIES, len(x)))
        cosine = unit[queries] @ unit.T
        cosine[queries - start, queries] = -np.inf
        best = np.argpartition(-cosine, max(0, k - 1), axis=1)[:, :k]
        best_cosine = np.take_along_axis(cosine, best, 1)
        order = np.lexsort((best, -best_cosine), axis=1)
        ids[queries] = np.take_along_axis(best, order, 1)
        distances[queries] = np.maximum(0, 1 - np.take_along_axis(best_cosine, order, 1))
    return ids, distances


def _as_structs(ids: np.ndarray, distances: np.ndarray) -> "pa.Array":
    import pyarrow as pa

    n, k = ids.shape
    ends = pa.array(range(0, (n + 1) * k, k) if k else [0] * (n + 1), pa.int32())
    lists = [
        pa.ListArray.from_arrays(ends, pa.array(numbers.reshape(-1)))
        for numbers in (ids, distances)
    ]
    return pa.StructArray.from_arrays(lists, ["ids", "distances"])


def _thumbnails(encoded: Iterator[bytes], table: "pa.Table", side: int) -> "pa.Array":
    """Small JPEGs as Hugging Face's struct of bytes and path."""
    import pyarrow as pa

    from ...stages.sources.images.pixels import decode

    thumbnails = []
    for key in table.column("key").to_pylist():
        with requiring_image(key):
            image = decode(next(encoded), at_least=side, upright=True).rgb
            image.thumbnail((side, side))
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=85)
            thumbnails.append({"bytes": buffer.getvalue(), "path": key})
    return pa.array(thumbnails, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
