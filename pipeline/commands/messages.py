"""What a command says apart from its result: messages, progress, and the error that ends it.

All of it goes to standard error, and into the file of `--log-file`.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ..making.engines import torchrun
from ..making.progress import ShownProgress, open_progress

SHOWN = 5
"""Images that are named one by one."""

AUTO = "auto"
"""The value of `--progress` where it is absent."""


@dataclass(frozen=True, kw_only=True)
class _Open:
    """The progress of the current command, and what it was opened for."""

    mode: str
    log_file: Path | None
    stream: TextIO
    progress: ShownProgress


_open: list[_Open] = []
"""Holds one entry at most."""


def show_progress(mode: str = AUTO, log_file: Path | None = None) -> ShownProgress:
    """Shows messages and progress from now on, as the flags of a command say."""
    if _open:
        current = _open[0]
        asked = (mode, log_file, sys.stderr)
        if (current.mode, current.log_file, current.stream) == asked:
            return current.progress
        finish()
    # Of the processes of torchrun only the first one reports, so only it writes the file. Without a
    # file no rank is read: a wrong RANK is an error, which must be shown.
    progress = open_progress(mode, None if log_file is None or torchrun.rank() else log_file)
    _open.append(_Open(mode=mode, log_file=log_file, stream=sys.stderr, progress=progress))
    return progress


def current_progress() -> ShownProgress:
    """The progress of the current command."""
    return _open[0].progress if _open else show_progress()


def say(line: str) -> None:
    """Reports a message, which is no part of the command's result.

    Of the processes of torchrun only the first one speaks.
    """
    if torchrun.rank() == 0:
        current_progress().report(line)


def say_skipped(skipped: Sequence[tuple[str, str, str]], rest: str = "") -> None:
    """Names the first of some images that are left out, each with its reason and the detail.

    `rest` ends the line that counts the others.
    """
    for name, reason, detail in skipped[:SHOWN]:
        say(f"{name} is left out: {reason}, {detail}")
    if len(skipped) > SHOWN:
        say(f"and {len(skipped) - SHOWN:,} more left out{rest}")


def say_error(line: str) -> None:
    """Reports the error that ends a command."""
    current_progress().report(line, is_error=True)


def sum_up(skipped: Mapping[str, int]) -> None:
    """Reports the time that the last count took; `skipped` counts samples by reason."""
    current_progress().sum_up(skipped)


def clear_line() -> None:
    """Clears a line of progress, so that standard output can follow on the same terminal."""
    if _open:
        _open[0].progress.close()


def finish() -> None:
    """Ends the progress of a command, and closes its file."""
    if _open:
        _open.pop().progress.finish()
