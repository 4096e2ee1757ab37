"""Finds the sources of a run's embeddings, checks that they are unchanged, and reads images."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np

from ...stages.contract import Source
from ...stages.rows.sampled_rows import split_by_part
from ...stages.sources.changes import is_unchanged, name_as
from ...stages.sources.images.folders import find_chunks
from ...stages.sources.images.pixels import UndecodableImage
from ...stages.sources.source import Entry, SampleSource
from ...stages.sources.tables.files import TableFile
from ...store import Artifact, ConfigError, MissingError, PartRecord, ShardError
from ...store.temporary import temporary_folder
from ..view.images import source_kind
from ..view.source_identity import shard_at
from .changed_files import describe_changes

_SHOWN = 5
"""Faults that an error lists."""

_FLAGS = {"tar": "--shards", "images": "--images", "table": "--table"}
"""The flag of `embed` for each kind of source."""


def find_sources(
    embeddings: Artifact, places: Mapping[str, str], parts: Iterable[str]
) -> dict[str, Source]:
    """The sources of these parts, by part name; `places` has the location of each.

    MissingError names the sources that are gone or were changed since they were embedded.
    """
    find_folder = cache(_find_folder)
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


@contextlib.contextmanager
def read_images(
    embeddings: Artifact, places: Mapping[str, str], allowed: np.ndarray | None = None
) -> Iterator[Iterator[bytes]]:
    """The encoded image of each row, in row order; with `allowed`, bool (n,), of these rows only.

    MissingError, before the first image, if a source is gone or was changed; later, if an image
    cannot be read. What is opened goes away with the block, and not with its last reference.
    """
    rows = np.arange(embeddings.rows) if allowed is None else allowed.nonzero()[0]
    with try_images(embeddings, places, rows) as images:
        yield map(_require_image, images)


def _require_image(image: bytes | MissingError) -> bytes:
    if isinstance(image, MissingError):
        raise image
    return image


@contextlib.contextmanager
def try_images(
    embeddings: Artifact, places: Mapping[str, str], rows: np.ndarray
) -> Iterator[Iterator[bytes | MissingError]]:
    """The encoded image of each of the ascending rows, or the error why it cannot be read.

    Opens each source once. MissingError, before the first image, if a source of these rows is gone
    or was changed.
    """
    with contextlib.closing(_try_images(embeddings, places, rows)) as images:
        yield images


def _try_images(
    embeddings: Artifact, places: Mapping[str, str], rows: np.ndarray
) -> Generator[bytes | MissingError, None, None]:
    rows_by_part = dict(split_by_part(embeddings, rows))
    sources = find_sources(embeddings, places, rows_by_part)
    with temporary_folder() as scratch:
        for part, source in sources.items():
            keys = embeddings.table(part, columns=["key"]).column(0)
            with cast(SampleSource, source).open(scratch) as opened:
                entries = {entry.key: entry for entry in opened.samples}
                for key in keys.take(rows_by_part[part]).to_pylist():
                    try:
                        image = _read(entries, key, source)
                    except MissingError as error:
                        yield error
                    else:
                        yield image


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
    """The source of a part; None if it was changed."""
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


def _find_folder(root: str) -> Sequence[SampleSource]:
    return find_chunks(Path(root))
