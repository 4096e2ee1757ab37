"""Features or embeddings in, a FAISS index out."""

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from ..store import Artifact, MissingError, Product, Scratch
from ..store.kinds import INDEX, Kind
from .contract import Inputs, Part, Runtime, Stage
from .gather import EMBEDDING, gather_rows, iterate

if TYPE_CHECKING:
    import numpy as np

_HNSW_LINKS = 32
_EF_CONSTRUCTION = 80
_QUERIES = 500
"""Rows of the index's own on which recall is measured."""

_TRAINING_ROWS = 64
"""Rows for each list that an inverted file is trained on; FAISS asks for 39 at least."""


@dataclass(frozen=True, kw_only=True)
class Index(Stage):
    """Builds an index by inner product of unit rows: exact for few rows, approximate for many."""

    name: ClassVar[str] = "index"
    kind: ClassVar[Kind] = INDEX
    revision: ClassVar[int] = 1

    space: Literal["features", "embeddings"] = "features"
    """Refined features, or raw embeddings, where texts can be looked for."""
    exact_rows: int = 10_000
    """Up to so many rows search is exact."""
    hnsw_rows: int = 200_000
    """Up to so many rows the index is a graph, beyond that an inverted file."""
    search_width: int = 128
    """Candidates that a graph keeps (efSearch), or lists that an inverted file visits (nprobe)."""
    seed: int = 0

    @classmethod
    def of(cls, space: str) -> Self:
        """The index of a space by its name."""
        return cls(space="embeddings") if space == "embeddings" else cls()

    @property
    def needs(self) -> tuple[str, ...]:
        """The space that is indexed."""
        return (self.space,)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Builds the index, measures its recall, and writes both."""
        import numpy as np

        faiss = import_faiss()
        source = inputs[self.space]
        role = EMBEDDING if self.space == "embeddings" else "z"
        blocks = [block for _, block in iterate(source, role)]
        width = blocks[0].shape[1]
        runtime.progress.start(f"index {self.space}", source.rows, "rows")
        threads = faiss.omp_get_max_threads()
        factory = self._factory(source.rows)
        index = faiss.index_factory(width, factory, faiss.METRIC_INNER_PRODUCT)
        if factory.startswith("HNSW"):
            # More threads would link rows in an order that changes from run to run.
            faiss.omp_set_num_threads(1)
            index.hnsw.efConstruction = _EF_CONSTRUCTION
        self._train(index, source, role)
        for block in blocks:
            index.add(np.ascontiguousarray(block, np.float32))
            runtime.progress.advance(len(block))
        faiss.omp_set_num_threads(threads)
        set_search_width(faiss, index, self.search_width)
        facts = {
            "space": self.space,
            "factory": factory,
            "metric": "inner product of unit rows",
            "rows": source.rows,
            "search_width": self.search_width,
            "recall_at_10": self._recall(faiss, index, source, role, blocks),
            "source_version": source.version,
            "model": dict(source.facts["model"]),
        }
        faiss.write_index(index, os.fspath(scratch.path("index")))
        scratch.path("facts").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        return Product(rows=source.rows, shared=facts)

    def _factory(self, rows: int) -> str:
        if rows <= self.exact_rows:
            return "Flat"
        if rows <= self.hnsw_rows:
            return f"HNSW{_HNSW_LINKS},Flat"
        lists = 1 << max(8, round(rows**0.5 * 2).bit_length())
        return f"IVF{lists},Flat"

    def _train(self, index: Any, source: Artifact, role: str) -> None:
        import numpy as np

        if index.is_trained:
            return
        rows = source.rows
        wanted = min(rows, index.nlist * _TRAINING_ROWS)
        chosen = np.sort(np.random.default_rng(self.seed).choice(rows, wanted, replace=False))
        index.train(gather_rows(source, role, chosen).astype(np.float32))

    def _recall(
        self, faiss: Any, index: Any, source: Artifact, role: str, blocks: "list[np.ndarray]"
    ) -> float:
        """recall@10 against exact search, of rows that look for others than themselves."""
        import numpy as np

        rows = source.rows
        if rows <= self.exact_rows:
            return 1.0
        count = min(_QUERIES, rows)
        chosen = np.sort(np.random.default_rng(self.seed + 1).choice(rows, count, replace=False))
        queries = gather_rows(source, role, chosen).astype(np.float32)
        n = min(11, rows)
        exact = faiss.IndexFlatIP(queries.shape[1])
        for block in blocks:
            exact.add(np.ascontiguousarray(block, np.float32))
        _, truth = exact.search(queries, n)
        _, found = index.search(queries, n)
        hits = total = 0
        for own, right, got in zip(chosen, truth, found, strict=True):
            wanted = set(right.tolist()) - {int(own)}
            hits += len(wanted & set(got.tolist()))
            total += len(wanted)
        return hits / total


def set_search_width(faiss: Any, index: Any, width: int) -> None:
    """How wide an approximate index looks; an exact one has no such setting."""
    inner = faiss.downcast_index(index)
    if hasattr(inner, "hnsw"):
        inner.hnsw.efSearch = width
    elif hasattr(inner, "nprobe"):
        inner.nprobe = min(width, inner.nlist)


def import_faiss() -> Any:
    """The module `faiss`; MissingError says how to install it."""
    try:
        import faiss
    except ImportError as error:
        raise MissingError(
            "no FAISS is installed: pip install 'cpp-pipe[cpu]', or 'cpp-pipe[gpu]' on a machine "
            "with CUDA, never both; `search` works without it, exact and slower"
        ) from error
    return faiss
