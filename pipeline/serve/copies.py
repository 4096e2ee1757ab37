"""Copies and near-duplicates in a run: which images are spare, and which is kept in their place."""

import numpy as np

from ...store import MissingError, StoreError
from ..curation.near_duplicates import COPIES
from .damage import reading
from .open_run import OpenRun
from .set_models import CopyKind

_SLOTS: dict[CopyKind, str] = {"copies": COPIES, "duplicates": "duplicates"}

_FLAGS: dict[CopyKind, str] = {"copies": " --tier same", "duplicates": ""}
"""Of the command that looks for them."""


def kinds_looked_for(opened: OpenRun) -> list[CopyKind]:
    """What `cpp-pipe duplicates` has looked for in the run as it is, if it can be read."""
    return [kind for kind in _SLOTS if _is_readable(opened, kind)]


def spare_copies(opened: OpenRun, kind: CopyKind) -> np.ndarray:
    """The rows of all groups that are not the one to keep; MissingError without any groups."""
    rows, is_kept = _read_groups(opened, kind, "row", "kept")
    return rows[~is_kept]


def find_kept(opened: OpenRun, kind: CopyKind, row: int) -> int | None:
    """The row that is kept in the place of a row; None for one that is spare to no other."""
    group, rows, is_kept = _read_groups(opened, kind, "group", "row", "kept")
    own = group[(rows == row) & ~is_kept]
    return int(rows[is_kept & (group == own[0])][0]) if len(own) else None


def _is_readable(opened: OpenRun, kind: CopyKind) -> bool:
    try:
        return opened.run.current(_SLOTS[kind]) is not None
    except (StoreError, MissingError):  # which the page says where it asks for them
        return False


def _read_groups(opened: OpenRun, kind: CopyKind, *columns: str) -> list[np.ndarray]:
    groups = opened.run.current(_SLOTS[kind])
    if groups is None:
        raise MissingError(
            f"nobody has looked for {kind} yet: run `cpp-pipe duplicates{_FLAGS[kind]}`"
        )
    with reading(groups):
        table = groups.table(groups.only_part, columns=list(columns))
    return [table.column(name).to_numpy() for name in columns]
