"""Features or embeddings in, a point in the plane for every row out."""

import importlib.util
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..store import MissingError, Product, Scratch
from ..store.counting import counted
from ..store.kinds import PROJECTION, Kind
from .contract import Inputs, Part, Runtime, Stage
from .indexing.vectors import VectorRows

Method = Literal["pca", "tsne", "umap"]

_ROWS = 8192
"""Rows read at once: bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class Map(Stage):
    """Maps every row to a point in the plane, so that similar rows lie close together.

    The map is fitted to some rows; every other row is placed by its nearest fitted rows.
    """

    name: ClassVar[str] = "map"
    kind: ClassVar[Kind] = PROJECTION
    revision: ClassVar[int] = 3

    space: Literal["features", "embeddings"] = "features"
    """What is compared: refined features, or raw embeddings."""
    method: Method = "tsne"
    """`umap` needs the extra `map`; `pca` is the fastest and shows the least."""
    rows: int = 10_000
    """Rows that the map is fitted to, at most."""
    seed: int = 0

    def __post_init__(self) -> None:
        self.require_at_least(rows=2, seed=0)

    @property
    def needs(self) -> tuple[str, ...]:
        """The mapped space."""
        return (self.space,)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Fits the map, and places all rows."""

        from .algorithms.clustering.sampling import choose_rows
        from .algorithms.plane import extend_plane, fit_plane
        from .algorithms.threads import map_in_threads

        _require(self.method)
        source = inputs[self.space]
        vectors = VectorRows(source)
        chosen = choose_rows(source.rows, self.rows, self.seed)
        fitted = vectors.take(chosen).astype(np.float32)
        runtime.progress.report(f"map: fitting {self.method} to {counted(len(chosen), 'row')}")
        xy = fit_plane(fitted, self.method, self.seed)
        places = np.empty((source.rows, 2), np.float32)
        runtime.progress.start("map", source.rows, "rows")

        def place(block: tuple[str, int, int]) -> int:
            name, first, count = block
            rows = vectors.read(name, first, count).astype(np.float32)
            start = source.starts[name] + first
            places[start : start + count] = extend_plane(fitted, xy, rows)
            return count

        blocks = [
            (source_part.name, first, min(_ROWS, source_part.rows - first))
            for source_part in source.parts
            for first in range(0, source_part.rows, _ROWS)
        ]
        for count in map_in_threads(place, blocks):
            runtime.progress.advance(count)
        # Fitted rows keep their fitted places.
        places[chosen] = xy
        scratch.write_table("rows", {"x": places[:, 0], "y": places[:, 1]})
        return Product(rows=source.rows, shared={"fitted": len(chosen)})


def _require(method: Method) -> None:
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise MissingError(
            "UMAP is not installed: pip install 'cpp-pipe[map]', or use --method tsne"
        )
