"""The log of a run's decisions, followed as it grows."""

import threading
from collections.abc import Callable, Sequence

import numpy as np

from ...stages.edits.edit import Edit, active
from ...stages.edits.replay import Heir, Replay
from ...store import Artifact
from ..run import Run
from ..view.applied_edits import find_carried
from .decided_clusters import Decided
from .partition import Partition
from .row_fields import RowFields
from .row_names import names_of_rows, rows_of_names

_KEPT_BYTES = 64 * 2**20
"""Bytes of earlier states, so that a revert need not apply the whole log again."""

_MOST_KEPT = 32

_BYTES_PER_ROW = 5
"""Bytes of a state for each row: its cluster, and whether it is excluded."""


class Decisions:
    """Applies the decisions of a run, each once, to the clusters that were opened with it.

    Safe to call from any thread.
    """

    def __init__(
        self, run: Run, assignments: Artifact, fields: RowFields, own: Callable[[], Partition]
    ) -> None:
        self._log = run.store.runs.edits(run.record.name)
        self._store = run.store
        self._assignments = assignments
        self._fields = fields
        self._own = own
        self._rows_of: dict[str, int] = {}
        self._carried: dict[tuple[str, int], Heir] = {}
        self._versions: set[str] = set()
        self._holds: Sequence[bool] = ()
        self._kept: list[Replay] = []
        self._decided = Decided()
        self._lock = threading.Lock()

    def follow(self) -> Decided:
        """The decisions of the log applied: the same object for as long as the log has not grown.

        StoreError or ConfigError if an entry cannot be read.
        """
        with self._lock:
            entries = self._log.read()
            if len(entries) == self._decided.length:
                return self._decided
            new = [Edit.from_json(entry) for entry in entries[self._decided.length :]]
            edits = [*self._decided.edits, *new]
            self._look_up(edits, new)
            self._decided = Decided(self._apply(edits), self._own)
            return self._decided

    def names_of(self, rows: np.ndarray) -> list[str]:
        """SHARD:KEY of rows, which are remembered: a decision about them needs no look-up."""
        names = names_of_rows(self._fields, rows)
        with self._lock:
            self._rows_of |= dict(zip(names, rows.tolist(), strict=True))
        return names

    def _look_up(self, edits: Sequence[Edit], new: Sequence[Edit]) -> None:
        """Finds the rows and the clusters that new decisions name."""
        names = {image for edit in new for image in edit.images} - self._rows_of.keys()
        self._rows_of |= rows_of_names(self._fields, names)
        versions = {edit.assignments for edit in edits}
        if versions != self._versions:
            self._carried |= find_carried(self._store, edits, self._assignments)
            self._versions = versions

    def _apply(self, edits: Sequence[Edit]) -> Replay:
        """Applies what is new, from the latest state that no revert has changed."""
        holds = active(edits)
        pairs = enumerate(zip(self._holds, holds, strict=False))
        first = next((place for place, (old, new) in pairs if old != new), len(self._holds))
        if not self._kept:
            self._kept.append(self._begin())
        base = next(kept for kept in reversed(self._kept) if len(kept.edited.outcomes) <= first)
        state = base.copy()
        for place in range(len(state.edited.outcomes), len(edits)):
            state.add(edits[place], holds=holds[place])
        later = [kept for kept in self._kept[1:] if len(kept.edited.outcomes) <= first]
        most = _KEPT_BYTES // (_BYTES_PER_ROW * max(1, len(self._fields)))
        recent = [*later, state][-max(1, min(most, _MOST_KEPT)) :]
        self._kept, self._holds = [self._kept[0], *recent], holds
        return state

    def _begin(self) -> Replay:
        """The run's own clusters, before any decision."""
        return Replay(
            self._own().cluster,
            k=int(self._assignments.facts["k"]),
            version=self._assignments.version,
            rows_of=self._rows_of,
            carried=self._carried,
        )
