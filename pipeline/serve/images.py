"""Images of rows for the page: read by byte range, resized, and cached within a limit."""

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...store import Artifact, MissingError
from ..run import Run
from ..view.images import IMAGE_COLUMNS, decode_row, read_image
from .row_fields import RowFields

if TYPE_CHECKING:
    from PIL import Image

SIZES = (128, 256, 1280)
"""Pixels: of the shorter side for small images, of the longer side for the large one."""

DRAWING = 2
"""The version of how small images are drawn; raise it with every change, as browsers cache."""

MAX_BYTES = 64 * 2**20
"""Bytes of small images in memory: some 10,000 images."""

STRIP_SIDE = 48
"""Pixels a side of an image in a strip: enough for 20 on a screen of high resolution."""

_LARGE = 1280
_MAX_ASPECT = 4
"""The longest ratio of sides at which a small image keeps its full size; others get smaller."""
_GREY = (128, 128, 128)
_QUALITY = 84
_MAX_DECODERS = 2
"""Images decoded at the same time: one may have 90 megapixels, which are 270 MB."""

MEDIA_TYPES = {
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "image/gif": re.compile(rb"GIF8[79]a"),
}
"""Types that a browser may show, by their first bytes: never by name, and none with scripts."""


class Images:
    """Images of a run by row and size. Safe to call from any thread."""

    def __init__(self, run: Run, rows: RowFields, max_bytes: int = MAX_BYTES) -> None:
        self._rows = rows
        self._embeddings: Artifact = run.artifact("embeddings")
        self._sources = run.record.sources
        self._max_bytes = max_bytes
        self._cache: OrderedDict[tuple[int, int], tuple[bytes, str]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._decoders = threading.Semaphore(_MAX_DECODERS)

    def find(self, row: int, size: int) -> tuple[bytes, str] | None:
        """An image that is in memory, with its media type."""
        with self._lock:
            image = self._cache.get((row, size))
            if image is not None:
                self._cache.move_to_end((row, size))
            return image

    def get(self, row: int, size: int) -> tuple[bytes, str]:
        """An image at one of the sizes, with its media type; MissingError if it is gone."""
        image = self.find(row, size)
        if image is None:
            data = self._read(row)
            with self._decoders:
                image = resize(data, size, row)
            if size != _LARGE:
                self._store((row, size), image)
        return image

    def strip(self, rows: Sequence[int]) -> tuple[bytes, bool]:
        """Some images side by side in one JPEG, each a square of `STRIP_SIDE` pixels.

        Also whether all could be read: an unreadable image is grey. MissingError if none can be
        read, or if a row does not exist.
        """
        from PIL import Image, ImageOps

        strip = Image.new("RGB", (STRIP_SIDE * len(rows), STRIP_SIDE), _GREY)
        troubles = []
        for row in rows:
            self._require(row)
        for place, row in enumerate(rows):
            try:
                data, _ = self.get(row, SIZES[0])
            except MissingError as error:
                troubles.append(error)
                continue
            with Image.open(io.BytesIO(data)) as image:
                image.draft("RGB", (STRIP_SIDE, STRIP_SIDE))
                square = ImageOps.fit(image.convert("RGB"), (STRIP_SIDE, STRIP_SIDE))
            strip.paste(square, (place * STRIP_SIDE, 0))
        if len(troubles) == len(rows):
            raise troubles[0]
        encoded = io.BytesIO()
        strip.save(encoded, "JPEG", quality=_QUALITY)
        return encoded.getvalue(), not troubles

    def original(self, row: int) -> tuple[bytes, str]:
        """The bytes that were embedded, with their media type; MissingError if they are gone.

        Anything but JPEG, PNG, WebP and GIF gets a type that no browser shows.
        """
        data = self._read(row)
        for media_type, start in MEDIA_TYPES.items():
            if start.match(data):
                return data, media_type
        with self._decoders:
            decode_row(data, row)  # raises unless it is an image: nothing else is sent
        return data, "application/octet-stream"

    def _require(self, row: int) -> None:
        if not 0 <= row < self._embeddings.rows:
            raise MissingError(f"row must be from 0 to {self._embeddings.rows - 1}, got {row}")

    def _read(self, row: int) -> bytes:
        self._require(row)
        (columns,) = self._rows.read([row], IMAGE_COLUMNS)
        return read_image(self._embeddings, self._sources, row, columns)

    def _store(self, name: tuple[int, int], image: tuple[bytes, str]) -> None:
        with self._lock:
            old = self._cache.pop(name, None)
            self._bytes += len(image[0]) - (len(old[0]) if old else 0)
            self._cache[name] = image
            while self._bytes > self._max_bytes:
                _, (data, _) = self._cache.popitem(last=False)
                self._bytes -= len(data)


def resize(data: bytes, size: int, row: int) -> tuple[bytes, str]:
    """An encoded image at one of the sizes, encoded again, with its media type."""
    image = decode_row(data, row, at_least=size)
    image = _fit(image, size) if size == _LARGE else _fill(image, size)
    encoded = io.BytesIO()
    # JPEG would blur an image of few pixels, which is shown enlarged.
    kind = "PNG" if max(image.size) < SIZES[0] // 2 else "JPEG"
    image.save(encoded, kind, quality=_QUALITY)
    return encoded.getvalue(), f"image/{kind.lower()}"


def _fit(image: "Image.Image", size: int) -> "Image.Image":
    """At most `size` pixels on the longer side."""
    from PIL import Image

    scale = size / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2)


def _fill(image: "Image.Image", size: int) -> "Image.Image":
    """At most `size` pixels on the shorter side, and four times that on the longer."""
    from PIL import Image

    scale = min(1.0, size / min(image.size), _MAX_ASPECT * size / max(image.size))
    if scale == 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.HAMMING, reducing_gap=2)
