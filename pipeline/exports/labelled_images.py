"""The images of a run as a labelled data set, whose classes are the clusters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...stages.sources.images.pixels import UndecodableImage, suffix_of
from ...store import ConfigError, MissingError
from ..curation.sources import try_images
from ..view.captions import first_captions
from ..view.columns import read_column
from .file_names import make_unique
from .image_table import ImageTable


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """An image, its class, and further facts."""

    row: int
    key: str
    shard: str
    cluster: int
    """The number of its cluster."""
    label: int
    """The index of its cluster among the classes."""
    name: str
    """The name of its class."""
    confidence: float
    tags: list[str]
    caption: str | None
    given_label: str | None
    """The label that came with the sample."""
    width: int
    height: int
    encoded: bytes
    """The bytes that were embedded."""
    suffix: str


@dataclass(kw_only=True)
class LabelledImages:
    """The images of a run that are not excluded, in row order; iterating reads them."""

    table: ImageTable
    places: Mapping[str, str]
    """The location of each part's source."""
    clusters: np.ndarray
    """The cluster of each row."""
    kept: np.ndarray
    """Rows that are not excluded."""
    classes: Mapping[int, str]
    """Unique names of the clusters that have images, by number."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Why images could not be read, by SHARD:KEY; complete after all images were tried."""

    @classmethod
    def of(cls, table: ImageTable, places: Mapping[str, str]) -> "LabelledImages":
        """The images of a table with clusters; ConfigError if all images are excluded."""
        assert table.assignments is not None
        edited = table.edited
        clusters = read_column(table.assignments, "cluster") if edited is None else edited.cluster
        kept = (np.ones(len(clusters), bool) if table.kept is None else table.kept).nonzero()[0]
        if not len(kept):
            condition = "" if table.allowed is None else " that meets --where"
            raise ConfigError(f"every image{condition} is excluded: there is nothing to export")
        names = {} if table.captions is None else dict(first_captions(table.captions))
        names |= {} if edited is None else edited.names
        numbers = np.unique(clusters[kept]).tolist()
        classes = make_unique(
            {number: names.get(number, f"cluster {number}") for number in numbers}
        )
        return cls(table=table, places=places, clusters=clusters, kept=kept, classes=classes)

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def excluded(self) -> int:
        """The number of images that decisions exclude."""
        return len(self.table) - len(self.kept)

    @property
    def written(self) -> int:
        """The number of images that could be read; right after all images were tried."""
        return len(self.kept) - len(self.unreadable)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Reads the images; MissingError if a source is gone or was changed, or if all fail."""
        self.unreadable.clear()
        labels = {number: label for label, number in enumerate(self.classes)}
        with try_images(self.table.embeddings, self.places, self.kept) as contents:
            for row in self._rows():
                encoded = next(contents)
                try:
                    if isinstance(encoded, MissingError):
                        raise encoded
                    suffix = suffix_of(encoded)
                except (MissingError, UndecodableImage) as error:
                    self.unreadable[f"{row['shard']}:{row['key']}"] = str(error)
                    continue
                cluster = int(self.clusters[row["row"]])
                yield LabelledImage(
                    row=row["row"],
                    key=row["key"],
                    shard=row["shard"],
                    cluster=cluster,
                    label=labels[cluster],
                    name=self.classes[cluster],
                    confidence=row["confidence"],
                    tags=row.get("tags", []),
                    caption=row["caption"],
                    given_label=row["label"],
                    width=row["width"],
                    height=row["height"],
                    encoded=encoded,
                    suffix=suffix,
                )
        if self.unreadable and not self.written:
            raise MissingError(f"no image could be read: {next(iter(self.unreadable.values()))}")

    def _rows(self) -> Iterator[dict[str, Any]]:
        for table in self.table.tables(vectors=()):
            for row in table.to_pylist():
                if not row.get("excluded"):
                    yield row
