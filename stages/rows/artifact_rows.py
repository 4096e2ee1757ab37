"""Rows of an artifact's vectors over all its parts: in one array, or in blocks."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...store import Artifact, StoreError
from ...store.kinds import EMBEDDINGS
from ...store.pages import find_pages, read_pages

if TYPE_CHECKING:
    from ..algorithms.views import View

EMBEDDING = "embedding"
"""The role of an embeddings artifact's vectors; features have the roles of their arrays."""

_BLOCK_BYTES = 1 << 24
"""Size of one read: 16 MiB are many pages of a file, and leave enough reads for several threads."""

_MOST_THREADS = 8
"""Reading is copying: a few threads use all memory bandwidth, more would only switch."""


def iterate(artifact: Artifact, role: str | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the float16 rows of each part, in row order."""
    for part in artifact.parts:
        yield part.name, read_part(artifact, part.name, role)


def read_part(artifact: Artifact, part: str, role: str | None = None) -> np.ndarray:
    """The float16 rows (n, d) of one part."""
    role = role or own_role(artifact)
    return artifact.embeddings(part) if role == EMBEDDING else artifact.array(part, role)


def own_role(artifact: Artifact) -> str:
    """The role of the rows that heads take: embeddings, or several views of each image."""
    return EMBEDDING if artifact.kind is EMBEDDINGS else "x"


def views_of(source: Artifact) -> "list[View]":
    """The views that a row of the heads' input consists of; empty for a plain embedding."""
    from ..algorithms.views import View

    return [View(view["size"], view["share"]) for view in source.facts.get("views", ())]


def gather(
    artifact: Artifact, role: str | None = None, *, threads: int | None = None
) -> np.ndarray:
    """All rows of an artifact: float16 (N, d) embeddings or views, or an array of its features.

    Several threads read blocks straight into the array, so nothing is held twice.
    """
    width, blocks = blocks_of(artifact, role)
    gathered = np.empty((artifact.rows, width), np.float16)

    def read(block: Block) -> None:
        block.read(gathered[block.start : block.start + block.rows])

    threads = threads or min(os.cpu_count() or 1, _MOST_THREADS)
    with ThreadPoolExecutor(max(1, min(threads, len(blocks)))) as pool:
        for _ in pool.map(read, blocks):
            pass  # raises the error of a block
    return gathered


@dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive rows of one part, not read yet."""

    start: int
    """Row number of its first row, over all parts."""
    rows: int
    read: Callable[[np.ndarray], None]
    """Fills a contiguous float16 array (rows, d); any thread may call it."""


def blocks_of(
    artifact: Artifact, role: str | None = None, most_rows: int | None = None
) -> tuple[int, list[Block]]:
    """The width d (0 without parts), and all rows as blocks in row order.

    A block has at most `most_rows`, except in a Parquet file that is compressed or has a
    dictionary, where a block is a row group; no stage writes such files. StoreError if parts
    differ in width.
    """
    role = role or own_role(artifact)
    cut = _cut_table if role == EMBEDDING else _cut_array
    file = "rows" if role == EMBEDDING else role
    artifact.fetch(file)
    width, blocks = 0, []
    for part in artifact.parts:
        path = artifact.path(part.name, file, is_read_whole=True)
        part_width, part_blocks = cut(path, artifact.starts[part.name], most_rows)
        if part is not artifact.parts[0] and part_width != width:
            raise StoreError(
                f"{path} has rows of {part_width} numbers, the part {artifact.parts[0].name} "
                f"rows of {width}: all parts must have the same width"
            )
        width = part_width
        blocks += part_blocks
    return width, blocks


def _rows_of_block(width: int, most_rows: int | None) -> int:
    rows = max(1, _BLOCK_BYTES // (2 * max(1, width)))
    return rows if most_rows is None else min(rows, most_rows)


def _cut_array(path: Path, start: int, most_rows: int | None) -> tuple[int, list[Block]]:

    array = np.load(path, mmap_mode="r", allow_pickle=False)
    width = array.shape[1]
    step = _rows_of_block(width, most_rows)
    slices = [(first, array[first : first + step]) for first in range(0, len(array), step)]
    return width, [
        Block(start=start + first, rows=len(rows), read=partial(_read_array, rows))
        for first, rows in slices
    ]


def _read_array(rows: np.ndarray, out: np.ndarray) -> None:
    out[:] = rows


def _cut_table(path: Path, start: int, most_rows: int | None) -> tuple[int, list[Block]]:
    import pyarrow.parquet as pq

    blocks: list[Block] = []
    with pq.ParquetFile(path) as file:
        field = file.schema_arrow.field("embedding")
        width = field.type.list_size
        is_full = not (field.nullable or field.type.value_field.nullable)
        step = _rows_of_block(width, most_rows)
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            pages = find_pages(path, file.metadata.row_group(group), width) if is_full else None
            if pages is None:
                blocks.append(Block(start=start, rows=rows, read=partial(_read_group, path, group)))
            else:
                blocks += [
                    Block(
                        start=start + first,
                        rows=min(step, rows - first),
                        read=partial(read_pages, path, pages, first * width),
                    )
                    for first in range(0, rows, step)
                ]
            start += rows
    return width, blocks


def _read_group(path: Path, group: int, out: np.ndarray) -> None:
    """Reads a row group through Arrow, some rows at a time."""
    import pyarrow.parquet as pq

    row, step = 0, _rows_of_block(out.shape[1], None)
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(step, [group], columns=["embedding"], use_threads=False):
            flat = batch.column(0).flatten().to_numpy(zero_copy_only=False)
            out[row : row + len(batch)] = flat.reshape(len(batch), -1)
            row += len(batch)


def pick_evenly(rows: np.ndarray, n: int) -> np.ndarray:
    """At most n of the row numbers, evenly spaced."""
    if len(rows) <= n:
        return rows
    return rows[np.linspace(0, len(rows) - 1, n).round().astype(np.int64)]
