"""Features and spectrum in, a cluster for every row out: a map over parts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ..store import ConfigError, Product, Scratch
from ..store.kinds import ASSIGNMENTS, Kind, Table
from .contract import Inputs, Part, Runtime, Stage, parts_like
from .embedding_rows import write_table
from .landmarks import Landmarks, clustering_rows

if TYPE_CHECKING:
    import numpy as np

    from .algorithms.consensus import Map

_ROWS = 8192
"""Rows that are compared with the landmarks at once: bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """What is the same for all rows."""

    landmarks: Landmarks
    map: "Map"
    """From cells to eigenvectors."""
    centroids: "np.ndarray"
    """(pieces, pieces) among unit rows of eigenvectors."""
    group: "np.ndarray"
    """(pieces,) the cluster of each piece."""
    agreement: "np.ndarray"
    """(cells, k) the share of each cell's landmarks that each cluster has."""


@dataclass(frozen=True, kw_only=True)
class Assign(Stage):
    """Puts every row into the cluster whose centroid is nearest among the leading eigenvectors.

    A row's place there follows from its cells in the base clusterings. Its confidence is the share
    of its own cluster among the landmarks of those cells, on average. Pieces of one group are
    joined first (`algorithms.merging`).
    """

    name: ClassVar[str] = "assign"
    kind: ClassVar[Kind] = ASSIGNMENTS
    revision: ClassVar[int] = 2

    k: int | Literal["auto"] = "auto"
    """How many clusters; `auto` takes what the curve of coding lengths chose."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The curve is needed only where it decides."""
        always = ("embeddings", "features", "spectrum")
        return (*always, "k_curve") if self.k == "auto" else always

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each part of the features."""
        rows = inputs["features"].rows
        if self.k != "auto" and not 1 <= self.k <= rows:
            raise ConfigError(f"--k {self.k} is not allowed for {rows} rows: 1 to {rows} is")
        fitted = {kind: inputs[kind].content for kind in self.needs[2:]}
        keys = inputs["embeddings"].part_names
        return tuple(
            Part(name=part.name, sources={**part.sources, "keys": keys[part.name].content})
            for part in parts_like(inputs["features"], fitted)
        )

    def prepare(self, inputs: Inputs, runtime: Runtime) -> _Fit:
        """Clusters the landmarks, once: the same in every process."""
        from .algorithms.consensus import agreement, extension

        landmarks = Landmarks.of(inputs["spectrum"])
        k = int(inputs["k_curve"].facts["chosen"]) if self.k == "auto" else self.k
        pieces, centroids, group = landmarks.cluster_and_join(k)
        found, cells = landmarks.found, len(landmarks.cells.centroids)
        clusters, kept = int(group.max()) + 1, centroids.shape[1]
        if clusters < len(group):
            runtime.progress.tell(
                f"assign: {len(group)} pieces were joined into {clusters} clusters: their "
                "embeddings are as alike as the halves of a cluster are"
            )
        runtime.progress.start("assign", inputs["features"].rows, "rows")
        return _Fit(
            landmarks=landmarks,
            map=extension(found, cells, landmarks.values[:kept], landmarks.vectors[:, :kept]),
            centroids=centroids,
            group=group,
            agreement=agreement(found, cells, group[pieces], clusters),
        )

    def make(
        self, part: Part, prepared: _Fit, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Assigns the rows of one part."""
        import numpy as np
        import pyarrow as pa

        z, c = (inputs["features"].array(part.name, role) for role in ("z", "c"))
        clusters = np.empty(len(z), np.int32)
        confidences = np.empty(len(z), np.float32)
        for start in range(0, len(z), _ROWS):
            block = slice(start, start + _ROWS)
            clusters[block], confidences[block] = _assign(
                prepared, clustering_rows(z[block], c[block])
            )
            runtime.progress.advance(len(clusters[block]))
        spec = ASSIGNMENTS.files["rows"]
        assert isinstance(spec, Table)
        keys = inputs["embeddings"].table(part.name, columns=["key"]).column(0)
        columns = [keys, pa.array(clusters), pa.array(confidences)]
        write_table(scratch, "rows", pa.Table.from_arrays(columns, schema=spec.schema()))
        return Product(rows=len(z), shared={"k": prepared.agreement.shape[1]})


def _assign(fit: _Fit, rows: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    import numpy as np

    from .algorithms.consensus import find_cells, place
    from .algorithms.spectral import spectral_rows

    found = find_cells(rows, fit.landmarks.cells)
    points = spectral_rows(place(found, fit.map), fit.centroids.shape[1])
    # Both have unit or shorter rows, so the nearest centroid needs its own length too.
    distance = (fit.centroids**2).sum(axis=1) - 2 * points @ fit.centroids.T
    clusters = fit.group[distance.argmin(axis=1)]
    share = fit.agreement[found, clusters[:, None]].mean(axis=1)
    return clusters.astype(np.int32), share.astype(np.float32)
