"""Features or embeddings in, a place in the plane for every row out."""

import importlib.util
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..store import ConfigError, MissingError, Product, Scratch
from ..store.kinds import PROJECTION, Kind, Table
from .contract import Inputs, Part, Runtime, Stage
from .indexing.rows import VectorRows
from .part_tables import write_table

Method = Literal["pca", "tsne", "umap"]

_ROWS = 8192
"""Rows that are read at once: bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class Map(Stage):
    """Puts every row in the plane, so that rows that are alike lie together.

    The plane is fitted on some rows; all others are put beside those that they are most like.
    """

    name: ClassVar[str] = "map"
    kind: ClassVar[Kind] = PROJECTION
    revision: ClassVar[int] = 2

    space: Literal["features", "embeddings"] = "features"
    """What is alike: refined features, or raw embeddings."""
    method: Method = "tsne"
    """`umap` needs an extra of its own; `pca` is the quickest and shows the least."""
    rows: int = 10_000
    """Rows that the plane is fitted on, at most."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 2:
            raise ConfigError(f"map has rows = {self.rows}; allowed: 2 or more")

    @property
    def needs(self) -> tuple[str, ...]:
        """The space that is looked at."""
        return (self.space,)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Fits the plane, and puts all rows into it."""
        import pyarrow as pa

        from .algorithms.clustering.sampling import choose_rows
        from .algorithms.plane import extend_plane, fit_plane

        _require(self.method)
        source = inputs[self.space]
        vectors = VectorRows(source)
        chosen = choose_rows(source.rows, self.rows, self.seed)
        fitted = vectors.take(chosen).astype(np.float32)
        runtime.progress.tell(f"map: fitting {len(chosen):,} rows by {self.method}")
        xy = fit_plane(fitted, self.method, self.seed)
        places = np.empty((source.rows, 2), np.float32)
        runtime.progress.start("map", source.rows, "rows")
        for one in source.parts:
            for first in range(0, one.rows, _ROWS):
                block = vectors.read(one.name, first, min(_ROWS, one.rows - first))
                block = block.astype(np.float32)
                start = source.starts[one.name] + first
                places[start : start + len(block)] = extend_plane(fitted, xy, block)
                runtime.progress.advance(len(block))
        # What was fitted is where it was fitted, whatever its neighbours are.
        places[chosen] = xy
        spec = PROJECTION.files["rows"]
        assert isinstance(spec, Table)
        arrays = [pa.array(places[:, side]) for side in (0, 1)]
        write_table(scratch, "rows", pa.Table.from_arrays(arrays, schema=spec.schema()))
        return Product(rows=source.rows, shared={"fitted": len(chosen)})


def _require(method: Method) -> None:
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise MissingError(
            "no UMAP is installed: pip install 'cpp-pipe[map]', or map with --method tsne"
        )
