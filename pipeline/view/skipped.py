"""Samples that were skipped: how many by reason, and their rows."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ...stages.sources.ignored_files import SEEN, hint_at_extra, needed_extras
from ...store import Artifact

_EXAMINED = 100_000
"""Skipped samples of which the details are read."""
_SHOWN = 5


def count_skipped(embeddings: Artifact) -> Counter[str]:
    """The number of skipped samples by reason."""
    reasons: Counter[str] = Counter()
    for part in embeddings.parts:
        reasons.update(part.facts.get("skipped", {}))
    return reasons


def read_skipped(
    embeddings: Artifact, reason: str | None = None, offset: int = 0, limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """Skipped samples in the order of the shards, of one reason or of all.

    Only parts that hold some of these rows are read.
    """
    end = None if limit is None else offset + limit
    total = 0
    for part in embeddings.parts:
        counts = part.facts.get("skipped", {})
        count = sum(counts.values()) if reason is None else counts.get(reason, 0)
        if count and total + count > offset and (end is None or total < end):
            rows = embeddings.table(part.name, "skipped").to_pylist()
            matching = [row for row in rows if reason is None or row["reason"] == reason]
            yield from matching[max(0, offset - total) : None if end is None else end - total]
        total += count


def explain_skipped(embeddings: Artifact) -> list[str]:
    """Lines on what samples without an image hold, and on what to install to read some of them."""
    without_image: Counter[str] = Counter()
    for row in islice(read_skipped(embeddings, "no_image"), _EXAMINED):
        if row["detail"].startswith(SEEN):
            without_image[row["detail"].removeprefix(SEEN)] += 1
    lines = []
    if without_image:
        kinds = ", ".join(
            f"{count:,} with only {suffixes}"
            for suffixes, count in without_image.most_common(_SHOWN)
        )
        suffixes = {suffix: 1 for seen in without_image for suffix in seen.split(", ")}
        lines.append(f"no_image: {kinds}{hint_at_extra(suffixes)}")
    unsupported = islice(read_skipped(embeddings, "unsupported"), _EXAMINED)
    heic = sum("heif" in needed_extras("unsupported", row["detail"]) for row in unsupported)
    if heic:
        lines.append(
            f"unsupported: {heic:,} are HEIC by their bytes{hint_at_extra({'heic': heic})}"
        )
    return lines
