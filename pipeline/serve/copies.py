"""Copies and near-duplicates in a run: the images that are spare, and those kept in their place."""

import numpy as np

from ...store import Artifact, MissingError, StoreError
from ..curation.near_duplicates import COPIES
from .damage import reading
from .open_run import OpenRun
from .set_models import CopyKind

_SLOTS: dict[CopyKind, str] = {"copies": COPIES, "duplicates": "duplicates"}

_FLAGS: dict[CopyKind, str] = {"copies": " --tier same", "duplicates": ""}
"""Flags with which the command looks for each kind."""


def kinds_looked_for(opened: OpenRun) -> list[CopyKind]:
    """The kinds that `cpp-pipe duplicates` has looked for in the run as it is, if readable."""
    return [kind for kind in _SLOTS if _is_readable(opened, kind)]


def spare_copies(opened: OpenRun, kind: CopyKind) -> np.ndarray:
    """All rows of each group but the one to keep; MissingError if nobody has looked for groups."""
    rows, is_kept = _read_columns(_current_groups(opened, kind), "row", "kept")
    return rows[~is_kept]


def find_kept(opened: OpenRun, kind: CopyKind, row: int) -> int | None:
    """The row that is kept in the place of a row; None if the row is not spare."""
    groups = _current_groups(opened, kind)
    if groups.version not in opened.kept_rows:  # a review asks for one row after another
        opened.kept_rows[groups.version] = _kept_rows(groups)
    spare, kept = opened.kept_rows[groups.version]
    place = int(np.searchsorted(spare, row))
    return int(kept[place]) if place < len(spare) and spare[place] == row else None


def _kept_rows(groups: Artifact) -> tuple[np.ndarray, np.ndarray]:
    """(m,) the spare rows, ascending, and the row that is kept in the place of each."""
    group, rows, is_kept = _read_columns(groups, "group", "row", "kept")
    by_group = np.argsort(group[is_kept], kind="stable")
    names, leaders = group[is_kept][by_group], rows[is_kept][by_group]
    spare, group_of_spare = rows[~is_kept], group[~is_kept]
    by_row = np.argsort(spare, kind="stable")
    return spare[by_row], leaders[np.searchsorted(names, group_of_spare[by_row])]


def _is_readable(opened: OpenRun, kind: CopyKind) -> bool:
    try:
        return opened.run.current(_SLOTS[kind]) is not None
    except (StoreError, MissingError):  # the page reports it when it asks for the groups
        return False


def _current_groups(opened: OpenRun, kind: CopyKind) -> Artifact:
    groups = opened.run.current(_SLOTS[kind])
    if groups is None:
        raise MissingError(
            f"nobody has looked for {kind} yet: run `cpp-pipe duplicates{_FLAGS[kind]}`"
        )
    return groups


def _read_columns(groups: Artifact, *columns: str) -> list[np.ndarray]:
    with reading(groups):
        table = groups.table(groups.only_part, columns=list(columns))
    return [table.column(name).to_numpy() for name in columns]
