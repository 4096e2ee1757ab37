"""The tables of a part: how any is written, and those of embeddings."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..store import Product, Scratch
from ..store.kinds import EMBEDDINGS, Table


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

    def write(
        self, scratch: Scratch, facts: Mapping[str, Any], model: Mapping[str, Any]
    ) -> Product:
        """Writes both tables; the facts count every sample: seen = embedded + skipped."""
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
        skipped = EMBEDDINGS.files["skipped"]
        assert isinstance(skipped, Table)
        write_table(scratch, "skipped", pa.Table.from_pylist(self.skipped, schema=skipped.schema()))
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


def write_table(scratch: Scratch, role: str, table: Any) -> None:
    """Writes an uncompressed Parquet file without dictionaries, which readers can memory-map."""
    import pyarrow.parquet as pq

    plain = [name for name in table.schema.names if name != "embedding"]
    pq.write_table(
        table,
        scratch.path(role),
        use_dictionary=False,
        compression="none",
        write_statistics=plain,  # pyright: ignore[reportArgumentType]
    )
