"""Decisions of a person who looks at a run through the page."""

import copy
from collections.abc import Mapping, Sequence

import numpy as np

from ...stages.edits.edit import Edit, Op
from ...stages.edits.replay import Edited
from ...store import QueryError
from ..edits.editor import Editor
from ..view.applied_edits import OPEN
from .open_run import OpenRun


class PageEditor(Editor):
    """An editor over an open run, which reads the decisions and rows that are open already."""

    def __init__(self, opened: OpenRun, *, seen: int) -> None:
        # A copy, because an editor replaces the record of its run.
        super().__init__(copy.copy(opened.run), seen=seen)
        self._opened = opened

    def decisions(self) -> list[Edit]:
        """All decisions, in order."""
        return self._opened.decided.edits

    def edited(self, name: str = OPEN) -> Edited:
        """Clusters and images as decided."""
        edited, clusters = self._opened.decided.edited, self._opened.clusters
        if name != OPEN:
            return super().edited(name)
        if edited is None:  # nothing was ever decided
            cluster = clusters.partition(clusters.groupings[0].name).cluster
            edited = Edited(cluster=cluster, excluded=np.zeros(len(cluster), bool))
        return edited

    def names_of(self, rows: Sequence[int]) -> list[str]:
        """SHARD:KEY of some rows, in the order given."""
        return self._opened.decisions.names_of(np.asarray(rows, np.int64))

    def record(
        self, op: Op, *, clusters: Sequence[int], rows: Sequence[int] | None, value: str | int
    ) -> Edit:
        """Adds a decision of any kind; `value` of a revert is a number or an id.

        `rows` is None where none are named; an empty list is refused as it is in Python.

        QueryError or ConfigError for one that cannot be made.
        """
        if op == "revert":
            return self._revert(value)
        if not isinstance(value, str):
            raise QueryError(f"value of {op} must be text, got {value}")
        unused = [name for name, argument in (("rows", rows), ("value", value)) if argument]
        unused = [name for name in unused if op in _WITHOUT[name]]
        if unused:
            raise QueryError(f"{op} takes no {unused[0]}")
        images = None if op in _WITHOUT["rows"] else rows
        return self._add(op, clusters=clusters, images=images, value=value)

    def _revert(self, value: str | int) -> Edit:
        self._check_seen()
        numbers = [
            edit.number
            for edit in self.decisions()
            if value in (edit.id, edit.number, str(edit.number))
        ]
        if not numbers:
            raise QueryError(f"there is no decision {str(value)[:40]!r} to revert")
        return self.undo(numbers[0])


_WITHOUT: Mapping[str, tuple[Op, ...]] = {
    "rows": ("name", "merge"),
    "value": ("merge", "split", "move", "exclude", "include"),
}
"""For each argument, the operations that do not take it."""
