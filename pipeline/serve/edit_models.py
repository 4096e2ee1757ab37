"""Bodies and answers of the routes about decisions."""

from typing import Annotated

from pydantic import Field

from ...stages.edits.edit import Op
from ...stages.edits.replay import Status
from .models import ApiModel, Trouble

MAX_NAMED_ROWS = 1_000_000
"""Rows that one request names: a body of 8 MB."""

MAX_NAMED_CLUSTERS = 10_000

MAX_VALUE = 2_000
"""Characters of a name, a tag or a note."""

RowNumber = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
ClusterNumber = Annotated[int, Field(ge=0, lt=2**31, strict=True)]


class NewDecision(ApiModel, extra="forbid"):
    """A decision to record."""

    op: Op
    clusters: Annotated[list[ClusterNumber], Field(max_length=MAX_NAMED_CLUSTERS)] = Field(
        default=[],
        description="Decided clusters: all that are merged, of which the first stays; the one that "
        "is split; the target of a move; the one that is named; or in place of `rows`.",
    )
    rows: Annotated[list[RowNumber], Field(max_length=MAX_NAMED_ROWS)] = Field(
        default=[], description="Images, by their rows; left out where clusters are decided."
    )
    value: Annotated[str, Field(max_length=MAX_VALUE)] | RowNumber = Field(
        default="",
        union_mode="left_to_right",
        description="A name, a tag or a note; the number or the id of a decision to revert.",
    )
    seen: RowNumber = Field(description="The length of the log when the person looked at it.")
    generation: Annotated[str, Field(max_length=40)] | None = Field(
        default=None,
        description="The run's `generation` when the person looked at it; in another one the same "
        "number may mean another image.",
    )


class Recorded(ApiModel):
    """A decision that is on the disk."""

    number: int = Field(description="Its place in the log, from 1.")
    id: str
    length: int = Field(description="The length of the log with it: the next `seen`.")


class Decision(ApiModel):
    """A decision in the log."""

    number: int
    id: str
    by: str
    at: str = Field(description="ISO 8601, UTC.")
    op: Op
    clusters: list[int] = Field(description="As they were numbered when it was made.")
    now: list[int] = Field(
        description="The decided clusters that these are now; none if it is reverted."
    )
    images: int = Field(description="How many images it names.")
    value: str = Field(description="A name, a tag or a note; the id of what a revert undoes.")
    reverts: int | None = Field(description="The number of the decision that it undoes.")
    status: Status
    why: str = Field(description="Why it needs a look; empty otherwise.")


class Log(ApiModel):
    """The log of decisions, and what follows from it."""

    is_editable: bool = Field(description="Whether the server was started with --edit.")
    length: int = Field(description="The number of decisions: the `seen` of the next.")
    by: str = Field(description="The name under which this server records decisions.")
    total: int = Field(description="The number of decisions, or of those of the status asked for.")
    offset: int
    decisions: list[Decision] = Field(description="The newest first.")
    tags: list[tuple[str, int]] = Field(description="Each tag with its number of rows.")
    excluded: int = Field(description="Excluded rows.")
    needs_a_look: int = Field(
        description="Decisions that are not applied as a whole, or may not fit any more."
    )
    names: dict[int, str] = Field(description="Names that people gave to decided clusters.")


class Conflict(Trouble):
    """A decision that was not recorded, because others were made since the client looked."""

    length: int
    newer: list[Decision] = Field(description="Those, the newest first.")


class NamedRows(ApiModel, extra="forbid"):
    """Rows to name by their keys."""

    rows: Annotated[list[RowNumber], Field(max_length=MAX_NAMED_ROWS)]
