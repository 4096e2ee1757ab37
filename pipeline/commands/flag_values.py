"""Values of flags as commands use them: numbers, places that mean the same anywhere, models."""

import os
import re

from ...store import ConfigError
from ...store.paths import expanded


def parse_worker(text: str) -> tuple[int, int]:
    """The i and the n of `--worker i/n`."""
    matched = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(digits) for digits in matched.groups()) if matched else (0, 0)
    if number >= count:
        allowed = f"from 0/{count} to {count - 1}/{count}" if count else "I/N, such as 0/8 to 7/8"
        raise ConfigError(f"--worker must be {allowed}, got {text!r}")
    return number, count


def parse_numbers(flag: str, text: str | None) -> tuple[int, ...] | None:
    """Whole numbers with commas between them."""
    if text is None:
        return None
    try:
        return tuple(int(number) for number in text.split(",") if number.strip())
    except ValueError as error:
        raise ConfigError(
            f"{flag} must be whole numbers with commas, such as 5,10,20, got {text!r}"
        ) from error


def anchored(patterns: list[str]) -> tuple[str, ...]:
    """Patterns of shards that mean the same in whatever folder a later command runs."""
    anchored = []
    for pattern in patterns:
        at, path = ("@", pattern[1:]) if pattern.startswith("@") else ("", pattern)
        is_remote = "://" in path
        anchored.append(at + (path if is_remote else os.path.abspath(os.path.expanduser(path))))
    return tuple(anchored)


def anchored_file(name: str | None) -> str | None:
    """A flag that may name a local file, by a path that means the same in every folder."""
    if not name or not expanded(name).is_file():
        return name
    return str(expanded(name).resolve())
