"""Features and spectrum in, a cluster for every row out: part by part."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from ..store import ConfigError, Product, Scratch
from ..store.counting import counted
from ..store.kinds import ASSIGNMENTS, Kind
from .contract import Inputs, Part, Runtime, Stage, parts_like
from .rows.landmarks import cut_hierarchy, find_partition, open_landmarks

if TYPE_CHECKING:
    from .algorithms.clustering.landmarks import Assigner, Partition
    from .algorithms.clustering.novelty import Known

_ROWS = 8192
"""Rows read at once: bounds the memory."""


class _Fit(NamedTuple):
    """The fit that all rows share."""

    assigner: "Assigner"
    known: "Known"
    clusters: list[int]
    """The number of clusters for each k."""


@dataclass(frozen=True, kw_only=True)
class Assign(Stage):
    """Assigns every row to the cluster with the nearest centroid.

    Centroids lie in the space of the refined features, or, for a membership or a hierarchy, in that
    of the leading eigenvectors, where a row's coordinates follow from its links to the landmarks.
    No row is left out: each gets a confidence, and a novelty, which says how far it is from all
    fitted rows.
    """

    name: ClassVar[str] = "assign"
    kind: ClassVar[Kind] = ASSIGNMENTS
    revision: ClassVar[int] = 5

    k: int | tuple[int, ...] | Literal["auto"] = "auto"
    """Number of clusters. Of several, the run uses the first; the others become extra columns.
    `auto` takes the number that `select-k` chose."""
    method: Literal["spectral", "hierarchy"] = "spectral"
    """`hierarchy` cuts the hierarchy at level k, so that the clusters of any two k are nested."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The k_curve is needed only for k = auto."""
        always = ("embeddings", "features", "spectrum")
        if self.method == "hierarchy":
            return (*always, "hierarchy")
        return (*always, "k_curve") if self.k == "auto" else always

    @property
    def numbers(self) -> tuple[int, ...]:
        """The requested k; empty for `auto`."""
        if self.k == "auto":
            return ()
        return self.k if isinstance(self.k, tuple) else (self.k,)

    def require_possible(self, rows: int) -> None:
        """ConfigError where so many rows cannot make the requested clusters."""
        flag = "--level" if self.method == "hierarchy" else "--k"
        if self.k == () or len(set(self.numbers)) < len(self.numbers):
            raise ConfigError(
                f"{flag} must be one number, or several distinct numbers, got {self.k}"
            )
        for k in self.numbers:
            if not 1 <= k <= rows:
                raise ConfigError(f"{flag} must be from 1 to the number of rows, {rows}, got {k}")

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each part of the features."""
        self.require_possible(inputs["features"].rows)
        fitted = {kind: inputs[kind].content for kind in self.needs[2:]}
        keys = inputs["embeddings"].part_names
        return tuple(
            Part(name=part.name, sources={**part.sources, "embeddings": keys[part.name].content})
            for part in parts_like(inputs["features"], fitted)
        )

    def prepare(self, inputs: Inputs, runtime: Runtime) -> _Fit:
        """Clusters the landmarks; every process gets the same clusters."""
        from .algorithms.clustering.landmarks import Assigner
        from .algorithms.clustering.novelty import fit_known

        landmarks = open_landmarks(inputs["spectrum"], runtime.device)
        partitions = self._partitions(inputs)
        for partition in partitions:
            if self.method == "spectral" and partition.k < len(partition.group):
                runtime.progress.report(
                    f"assign: {len(partition.group)} pieces were joined into "
                    f"{counted(partition.k, 'cluster')}, because their embeddings overlap like two "
                    "halves of one cluster"
                )
        runtime.progress.start("assign", inputs["features"].rows, "rows")
        return _Fit(
            assigner=Assigner(landmarks, partitions),
            known=fit_known(landmarks.x, landmarks.seed),
            clusters=[partition.k for partition in partitions],
        )

    def _partitions(self, inputs: Inputs) -> "list[Partition]":
        """Clusters of the landmarks, for each k."""
        if self.method == "hierarchy":
            hierarchy = inputs["hierarchy"]
            levels = self.numbers or (int(hierarchy.facts["shortest"]),)
            return [cut_hierarchy(hierarchy, level) for level in levels]
        numbers = self.numbers or (int(inputs["k_curve"].facts["chosen"]),)
        return [find_partition(inputs["spectrum"].folder, k) for k in numbers]

    def make(
        self, part: Part, prepared: _Fit, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Assigns the rows of one part."""
        from .algorithms.clustering.novelty import novelty
        from .algorithms.threads import map_in_threads

        z, c = (inputs["features"].array(part.name, role) for role in ("z", "c"))
        x = inputs["embeddings"].embeddings(part.name)
        novelties = np.empty(len(z), np.float32)
        blocks: list[list[tuple[np.ndarray, np.ndarray]]] = []

        def assign(start: int) -> list[tuple[np.ndarray, np.ndarray]]:
            block = slice(start, start + _ROWS)
            points = prepared.assigner.points_of(z[block], c[block])
            novelties[block] = novelty(x[block].astype(np.float32), prepared.known)
            return prepared.assigner.assign(points)

        for assigned in map_in_threads(assign, range(0, len(z), _ROWS)):
            blocks.append(assigned)
            runtime.progress.advance(min(_ROWS, len(z) - _ROWS * (len(blocks) - 1)))
        columns = [
            np.concatenate([np.empty(0, dtype), *(block[number][side] for block in blocks)])
            for number in range(len(prepared.clusters))
            for side, dtype in enumerate((np.int32, np.float32))
        ]
        keys = inputs["embeddings"].table(part.name, columns=["key"]).column(0)
        names = ASSIGNMENTS.table().schema(numbers=self.numbers[1:]).names
        arrays = (keys, *columns[:2], novelties, *columns[2:])
        table = dict(zip(names, arrays, strict=True))
        scratch.write_table("rows", table, numbers=self.numbers[1:])
        requested = self.numbers or (prepared.clusters[0],)
        counts = {str(k): count for k, count in zip(requested, prepared.clusters, strict=True)}
        return Product(rows=len(z), shared={"k": prepared.clusters[0], "clusters": counts})


@dataclass(frozen=True, kw_only=True)
class AssignInOrder(Assign):
    """As `Assign`, with cluster numbers that follow those of earlier clusters.

    Only the clusters of the first k get these numbers.
    """

    order: tuple[int, ...]
    """The number of each cluster, in the order in which clusters are found."""

    def _partitions(self, inputs: Inputs) -> "list[Partition]":
        """Clusters of the landmarks, those of the first k with their new numbers."""
        first, *others = super()._partitions(inputs)
        if len(self.order) != first.k:
            raise ConfigError(
                f"assign.order must number {counted(first.k, 'cluster')}, got "
                f"{counted(len(self.order), 'number')}"
            )
        return [first._replace(group=np.array(self.order)[first.group]), *others]
