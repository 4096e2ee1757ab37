"""The images of embedded rows, read again from their sources."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from ...store import Artifact, MissingError
from ..contract import Runtime
from ..sources.source import Entry, SampleSource

T = TypeVar("T")

_AT_ONCE = 64
"""Images that are read before their results are taken: bounds the memory."""


def map_images(
    see: Callable[[Entry | None], T],
    embeddings: Artifact,
    part: str,
    runtime: Runtime,
    scratch: Path,
    *,
    rows: np.ndarray | None = None,
    may_be_gone: bool = False,
) -> Iterator[T]:
    """The results of `see` for each image of a part, in row order, on all cores; with progress.

    `rows` are the rows of the part that are read, or all of them. An image that is no longer in its
    source is None for `see` if it may be gone; else MissingError names it before any is read.
    MissingError if the source itself is gone.
    """
    source = runtime.sources.get(part)
    if source is None:
        raise MissingError(
            f"the images of part {part} of the embeddings are not where they were, or were "
            "imported without images: name their place with --images, --shards or --table of "
            "`cpp-pipe embed`; nothing is embedded twice"
        )
    column = embeddings.table(part, columns=["key"]).column(0)
    keys = (column if rows is None else column.take(rows)).to_pylist()
    with cast(SampleSource, source).open(scratch) as opened:
        entries = {entry.key: entry for entry in opened.samples}
        gone = [key for key in keys if key not in entries]
        if gone and not may_be_gone:
            raise MissingError(
                f"{gone[0]} is no longer in {source.path}: embed it again, or put it back"
            )
        yield from _map(see, [entries.get(key) for key in keys], runtime)


def _map(
    see: Callable[[Entry | None], T], entries: Sequence[Entry | None], runtime: Runtime
) -> Iterator[T]:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(entries), _AT_ONCE):
            block = entries[start : start + _AT_ONCE]
            yield from pool.map(see, block)
            runtime.progress.advance(len(block))
