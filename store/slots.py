"""Slots: the names by which a run finds its artifacts, a kind's name or KIND/NAME."""

from collections.abc import Iterable

from .errors import ConfigError
from .kinds import KINDS, Kind
from .names import is_plain_name


def split_slot(slot: str) -> tuple[str, str]:
    """The name of a slot's kind, and what follows the slash: a space, a run, or nothing."""
    kind, _, name = slot.partition("/")
    return kind, name


def is_slot(text: str) -> bool:
    """Whether a text names a slot: a kind, and perhaps one plain name after a slash."""
    kind, name = split_slot(text)
    return kind in KINDS and (text == kind or is_plain_name(name))


def kind_of(slot: str) -> Kind:
    """The kind of artifact that a slot holds."""
    kind = KINDS.get(split_slot(slot)[0]) if isinstance(slot, str) else None
    if kind is None:
        raise ConfigError(f"a run has no slot {slot!r}: the kinds are {', '.join(KINDS)}")
    return kind


def sorted_slots(slots: Iterable[str]) -> list[str]:
    """Slots in the order of data flow, then by name."""
    order = list(KINDS)
    return sorted(slots, key=lambda slot: (order.index(split_slot(slot)[0]), slot))
