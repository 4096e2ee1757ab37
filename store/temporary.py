"""The folder of this machine's temporary files."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import StoreError
from .files import is_about, is_disk_full

_REMEDY = (
    "free some space there, or set TMPDIR to a folder on another disk, and run the same command "
    "again"
)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder among the temporary files for the block, removed at its end.

    StoreError where their disk is full. An error about a file elsewhere stays as it is.
    """
    with (
        temporary_errors() as place,
        tempfile.TemporaryDirectory(prefix="cpp-pipe-", dir=place) as folder,
    ):
        yield Path(folder)


@contextlib.contextmanager
def temporary_errors() -> Iterator[Path]:
    """Where to write temporary files in the block; StoreError where there is no room."""
    place = _find_place()
    try:
        yield place
    except OSError as error:
        cause = error.__cause__ if isinstance(error, StoreError) else error
        if not isinstance(cause, OSError) or not is_disk_full(cause) or not is_about(cause, place):
            raise
        raise StoreError(f"no space left for temporary files in {place}: {_REMEDY}") from error


def _find_place() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # TMPDIR and all that Python tries after it
        raise StoreError(
            f"no temporary file can be written ({error.strerror}): {_REMEDY}"
        ) from error
