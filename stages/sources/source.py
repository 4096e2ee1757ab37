"""What `embed` reads: samples in order, from any kind of source."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, Self

from ..contract import Source
from .faults import Fault
from .fields import SampleFields


class Entry(Protocol):
    """One sample of an open source."""

    @property
    def key(self) -> str:
        """Unique in its source."""
        ...

    @property
    def offset(self) -> int | None:
        """Position at which the image's bytes start in their file; None inside a table."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes of the image; may be None until they are read."""
        ...

    def read_image(self) -> bytes:
        """The encoded image; UndecodableImage says why it cannot be read. Safe in any thread."""
        ...

    def fields(self) -> SampleFields:
        """Caption, label, url and other fields."""
        ...


class Samples(Protocol):
    """The contents of an open source."""

    @property
    def samples(self) -> Sequence[Entry]:
        """Samples that have an image, in order."""
        ...

    @property
    def faults(self) -> Sequence[Fault]:
        """Samples known to be faulty before any image is read."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the source was read to its end."""
        ...

    @property
    def why_cut(self) -> str | None:
        """What is missing; None if the source is complete."""
        ...

    @property
    def suffixes(self) -> Counter[str]:
        """How many files or members have each suffix."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts that the part keeps about its source; `source` names its kind."""
        ...

    def sha256(self) -> str:
        """SHA-256, in hex, of what was read; call it after the last sample."""
        ...


class SampleSource(Source, Protocol):
    """A source of samples: a tar shard, a chunk of a folder's images, or a table."""

    @property
    def name(self) -> str:
        """The value of the column `shard`."""
        ...

    @property
    def size(self) -> int:
        """Total bytes."""
        ...

    def count_samples(self) -> int | None:
        """How many samples it holds, if that is known without listing it; else None."""
        ...

    def with_content(self, content: str) -> Self:
        """The same source with its content in its identity: a digest of all its bytes."""
        ...

    def open(self, scratch: Path) -> AbstractContextManager[Samples]:
        """Opens its samples for the duration of the block; downloads go to `scratch`."""
        ...
