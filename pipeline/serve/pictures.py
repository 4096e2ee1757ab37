"""Pictures of rows for a page: read by byte range, made small, and kept within a bound."""

import io
import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from ...store import Artifact, MissingError
from ..run import Run
from ..view.images import decode_row, read_row

if TYPE_CHECKING:
    from PIL import Image

SIZES = (128, 256, 1280)
"""Pixels: of the shorter side of small ones, and of the longer side of the large one."""

MOST_BYTES = 64 * 2**20
"""Of small pictures in memory: some 10,000 of them."""

_LARGE = 1280
_LONGEST = 2
"""How many times its shorter side a small picture may be long; more is cut off at both ends."""
_QUALITY = 84
_DECODED_AT_ONCE = 2
"""A picture may have 90 megapixels, which are 270 MB."""

MEDIA_TYPES = {
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "image/gif": re.compile(rb"GIF8[79]a"),
}
"""What a browser shows, told by its first bytes: never by its name, and nothing with script."""


class Pictures:
    """Pictures of a run by row and size. Any thread may ask."""

    def __init__(self, run: Run, most_bytes: int = MOST_BYTES) -> None:
        self._embeddings: Artifact = run.artifact("embeddings")
        self._sources = run.record.sources
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[int, int], tuple[bytes, str]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._decoding = threading.Semaphore(_DECODED_AT_ONCE)

    @property
    def bytes_kept(self) -> int:
        """Bytes of small pictures in memory."""
        return self._bytes

    def find(self, row: int, size: int) -> tuple[bytes, str] | None:
        """A picture that is in memory, with its media type."""
        with self._lock:
            found = self._kept.get((row, size))
            if found is not None:
                self._kept.move_to_end((row, size))
            return found

    def get(self, row: int, size: int) -> tuple[bytes, str]:
        """A picture at one of the sizes, with its media type; MissingError where it is gone."""
        found = self.find(row, size)
        if found is None:
            data = self._read(row)
            with self._decoding:
                found = _draw(data, size, row)
            if size != _LARGE:
                self._keep((row, size), found)
        return found

    def original(self, row: int) -> tuple[bytes, str]:
        """The bytes that were embedded, with their media type; MissingError where they are gone.

        What is no JPEG, PNG, WebP or GIF has no type that a browser would show.
        """
        data = self._read(row)
        for media_type, start in MEDIA_TYPES.items():
            if start.match(data):
                return data, media_type
        return data, "application/octet-stream"

    def _read(self, row: int) -> bytes:
        if not 0 <= row < self._embeddings.rows:
            raise MissingError(f"there is no row {row}: there are 0 to {self._embeddings.rows - 1}")
        return read_row(self._embeddings, self._sources, row)

    def _keep(self, name: tuple[int, int], picture: tuple[bytes, str]) -> None:
        with self._lock:
            old = self._kept.pop(name, None)
            self._bytes += len(picture[0]) - (len(old[0]) if old else 0)
            self._kept[name] = picture
            while self._bytes > self._most_bytes:
                _, (data, _) = self._kept.popitem(last=False)
                self._bytes -= len(data)


def _draw(data: bytes, size: int, row: int) -> tuple[bytes, str]:
    picture = decode_row(data, row, at_least=size)
    picture = _fit(picture, size) if size == _LARGE else _fill(picture, size)
    written = io.BytesIO()
    # What is drawn with few pixels is shown as it is: JPEG would blur it.
    kind = "PNG" if min(picture.size) < SIZES[0] // 2 else "JPEG"
    picture.save(written, kind, quality=_QUALITY)
    return written.getvalue(), f"image/{kind.lower()}"


def _fit(picture: "Image.Image", size: int) -> "Image.Image":
    """At most `size` pixels on the longer side."""
    from PIL import Image

    scale = size / max(picture.size)
    if scale >= 1:
        return picture
    wanted = tuple(max(1, round(side * scale)) for side in picture.size)
    return picture.resize((wanted[0], wanted[1]), Image.Resampling.LANCZOS, reducing_gap=2)


def _fill(picture: "Image.Image", size: int) -> "Image.Image":
    """At most `size` pixels on the shorter side, and a longer one that is not far longer."""
    from PIL import Image

    width, height = picture.size
    most = _LONGEST * min(width, height)
    box = (
        max(0, (width - most) // 2),
        max(0, (height - most) // 2),
        min(width, (width + most + 1) // 2),
        min(height, (height + most + 1) // 2),
    )
    cut = box[2] - box[0], box[3] - box[1]
    scale = min(1.0, size / min(cut))
    wanted = tuple(max(1, round(side * scale)) for side in cut)
    return picture.resize((wanted[0], wanted[1]), Image.Resampling.BICUBIC, box=box, reducing_gap=2)
