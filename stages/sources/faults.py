"""Why a sample could not be embedded: a row that is kept, never only a line in a log."""

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
    """One sample that was seen and is left out."""

    key: str
    offset: int | None
    """Where the bytes at fault start in the shard; None where there are no such bytes."""
    reason: FaultReason
    detail: str
    """What was found, in words; may be empty."""
