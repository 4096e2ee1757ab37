"""Checks of what a method of Python was given."""

import operator
import reprlib
from collections.abc import Iterable
from typing import Any

from ..store import ConfigError


def several(value: Any) -> tuple[Any, ...]:
    """The values of a list, or one value that stands by itself; none for None."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)


def at_least_one(value: Any, argument: str) -> tuple[Any, ...]:
    """`several`; ConfigError for an empty list, which would mean all."""
    values = several(value)
    if value is not None and not values:
        raise ConfigError(f"{argument} is an empty list: name at least one, or leave it out")
    return values


def texts(value: Any, argument: str) -> tuple[str, ...]:
    """`at_least_one` text; ConfigError for anything else."""
    values = at_least_one(value, argument)
    if not all(isinstance(text, str) for text in values):
        raise ConfigError(f"{argument} must be a text, or several, got {reprlib.repr(value)}")
    return values


def whole(value: Any, argument: str, *, least: int | None = None) -> int:
    """A whole number, also one of NumPy; ConfigError for anything else, and below `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        wanted = "a whole number" if least is None else f"a whole number from {least}"
        raise ConfigError(f"{argument} must be {wanted}, got {reprlib.repr(value)}")
    return number
