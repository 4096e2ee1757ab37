"""Clusters and images after the decisions that the log had at one length."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from ...stages.edits.edit import Edit
from ...stages.edits.replay import Outcome, Replay
from ...store import MissingError
from .models import Card, Grouping, Name
from .partition import Partition
from .responses import CachedAnswers

DECIDED = "decided"
"""The grouping of the decided clusters."""

_CACHE_BYTES = 8 * 2**20
"""Bytes of the cached answers that follow the log."""


class Decided:
    """What people decided about a run. It never changes: a longer log gives a new object."""

    def __init__(
        self, replay: Replay | None = None, own: Callable[[], Partition] | None = None
    ) -> None:
        self.edited = None if replay is None else replay.edited
        """None if nothing was ever decided."""
        self._replay = replay
        self._k = 0 if replay is None else replay.k
        self._own = own
        self.answers = CachedAnswers(_CACHE_BYTES)
        """Answers that follow the log, dropped with it."""

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """All decisions in order, with what became of each."""
        return () if self.edited is None else self.edited.outcomes

    @property
    def length(self) -> int:
        """The number of decisions in the log."""
        return len(self.outcomes)

    @property
    def edits(self) -> list[Edit]:
        """All decisions, in order."""
        return [outcome.edit for outcome in self.outcomes]

    @cached_property
    def holds(self) -> bool:
        """Whether any decision is not reverted."""
        return any(
            outcome.status != "reverted" and outcome.edit.op != "revert"
            for outcome in self.outcomes
        )

    @cached_property
    def grouping(self) -> Grouping:
        """The decided clusters; `k` counts those with images."""
        count = int((self.sizes > 0).sum())
        return Grouping(name=DECIDED, k=count, asked=count)

    @cached_property
    def sizes(self) -> np.ndarray:
        """(k,) images of each cluster, with those that are excluded."""
        assert self.edited is not None, "used only if something is decided"
        return np.bincount(self.edited.cluster, minlength=self._k)

    @cached_property
    def partition(self) -> Partition:
        """The decided clusters, without excluded rows; confidences are those of the run's own."""
        assert self.edited is not None and self._own is not None, "as for sizes"
        cluster = np.where(self.edited.excluded, np.int32(self._k), self.edited.cluster)
        return self._own().regrouped(cluster, self._k)

    @cached_property
    def with_excluded(self) -> Partition:
        """`partition` with the excluded rows in their clusters."""
        assert self.edited is not None and self._own is not None, "as for sizes"
        return self._own().regrouped(self.edited.cluster, self._k)

    def clusters_now(self, edit: Edit) -> list[int]:
        """The decided clusters that the clusters of a decision became, without empty ones."""
        numbers = [] if self._replay is None else self._replay.clusters_now(edit)
        return [cluster for cluster in numbers if self.sizes[cluster]]

    def require(self, cluster: int) -> None:
        """MissingError for a number that never was a cluster's, and for a cluster left empty."""
        if not 0 <= cluster < self._k:
            raise MissingError(f"cluster must be from 0 to {self._k - 1}, got {cluster}")
        if not self.sizes[cluster]:
            raise MissingError(f"cluster {cluster} has no images: it was merged into another")

    def complete(self, card: Card) -> Card:
        """The card of a cluster with the name, the note and the exclusions of the decisions."""
        edited = self.edited
        assert edited is not None, "as for sizes"
        given_name, names = edited.names.get(card.id), card.names
        if given_name is not None:
            names = [Name(caption=given_name, score=1.0, is_given=True), *names]
        return card.model_copy(
            update={
                "names": names,
                "note": edited.notes.get(card.id),
                "excluded": int(self.sizes[card.id]) - card.size,
            }
        )

    def cluster_of(self, row: int) -> int:
        """The decided cluster of a row, also of one that is excluded."""
        assert self.edited is not None, "as for sizes"
        return int(self.edited.cluster[row])

    def tags_of(self, row: int) -> list[str]:
        """The tags of a row, sorted."""
        return [] if self.edited is None else self.edited.tags_of(row)

    def note_of(self, row: int) -> str | None:
        """The note on a row."""
        return None if self.edited is None else self.edited.row_notes.get(row)

    def is_excluded(self, row: int) -> bool:
        """Whether a row is excluded."""
        return self.edited is not None and bool(self.edited.excluded[row])
