"""The sources that a run was embedded from, found again and checked to be unchanged."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ...stages.contract import Source
from ...stages.sources.changes import is_unchanged, name_as
from ...stages.sources.images.folders import find_chunks
from ...stages.sources.images.pixels import UndecodableImage
from ...stages.sources.source import Entry, SampleSource
from ...stages.sources.tables.files import TableFile
from ...store import Artifact, ConfigError, MissingError, PartRecord, ShardError
from ...store.temporary import temporary_folder
from ..view.columns import split_by_part
from ..view.images import source_kind
from ..view.source_identity import shard_at
from .changed_files import describe_changes

if TYPE_CHECKING:
    import numpy as np

_SHOWN = 5
"""Faults that an error lists."""

_FLAGS = {"tar": "--shards", "images": "--images", "table": "--table"}


def find_sources(
    embeddings: Artifact, places: Mapping[str, str], parts: Iterable[str]
) -> dict[str, Source]:
    """The sources of some parts, by part name.

    `places` says where each part's source lies. MissingError names those that are gone or were
    changed since they were embedded.
    """
    find_folder = cache(_folder)
    sources: dict[str, Source] = {}
    faults: list[str] = []
    flags: set[str] = set()
    changed: dict[tuple[str, str], list[PartRecord]] = {}
    for name in parts:
        part = embeddings.part_names[name]
        kind = source_kind(part, embeddings)
        if kind not in _FLAGS or name not in places:
            raise MissingError(
                f"{part.facts['shard']} was imported without images: there is nothing to copy"
            )
        try:
            source = _find(kind, places[name], part, embeddings, find_folder)
        except (ConfigError, ShardError) as error:
            faults.append(str(error))
            flags.add(_FLAGS[kind])
            continue
        if source is None:
            changed.setdefault((kind, places[name]), []).append(part)
            flags.add(_FLAGS[kind])
        else:
            sources[name] = source
    for (kind, place), records in changed.items():
        files = describe_changes(embeddings, Path(place), records) if kind == "images" else ""
        faults.append(f"{place} was changed since it was embedded{files}")
    if faults:
        faults = list(dict.fromkeys(faults))
        more = f"; and {len(faults) - _SHOWN:,} more" if len(faults) > _SHOWN else ""
        raise MissingError(
            f"{'; '.join(faults[:_SHOWN])}{more}: put it back, or run `cpp-pipe embed "
            f"{' '.join(sorted(flags))}` with what there is now; nothing is embedded twice"
        )
    return sources


def read_images(
    embeddings: Artifact, places: Mapping[str, str], allowed: np.ndarray | None = None
) -> Iterator[bytes]:
    """The encoded image of every row, in row order; opens each source once.

    With `allowed`, bool (n,), only those of these rows.

    MissingError, before the first image, if a source is gone or was changed.
    """
    rows = {}
    for part in embeddings.parts:
        here = slice(start := embeddings.starts[part.name], start + part.rows)
        wanted = np.arange(part.rows) if allowed is None else allowed[here].nonzero()[0]
        if len(wanted):
            rows[part.name] = wanted
    sources = find_sources(embeddings, places, rows)
    with temporary_folder() as scratch:
        for name, source in sources.items():
            column = embeddings.table(name, columns=["key"]).column(0)
            keys = column.take(rows[name]).to_pylist()
            with cast(SampleSource, source).open(scratch) as opened:
                entries = {entry.key: entry for entry in opened.samples}
                for key in keys:
                    yield _read(entries, key, source)


def try_images(
    embeddings: Artifact, places: Mapping[str, str], rows: "np.ndarray"
) -> Iterator[bytes | MissingError]:
    """The encoded image of each of ascending rows, or the error that says why there is none.

    Opens each source once. MissingError, before the first image, if a source that holds any of
    the rows is gone or was changed.
    """
    by_part = dict(split_by_part(embeddings, rows))
    sources = find_sources(embeddings, places, by_part)
    with temporary_folder() as scratch:
        for name, source in sources.items():
            keys = embeddings.table(name, columns=["key"]).column(0)
            with cast(SampleSource, source).open(scratch) as opened:
                entries = {entry.key: entry for entry in opened.samples}
                for key in keys.take(by_part[name]).to_pylist():
                    try:
                        yield _read(entries, key, source)
                    except MissingError as error:
                        yield error


@contextlib.contextmanager
def requiring_image(key: str) -> Iterator[None]:
    """Turns what is no image any more, though it was when it was embedded, into a MissingError."""
    try:
        yield
    except UndecodableImage as error:
        raise MissingError(
            f"{key} is no image any more ({error}): put the file back that it was embedded from"
        ) from error


def _read(entries: Mapping[str, Entry], key: str, source: Source) -> bytes:
    try:
        return entries[key].read_image()
    except KeyError as error:
        raise MissingError(f"{source.path} no longer has {key}: embed it again") from error
    except (OSError, EOFError, ShardError, UndecodableImage) as error:
        raise MissingError(f"{key} of {source.path} cannot be read ({error})") from error


def _find(
    kind: str,
    place: str,
    part: PartRecord,
    embeddings: Artifact,
    find_folder: Callable[[str], Sequence[SampleSource]],
) -> Source | None:
    """The source of a part, or None if it was changed."""
    if kind == "images":
        sources = find_folder(place)
    elif kind == "table":
        sources = [TableFile.of(Path(place), part.facts["image_column"])]
    else:
        sources = [shard_at(place)]
    for source in sources:
        named = name_as(source, part)
        if named is not None:
            return named if is_unchanged(named, part, embeddings, None) else None
    return None


def _folder(root: str) -> Sequence[SampleSource]:
    return find_chunks(Path(root))
