"""Where a store lies, on a disk or in a bucket, and what differs between the two."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from .errors import ConfigError
from .manifest import FileRecord, PartRecord

if TYPE_CHECKING:
    from upath import UPath

StorePath: TypeAlias = "Path | UPath"
"""A folder or a file of a store. What lies in a bucket is read and written by its room alone."""

T = TypeVar("T")
U = TypeVar("U")
P = TypeVar("P")
"""Path on a disk, UPath in a bucket."""


class Room(Protocol[P]):
    """What a store does differently where it lies; `disk` and `bucket` are one each.

    All raise StoreError where they are refused what they need.
    """

    def is_file(self, path: P) -> bool:
        """Whether a file is there."""
        ...

    def size(self, path: P) -> int | None:
        """Bytes of a file; None where there is none."""
        ...

    def digest(self, path: P) -> str:
        """SHA-256, in hex, of a file's bytes as they lie there now."""
        ...

    def folders(self, path: P) -> list[P]:
        """The folders in a folder, sorted; none where it is not there."""
        ...

    def find_json(self, path: P) -> Any | None:
        """The JSON value in a small file; None where there is none."""
        ...

    def read_json(self, path: P) -> Any:
        """The JSON value in a small file that must be there."""
        ...

    def write_json(self, path: P, value: Any) -> None:
        """Writes a small file, whole or not at all."""
        ...

    def write_whole(self, path: P, content: bytes) -> None:
        """Writes a file, whole or not at all."""
        ...

    def write_once(self, path: P, make: Callable[[], Any]) -> None:
        """Writes a small file that is not there; of several writers at once the first one wins."""
        ...

    def lock(self, path: P, *, wait: bool = True) -> AbstractContextManager[bool]:
        """Holds what one process may hold; without `wait` tells at once whether it does."""
        ...

    def writing(self, root: P) -> AbstractContextManager[object]:
        """Keeps `collecting` away from a store; any number of processes may."""
        ...

    def collecting(self, root: P) -> AbstractContextManager[bool]:
        """Keeps writers away from a store; False where one is at work."""
        ...

    def scratch(self, parts: P, name: str) -> AbstractContextManager[Path]:
        """A local folder for one part that is being made; gone afterwards."""
        ...

    def take_in(self, name: str, files: Mapping[str, Path], parts: P) -> dict[str, FileRecord]:
        """Moves the files of a part, by role, from its scratch folder to where parts lie."""
        ...

    def keep_part(self, path: P, record: PartRecord) -> PartRecord:
        """Writes a part's small file; the record that stands there, where another was first."""
        ...

    def part_records(self, parts: P, names: Collection[str]) -> Iterator[PartRecord]:
        """Those of the named parts that are there."""
        ...

    def adopt(self, others: P, record: PartRecord, parts: P) -> None:
        """Makes a part of another version a part of this one too, by a link or a copy."""
        ...

    def local_path(self, path: P, file: FileRecord) -> Path:
        """Where this machine reads a file of a part."""
        ...

    def find_copy(self, file: FileRecord) -> Path | None:
        """The copy of a file that this machine keeps, if it keeps one."""
        ...

    def local_folder(self, root: P) -> Path:
        """A folder of this machine for what belongs to a store, but to none of its artifacts."""
        ...

    def checkpoints(self, version: P) -> Path:
        """A folder of this machine for what lets half a part of a version resume."""
        ...

    def bytes_under(self, path: P) -> int:
        """Bytes of a file, or of all files below a folder."""
        ...

    def leftovers(self, root: P, kept: Iterable[P]) -> Iterator[tuple[StorePath, str]]:
        """What nobody needs outside the versions as such, and why; `kept` are those that stay."""
        ...

    def remove(self, path: P) -> None:
        """Removes a file or a folder. What says that something is there goes first."""
        ...

    def each(self, act: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """What `act` gives for each, in order; side by side where that is waiting for the most."""
        ...


def room_of(path: StorePath) -> Room[Any]:
    """The room that reads and writes a path."""
    if is_in_bucket(path):
        from . import bucket

        return bucket
    from . import disk

    return disk


def is_in_bucket(path: StorePath) -> bool:
    """Whether a path is an address that fsspec opens, and no path of this machine."""
    return not isinstance(path, Path)


def anchored(path: StorePath) -> StorePath:
    """A path that means the same in whatever folder a process works."""
    return path.resolve() if isinstance(path, Path) else path


_NO_STORES = ("http", "https", "data")
"""Protocols that nothing can be written with."""

_LOCAL = ("file", "local")

_OPTIONS = {"s3": {"default_block_size": 2**23}, "s3a": {"default_block_size": 2**23}}
"""s3fs reads ten blocks of a file at once, and we 16 files: of its own 50 MB that were 8 GB."""


def store_path(root: "str | StorePath") -> StorePath:
    """A path, or an address with `://`; ConfigError where no store can lie."""
    if isinstance(root, Path):
        if re.match(r"[A-Za-z][\w+.-]+:/", root.as_posix()):
            raise ConfigError(
                f"the store {str(root)!r} was an address before it became a Path, which holds "
                "none: give it as text, as Store('s3://bucket/path')"
            )
        return root
    protocol, separator, rest = str(root).partition("://")
    if not separator:
        return Path(str(root))
    protocol = protocol.lower()
    if protocol in _LOCAL:
        return Path(rest)
    from upath import UPath

    address, given = root, {}
    if isinstance(root, UPath):
        given = root.storage_options
    else:
        address = f"{protocol}://{rest}"
    try:
        if protocol in _NO_STORES:
            raise ValueError(f"{protocol} cannot be written to")
        if not rest.strip("/"):
            raise ValueError("it names no bucket")
        # What other machines write must be seen: nothing that was listed is remembered.
        options = {**_OPTIONS.get(protocol, {}), **given, "use_listings_cache": False}
        return UPath(address, **options)
    except ValueError as error:
        raise ConfigError(
            f"no store can lie at {str(root)!r} ({error}): a folder is allowed, s3://bucket/path, "
            "gs://bucket/path, and what else fsspec writes to"
        ) from error
