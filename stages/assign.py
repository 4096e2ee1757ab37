"""Features and spectrum in, a cluster for every row out: a map over parts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ..store import ConfigError, Product, Scratch
from ..store.kinds import ASSIGNMENTS, Kind, Table
from .contract import Inputs, Part, Runtime, Stage, parts_like
from .embedding_rows import write_table
from .landmarks import Landmarks

if TYPE_CHECKING:
    import numpy as np

_ROWS = 8192
"""Rows that are compared with the landmarks at once: bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """What is the same for all rows."""

    landmarks: Landmarks
    labels: "np.ndarray"
    """(m,) clusters of the landmarks."""
    centroids: "np.ndarray"
    """(k, k) among unit rows of eigenvectors."""


@dataclass(frozen=True, kw_only=True)
class Assign(Stage):
    """Puts every row into the cluster whose centroid is nearest among the leading eigenvectors.

    A row's place there follows from its nearest landmarks. Its confidence is the share of its
    affinity to them that goes to landmarks of its own cluster.
    """

    name: ClassVar[str] = "assign"
    kind: ClassVar[Kind] = ASSIGNMENTS
    revision: ClassVar[int] = 1

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
        landmarks = Landmarks.of(inputs["spectrum"])
        k = int(inputs["k_curve"].facts["chosen"]) if self.k == "auto" else self.k
        labels, centroids = landmarks.cluster(k)
        runtime.progress.start("assign", inputs["features"].rows, "rows")
        return _Fit(landmarks=landmarks, labels=labels, centroids=centroids)

    def make(
        self, part: Part, prepared: _Fit, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Assigns the rows of one part."""
        import numpy as np
        import pyarrow as pa

        z = inputs["features"].array(part.name, "z")
        clusters = np.empty(len(z), np.int32)
        confidences = np.empty(len(z), np.float32)
        for start in range(0, len(z), _ROWS):
            block = slice(start, start + _ROWS)
            clusters[block], confidences[block] = _assign(prepared, z[block])
            runtime.progress.advance(len(clusters[block]))
        spec = ASSIGNMENTS.files["rows"]
        assert isinstance(spec, Table)
        keys = inputs["embeddings"].table(part.name, columns=["key"]).column(0)
        columns = [keys, pa.array(clusters), pa.array(confidences)]
        write_table(scratch, "rows", pa.Table.from_arrays(columns, schema=spec.schema()))
        return Product(rows=len(z), shared={"k": len(prepared.centroids)})


def _assign(fit: _Fit, z: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    import numpy as np

    from .algorithms.spectral import extend, neighbour_weights, spectral_rows

    marks = fit.landmarks
    weights = neighbour_weights(z.astype(np.float32), marks.z, marks.neighbours)
    place = extend(weights, marks.values, marks.vectors, marks.degrees)
    rows = spectral_rows(place, fit.centroids.shape[1])
    # Both have unit or shorter rows, so the nearest centroid needs its own length too.
    distance = (fit.centroids**2).sum(axis=1) - 2 * rows @ fit.centroids.T
    clusters = distance.argmin(axis=1).astype(np.int32)
    row = np.repeat(np.arange(len(z)), np.diff(weights.indptr))
    total = np.bincount(row, weights.data, len(z))
    own = np.bincount(row, weights.data * (fit.labels[weights.indices] == clusters[row]), len(z))
    share = own / np.where(total > 0, total, 1)
    return clusters, np.clip(share, 0, 1).astype(np.float32)
