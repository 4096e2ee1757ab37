"""Writes a Parquet file for embedding-atlas: points of a map, neighbours, optional thumbnails."""

import contextlib
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
"""Neighbours of each row: the default of embedding-atlas."""
_QUERIES = 1024
"""The most rows that are compared with all others at once."""
_COSINES = 1 << 26
"""The most cosines that are held at once: those of 1024 rows with a million take tens of GB."""


def export_embedding_atlas(
    images: ImageTable,
    out: Path,
    *,
    projection: Projection = "pca",
    thumbnail: int = 0,
    places: Mapping[str, str] | None = None,
) -> None:
    """Writes the columns of the table, `projection_x`, `projection_y` and `neighbors`.

    Map and neighbours come from the features if there are any, else from the embeddings.
    `neighbors` has row numbers and distances (1 − cosine), nearest first. `thumbnail` is the side
    in pixels of the JPEGs in `image`, 0 for none; thumbnails need `places`, the location of each
    part's source. Every row is compared with every other. MissingError if UMAP is wanted but not
    installed.
    """
    source = images.embeddings if images.features is None else images.features
    x = VectorRows(source).take(np.arange(source.rows)).astype(np.float32)
    with whole_file(out) as temporary, contextlib.ExitStack() as stack:
        points = project(x, projection)
        neighbours = find_neighbours(x, min(NEIGHBOURS, len(x) - 1))
        encoded = None
        if thumbnail:
            encoded_images = read_images(images.embeddings, places or {})
            encoded = stack.enter_context(encoded_images)
        write_tables(temporary, _tables(images, points, neighbours, encoded, thumbnail))


def _tables(
    images: ImageTable,
    points: np.ndarray,
    neighbours: tuple[np.ndarray, np.ndarray],
    encoded: Iterator[bytes] | None,
    thumbnail: int,
) -> "Iterator[pa.Table]":
    import pyarrow as pa

    ids, distances = neighbours
    start = 0
    for table in images.tables(vectors=()):
        rows = slice(start, start + len(table))
        start += len(table)
        columns: dict[str, Any] = {
            "projection_x": pa.array(points[rows, 0]),
            "projection_y": pa.array(points[rows, 1]),
            "neighbors": _as_structs(ids[rows], distances[rows]),
        }
        if encoded is not None:
            columns["image"] = _thumbnails(encoded, table, thumbnail)
        for name, column in columns.items():
            table = table.append_column(name, column)
        yield table


def project(x: np.ndarray, method: Projection) -> np.ndarray:
    """Rows (n, d) as points (n, 2) in float32: their first principal components, or by UMAP.

    The second component of rows of one number is 0.
    """
    if method == "umap":
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
    points = (centred @ vectors[:, :-3:-1]).astype(np.float32)
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))


def find_neighbours(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k other rows nearest to each row: their numbers and distances (1 − cosine), (n, k)."""
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    ids, distances = np.empty((len(x), k), np.int64), np.empty((len(x), k), np.float32)
    at_once = max(1, min(_QUERIES, _COSINES // len(x)))
    for start in range(0, len(x), at_once):
        queries = np.arange(start, min(start + at_once, len(x)))
        cosines = unit[queries] @ unit.T
        cosines[queries - start, queries] = -np.inf
        nearest = np.argpartition(-cosines, max(0, k - 1), axis=1)[:, :k]
        nearest_cosines = np.take_along_axis(cosines, nearest, 1)
        order = np.lexsort((nearest, -nearest_cosines), axis=1)
        ids[queries] = np.take_along_axis(nearest, order, 1)
        distances[queries] = np.maximum(0, 1 - np.take_along_axis(nearest_cosines, order, 1))
    return ids, distances


def _as_structs(ids: np.ndarray, distances: np.ndarray) -> "pa.Array":
    """Neighbours (n, k) as a column of structs of two lists."""
    import pyarrow as pa

    n, k = ids.shape
    ends = pa.array(range(0, (n + 1) * k, k) if k else [0] * (n + 1), pa.int32())
    lists = [
        pa.ListArray.from_arrays(ends, pa.array(values.reshape(-1))) for values in (ids, distances)
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
