"""Features or embeddings in, one FAISS index with its measured recall out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ..store import Artifact, Product, Scratch
from ..store.kinds import INDEX, Kind
from ..store.residency import Residency
from .contract import Inputs, Part, Runtime, Stage
from .indexing.factory import EXACT_ROWS, Factory
from .indexing.faiss_library import import_faiss, map_in_threads, one_thread, write_index
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
from .indexing.recall_curve import RecallCurve, measure_curve
from .indexing.vectors import VectorRows

_EF_CONSTRUCTION = 80
_ROWS = 8192
_QUERIES_AT_ONCE = 64

_MAPPED_BYTES = 1 << 30
"""Of lists, and of the index that they are merged into: what is mapped counts as memory in use,
and both may be larger than the memory."""


@dataclass(frozen=True, kw_only=True)
class Index(Stage):
    """Builds an index by inner product of unit rows.

    Inverted lists are merged from the lists of all parts. An exact index and a graph are built from
    all rows: they are for so few rows that this takes less than a minute.
    """

    name: ClassVar[str] = "index"
    kind: ClassVar[Kind] = INDEX
    revision: ClassVar[int] = 5

    space: Literal["features", "embeddings"]
    factory: str
    """A FAISS factory string."""
    seed: int = 0
    """Draws the query rows that a graph is measured with."""

    @property
    def is_merged(self) -> bool:
        """Whether it consists of inverted lists."""
        return Factory.parse(self.factory).shape == "lists"

    @property
    def needs(self) -> tuple[str, ...]:
        """The indexed space, and its lists."""
        if not self.is_merged:
            return (self.space,)
        return (self.space, f"quantizer/{self.space}", f"lists/{self.space}")

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One, of all rows; ConfigError where the factory does not suit the rows."""
        rows = VectorRows(inputs[self.space])
        Factory.parse(self.factory).check(rows.source.rows, rows.width)
        sources = {slot: inputs[slot].content for slot in self.needs}
        return (Part(name=self.kind.name, sources=sources),)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Writes the index, and measures its recall at several search widths."""
        source = inputs[self.space]
        path, rows = scratch.path("index"), VectorRows(source, runtime.draw)
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
            "curve": [[width, round(value, 4)] for width, value in curve],
            "source_content": source.content,
        }
        # A file holds nothing but what follows from the recipe, which knows contents alone: rows
        # of two versions or models may have the same bytes.
        scratch.path("facts").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        model = dict(source.facts["model"])
        return Product(rows=source.rows, shared={**facts, "model": model})

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
        write_merged(path, trained.read_bytes(), parts, Residency(_MAPPED_BYTES).trim)
        runtime.progress.advance(1)

    def _build(self, path: Path, rows: VectorRows, runtime: Runtime) -> None:
        """Builds an exact index, or a graph in one thread: several would link in varying order."""
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
            runtime.progress.report(f"{line}, {seconds:.0f} s with one thread")
        runtime.progress.start(f"index {self.space}", source.rows, "rows")
        with one_thread(faiss):
            for _, block in _blocks(rows):
                if not index.is_trained:
                    index.train(block)
                index.add(block)
                runtime.progress.advance(len(block))
        write_index(index, path)

    def _drawn(self, rows: VectorRows) -> tuple[np.ndarray, Nearest, np.ndarray]:
        """Query rows drawn from the index, their true neighbours, and their own row numbers."""
        total = rows.source.rows
        count = min(QUERIES, total) if Factory.parse(self.factory).shape == "graph" else 0
        own = np.sort(np.random.default_rng(self.seed).choice(total, count, replace=False))
        queries = rows.take(own).astype(np.float32)
        truth = no_neighbours(count)

        def compare(block: tuple[int, np.ndarray]) -> Nearest:
            return nearest_in_block(queries, block[1], block[0], own)

        for nearest in map_in_threads(compare, _blocks(rows) if count else ()):
            truth = merge_nearest(truth, nearest)
        return queries, truth, own[:, None]

    def _measure(
        self, path: Path, rows: VectorRows, queries: np.ndarray, truth: Nearest, own: np.ndarray
    ) -> RecallCurve:
        """recall@10 with the widths that `measure_curve` tries."""
        factory = Factory.parse(self.factory)
        opened = OpenedIndex(path, factory, rows)
        if factory.shape == "exact" or not len(queries):
            return [(opened.max_width, 1.0)]

        residency = Residency(_MAPPED_BYTES)
        list_bytes = path.stat().st_size // factory.lists if factory.lists else 0

        def search(some: np.ndarray, width: int) -> Nearest:
            # Extra neighbours: the first may be the query itself, once in each of equal parts.
            nearest = opened.search(some, NEIGHBOURS + own.shape[1], width)
            residency.trim()
            return nearest

        def recall_with(width: int) -> float:
            # Wide searches map much of the index before it can be released.
            count = _MAPPED_BYTES // max(1, width * list_bytes)
            count = min(max(1, count), _QUERIES_AT_ONCE)
            blocks = [
                search(queries[at : at + count], width) for at in range(0, len(queries), count)
            ]
            similarities, rows = map(np.concatenate, zip(*blocks, strict=True))
            return measure_recall(Nearest(similarities, rows), truth, own)

        first = 16 if factory.shape == "graph" else 1
        return measure_curve(recall_with, first=first, most=opened.max_width)


def _blocks(rows: VectorRows) -> Iterator[tuple[int, np.ndarray]]:
    """All rows in float32, in blocks with the row number of their first row."""
    for part in rows.source.parts:
        for first in range(0, part.rows, _ROWS):
            block = rows.read(part.name, first, min(_ROWS, part.rows - first))
            start = rows.source.starts[part.name] + first
            yield start, np.ascontiguousarray(block, np.float32)


def _held_out(inputs: Inputs, space: str) -> tuple[np.ndarray, Nearest, np.ndarray]:
    """The held-out rows, their true neighbours over all parts, and their own row numbers."""
    source, listed = inputs[space], inputs[f"lists/{space}"]
    fitted = inputs[f"quantizer/{space}"]
    held_out = fitted.tensors(fitted.only_part, "held_out")
    own = _numbers(source, held_out)
    truth = no_neighbours(len(own))
    for part in listed.parts:
        nearest = listed.tensors(part.name, "nearest")
        rows, similarities = nearest["rows"].astype(np.int64), nearest["similarities"]
        start = source.starts[part.name]
        truth = merge_nearest(truth, Nearest(similarities, np.where(rows >= 0, rows + start, -1)))
    return held_out["vectors"].astype(np.float32), truth, own


def _numbers(source: Artifact, held_out: "dict[str, Any]") -> np.ndarray:
    """Row numbers of held-out rows in all parts of their part's content: (q, m), -1 for no more."""
    starts: dict[str, list[int]] = {}
    for part in source.parts:
        starts.setdefault(part.content, []).append(source.starts[part.name])
    numbers = [
        [start + int(row) for start in starts.get(part.tobytes().hex(), ())]
        for part, row in zip(held_out["part_digests"], held_out["rows"], strict=True)
    ]
    most = max([1, *map(len, numbers)])
    return np.array([own + [-1] * (most - len(own)) for own in numbers], np.int64)
