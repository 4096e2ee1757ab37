"""Sources that were changed since they were embedded, although their names, sizes and edges agree.

Such a source gets another identity, which says its content, too, and so becomes another part.
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


class _Embedded:
    """What one run embedded."""

    def __init__(self, record: RunRecord, embeddings: Artifact) -> None:
        self.record, self.embeddings = record, embeddings
        self._parts: dict[str, list[PartRecord]] = {}
        for part in embeddings.parts:
            self._parts.setdefault(stem_of(part.name), []).append(part)

    def find(
        self, source: SampleSource, others: Set[str]
    ) -> tuple[SampleSource, PartRecord] | None:
        """The source as the part that it became, and that part; none that is named in `others`."""
        for part in self._parts.get(stem_of(source.part_name), ()):
            named = None if part.name in others else name_as(source, part)
            if named is not None:
                return named, part
        return None


def identify_sources(
    sources: Mapping[str, Source], store: Store, run: str, say: Callable[[str], None]
) -> dict[str, Source]:
    """The sources by the part that each becomes; a changed one becomes another part than before.

    They are compared with what this run embedded, else with what other runs of the store did.
    """
    own = store.runs.read(run)
    embedded = list(_embedded(store, own))
    contents = cache(lambda: _contents_by_part(store))  # rarely needed, and then for many sources
    names = frozenset(sources)
    identified = [
        _identify(name, cast(SampleSource, source), names - {name}, embedded, contents, own, say)
        for name, source in sources.items()
    ]
    return by_part(identified)[0]


def _identify(
    name: str,
    source: SampleSource,
    others: Set[str],
    embedded: list[_Embedded],
    contents: Callable[[], Mapping[str, set[str]]],
    own: RunRecord,
    say: Callable[[str], None],
) -> SampleSource:
    for earlier in embedded:
        found = earlier.find(source, others)
        if found is None:
            continue
        named, part = found
        stamp = earlier.record.stamps.get(part.name)
        if is_unchanged(named, part, earlier.embeddings, stamp):
            extras = find_more_extras(source, part, earlier.embeddings)
            if extras:
                say(f"{source.path} has images that can be read now: it is embedded again")
                return read_with_extras(source, part.facts.get("sha256", ""), extras)
            return named
        say(f"{source.path} was changed since it was embedded: it is embedded again")
        return source.with_content(digest_contents(source))
    stamp = own.stamps.get(name)
    if source.stamp and stamp not in (None, source.stamp):
        # An earlier version may hold it, if it was put back. Otherwise embedding was stopped, and
        # its parts may hold what the source was then.
        content = digest_contents(source)
        is_back = content in contents().get(name, ())
        return source if is_back else source.with_content(content)
    return source


def _contents_by_part(store: Store) -> dict[str, set[str]]:
    """The digests of the sources that became a part, by its name, over all versions."""
    contents: dict[str, set[str]] = {}
    for version in store.artifacts():
        for part in version.parts if version.kind is EMBEDDINGS else ():
            contents.setdefault(part.name, set()).add(part.facts.get("sha256", ""))
    return contents


def _embedded(store: Store, own: RunRecord) -> Iterator[_Embedded]:
    """What this run embedded, and then what others did."""
    others = (store.runs.read(name) for name in store.runs.names() if name != own.name)
    for record in (own, *others):
        version = record.versions.get(EMBEDDINGS.name)
        embeddings = None if version is None else store.find(EMBEDDINGS, version)
        if embeddings is not None and record.sources:
            yield _Embedded(record, embeddings)
