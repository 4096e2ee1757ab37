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
from .image_formats import EXTRAS, is_image_suffix
from .images.pixels import UndecodableImage
from .left_out import needs_heif
from .source import SampleSource

_SUFFIX = "heic"
_EXTRA = EXTRAS[_SUFFIX]


def name_as(source: SampleSource, part: PartRecord) -> SampleSource | None:
    """The source under the name of the part that it became, where names, sizes and edges agree."""
    if stem_of(source.part_name) != stem_of(part.name):
        return None
    forms = forms_of(source, part.facts.get("sha256", ""))
    return next((form for form in forms if form.part_name == part.name), None)


def forms_of(source: SampleSource, content: str) -> tuple[SampleSource, ...]:
    """The identities that a source with this digest may have in a store."""
    return source, source.told_apart(content), read_with_extra(source, content)


def read_with_extra(source: SampleSource, content: str) -> SampleSource:
    """A source with this digest, read by an extra that earlier was not installed."""
    return source.told_apart(f"{content} {_EXTRA}")


def has_more_images(source: SampleSource, part: PartRecord, embeddings: Artifact) -> bool:
    """Whether an extra that is now installed reads samples of a part that were skipped."""
    skipped = part.facts.get("skipped", {})
    if not is_image_suffix(_SUFFIX) or not (skipped.keys() & {"no_image", "unsupported"}):
        return False
    if source.part_name == read_with_extra(source, part.facts.get("sha256", "")).part_name:
        return False
    rows = embeddings.table(part.name, "skipped").select(["reason", "detail"]).to_pylist()
    return any(needs_heif(row["reason"], row["detail"]) for row in rows)


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
