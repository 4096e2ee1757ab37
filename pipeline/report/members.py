"""The cluster of every row, as assigned or as people decided; excluded rows are in none."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ...stages.edits.replay import Edited
from ...store import Artifact, ConfigError
from .contents import Decisions

NONE = -1
"""The cluster of an excluded row."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """The rows that a report shows, and their clusters."""

    assignments: Artifact
    edited: Edited | None = None

    def __post_init__(self) -> None:
        if self.edited is not None and self.edited.excluded.all():
            raise ConfigError("every image is excluded: there is nothing to report")

    @property
    def k(self) -> int:
        """The number of clusters, with those that splits made and those that are empty."""
        k = int(self.assignments.facts["k"])
        return k if self.edited is None else max(k, int(self.edited.cluster.max()) + 1)

    @property
    def kept(self) -> np.ndarray | None:
        """Whether each row is shown; None if all are."""
        return None if self.edited is None else ~self.edited.excluded

    def of(self, part: str, clusters: np.ndarray) -> np.ndarray:
        """The clusters of the rows of a part, given those that were assigned."""
        if self.edited is None:
            return clusters
        start = self.assignments.starts[part]
        own = slice(start, start + len(clusters))
        return np.where(self.edited.excluded[own], NONE, self.edited.cluster[own])

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Clusters and confidences of all rows, part by part, in row order."""
        for part in self.assignments.parts:
            table = self.assignments.table(part.name, columns=["cluster", "confidence"])
            clusters, confidence = (column.to_numpy() for column in table.columns)
            yield self.of(part.name, clusters), confidence

    def counted_parts(
        self,
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Callable[[int], str]]]:
        """The rows that are shown, as `count` takes them."""
        names = ["cluster", "confidence", "novelty"]
        for part in self.assignments.parts:
            table = self.assignments.table(part.name, columns=["key", *names]).combine_chunks()
            assigned, confidence, novelty = (table.column(name).to_numpy() for name in names)
            clusters, keys = self.of(part.name, assigned), table.column("key")
            kept = (clusters != NONE).nonzero()[0]
            yield (
                clusters[kept],
                confidence[kept],
                novelty[kept],
                lambda row, keys=keys, kept=kept: keys[int(kept[row])].as_py(),
            )

    def cluster_of(self, row: int, assigned: int) -> int:
        """The cluster of a row that is shown, given the one that was assigned."""
        return assigned if self.edited is None else int(self.edited.cluster[row])

    def describe(self, name: str) -> Decisions | None:
        """The decisions under their name; None without any."""
        edited = self.edited
        if edited is None:
            return None
        kept = ~edited.excluded
        tagged = {tag: rows & kept for tag, rows in sorted(edited.tags.items())}
        tags_of: dict[int, dict[str, int]] = {}
        for tag, rows in tagged.items():
            for cluster, count in Counter(edited.cluster[rows].tolist()).items():
                tags_of.setdefault(cluster, {})[tag] = count
        return Decisions(
            name=name,
            names=dict(edited.names),
            tags={tag: int(rows.sum()) for tag, rows in tagged.items() if rows.any()},
            tags_of=tags_of,
            excluded=np.bincount(edited.cluster[edited.excluded], minlength=self.k),
            moved=int((self._assigned() != edited.cluster)[kept].sum()),
        )

    def _assigned(self) -> np.ndarray:
        tables = (
            self.assignments.table(part.name, columns=["cluster"])
            for part in self.assignments.parts
        )
        return np.concatenate([table.column(0).to_numpy() for table in tables])
