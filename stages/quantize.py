"""Features or embeddings and a quantizer in, inverted lists out: part by part."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from ..store import Artifact, Product, Scratch
from ..store.files import reserve, write_array
from ..store.kinds import LISTS, Kind
from .contract import Inputs, Part, Runtime, Stage, parts_like
from .indexing.centroids import nearest_centroid
from .indexing.factory import Factory
from .indexing.faiss_library import import_faiss, map_in_threads, on_gpu
from .indexing.lists import read_trained
from .indexing.recall import Nearest, merge_nearest, nearest_in_block, no_neighbours
from .indexing.vectors import VectorRows

_ROWS = 8192
"""Rows that a thread reads, lists and compares at once."""


class _Fit(NamedTuple):
    """The fit that all rows share."""

    index: Any
    nearest: Callable[[np.ndarray], np.ndarray]
    """Finds the list of each row, on the CPU."""
    on_gpu: Any
    """The centroids on a GPU, if there is one and no graph links them; else None."""
    code_size: int
    vectors: np.ndarray
    """Held-out rows, float32 (q, d)."""
    rows: np.ndarray
    """Their row numbers within their parts."""
    part_digests: np.ndarray
    """Digests of their parts, uint8 (q, 32)."""
    reader: VectorRows


@dataclass(frozen=True, kw_only=True)
class Quantize(Stage):
    """Puts every row into the list of its nearest centroid, and encodes it.

    Rows are numbered within their part, so that a part does not depend on the others. Each part
    also stores its rows nearest to the held-out rows, from which `index` finds the true neighbours.
    """

    name: ClassVar[str] = "quantize"
    kind: ClassVar[Kind] = LISTS
    revision: ClassVar[int] = 4
    is_thread_invariant: ClassVar[bool] = True

    space: Literal["features", "embeddings"]

    @property
    def quantizer(self) -> str:
        """The slot of the quantizer."""
        return f"quantizer/{self.space}"

    @property
    def needs(self) -> tuple[str, ...]:
        """The rows, and the quantizer."""
        return (self.space, self.quantizer)

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each part of the space."""
        return parts_like(inputs[self.space], {"quantizer": inputs[self.quantizer].content})

    def prepare(self, inputs: Inputs, runtime: Runtime) -> _Fit:
        """Reads the quantizer and the held-out rows."""
        faiss = import_faiss()
        fitted = inputs[self.quantizer]
        part = fitted.only_part
        path = fitted.path(part, "index", is_read_whole=True)
        index = read_trained(path.read_bytes())
        factory = Factory.parse(fitted.facts["factory"])
        held_out = fitted.tensors(part, "held_out")
        runtime.progress.start(f"list {self.space}", inputs[self.space].rows, "rows")
        return _Fit(
            index=index,
            nearest=nearest_centroid(index.quantizer),
            on_gpu=None if factory.links else on_gpu(faiss, index.quantizer, runtime.device),
            code_size=int(index.code_size),
            vectors=np.ascontiguousarray(held_out["vectors"], np.float32),
            rows=held_out["rows"],
            part_digests=held_out["part_digests"],
            reader=VectorRows(inputs[self.space]),
        )

    def make(
        self, part: Part, prepared: _Fit, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Lists the rows of one part."""
        from safetensors.numpy import save_file

        total = inputs[self.space].part_names[part.name].rows
        lists, nearest = self._assign(part, prepared, inputs[self.space], runtime)
        order = np.argsort(lists, kind="stable").astype(np.int32)
        write_array(scratch.path("rows"), order)
        write_array(scratch.path("lists"), lists[order])
        # Memory-mapped: the codes of one part may be larger than memory.
        codes = np.lib.format.open_memmap(
            scratch.path("codes"), mode="w+", dtype=np.uint8, shape=(total, prepared.code_size)
        )
        reserve(scratch.path("codes"))
        positions = np.empty(total, np.int64)
        positions[order] = np.arange(total)

        def encode(first: int) -> None:
            block = _read(prepared.reader, part.name, first, total)
            block_lists = np.ascontiguousarray(lists[first : first + len(block)], np.int64)
            codes[positions[first : first + len(block)]] = _encode(prepared, block, block_lists)

        for _ in map_in_threads(encode, range(0, total, _ROWS)):
            pass
        codes.flush()
        save_file(
            {"similarities": nearest.similarities, "rows": nearest.rows.astype(np.int32)},
            scratch.path("nearest"),
        )
        return Product(rows=total, shared=dict(inputs[self.quantizer].facts))

    def _assign(
        self, part: Part, prepared: _Fit, source: Artifact, runtime: Runtime
    ) -> tuple[np.ndarray, Nearest]:
        """The list of each row, and the rows nearest to the held-out ones."""
        record = source.part_names[part.name]
        is_here = (prepared.part_digests == _digest(record.content)).all(1)
        own = np.where(is_here, prepared.rows, -1)
        lists = np.empty(record.rows, np.int32)

        def compare(first: int) -> Nearest:
            block = _read(prepared.reader, part.name, first, record.rows)
            lists[first : first + len(block)] = _lists_of(prepared, block)
            runtime.progress.advance(len(block))
            return nearest_in_block(prepared.vectors, block, first, own)

        nearest = no_neighbours(len(prepared.vectors))
        for block_nearest in map_in_threads(compare, range(0, record.rows, _ROWS)):
            nearest = merge_nearest(nearest, block_nearest)
        return lists, nearest


def _lists_of(prepared: _Fit, block: np.ndarray) -> np.ndarray:
    if prepared.on_gpu is None:
        return prepared.nearest(block)
    with _gpu_lock:
        return prepared.on_gpu.search(block, 1)[1][:, 0]


_gpu_lock = threading.Lock()
"""FAISS lets one thread at a time search on a GPU."""


def _read(reader: VectorRows, part: str, first: int, total: int) -> np.ndarray:

    rows = reader.read(part, first, min(_ROWS, total - first))
    return np.ascontiguousarray(rows, np.float32)


def _encode(prepared: _Fit, block: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """The codes of rows in given lists: uint8 (n, code size)."""
    faiss = import_faiss()
    codes = np.empty((len(block), prepared.code_size), np.uint8)
    prepared.index.encode_vectors(
        len(block), faiss.swig_ptr(block), faiss.swig_ptr(lists), faiss.swig_ptr(codes)
    )
    return codes


def _digest(content: str) -> np.ndarray:

    return np.frombuffer(bytes.fromhex(content), np.uint8)
