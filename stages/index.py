"""Features or embeddings in, one FAISS index out, with the recall that was measured."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..store import Artifact, Product, Scratch
from ..store.kinds import INDEX, Kind
from .contract import Inputs, Part, Runtime, Stage
from .indexing.factory import EXACT_ROWS, Factory
from .indexing.faiss_library import import_faiss, map_in_threads, one_thread
from .indexing.footprint import require_memory
from .indexing.opened_index import OpenedIndex
from .indexing.recall import (
    NEIGHBOURS,
    QUERIES,
    Nearest,
    measure_recall,
    merge_nearest,
    nearest_in_block,
    no_neighbours,
)
from .indexing.recall_curve import RecallCurve
from .indexing.vectors import VectorRows

if TYPE_CHECKING:
    import numpy as np

_EF_CONSTRUCTION = 80
_ROWS = 8192

_ENOUGH = 0.999
"""Recall beyond which no wider search is measured."""


@dataclass(frozen=True, kw_only=True)
class Index(Stage):
    """Builds an index by inner product of unit rows.

    Inverted lists are merged from those of all parts. An exact index and a graph are built at once:
    they are for rows so few that this takes no longer than a minute.
    """

    name: ClassVar[str] = "index"
    kind: ClassVar[Kind] = INDEX
    revision: ClassVar[int] = 3

    space: Literal["features", "embeddings"]
    factory: str
    """A FAISS factory string."""
    seed: int = 0
    """Draws the rows on which a graph is measured."""

    @property
    def is_merged(self) -> bool:
        """Whether it is made of inverted lists."""
        return Factory.parse(self.factory).shape == "lists"

    @property
    def needs(self) -> tuple[str, ...]:
        """The space that is indexed, and its lists."""
        if not self.is_merged:
            return (self.space,)
        return (self.space, f"quantizer/{self.space}", f"lists/{self.space}")

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One, of all rows; ConfigError where the rows cannot be indexed so."""
        rows = VectorRows(inputs[self.space])
        Factory.parse(self.factory).check(rows.source.rows, rows.width)
        sources = {slot: inputs[slot].content for slot in self.needs}
        return (Part(name=self.kind.name, sources=sources),)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Writes the index, and measures how much of the truth each search width finds."""
        source = inputs[self.space]
        path, rows = scratch.path("index"), VectorRows(source)
        if self.is_merged:
            self._merge(path, inputs, runtime)
            curve = self._measure(path, rows, *_held_out(inputs, self.space))
        else:
            self._build(path, rows, runtime)
            curve = self._measure(path, rows, *self._drawn(rows))
        facts = {
            "space": self.space,
            "factory": self.factory,
            "metric": "inner product of unit rows",
            "rows": source.rows,
            "width": rows.width,
            "curve": [[width, round(found, 4)] for width, found in curve],
            "source_version": source.version,
            "source_content": source.content,
            "model": dict(source.facts["model"]),
        }
        scratch.path("facts").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        return Product(rows=source.rows, shared=facts)

    def _merge(self, path: Path, inputs: Inputs, runtime: Runtime) -> None:
        from .indexing.lists import PartLists, write_merged

        fitted, listed = inputs[f"quantizer/{self.space}"], inputs[f"lists/{self.space}"]
        source = inputs[self.space]
        trained = fitted.path(fitted.only_part, "index", is_read_whole=True)
        runtime.progress.start(f"merge {self.space}", 1, "index")
        parts = [
            PartLists(
                *(listed.array(part.name, role) for role in ("codes", "rows", "lists")),
                start=source.starts[part.name],
            )
            for part in listed.parts
        ]
        write_merged(path, trained.read_bytes(), parts)
        runtime.progress.advance(1)

    def _build(self, path: Path, rows: VectorRows, runtime: Runtime) -> None:
        """An exact index, or a graph that one thread links: more would link in another order."""
        from .indexing.durations import seconds_to_build

        faiss = import_faiss()
        factory, source = Factory.parse(self.factory), rows.source
        wanted = require_memory(factory, source.rows, rows.width)
        index = faiss.index_factory(rows.width, self.factory, faiss.METRIC_INNER_PRODUCT)
        if factory.shape == "graph":
            index.hnsw.efConstruction = _EF_CONSTRUCTION
        if source.rows > EXACT_ROWS:
            line = wanted.line(f"index/{self.space}", source.rows, rows.width)
            seconds = seconds_to_build(factory, rows)
            runtime.progress.tell(f"{line}, {seconds:.0f} s with one thread")
        runtime.progress.start(f"index {self.space}", source.rows, "rows")
        with one_thread(faiss):
            for _, block in _blocks(rows):
                if not index.is_trained:
                    index.train(block)
                index.add(block)
                runtime.progress.advance(len(block))
        faiss.write_index(index, str(path))

    def _drawn(self, rows: VectorRows) -> "tuple[np.ndarray, Nearest, np.ndarray]":
        """Rows that look for others than themselves, the others, and their own numbers."""
        import numpy as np

        total = rows.source.rows
        count = min(QUERIES, total) if Factory.parse(self.factory).shape == "graph" else 0
        own = np.sort(np.random.default_rng(self.seed).choice(total, count, replace=False))
        queries = rows.take(own).astype(np.float32)
        truth = no_neighbours(count)

        def look(block: "tuple[int, np.ndarray]") -> Nearest:
            return nearest_in_block(queries, block[1], block[0], own)

        for nearest in map_in_threads(look, _blocks(rows) if count else ()):
            truth = merge_nearest(truth, nearest)
        return queries, truth, own

    def _measure(
        self, path: Path, rows: VectorRows, queries: "np.ndarray", truth: Nearest, own: "np.ndarray"
    ) -> RecallCurve:
        """recall@10 of wider and wider searches, until no more is to be found."""
        factory = Factory.parse(self.factory)
        opened = OpenedIndex(path, factory, rows)
        if factory.shape == "exact" or not len(queries):
            return [(opened.max_width, 1.0)]
        curve: list[tuple[int, float]] = []
        for width in _widths(opened.max_width, 16 if factory.shape == "graph" else 1):
            # One more than is wanted: the first may be the query itself.
            found = opened.search(queries, NEIGHBOURS + 1, width)
            curve.append((width, measure_recall(found, truth, own)))
            if _is_enough([found for _, found in curve]):
                break
        return curve


def _is_enough(recalls: list[float]) -> bool:
    """Whether wider searches have hardly anything more to find: codes may hide the rest."""
    if recalls[-1] >= _ENOUGH:
        return True
    return len(recalls) > 2 and 0.5 < recalls[-1] < recalls[-3] + 1 - _ENOUGH


def _widths(most: int, first: int) -> Iterator[int]:
    """Widths that grow by a third or a half, up to the most thorough one."""
    width = first
    while width < most:
        yield width
        width += max(1, width // (3 if width & (width - 1) else 2))
    yield most


def _blocks(rows: VectorRows) -> "Iterator[tuple[int, np.ndarray]]":
    """All rows in float32, some at a time, with the number of each block's first row."""
    import numpy as np

    for part in rows.source.parts:
        for first in range(0, part.rows, _ROWS):
            block = rows.read(part.name, first, min(_ROWS, part.rows - first))
            start = rows.source.starts[part.name] + first
            yield start, np.ascontiguousarray(block, np.float32)


def _held_out(inputs: Inputs, space: str) -> "tuple[np.ndarray, Nearest, np.ndarray]":
    """The held-out rows, their neighbours over all parts, and their own numbers, -1 where gone."""
    import numpy as np

    source, listed = inputs[space], inputs[f"lists/{space}"]
    fitted = inputs[f"quantizer/{space}"]
    held_out = fitted.tensors(fitted.only_part, "held_out")
    own = _numbers(source, held_out)
    truth = no_neighbours(len(own))
    for part in listed.parts:
        some = listed.tensors(part.name, "nearest")
        rows = some["rows"].astype(np.int64)
        start = source.starts[part.name]
        nearest = Nearest(some["similarities"], np.where(rows >= 0, rows + start, -1))
        truth = merge_nearest(truth, nearest)
    return held_out["vectors"].astype(np.float32), truth, own


def _numbers(source: Artifact, held_out: "dict[str, Any]") -> "np.ndarray":
    """Numbers of held-out rows over all parts; -1 where their part is not there any more."""
    import numpy as np

    starts = {part.content: source.starts[part.name] for part in source.parts}
    numbers = [
        starts[part.tobytes().hex()] + int(row) if part.tobytes().hex() in starts else -1
        for part, row in zip(held_out["part_digests"], held_out["rows"], strict=True)
    ]
    return np.array(numbers, np.int64)
