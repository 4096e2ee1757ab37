"""Values of flags as commands use them: numbers, and shares of workers."""

import re

from ...store import ConfigError


def parse_worker(text: str) -> tuple[int, int]:
    """The i and the n of `--worker i/n`."""
    matched = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(digits) for digits in matched.groups()) if matched else (0, 0)
    if number >= count:
        allowed = f"from 0/{count} to {count - 1}/{count}" if count else "I/N, such as 0/8 to 7/8"
        raise ConfigError(f"--worker must be {allowed}, got {text!r}")
    return number, count


def parse_numbers(flag: str, text: str | None) -> tuple[int, ...] | None:
    """Whole numbers with commas between them; None if the flag was not given.

    ConfigError for anything else, also for a text without any number, such as an unset variable of
    the shell: no numbers would mean all.
    """
    if text is None:
        return None
    words = [word for word in text.split(",") if word.strip()]
    try:
        if not words:
            raise ValueError("there is no number")
        return tuple(map(int, words))
    except ValueError as error:
        raise ConfigError(
            f"{flag} must be whole numbers with commas, such as 5,10,20, got {text!r}"
        ) from error
