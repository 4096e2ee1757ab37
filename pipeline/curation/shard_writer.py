"""Writes selected samples as tar shards into a new folder, with a manifest of their places."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...stages.rows.sampled_rows import split_by_part
from ...stages.sources.tar.listing import BLOCK
from ...store import Artifact
from ...store.files import sync
from ..view.columns import read_rows
from .files import whole_folder
from .members import ChosenRow, Copier, Sample
from .sources import find_sources

MANIFEST = "manifest.parquet"
_RECORD = 20 * BLOCK
"""The size of a tar is a multiple of this record, as in POSIX and GNU tar."""


@dataclass(frozen=True, kw_only=True)
class WrittenShards:
    """The shards that were written, and their counts."""

    shards: tuple[Path, ...]
    samples: int
    bytes: int
    """The size of all shards together."""
    links: int
    """The number of members that were links; they are not copied."""


def write_shards(
    rows: np.ndarray,
    embeddings: Artifact,
    places: Mapping[str, str],
    out: Path,
    *,
    samples_per_shard: int = 1000,
    prefix: str = "",
    report: Callable[[int], None] = lambda samples: None,
) -> WrittenShards:
    """Copies the samples of ascending rows, in order, into shards in a new folder `out`.

    Members of tar shards are copied with their headers, block for block; images of folders and
    tables become samples as in `pack`. A repeated key begins a new shard, because keys are unique
    in a shard. The folder appears complete or not at all. ConfigError if `out` is not empty or
    cannot be written, MissingError if a source is gone or was changed.
    """
    rows_by_part = _rows_by_part(rows, embeddings)
    with whole_folder(out) as folder:
        copier = Copier(folder)
        sources = find_sources(embeddings, places, rows_by_part)
        with Shards(folder, prefix, samples_per_shard) as shards:
            for part, part_rows in rows_by_part.items():
                shard = embeddings.part_names[part].facts["shard"]
                for sample in copier.copy(sources[part], part_rows):
                    shards.add(shard, sample)
                    report(1)
        assert len(shards.rows) == len(rows), f"{len(shards.rows)} of {len(rows)} were copied"
        write_manifest(folder / MANIFEST, shards.rows)
    return WrittenShards(
        shards=tuple(out / path.name for path in shards.paths),
        samples=len(shards.rows),
        bytes=shards.bytes,
        links=copier.links,
    )


def _rows_by_part(rows: np.ndarray, embeddings: Artifact) -> dict[str, list[ChosenRow]]:
    """The rows of each part that has such rows."""
    rows_by_part: dict[str, list[ChosenRow]] = {}
    for part, rows_in_part in split_by_part(embeddings, rows):
        numbers = rows_in_part + embeddings.starts[part]
        values = read_rows(embeddings, numbers, ("key", "offset", "size"))
        rows_by_part[part] = [
            ChosenRow(number=number, **row)
            for number, row in zip(numbers.tolist(), values, strict=True)
        ]
    return rows_by_part


class Shards:
    """Tar shards in a folder, filled one after another."""

    def __init__(self, folder: Path, prefix: str, samples_per_shard: int) -> None:
        self.paths: list[Path] = []
        self.rows: list[dict[str, Any]] = []
        """The rows of the manifest."""
        self.bytes = 0
        self._folder, self._prefix, self._most = folder, prefix, samples_per_shard
        self._file: BinaryIO | None = None
        self._keys: set[str] = set()
        self._position = 0

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, *raised: object) -> None:
        with ExitStack() as stack:
            if self._file is not None:
                stack.callback(self._file.close)
            if raised[0] is None:
                self._finish()

    def add(self, shard: str, sample: Sample) -> None:
        """Writes a sample that came from `shard` into the current shard, or begins the next."""
        if len(self._keys) == self._most or sample.key in self._keys:
            self._finish()
        if self._file is None:
            self.paths.append(self._folder / f"{self._prefix}{len(self.paths):05d}.tar")
            self._file = self.paths[-1].open("xb")
        self.rows.append(
            {
                "row": sample.row.number,
                "key": sample.row.key,
                "shard": shard,
                "new_key": sample.key,
                "new_shard": self.paths[-1].name,
                "offset": self._position + sample.offset,
                "size": sample.size,
            }
        )
        self._file.write(sample.blocks)
        self._keys.add(sample.key)
        self._position += len(sample.blocks)

    def _finish(self) -> None:
        """Ends the current shard with two empty blocks, padded to a whole record."""
        if self._file is None:
            return
        end = -(-(self._position + 2 * BLOCK) // _RECORD) * _RECORD
        self._file.write(bytes(end - self._position))
        self._file.close()
        sync(self.paths[-1])
        self.bytes += end
        self._file, self._position = None, 0
        self._keys.clear()


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes the manifest from `Shards.rows`, at least one row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"row": pa.int64(), "offset": pa.int64(), "size": pa.int64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    sync(path)
