"""Why a sample was skipped: each fault becomes a row of the store, never only a line in a log."""

from dataclasses import dataclass
from typing import Literal

FaultReason = Literal[
    "no_image",
    "no_key",
    "not_a_file",
    "unreadable",
    "remote",
    "sparse",
    "duplicate_key",
    "truncated",
    "empty",
    "unsupported",
    "undecodable",
    "too_large",
    "not_finite",
    "zero_norm",
]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A sample that was seen and skipped."""

    key: str
    offset: int | None
    """The position at which the faulty bytes start in the shard; None if there are none."""
    reason: FaultReason
    detail: str
    """The reason in words; may be empty. It is stored, so another wording changes the content
    of a part that was made before."""
