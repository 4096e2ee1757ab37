"""Whether a source is still what became a part.

A source is identified by names, sizes and edges, which do not tell that a file was changed in its
middle. So a run records a stamp of each source, from the times at which its files were written to.
Where the stamp differs, all bytes are compared by their digest.
"""

import contextlib
import tempfile
from datetime import datetime
from pathlib import Path

from ...store import Artifact, PartRecord
from .images.pixels import UndecodableImage
from .source import SampleSource


def name_as(source: SampleSource, part: PartRecord) -> SampleSource | None:
    """The source under the name of the part that it became, where names, sizes and edges agree."""
    if source.part_name == part.name:
        return source
    content = part.facts.get("sha256")
    if content is None or stem_of(source.part_name) != stem_of(part.name):
        return None
    apart = source.told_apart(content)
    return apart if apart.part_name == part.name else None


def stem_of(part: str) -> str:
    """What the names of all parts begin with that a source of this name may become."""
    return part.rpartition("-")[0]


def is_unchanged(
    source: SampleSource, part: PartRecord, embeddings: Artifact, stamp: str | None
) -> bool:
    """Whether the bytes of a source are those that became a part of these embeddings.

    `stamp` is the recorded one. Without one, a source that was last written to before the
    embeddings were made is taken for unchanged. Reads the whole source if neither tells.
    """
    content = part.facts.get("sha256")
    if content is None or not source.stamp or source.stamp == stamp:
        return True
    if stamp is None and _is_older(source.stamp, embeddings):
        return True
    return digest_contents(source) == content


def digest_contents(source: SampleSource) -> str:
    """The digest of all that is read of a source, as its part records it."""
    with (
        tempfile.TemporaryDirectory(prefix="cpp-pipe-") as scratch,
        source.open(Path(scratch)) as samples,
    ):
        # The digest of a tar is that of its file.
        for entry in () if samples.facts.get("source") == "tar" else samples.samples:
            with contextlib.suppress(UndecodableImage):
                entry.read_image()
        return samples.sha256()


def _is_older(stamp: str, embeddings: Artifact) -> bool:
    """Whether a stamp's newest time is before these embeddings were made."""
    try:
        made = datetime.fromisoformat(embeddings.manifest.made_by["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return True  # older embeddings do not say when
    return int(stamp.partition(":")[0]) / 1e9 < made
