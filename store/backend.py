"""What a store does differently on a disk and in a bucket."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from . import disk
from .manifest import FileRecord, PartRecord
from .paths import StorePath, is_in_bucket

T = TypeVar("T")
U = TypeVar("U")
P = TypeVar("P")
"""Path on a disk, UPath in a bucket."""


class Backend(Protocol[P]):
    """Reads and writes a store; the modules `disk` and `bucket` are the two backends.

    All functions raise StoreError if the disk or the bucket refuses.
    """

    def is_file(self, path: P) -> bool:
        """Whether a file exists."""
        ...

    def size(self, path: P) -> int | None:
        """Size of a file in bytes; None if it does not exist."""
        ...

    def digest(self, path: P) -> str:
        """SHA-256, in hex, of a file's present bytes."""
        ...

    def is_whole(self, path: P, file: FileRecord) -> bool:
        """Whether a file of a part still is what its record says, before a version takes it over.

        A disk reads the whole file, once in a process. A bucket, which checks its objects itself
        and copies them without their bytes passing this machine, compares only the size.
        """
        ...

    def folders(self, path: P) -> list[P]:
        """The folders in a folder, sorted; none if it does not exist."""
        ...

    def names(self, path: P) -> list[str]:
        """The names of the files in a folder, sorted; none if it does not exist."""
        ...

    def find_json(self, path: P) -> Any | None:
        """The JSON value in a small file; None if it does not exist."""
        ...

    def read_json(self, path: P) -> Any:
        """The JSON value in a small file that must exist."""
        ...

    def write_json(self, path: P, value: Any) -> None:
        """Writes a small file, whole or not at all."""
        ...

    def write_whole(self, path: P, content: bytes) -> None:
        """Writes a file, whole or not at all."""
        ...

    def write_once(self, path: P, make: Callable[[], Any]) -> None:
        """Writes a small file that does not exist; of several writers at once the first wins."""
        ...

    def lock(self, path: P, *, wait: bool = True) -> AbstractContextManager[bool]:
        """Holds a lock of one process; yields False without `wait` if another holds it."""
        ...

    def writing(self, root: P) -> AbstractContextManager[object]:
        """Keeps `collecting` away from a store; any number of processes may hold it."""
        ...

    def collecting(self, root: P) -> AbstractContextManager[bool]:
        """Keeps writers away from a store; yields False if a writer is at work."""
        ...

    def scratch(self, parts: P, name: str) -> AbstractContextManager[Path]:
        """A local folder for one part while it is made; removed afterwards."""
        ...

    def take_in(self, name: str, files: Mapping[str, Path], parts: P) -> dict[str, FileRecord]:
        """Moves the files of a part, by role, from its scratch folder to the parts' folder."""
        ...

    def keep_part(self, path: P, record: PartRecord) -> PartRecord:
        """Writes a part's small file; returns its record, which another may have written first."""
        ...

    def part_records(self, parts: P, names: Collection[str]) -> Iterator[PartRecord]:
        """Records of the named parts that exist."""
        ...

    def adopt(self, others: P, record: PartRecord, parts: P) -> None:
        """Makes a part of another version a part of this one too, by a link or a copy."""
        ...

    def local_path(self, path: P, file: FileRecord) -> Path:
        """The path at which this machine reads a file of a part."""
        ...

    def find_copy(self, file: FileRecord) -> Path | None:
        """The copy of a file on this machine, if any."""
        ...

    def local_folder(self, root: P) -> Path:
        """A folder of this machine for files of a store that belong to none of its artifacts."""
        ...

    def checkpoints(self, version: P) -> Path:
        """A folder of this machine for checkpoints, from which an unfinished part resumes."""
        ...

    def bytes_freed(self, path: P, names: Counter[tuple[int, int]]) -> int:
        """Bytes that removing a file, or all files below a folder, frees.

        `names` counts the names of each file that are removed before, to which it adds these: a
        file takes its bytes until its last name is gone.
        """
        ...

    def leftovers(self, root: P, kept: Iterable[P]) -> Iterator[tuple[StorePath, str]]:
        """Files that nobody needs, each with the reason; `kept` are the versions that stay."""
        ...

    def remove(self, path: P) -> None:
        """Removes a file or a folder; a manifest or a part's small file goes first."""
        ...

    def each(self, act: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """The results of `act`, in order; in parallel if it mostly waits."""
        ...


def backend_of(path: StorePath) -> Backend[Any]:
    """The backend that reads and writes a path."""
    if is_in_bucket(path):
        from . import bucket  # loads threads, sockets and leases, which a disk does not need

        return bucket
    return disk
