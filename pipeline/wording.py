"""Words of messages: counts with their nouns, and lines that fit a width."""

import os
import re
import shutil
import textwrap
from typing import TextIO

from ..store.counting import agreeing as agreeing
from ..store.counting import counted as counted
from ..store.counting import plural as plural

PIPE_COLUMNS = 80
"""Width of text where the output is not a terminal."""

_HELD = "\N{NO-BREAK SPACE}"


_HOSTILE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}"
    "\u202a-\u202e\u2066-\u2069]"
)
"""Characters by which a name or a caption could move the cursor, or turn text around."""


def printable(text: str) -> str:
    """A text without characters that a terminal would obey; they are shown as escapes.

    Names of files, keys and captions come from strangers.
    """
    return _HOSTILE.sub(lambda found: ascii(found.group())[1:-1], text)


def in_one_line(text: str) -> str:
    """The same, with tabs and line breaks shown too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def columns_of(stream: TextIO) -> int:
    """The width of a terminal; of anything else COLUMNS, or 80."""
    if not os.environ.get("COLUMNS") and stream.isatty():
        try:
            return os.get_terminal_size(stream.fileno()).columns or PIPE_COLUMNS
        except (OSError, ValueError):
            return PIPE_COLUMNS
    return shutil.get_terminal_size((PIPE_COLUMNS, 0)).columns


def is_cut_to(stream: TextIO) -> bool:
    """Whether lines must fit a width: on a terminal, and where COLUMNS asks for it."""
    return stream.isatty() or bool(os.environ.get("COLUMNS"))


def wrap(text: str, columns: int) -> str:
    """A text whose lines are broken between words; what stands in backticks stays on one line.

    A word that is longer than a line, such as a path, stays whole.
    """
    return "\n".join(_wrap_line(line, columns) for line in text.split("\n"))


def _wrap_line(line: str, columns: int) -> str:
    if len(line) <= columns:
        return line
    held = re.sub(
        r"`[^`]*`", lambda quoted: quoted.group().replace(" ", "\N{NO-BREAK SPACE}"), line
    )
    indent = line[: len(line) - len(line.lstrip(" "))]
    pieces = textwrap.wrap(
        held,
        max(columns, len(indent) + 10),
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return "\n".join(pieces).replace(_HELD, " ")


def roughly(seconds: float) -> str:
    """A duration in its largest unit that says something, such as `45 seconds` or `28 hours`."""
    for unit, size, most in (("second", 1, 90), ("minute", 60, 90), ("hour", 3600, 72)):
        if seconds < most * size:
            return _rounded(seconds / size, unit)
    return _rounded(seconds / 86400, "day")


def _rounded(value: float, unit: str) -> str:
    if unit in ("hour", "day") and value < 9.95:
        return f"{value:.1f} {plural(unit)}"
    return counted(round(value), unit)


def fraction(share: float) -> str:
    """A share below a half as a fraction, such as 1/18."""
    return f"1/{round(1 / share)}"


def size_of(count: float) -> str:
    """Bytes in a unit of a thousand to the n-th power, such as `66.3 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
