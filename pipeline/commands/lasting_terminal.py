"""Output to a terminal that may be closed while a command works."""

import contextlib
import errno
from collections.abc import Iterator
from typing import Any, TextIO, cast


class _LastingTerminal:
    """A terminal's stream. Once the terminal is gone, what is written goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a text; returns its length."""
        with _terminal_gone():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what is held back."""
        with _terminal_gone():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lasting(stream: TextIO) -> TextIO:
    """The same stream; that of a terminal may lose it.

    A command that was left to work (`disown`) would end at its next line of progress.
    """
    return cast(TextIO, _LastingTerminal(stream)) if stream.isatty() else stream


@contextlib.contextmanager
def _terminal_gone() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
