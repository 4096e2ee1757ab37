"""The listing of a data set: its labelled images by split, not read yet."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...stages.sources.images.files import read_image_file
from ...stages.sources.images.pixels import suffix_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One image of a data set."""

    key: str
    """The key in the shard, in which forbidden characters are not replaced yet."""
    read: Callable[[], tuple[str, bytes]]
    """Returns the suffix and the bytes of the image; UndecodableImage if it cannot be read."""
    label: int | None = None
    """The index of its class among the classes of the data set."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Other facts about it."""
    caption: str | None = None


@dataclass(frozen=True, kw_only=True)
class Split:
    """A part of a data set by its authors, such as train; or all of it."""

    name: str | None
    """None if the authors made no parts."""
    count: int
    example: Callable[[int], Example]
    """Returns an image by its number, below the count."""

    def __iter__(self) -> Iterator[Example]:
        return map(self.example, range(self.count))


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All images of a data set, or of some of its splits."""

    classes: tuple[str, ...]
    splits: tuple[Split, ...]

    @property
    def count(self) -> int:
        """The number of images."""
        return sum(split.count for split in self.splits)


def read_file(path: Path) -> tuple[str, bytes]:
    """The suffix and the bytes of an image file, which is copied as it is."""
    content = read_image_file(path)
    return path.suffix.lower().removeprefix(".") or suffix_of(content), content


def read_pixels(pixels: Any) -> tuple[str, bytes]:
    """An array of pixels (height, width, 3) as a PNG."""
    import io

    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(pixels).save(png, format="PNG")
    return "png", png.getvalue()
