"""Files of embeddings made elsewhere in, embeddings out: one part per file."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from ..store import PartRecord, Product, Scratch, ShardError
from ..store.kinds import EMBEDDINGS, Kind
from .contract import Inputs, Part, Runtime, Stage
from .encoding.part_tables import EmbeddingRows, describe_reasons, require_few_skipped
from .sources.embeddings.files import EmbeddingsFile
from .sources.shards import require_unchanged


@dataclass(frozen=True, kw_only=True)
class Import(Stage):
    """Reads rows and their fields from files, and scales each row to unit length.

    Such files do not name the model that made them, so the user must: queries are embedded with it.
    """

    name: ClassVar[str] = "import"
    kind: ClassVar[Kind] = EMBEDDINGS
    revision: ClassVar[int] = 1

    model: str
    pretrained: str

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each file."""
        return tuple(
            Part(name=name, sources={"file": source.identity})
            for name, source in runtime.sources.items()
        )

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Imports one file."""
        source = cast(EmbeddingsFile, runtime.sources[part.name])
        before = source.stamp
        loaded = source.load()
        sha256 = source.sha256()
        is_listed = source.identity == part.sources["file"]
        require_unchanged(source.path, is_listed and source.stamp == before)
        columns = dict(loaded.columns)
        vectors = columns.pop("embedding")
        size = vectors.shape[1]
        rows = EmbeddingRows(shard=source.path.name, size=size)
        for fault in loaded.faults:
            rows.skip(fault.key, fault.reason, fault.detail)
        rows.rows = [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]
        rows.embeddings = [vectors]
        skipped = len(loaded.faults)
        runtime.progress.advance(len(rows.rows) + skipped, skipped=skipped)
        model: dict[str, Any] = {
            "model": self.model,
            "pretrained": self.pretrained,
            "weights_digest": None,
            "embedding_size": size,
            "preprocess": None,
            "is_normalised": True,
        }
        return rows.write(
            scratch,
            {"sha256": sha256, "is_partial": False, "why_partial": "", "suffixes": {}},
            model,
        )

    def review(self, records: Sequence[PartRecord], runtime: Runtime) -> None:
        """ShardError if no row is left, or too many were skipped."""
        if not sum(record.facts["embedded"] for record in records):
            skipped = Counter[str]()
            for record in records:
                skipped.update(record.facts["skipped"])
            raise ShardError(
                f"no row can be imported: all were skipped ({describe_reasons(skipped)}); save the "
                "vectors again"
            )
        require_few_skipped(records, runtime.max_skipped)
