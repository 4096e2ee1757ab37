"""Rows of the kind `embeddings` and of what was skipped, as `embed` and `import` write them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..store import Product, Scratch
from ..store.kinds import EMBEDDINGS

if TYPE_CHECKING:
    import numpy as np


@dataclass
class EmbeddingRows:
    """The rows of one part while they are gathered."""

    shard: str
    size: int
    """d, the length of an embedding."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    embeddings: "list[np.ndarray]" = field(default_factory=list)
    """Blocks of unit rows, float32 or float16, as many rows in all as `rows`."""
    skipped: list[dict[str, Any]] = field(default_factory=list)

    def skip(self, key: str, reason: str, detail: str, offset: int | None = None) -> None:
        """Records a sample that is not embedded."""
        self.skipped.append(
            {"key": key, "shard": self.shard, "offset": offset, "reason": reason, "detail": detail}
        )

    def write(
        self, scratch: Scratch, facts: Mapping[str, Any], model: Mapping[str, Any]
    ) -> Product:
        """Writes both tables; the product's facts count every sample: seen = embedded + skipped."""
        import numpy as np

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
                "skipped": dict(Counter(one["reason"] for one in self.skipped)),
                **facts,
            },
            shared={"model": dict(model)},
        )
