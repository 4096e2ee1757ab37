"""Finds sources that changed since they were embedded, although names, sizes and edges are equal.

A changed source gets a new identity, which includes its content, and so becomes another part.
"""

from collections.abc import Callable, Iterator, Mapping, Set
from functools import cache
from typing import cast

from ...stages.contract import Source
from ...stages.sources.changes import (
    digest_contents,
    find_more_extras,
    is_unchanged,
    name_as,
    read_with_extras,
    stem_of,
)
from ...stages.sources.shards import by_part
from ...stages.sources.source import SampleSource
from ...store import Artifact, PartRecord, RunRecord, Store
from ...store.kinds import EMBEDDINGS


class _EmbeddedRun:
    """A run and the parts of its embeddings."""

    def __init__(self, record: RunRecord, embeddings: Artifact) -> None:
        self.record, self.embeddings = record, embeddings
        self._parts_by_stem: dict[str, list[PartRecord]] = {}
        for part in embeddings.parts:
            self._parts_by_stem.setdefault(stem_of(part.name), []).append(part)

    def find(
        self, source: SampleSource, others: Set[str]
    ) -> tuple[SampleSource, PartRecord] | None:
        """The source under the identity that was embedded, and its part; no part in `others`."""
        for part in self._parts_by_stem.get(stem_of(source.part_name), ()):
            named = None if part.name in others else name_as(source, part)
            if named is not None:
                return named, part
        return None


def identify_sources(
    sources: Mapping[str, Source], store: Store, run: str, say: Callable[[str], None]
) -> dict[str, Source]:
    """The sources by the part that each becomes; a changed source becomes a new part.

    Sources are compared with the embeddings of this run, then with those of the store's other runs.
    """
    record = store.runs.read(run)
    runs = list(_embedded_runs(store, record))
    contents = cache(lambda: _contents_by_part(store))  # rarely needed, and then for many sources
    names = frozenset(sources)
    identified = [
        _identify(name, cast(SampleSource, source), names - {name}, runs, contents, record, say)
        for name, source in sources.items()
    ]
    return by_part(identified)[0]


def _identify(
    name: str,
    source: SampleSource,
    others: Set[str],
    runs: list[_EmbeddedRun],
    contents: Callable[[], Mapping[str, set[str]]],
    record: RunRecord,
    say: Callable[[str], None],
) -> SampleSource:
    """The source under the identity of the part that it becomes; `others` are the other parts."""
    for run in runs:
        match = run.find(source, others)
        if match is None:
            continue
        named, part = match
        stamp = run.record.stamps.get(part.name)
        if is_unchanged(named, part, run.embeddings, stamp):
            extras = find_more_extras(source, part, run.embeddings)
            if extras:
                say(f"{source.path} has images that can be read now: it is embedded again")
                return read_with_extras(source, part.facts.get("sha256", ""), extras)
            return named
        say(f"{source.path} was changed since it was embedded: it is embedded again")
        return source.with_content(digest_contents(source))
    stamp = record.stamps.get(name)
    if source.stamp and stamp not in (None, source.stamp):
        # Either an old file was put back, and an earlier version has its part, or embedding was
        # interrupted, and the part may have been made from the file as it was then.
        content = digest_contents(source)
        is_restored = content in contents().get(name, ())
        return source if is_restored else source.with_content(content)
    return source


def _contents_by_part(store: Store) -> dict[str, set[str]]:
    """The digests of the sources of each part, by its name, over all versions in the store."""
    contents: dict[str, set[str]] = {}
    for artifact in store.artifacts():
        for part in artifact.parts if artifact.kind is EMBEDDINGS else ():
            contents.setdefault(part.name, set()).add(part.facts.get("sha256", ""))
    return contents


def _embedded_runs(store: Store, first: RunRecord) -> Iterator[_EmbeddedRun]:
    """The runs with embeddings and sources, `first` before the others."""
    others = (store.runs.read(name) for name in store.runs.names() if name != first.name)
    for record in (first, *others):
        version = record.versions.get(EMBEDDINGS.name)
        embeddings = None if version is None else store.find(EMBEDDINGS, version)
        if embeddings is not None and record.sources:
            yield _EmbeddedRun(record, embeddings)
