"""Reading files of the store that may have been damaged or removed since the run was opened."""

import contextlib
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
    files, now = len(artifact.parts) * len(artifact.kind.files), time.monotonic()
    if files > _FEW_FILES and now - _checked_at.get(artifact, -1.0) < 1:
        return
    _checked_at[artifact] = now
    for part in artifact.parts:
        for role, file in part.files.items():
            path = artifact.place(part.name, role)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                size = path.stat().st_size if isinstance(path, Path) else file.bytes
                if size != file.bytes:
                    raise StoreError(
                        f"{path} was changed, it has {counted(size, 'byte')} instead of "
                        f"{file.bytes:,}: run `cpp-pipe verify` to find the damaged files"
                    )
