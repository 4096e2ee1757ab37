"""Rows of all parts in one array, and where each of them lies."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..store import Artifact, StoreError
from ..store.kinds import EMBEDDINGS
from ..store.pages import find_pages, read_pages

if TYPE_CHECKING:
    from .algorithms.views import View

EMBEDDING = "embedding"
"""Names the vectors of an embeddings artifact where an array of features would be named."""

_BLOCK_BYTES = 1 << 24
"""Of one read: 16 MiB are many pages of a file, and enough reads of a part for several threads."""

_MOST_THREADS = 8
"""Reading is copying: a few threads use all of the memory's bandwidth, more only switch."""


def iterate(artifact: Artifact, role: str | None = None):
    """Part by part, in row order: the part's name and its float16 rows."""
    for part in artifact.parts:
        yield part.name, read_part(artifact, part.name, role)


def read_part(artifact: Artifact, part: str, role: str | None = None) -> np.ndarray:
    """The float16 rows (n, d) of one part."""
    role = role or _own_role(artifact)
    return artifact.embeddings(part) if role == EMBEDDING else artifact.array(part, role)


def _own_role(artifact: Artifact) -> str:
    """Names the rows of what heads take: embeddings, or several views of each image."""
    return EMBEDDING if artifact.kind is EMBEDDINGS else "x"


def views_of(source: Artifact) -> "list[View]":
    """How a row of what heads take is divided; empty where it is an embedding alone."""
    from .algorithms.views import View

    return [View(one["size"], one["share"]) for one in source.facts.get("views", ())]


def gather(
    artifact: Artifact, role: str | None = None, *, threads: int | None = None
) -> np.ndarray:
    """All rows of an artifact: float16 (N, d) embeddings or views, or an array of its features.

    Read in blocks by several threads, straight into the array: nothing is held twice.
    """
    width, blocks = blocks_of(artifact, role)
    gathered = np.empty((artifact.rows, width), np.float16)

    def read(block: Block) -> None:
        block.read(gathered[block.start : block.start + block.rows])

    threads = threads or min(os.cpu_count() or 1, _MOST_THREADS)
    with ThreadPoolExecutor(max(1, min(threads, len(blocks)))) as pool:
        for _ in pool.map(read, blocks):
            pass  # raises what a block raised
    return gathered


def gather_rows(artifact: Artifact, role: str, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Some rows of an artifact, by their ascending numbers over all parts."""
    wanted = np.asarray(rows, np.int64)
    blocks = []
    for name, block in iterate(artifact, role):
        start = artifact.starts[name]
        inside = wanted[(wanted >= start) & (wanted < start + len(block))] - start
        blocks.append(np.asarray(block[inside]))
    return np.concatenate(blocks)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Neighbouring rows of one part, not read yet."""

    start: int
    """The number of its first row over all parts."""
    rows: int
    read: Callable[[np.ndarray], None]
    """Fills a contiguous float16 array (rows, d); any thread may call it."""


def blocks_of(
    artifact: Artifact, role: str | None = None, most_rows: int | None = None
) -> tuple[int, list[Block]]:
    """The width d, 0 without parts, and all rows as blocks in row order.

    Only a Parquet file that is compressed or has a dictionary, as no stage writes it, comes in
    blocks of more than `most_rows`: a row group each. StoreError when parts differ in width.
    """
    role = role or _own_role(artifact)
    cut = _cut_table if role == EMBEDDING else _cut_array
    file = "rows" if role == EMBEDDING else role
    artifact.fetch(file)
    width, blocks = 0, []
    for part in artifact.parts:
        path = artifact.path(part.name, file)
        found, some = cut(path, artifact.starts[part.name], most_rows)
        if part is not artifact.parts[0] and found != width:
            raise StoreError(
                f"{path} has rows of {found} numbers, the part {artifact.parts[0].name} "
                f"rows of {width}: all parts must be of one width"
            )
        width = found
        blocks += some
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
    """A row group as Arrow decodes it, some rows at a time."""
    import pyarrow.parquet as pq

    row, step = 0, _rows_of_block(out.shape[1], None)
    with pq.ParquetFile(path) as file:
        for some in file.iter_batches(step, [group], columns=["embedding"], use_threads=False):
            flat = some.column(0).flatten().to_numpy(zero_copy_only=False)
            out[row : row + len(some)] = flat.reshape(len(some), -1)
            row += len(some)
