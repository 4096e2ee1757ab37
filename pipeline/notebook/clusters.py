"""Clusters of a run: Jupyter shows a cluster as its images, and all of them as a table."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ...store import QueryError
from ..report.markup import Html, tag
from ..report.mosaics import TILE, Tiles, draw_mosaic
from ..report.tables import number, table, table_head
from ..view.captions import Caption, read_captions
from ..view.cluster_list import ClusterRow, list_clusters
from ..view.columns import read_column
from ..view.keys import names_of_rows
from ..view.opened_run import OpenedRun
from ..wording import counted

if TYPE_CHECKING:
    from PIL import Image

_SUREST, _DOUBTFUL = 12, 8
"""Images of a cluster that Jupyter shows."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One cluster of a run."""

    number: int
    size: int
    confidence: float
    """The mean of its images."""
    caption: str | None
    """Its best caption; None if clusters have none."""
    captions: Sequence[Caption] = ()
    """All of its captions, best first."""
    run: OpenedRun = field(repr=False, compare=False)
    """The run as it was when the cluster was read: later steps do not change a cluster."""

    def __len__(self) -> int:
        return self.size

    @property
    def rows(self) -> np.ndarray:
        """The row numbers of its images, the surest first."""
        assignments = self.run.require_current("assignments")
        rows = np.flatnonzero(read_column(assignments, "cluster") == self.number)
        confidence = read_column(assignments, "confidence")[rows]
        return rows[np.argsort(-confidence, kind="stable")]

    def keys(self, n: int | None = None) -> list[str]:
        """SHARD:KEY of its n surest images, or of all."""
        return names_of_rows(self.run.artifact("embeddings"), self.rows[:n])

    def images(self, n: int = 12) -> "list[Image.Image]":
        """Its n surest images; MissingError if one cannot be read."""
        return [self.run.image(row) for row in self.rows[:n].tolist()]

    def _repr_html_(self) -> str:
        rows = self.rows.tolist()
        surest = rows[:_SUREST]
        doubtful = rows[_SUREST:][-_DOUBTFUL:][::-1]
        tiles = next(Tiles(self.run).read_many([[*surest, *doubtful]], TILE))
        title = f"{self.number}: {self.caption}" if self.caption else f"cluster {self.number}"
        facts = f"{counted(self.size, 'image')}, mean confidence {self.confidence:.2f}"
        drawn: Html | None = None
        if any(tile is not None for tile in tiles):
            mosaic = draw_mosaic(tiles[: len(surest)], tiles[len(surest) :])
            source = f"data:image/jpeg;base64,{base64.b64encode(mosaic.data).decode()}"
            alt = f"The surest images of the cluster {title}; below them those it is least sure of"
            drawn = tag("img", src=source, alt=alt, width=mosaic.width, height=mosaic.height)
        return tag("div", tag("p", tag("strong", title), f" ({facts})"), drawn)


class Clusters(Sequence[Cluster]):
    """The clusters of a run that have images, the largest first."""

    def __init__(self, clusters: Sequence[Cluster]) -> None:
        self._clusters = clusters

    def __len__(self) -> int:
        return len(self._clusters)

    @overload
    def __getitem__(self, place: int) -> Cluster: ...
    @overload
    def __getitem__(self, place: slice) -> "Clusters": ...
    def __getitem__(self, place: int | slice) -> "Cluster | Clusters":
        if isinstance(place, slice):
            return Clusters(self._clusters[place])
        return self._clusters[place]

    def __iter__(self) -> Iterator[Cluster]:
        return iter(self._clusters)

    def __repr__(self) -> str:
        images = sum(cluster.size for cluster in self)
        return f"<{counted(len(self), 'cluster')} of {counted(images, 'image')}>"

    def _repr_html_(self) -> str:
        head = [
            table_head("cluster", is_number=True),
            table_head("images", is_number=True),
            table_head("confidence", is_number=True),
            table_head("captions"),
        ]
        rows = [
            [
                number(str(cluster.number)),
                number(f"{cluster.size:,}"),
                number(f"{cluster.confidence:.2f}"),
                tag("td", ", ".join(caption.words for caption in cluster.captions[:3]) or "-"),
            ]
            for cluster in self
        ]
        return table("Clusters", head, rows)


def read_clusters(run: OpenedRun) -> Clusters:
    """The clusters of a run, the largest first; MissingError if there are none yet."""
    assignments = run.require_current("assignments")
    artifact = run.show("captions")
    captions: Mapping[int, Sequence[Caption]] = {} if artifact is None else read_captions(artifact)
    run = _snapshot(run)
    rows = sorted(list_clusters(assignments, artifact), key=lambda row: (-row.size, row.cluster))
    return Clusters([_cluster(run, row, captions) for row in rows])


def _snapshot(run: OpenedRun) -> OpenedRun:
    """The run with the artifacts that it holds now, which its later steps do not replace."""
    snapshot = OpenedRun(run.store, run.record, run.device)
    snapshot.slots, snapshot.store_name, snapshot.report = run.slots, run.store_name, run.report
    return snapshot


def read_cluster(run: OpenedRun, number: int) -> Cluster:
    """A cluster by its number; QueryError if no image is in it."""
    clusters = read_clusters(run)
    for cluster in clusters:
        if cluster.number == number:
            return cluster
    numbers = sorted(cluster.number for cluster in clusters)
    raise QueryError(f"no image is in cluster {number!r}: they are {numbers[0]} to {numbers[-1]}")


def _cluster(run: OpenedRun, row: ClusterRow, captions: Mapping[int, Sequence[Caption]]) -> Cluster:
    fields: dict[str, Any] = row.to_json()
    cluster = fields.pop("cluster")
    return Cluster(number=cluster, captions=captions.get(cluster, ()), run=run, **fields)
