"""Reading files of the store that may have been damaged or removed since the run was opened."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakKeyDictionary

from ...store import Artifact, CppPipeError, StoreError
from ...store.errors import first_line
from ..wording import counted

_FEW_FILES = 64
"""An artifact with at most so many files is checked before each answer; others once a second."""

_checked_at: WeakKeyDictionary[Artifact, float] = WeakKeyDictionary()
_files: WeakKeyDictionary[Artifact, list[tuple[str, int]]] = WeakKeyDictionary()
"""Paths on this machine and their bytes: joined once, because joining takes longer than a look."""


@contextlib.contextmanager
def reading(artifact: Artifact) -> Iterator[None]:
    """Turns errors of NumPy, Arrow and FAISS on a damaged file into a StoreError that names it.

    StoreError also if a file was cut since it was opened: reading beyond the end of a mapped file
    would end the server. A file that is gone stays readable while it is mapped.
    """
    try:
        _require_sizes(artifact)
        yield
    except CppPipeError:
        raise
    except (OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
        reason = first_line(error)
        raise StoreError(
            f"{artifact.kind.name} {artifact.version} cannot be read ({reason}): run `cpp-pipe "
            "verify` to find the damaged files"
        ) from error


def _require_sizes(artifact: Artifact) -> None:
    files = _files.get(artifact)
    if files is None:
        files = _files[artifact] = _local_files(artifact)
    now = time.monotonic()
    if len(files) > _FEW_FILES and now - _checked_at.get(artifact, -1.0) < 1:
        return
    _checked_at[artifact] = now
    for path, size in files:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            actual = os.stat(path).st_size
            if actual != size:
                raise StoreError(
                    f"{path} was changed, it has {counted(actual, 'byte')} instead of {size:,}: "
                    "run `cpp-pipe verify` to find the damaged files"
                )


def _local_files(artifact: Artifact) -> list[tuple[str, int]]:
    places = (
        (artifact.place(part.name, role), file.bytes)
        for part in artifact.parts
        for role, file in part.files.items()
    )
    return [(str(place), size) for place, size in places if isinstance(place, Path)]
