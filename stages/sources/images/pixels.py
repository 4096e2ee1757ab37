"""The bytes of an image as the pixels that CLIP is trained on, or the reason why not."""

import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..faults import FaultReason

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 89_478_485
"""Pillow's own bound, above which it suspects a decompression bomb: 256 MiB of RGB."""

MAX_SCANS = 100
"""Of a JPEG. Each is a walk over all pixels, even where it takes a dozen bytes.

Programs write about ten. A file of 500 KB with 500 scans of 81 megapixels took 27 s to decode.
"""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What Pillow may take the bytes for; JPEG includes MPO, several JPEGs in one file."""
_JPEG = b"\xff\xd8\xff"
_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff+([\x02-\xcf\xd9-\xfe])")
"""Of a JPEG, where a length stands behind it; 0 and restarts belong to the pixels."""
_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|GIF8[79]a|BM|II[*+]\0|MM\0[*+]", re.DOTALL
)

# All that Pillow lets out on hostile bytes, found by reading and by fuzzing. OSError holds
# UnidentifiedImageError, LookupError and ArithmeticError what damaged tables and sizes cause,
# ImportError a Pillow that was built without the codec.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    ImportError,
    struct.error,
    zlib.error,
)


class UndecodableImage(Exception):
    """An image that cannot be used: its sample becomes a fault with this reason."""

    def __init__(self, reason: FaultReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: FaultReason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded image and the size that it has in its file."""

    rgb: "Image"
    """Smaller than in its file where it was decoded at a fraction of its size."""
    width: int
    height: int


def decode(
    data: bytes | bytearray | memoryview,
    *,
    max_pixels: int = MAX_PIXELS,
    at_least: int | None = None,
) -> Picture:
    """The pixels of an encoded image, in memory, as open_clip is trained on them.

    That is webdataset's `pilrgb`, Pillow's `convert("RGB")` of the first frame: transparency is
    dropped, not blended, 16 bits are clipped, and the EXIF orientation is not applied. It comes
    before the resizing; open_clip's transform of an unconverted file resizes first, which gives
    other pixels for palettes, transparency and CMYK. So queries are to be decoded here too.

    The kind of image is told from its bytes, never from its name. A file cut short is
    `undecodable`, even where Pillow could show its upper part; one of more than `max_pixels` is
    refused by its header, and a JPEG of more than MAX_SCANS by its markers. Every refusal is an
    UndecodableImage.

    With `at_least` a JPEG is decoded at the smallest of 1/2, 1/4 and 1/8 of its size at which both
    sides keep so many pixels: other pixels, made in a part of the time.
    """
    from PIL import Image, UnidentifiedImageError

    raw = bytes(data)
    if not raw:
        raise UndecodableImage("empty", "0 bytes")
    scans = count_scans(raw)
    if scans > MAX_SCANS:
        raise UndecodableImage("too_large", f"{scans} scans, more than {MAX_SCANS}")
    _silence_pillow()
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UndecodableImage(
                    "too_large", f"{width} x {height} pixels, more than {max_pixels}"
                )
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            image.load()
            # Which colour is transparent does not change the RGB values, but Pillow warns of it.
            image.info.pop("transparency", None)
            # A conversion copies even what is RGB: up to 256 MiB.
            rgb = image if image.mode == "RGB" else image.convert("RGB")
            return Picture(rgb=rgb, width=width, height=height)
    except (Image.DecompressionBombError, MemoryError) as error:
        raise UndecodableImage("too_large", _detail(error)) from error
    except UnidentifiedImageError as error:
        if _MAGIC.match(raw):
            raise UndecodableImage("undecodable", "its header is damaged") from error
        raise UndecodableImage("unsupported", f"starts with {raw[:16]!r}") from error
    except _DECODE_ERRORS as error:
        raise UndecodableImage("undecodable", _detail(error)) from error


def count_scans(raw: bytes) -> int:
    """Scans of the first image in a JPEG, where there may be more than MAX_SCANS; else 0.

    Other images may stand in the blocks of programs before it, and behind it anything at all.
    """
    if not raw.startswith(_JPEG) or raw.count(bytes((0xFF, _SCAN))) <= MAX_SCANS:
        return 0
    at = scans = 0
    while found := _MARKER.search(raw, at):
        marker = found[1][0]
        if marker == _END_OF_IMAGE:
            break
        scans += marker == _SCAN
        at = found.end() + int.from_bytes(raw[found.end() : found.end() + 2])
    return scans


def _detail(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _silence_pillow() -> None:
    """Leaves out Pillow's remarks on broken metadata, one a photo in a crawled data set.

    Not by `catch_warnings`, which is not safe where several threads decode.
    """
    ours = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    if not warnings.filters or warnings.filters[0] != ours:
        warnings.filterwarnings("ignore", module=r"PIL\.")
