"""Errors that a user can act on. Any other exception is a bug and keeps its traceback."""

import errno
from collections.abc import Mapping
from types import MappingProxyType

NO_THREADS = (
    "the system lets this user start no more threads: raise the limit (ulimit -u, or that of the "
    "container), use fewer --workers, or end other programs; finished parts are kept"
)
"""What to do where no thread or process can be started."""

_LIMITS: Mapping[int, str] = MappingProxyType(
    {
        errno.EMFILE: "the system lets this process open no more files: raise the limit (ulimit "
        "-n), or use fewer --workers; finished parts are kept",
        errno.ENFILE: "the system can open no more files: end other programs, or use fewer "
        "--workers; finished parts are kept",
        errno.EAGAIN: NO_THREADS,
        errno.ENOMEM: "not enough memory: use fewer --workers or a machine with more, or end other "
        "programs; finished parts are kept",
    }
)
"""What to do where the system refuses more of something, whatever file it was wanted for."""

_MOST = 1000
"""Most characters of an error that are shown; a longer one quotes a long value of the user."""


def one_line(message: str) -> str:
    """A message in one line; if it is long, without its middle."""
    line = " ".join(message.split())
    return line if len(line) <= _MOST else f"{line[: _MOST // 2]} … {line[-_MOST // 2 :]}"


class CppPipeError(Exception):
    """Base of every error that prints as one line and exits with code 2."""

    def __str__(self) -> str:
        return one_line(str(self.args[0])) if self.args else ""


class ConfigError(CppPipeError, ValueError):
    """A setting, a flag or a config file that cannot be used."""


class StoreError(CppPipeError, OSError):
    """A store that cannot be read or written, or that holds something invalid."""


class FormatError(StoreError):
    """An artifact in a format that this version of cpp-pipe does not read."""


class NewerFormatError(FormatError):
    """An artifact in a format that only a newer version of cpp-pipe reads."""


class MissingError(CppPipeError, FileNotFoundError):
    """Something that a command needs and cannot make."""


class ConflictError(CppPipeError, RuntimeError):
    """Something that somebody else changed in the meantime."""


class ShardError(CppPipeError, ValueError):
    """Shards, folders or tables that cannot be read, or of which too many samples were skipped."""


class QueryError(CppPipeError, ValueError):
    """A query that cannot be answered."""


class RowError(CppPipeError, IndexError):
    """A row number out of range."""


class NumericError(CppPipeError, ArithmeticError):
    """A number that is not finite, with the step and the term where it first appeared."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, or its type, in one line of at most 200 characters."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= 200 else f"{line[:199]}…"


def is_limit(error: BaseException) -> bool:
    """Whether the system refused more files, threads or memory: no file is to blame.

    A full pipe that cannot wait has the number of such an error, and says what it has written.
    """
    is_full_pipe = getattr(error, "characters_written", None) is not None
    return isinstance(error, OSError) and error.errno in _LIMITS and not is_full_pipe


def find_limit(error: BaseException) -> str | None:
    """What to do about a limit of the system that an error, or what caused it, is about."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None and is_limit(cause):
            return _LIMITS[cause.errno]
        cause = cause.__cause__
    return None
