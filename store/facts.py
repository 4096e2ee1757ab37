"""Types and ranges of the values that stages report about their artifacts."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from .parsing import Fields

_MOST = 2**53
"""The largest whole number in a manifest: other readers of JSON round larger ones."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What a value in a manifest, or in the record of a part, must be."""

    allowed: str
    """As errors say it, e.g. "a whole number from 1"."""
    is_right: Callable[[Any], bool]
    is_required: bool = True
    at_most: str = ""
    """The name of another fact, or `rows`, that it must not exceed."""
    fields: Mapping[str, "Fact"] = field(default_factory=dict)
    """The facts in an object."""

    def optional(self) -> Self:
        """The same fact, which older artifacts may lack."""
        return replace(self, is_required=False)


def require_facts(fields: Fields, declared: Mapping[str, Fact], *, rows: int) -> None:
    """StoreError if a declared fact is missing or is not what it must be."""
    for name, fact in declared.items():
        value, is_present = fields.find(name), fields.has(name)
        if not is_present and not fact.is_required:
            continue
        fields.require(is_present and fact.is_right(value), name, fact.allowed)
        if fact.fields:
            require_facts(fields.nested(name), fact.fields, rows=rows)
        if fact.at_most and value is not None:
            most = rows if fact.at_most == "rows" else fields.find(fact.at_most)
            # A limit that is no number is refused by its own check.
            is_below = not _is_number(most) or value <= most
            fields.require(is_below, name, f"at most {most} ({fact.at_most})")


def are_right(values: Mapping[str, Any], declared: Mapping[str, Fact], *, rows: int) -> bool:
    """Whether `require_facts` would pass; quick, as there may be a hundred thousand parts."""
    for name, fact in declared.items():
        if name not in values:
            if fact.is_required:
                return False
            continue
        value = values[name]
        if fact.fields or not fact.is_right(value):
            return False
        if fact.at_most and value > (rows if fact.at_most == "rows" else values[fact.at_most]):
            return False
    return True


def _is_number(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= _MOST
    return isinstance(value, float) and math.isfinite(value)


def _is_whole(value: object, least: int, most: int = _MOST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def whole(least: int = 0, *, most: int = _MOST, at_most: str = "") -> Fact:
    """A whole number."""
    limit = "" if most == _MOST else f" to {most}"
    return Fact(
        allowed=f"a whole number from {least}{limit}",
        is_right=lambda value: _is_whole(value, least, most),
        at_most=at_most,
    )


def number(least: float = -math.inf, most: float = math.inf) -> Fact:
    """A finite number."""
    limits = "" if math.isinf(most) else f" from {least:g} to {most:g}"
    return Fact(
        allowed=f"a number{limits}",
        is_right=lambda value: _is_number(value) and least <= value <= most,
    )


def either(*values: Any) -> Fact:
    """One of several values."""
    allowed = " or ".join(map(repr, values))
    return Fact(
        allowed=allowed,
        is_right=lambda value: any(
            type(value) is type(option) and value == option for option in values
        ),
    )


def or_none(fact: Fact) -> Fact:
    """The same fact, which may also be null."""
    is_right = fact.is_right
    return replace(
        fact,
        allowed=f"{fact.allowed}, or null",
        is_right=lambda value: value is None or is_right(value),
    )


def listed(fact: Fact) -> Fact:
    """A list whose elements are all such a fact."""
    return Fact(
        allowed=f"a list, each {fact.allowed}",
        is_right=lambda value: isinstance(value, list) and all(map(fact.is_right, value)),
    )


def counts(least: int = 0) -> Fact:
    """Whole numbers by name."""
    return Fact(
        allowed=f"an object of whole numbers from {least}",
        is_right=lambda value: (
            isinstance(value, Mapping) and all(_is_whole(count, least) for count in value.values())
        ),
    )


def record(**fields: Fact) -> Fact:
    """An object with such fields, and perhaps others."""
    return Fact(
        allowed="an object",
        is_right=lambda value: isinstance(value, Mapping),
        fields=fields,
    )


def _is_moment(value: object) -> bool:
    try:
        datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


TEXT = Fact(allowed="a text", is_right=lambda value: isinstance(value, str))
FLAG = Fact(allowed="true or false", is_right=lambda value: isinstance(value, bool))
MOMENT = Fact(allowed="a date in ISO 8601", is_right=_is_moment)
OBJECT = record()
