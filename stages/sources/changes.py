"""Whether a source is still what became a part.

A source is identified by names, sizes and edges, which do not show that a file was changed in its
middle. So a run records a stamp of each source, from the times at which its files were written to.
If the stamp differs, all bytes are compared by their digest.
"""

import contextlib
import itertools
from collections.abc import Set
from datetime import datetime

from ...store import Artifact, PartRecord
from ...store.temporary import temporary_folder
from .embeddings.files import EmbeddingsFile
from .ignored_files import needed_extras
from .image_formats import EXTRAS, is_extra_installed
from .images.pixels import UndecodableImage
from .shards import is_named
from .source import SampleSource

_EXTRAS = sorted(set(EXTRAS.values()))
_COMBINED = tuple(
    frozenset(extras)
    for count in range(1, len(_EXTRAS) + 1)
    for extras in itertools.combinations(_EXTRAS, count)
)
"""The extras with which a source may have been read again."""


def name_as(source: SampleSource, part: PartRecord) -> SampleSource | None:
    """The source under the name of the part that it became, if names, sizes and edges agree."""
    if stem_of(source.part_name) != stem_of(part.name):
        return None
    forms = forms_of(source, part.facts.get("sha256", ""))
    return next((form for form in forms if is_named(form, part.name)), None)


def forms_of(source: SampleSource, content: str) -> tuple[SampleSource, ...]:
    """The identities that a source with this digest may have in a store."""
    again = (read_with_extras(source, content, extras) for extras in _COMBINED)
    return source, source.with_content(content), *again


def read_with_extras(source: SampleSource, content: str, extras: Set[str]) -> SampleSource:
    """A source with this digest, read with extras that were not installed before."""
    return source.with_content(" ".join([content, *sorted(extras)]))


def find_more_extras(
    source: SampleSource, part: PartRecord, embeddings: Artifact
) -> frozenset[str]:
    """The extras with which to read a source again, as they read what its part skipped; or none."""
    skipped = part.facts.get("skipped", {})
    installed = frozenset(filter(is_extra_installed, _EXTRAS))
    if not installed or not (skipped.keys() & {"no_image", "unsupported"}):
        return frozenset()
    content, used = part.facts.get("sha256", ""), frozenset[str]()
    for extras in _COMBINED:
        if is_named(read_with_extras(source, content, extras), part.name):
            used = extras
    if installed <= used:
        return frozenset()
    rows = embeddings.table(part.name, "skipped").select(["reason", "detail"]).to_pylist()
    needed = frozenset().union(*(needed_extras(row["reason"], row["detail"]) for row in rows))
    helpful = (needed & installed) - used
    return used | helpful if helpful else helpful


def stem_of(part: str) -> str:
    """The beginning of a part's name, which all parts of the same source share."""
    return part.rpartition("-")[0]


def is_unchanged(
    source: SampleSource, part: PartRecord, embeddings: Artifact, stamp: str | None
) -> bool:
    """Whether the bytes of a source are those that became a part of these embeddings.

    `stamp` is the recorded one. Without one, a source that was last written to before the
    embeddings were made counts as unchanged. Otherwise the whole source is read.
    """
    content = part.facts.get("sha256")
    if content is None or not source.stamp or source.stamp == stamp:
        return True
    if stamp is None and _is_older(source.stamp, embeddings):
        return True
    return digest_contents(source) == content


def digest_contents(source: SampleSource) -> str:
    """The digest of all that is read of a source, in the form that its part records."""
    if isinstance(source, EmbeddingsFile):
        return source.sha256()
    with (
        temporary_folder() as scratch,
        source.open(scratch) as samples,
    ):
        # The digest of a tar is that of its file.
        for entry in () if samples.facts.get("source") == "tar" else samples.samples:
            with contextlib.suppress(UndecodableImage):
                entry.read_image()
        return samples.sha256()


def _is_older(stamp: str, embeddings: Artifact) -> bool:
    """Whether a stamp's newest time is before these embeddings were made."""
    try:
        made_seconds = datetime.fromisoformat(embeddings.manifest.date).timestamp()
    except (ValueError, OverflowError):
        return True  # older embeddings record no date
    return int(stamp.partition(":")[0]) / 1e9 < made_seconds
