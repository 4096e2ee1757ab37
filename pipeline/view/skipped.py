"""Samples that were skipped: how many by reason, and their rows."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ...store import Artifact


def count_skipped(embeddings: Artifact) -> Counter[str]:
    """How many samples were skipped, by reason."""
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
        held = sum(counts.values()) if reason is None else counts.get(reason, 0)
        if held and total + held > offset and (end is None or total < end):
            rows = embeddings.table(part.name, "skipped").to_pylist()
            wanted = [row for row in rows if reason is None or row["reason"] == reason]
            yield from wanted[max(0, offset - total) : None if end is None else end - total]
        total += held
