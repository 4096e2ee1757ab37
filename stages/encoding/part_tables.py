"""The tables of a part of embeddings: its rows, and what was skipped and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...store import PartRecord, Product, Scratch, ShardError
from ...store.counting import agreeing, counted
from ...store.kinds import EMBEDDINGS
from .batch_queue import Batch


@dataclass
class EmbeddingRows:
    """Collects the rows of one part of embeddings, and its skipped samples, then writes both."""

    shard: str
    size: int
    """d, the length of an embedding."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    embeddings: list[np.ndarray] = field(default_factory=list)
    """Blocks of unit rows, float32 or float16; together as many rows as `rows`."""
    skipped: list[dict[str, Any]] = field(default_factory=list)

    def skip(self, key: str, reason: str, detail: str, offset: int | None = None) -> None:
        """Records a skipped sample."""
        self.skipped.append(
            {"key": key, "shard": self.shard, "offset": offset, "reason": reason, "detail": detail}
        )

    def add(self, batch: Batch) -> None:
        """Adds the rows of a batch, and what it skipped."""
        self.embeddings.append(batch.embeddings)
        for entry, outcome in zip(batch.entries, batch.outcomes, strict=True):
            if outcome.reason:
                self.skip(entry.key, outcome.reason, outcome.detail, entry.offset)
                continue
            self.rows.append(
                {
                    "key": entry.key,
                    "offset": entry.offset,
                    "size": entry.size,
                    "width": outcome.width,
                    "height": outcome.height,
                    **asdict(entry.fields()),
                }
            )

    def write(
        self, scratch: Scratch, facts: Mapping[str, Any], model: Mapping[str, Any]
    ) -> Product:
        """Writes both tables; the facts count every sample: seen = embedded + skipped."""

        blocks = [np.empty((0, self.size), np.float16), *self.embeddings]
        vectors = np.concatenate([block.astype(np.float16) for block in blocks])
        assert len(vectors) == len(self.rows)
        columns = {
            column.name: [{"shard": self.shard, **row}.get(column.name) for row in self.rows]
            for column in EMBEDDINGS.table().columns
            if column.name != "embedding"
        }
        scratch.write_table("rows", {**columns, "embedding": vectors})
        scratch.write_table("skipped", self.skipped)
        return Product(
            rows=len(self.rows),
            facts={
                "shard": self.shard,
                "seen": len(self.rows) + len(self.skipped),
                "embedded": len(self.rows),
                "skipped": dict(Counter(row["reason"] for row in self.skipped)),
                **facts,
            },
            shared={"model": dict(model)},
        )


def require_few_skipped(records: Sequence[PartRecord], allowed: float) -> None:
    """ShardError if a larger share of all samples was skipped than is allowed."""
    seen = sum(record.facts["seen"] for record in records)
    skipped = seen - sum(record.facts["embedded"] for record in records)
    if skipped <= allowed * seen:
        return
    reasons: Counter[str] = Counter()
    for record in records:
        reasons.update(record.facts["skipped"])
    raise ShardError(
        f"{skipped} of {counted(seen, 'sample')} ({skipped / seen:.1%}) "
        f"{agreeing(skipped, 'was', 'were')} skipped, more than --max-skipped "
        f"{allowed:g} allows ({describe_reasons(reasons)}): raise --max-skipped to accept them; "
        f"all work is kept{hint_at_remote(reasons)}"
    )


def describe_reasons(counts: Mapping[str, int]) -> str:
    """The commonest reasons with their counts."""
    return ", ".join(f"{name} ({n})" for name, n in Counter(counts).most_common(8))


def hint_at_remote(reasons: Mapping[str, int]) -> str:
    """What to do about images at web addresses, if there are any."""
    if not reasons.get("remote"):
        return ""
    return "; images at web addresses are not downloaded: make tar shards of them with img2dataset"
