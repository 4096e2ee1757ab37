"""The folder of the files that a server writes to map them, which it removes when it is done."""

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from ...store.files import temporary_sibling
from ...store.leftovers import remove_leftovers
from ...store.temporary import temporary_errors


class MappedFolder:
    """A folder that threads write files into until it is closed. Safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_closed = False
        self._lock = threading.Lock()

    @classmethod
    def temporary(cls) -> "MappedFolder":
        """A new folder among the temporary files; those of servers that were killed are removed."""
        with temporary_errors() as place:
            path = place / "cpp-pipe-serve"
            remove_leftovers(path)
            folder = temporary_sibling(path)
            folder.mkdir(mode=0o700)
        return cls(folder)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Path | None]:
        """The folder to write into, which is not removed within the block.

        None after `close`: what a request still computes then stays in memory.
        """
        with self._lock:
            yield None if self._is_closed else self.path

    def close(self) -> None:
        """Removes the files; mapped ones stay readable while in use."""
        with self._lock:
            self._is_closed = True
            shutil.rmtree(self.path, ignore_errors=True)
