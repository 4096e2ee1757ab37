"""Decisions as the page shows and sends them."""

import re
from collections.abc import Iterable

from ...stages.edits.edit import Edit
from ...stages.edits.replay import Outcome, Status
from ...store import QueryError
from ...store.names import is_text
from ..edits.editor import user_name
from .decided_clusters import Decided
from .edit_models import Decision, Log, NewDecision
from .open_run import OpenRun
from .page_editor import PageEditor

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def describe_log(
    opened: OpenRun, offset: int, limit: int, status: Status | None, *, is_editable: bool
) -> Log:
    """Decisions, all or those of a status, the newest first; tags and names are those of all."""
    decided = opened.decided
    edited, length = decided.edited, decided.length
    listed = [outcome for outcome in reversed(decided.outcomes) if status in (None, outcome.status)]
    newest = listed[offset : offset + limit]
    tags = {} if edited is None else edited.tags
    return Log(
        is_editable=is_editable,
        length=length,
        by=user_name(),
        total=len(listed),
        offset=offset,
        decisions=_describe(decided, newest),
        tags=[(tag, int(rows.sum())) for tag, rows in sorted(tags.items())],
        excluded=0 if edited is None else int(edited.excluded.sum()),
        needs_a_look=0 if edited is None else len(edited.open),
        names={} if edited is None else dict(sorted(edited.names.items())),
    )


def newer_than(opened: OpenRun, seen: int) -> list[Decision]:
    """The decisions after the first `seen`, the newest first."""
    return _describe(opened.decided, reversed(opened.decided.outcomes[seen:]))


def _describe(decided: Decided, outcomes: Iterable[Outcome]) -> list[Decision]:
    number_of = {outcome.edit.id: outcome.edit.number for outcome in decided.outcomes}
    return [
        Decision(
            number=outcome.edit.number,
            id=outcome.edit.id,
            by=outcome.edit.by,
            at=outcome.edit.at,
            op=outcome.edit.op,
            clusters=list(outcome.edit.clusters),
            now=[] if outcome.status == "reverted" else decided.clusters_now(outcome.edit),
            images=len(outcome.edit.images),
            value=outcome.edit.value,
            reverts=number_of.get(outcome.edit.value) if outcome.edit.op == "revert" else None,
            status=outcome.status,
            why=outcome.why,
        )
        for outcome in outcomes
    ]


def record(opened: OpenRun, new: NewDecision) -> Edit:
    """Adds a decision to the log.

    ConflictError if `seen` is not the log's length; QueryError or ConfigError for a decision
    that cannot be made.
    """
    rows = new.rows if "rows" in new.model_fields_set else None
    return PageEditor(opened, seen=new.seen).record(
        new.op, clusters=new.clusters, rows=rows, value=new.value
    )


def check_text(new: NewDecision) -> None:
    """QueryError for a text that no log and no terminal can hold."""
    value = str(new.value)
    if not is_text(value) or _CONTROL.search(value):
        raise QueryError("value must be text without control characters")
