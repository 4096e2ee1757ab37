"""Errors that a user can act on. Any other exception is a bug and keeps its traceback."""

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
