"""Writes the user's files and folders so that they appear complete or not at all."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from ...store import ConfigError, CppPipeError
from ...store.files import is_about, replace, sync, temporary_sibling
from ...store.leftovers import remove_leftovers
from ...store.paths import resolved


@contextlib.contextmanager
def whole_file(path: Path, *, flag: str = "--out") -> Iterator[Path]:
    """Yields a temporary path, which becomes `path` if the block ends without an error."""
    path = resolved(path)  # if it is a link, the file that it leads to
    if path.is_symlink():
        raise ConfigError(f"--out {path} is a link to itself: remove it, or name a file")
    if path.is_dir():
        raise ConfigError(f"{flag} {path} is a folder: name a file in it")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{flag} {path} is a device or a pipe: name a file")
    with _renamed(path, flag) as temporary:
        yield temporary


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder, which becomes `path` if the block ends without an error.

    ConfigError if `path` exists and is not an empty folder.
    """
    path = resolved(path)  # `.` has no name of its own
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"--out {path} exists already: name a new one, nothing is overwritten")
    with _renamed(path, "--out") as temporary:
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rmdir()


@contextlib.contextmanager
def _renamed(path: Path, flag: str) -> Iterator[Path]:
    temporary = temporary_sibling(path)
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        yield temporary
        sync(temporary)
        replace(temporary, path)
        sync(path.absolute().parent)
    except CppPipeError:
        raise
    except OSError as error:
        if not is_about(error, path, temporary):
            raise
        raise ConfigError(f"{flag} {path} cannot be written: {error.strerror or error}") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # the error that ended the block says more
                temporary.unlink(missing_ok=True)
