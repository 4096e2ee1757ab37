"""Rows of the kind `embeddings` and of what was skipped, as `embed` and `import` write them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..store import Product, Scratch
from ..store.kinds import EMBEDDINGS, Table


@dataclass
class EmbeddingRows:
    """The rows of one part while they are gathered."""

    shard: str
    size: int
    """d, the length of an embedding."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    embeddings: list[np.ndarray] = field(default_factory=list)
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
        import pyarrow as pa

        blocks = [np.empty((0, self.size), np.float16), *self.embeddings]
        vectors = np.concatenate([block.astype(np.float16) for block in blocks])
        table = EMBEDDINGS.files["rows"]
        assert isinstance(table, Table)
        assert len(vectors) == len(self.rows)
        schema = table.schema(vector_size=self.size)
        columns = [
            pa.array([{"shard": self.shard, **row}.get(name) for row in self.rows], type=kind)
            for name, kind in zip(schema.names[:-1], schema.types[:-1], strict=True)
        ]
        flat = pa.array(vectors.reshape(-1))
        columns.append(pa.FixedSizeListArray.from_arrays(flat, type=schema.types[-1]))
        write_table(scratch, "rows", pa.Table.from_arrays(columns, schema=schema))
        lost = EMBEDDINGS.files["skipped"]
        assert isinstance(lost, Table)
        write_table(scratch, "skipped", pa.Table.from_pylist(self.skipped, schema=lost.schema()))
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


def write_table(scratch: Scratch, role: str, table: Any) -> None:
    """Writes a Parquet file that any reader can map: vectors plain, nothing compressed."""
    import pyarrow.parquet as pq

    plain = [name for name in table.schema.names if name != "embedding"]
    pq.write_table(
        table,
        scratch.path(role),
        use_dictionary=False,
        compression="none",
        write_statistics=plain,  # pyright: ignore[reportArgumentType]
    )
