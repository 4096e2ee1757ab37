"""A timed sample of what `embed` would do: how fast it is, and how much it would write."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import cast

from ...store import Scratch
from ...store.kinds import EMBEDDINGS
from ...store.temporary import temporary_folder
from ..contract import Runtime
from ..sources.images.folders import FolderChunk
from ..sources.source import Entry, Samples, SampleSource
from .embedder import Embedder
from .encoder import Encoder
from .part_tables import EmbeddingRows

SECONDS = 10.0
"""How long the sample takes, unless a batch on each core takes longer."""

_MOST_SOURCES, _MOST_FOLDERS = 8, 64
"""Most sources that images are taken from, evenly spaced. A folder may hold a single image, and
opening it costs nothing; shards and tables are listed when they are opened."""

_RUN = 16
"""Consecutive images taken from a source at a time: a table is read in groups of rows."""

_RECORD_BYTES = 3_000
"""The record of a part, and its entry in the manifest: 1.5 KB each."""


@dataclass(frozen=True, kw_only=True)
class TimedSample:
    """The time that embedding some images took, and their size in the store."""

    images: int
    """Images that were timed, whether embedded or skipped."""
    seconds: float
    skipped: int
    """Skipped images of the whole sample, including those before the clock started."""
    seen: int
    """All images of the sample."""
    listed: Mapping[str, int]
    """Number of samples in each source that was opened, by its part."""
    bytes_for_image: float
    """Bytes in the store for each image."""
    bytes_for_part: float
    """Bytes in the store for each part, besides its images."""

    @property
    def per_second(self) -> float:
        """Images a second."""
        return self.images / self.seconds if self.seconds else 0.0


def time_sample(
    encoder: Encoder, sources: Mapping[str, SampleSource], runtime: Runtime
) -> TimedSample:
    """Embeds images from sources, by their part, for about `SECONDS`, as `embed` would.

    Keeps nothing.

    The first images, which warm up the model, are not timed, unless they alone take half of the
    time or there are hardly any others.
    """
    embedder = Embedder(encoder, runtime.batch_size)
    rows = EmbeddingRows(shard="sample", size=encoder.size)
    with temporary_folder() as scratch, contextlib.ExitStack() as stack:
        opened = {
            part: cast(Samples, stack.enter_context(sources[part].open(scratch)))
            for part in _spread(sources)
        }
        entries = list(_mixed([samples.samples for samples in opened.values()]))
        runtime.progress.start("sample", min(len(entries), embedder.at_once), "images")

        def embed(images: Sequence[Entry]) -> float:
            start = time.perf_counter()
            with contextlib.closing(embedder.embed(images)) as batches:
                for batch in batches:
                    rows.add(batch)
                    runtime.progress.advance(len(batch.entries), skipped=batch.skipped)
            return time.perf_counter() - start

        first = entries[: embedder.at_once]
        seconds, timed = embed(first), len(first)
        # Whole rounds, or cores would wait for one another at the end.
        rounds = int(SECONDS // seconds) if seconds else 0
        rest = entries[len(first) : (1 + rounds) * embedder.at_once]
        if rounds >= 2 and rest:
            runtime.progress.revise(len(first) + len(rest))
            rest_seconds = embed(rest)
            is_warm = len(rest) >= len(first)
            seconds, timed = (
                (rest_seconds, len(rest))
                if is_warm
                else (seconds + rest_seconds, timed + len(rest))
            )
        runtime.progress.end()
        empty = _written(EmbeddingRows(shard="sample", size=encoder.size), encoder, scratch)
        seen = len(rows.rows) + len(rows.skipped)
        return TimedSample(
            images=timed,
            seconds=seconds,
            skipped=len(rows.skipped),
            seen=seen,
            listed={
                part: len(samples.samples) + len(samples.faults) for part, samples in opened.items()
            },
            bytes_for_image=(_written(rows, encoder, scratch) - empty) / max(seen, 1),
            bytes_for_part=empty + _RECORD_BYTES,
        )


def _spread(sources: Mapping[str, SampleSource]) -> list[str]:
    """Some local parts, evenly spaced; without any, one remote one, which is downloaded whole."""
    local = [part for part, source in sources.items() if isinstance(source.path, Path)]
    are_folders = all(isinstance(sources[part], FolderChunk) for part in local)
    count = min(_MOST_FOLDERS if are_folders else _MOST_SOURCES, len(local))
    chosen = [local[number * len(local) // count] for number in range(count)]
    return chosen or list(sources)[:1]


def _mixed(samples: Sequence[Sequence[Entry]]) -> Iterator[Entry]:
    """The entries of all sources, some of each in turn."""
    runs = (
        [entries[start : start + _RUN] for start in range(0, len(entries), _RUN)]
        for entries in samples
    )
    for turn in zip_longest(*runs, fillvalue=()):
        for run in turn:
            yield from run


def _written(rows: EmbeddingRows, encoder: Encoder, folder: Path) -> int:
    """Bytes of the files of a part with these rows."""
    scratch = Scratch(folder, "sample", EMBEDDINGS, folder)
    rows.write(scratch, {}, encoder.identity)
    return sum(scratch.path(role).stat().st_size for role in EMBEDDINGS.files)
