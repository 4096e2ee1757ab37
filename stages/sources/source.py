"""What `embed` reads: samples in order, whatever they lie in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from ..contract import Source
from .faults import Fault
from .fields import SampleFields


class Entry(Protocol):
    """One sample of a source that is open."""

    @property
    def key(self) -> str:
        """Unique in its source."""
        ...

    @property
    def offset(self) -> int | None:
        """Where the bytes of its image start in their file; None inside a table."""
        ...

    @property
    def size(self) -> int | None:
        """How many bytes its image has; may be known only once they were read."""
        ...

    def read_image(self) -> bytes:
        """The encoded image; UndecodableImage says why it cannot be had. Safe in any thread."""
        ...

    def fields(self) -> SampleFields:
        """What is said of the image beside it."""
        ...


class Samples(Protocol):
    """All that is in a source that is open."""

    @property
    def samples(self) -> Sequence[Entry]:
        """Those that have an image, in order."""
        ...

    @property
    def faults(self) -> Sequence[Fault]:
        """Those that are known to have none before any is read."""
        ...

    @property
    def complete(self) -> bool:
        """Whether nothing is cut off."""
        ...

    @property
    def why_cut(self) -> str | None:
        """What is missing, where it is not complete."""
        ...

    @property
    def suffixes(self) -> Counter[str]:
        """How many files or members have each suffix."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is kept of the source in its part: `source` names its kind."""
        ...

    def sha256(self) -> str:
        """SHA-256, in hex, of what was read; to be asked for behind the last sample."""
        ...


class SampleSource(Source, Protocol):
    """A source of samples: a tar shard, pictures of a folder, a table."""

    @property
    def name(self) -> str:
        """What stands in the column `shard`."""
        ...

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def open(self, scratch: Path) -> AbstractContextManager[Samples]:
        """Its samples, as long as the block lasts; `scratch` is a folder for what is fetched."""
        ...
