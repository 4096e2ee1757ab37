"""Image bytes to the pixels that CLIP is trained on, or the reason why they cannot be decoded."""

import io
import os
import re
import stat
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..faults import FaultReason
from ..image_formats import formats_of, suffix_of_format
from ..jpeg_scans import MAX_SCANS as MAX_SCANS
from ..jpeg_scans import count_scans as count_scans
from .modes import to_rgb, turn_upright

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 89_478_485
"""Pillow's own limit, above which it suspects a decompression bomb: 256 MiB of RGB."""

_ORIENTATION = 0x0112
"""The EXIF tag."""
_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|GIF8[79]a|BM|II[*+]\0|MM\0[*+]"
    rb"|....ftypavi[fs]|\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    re.DOTALL,
)

# What Pillow raises on hostile bytes, found by reading its code and by fuzzing. OSError includes
# UnidentifiedImageError; LookupError and ArithmeticError come from damaged tables and sizes,
# ImportError from a Pillow built without the codec.
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
    """An image that cannot be used: its sample is skipped with this reason."""

    def __init__(self, reason: FaultReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: FaultReason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """A decoded image, and its size in the file."""

    rgb: "Image"
    """Smaller than `width` x `height` if it was decoded at a fraction of its size."""
    width: int
    height: int


def decode(
    data: bytes | bytearray | memoryview,
    *,
    max_pixels: int = MAX_PIXELS,
    at_least: int | None = None,
    upright: bool = False,
) -> DecodedImage:
    """The pixels of an encoded image, as open_clip sees them in training.

    That is webdataset's `pilrgb`, Pillow's `convert("RGB")` of the first frame: transparency is
    dropped, not blended, and the EXIF orientation is not applied unless the image shall be
    `upright`. Only grey images of more than 8 bits differ, which `pilrgb` clips: see `to_rgb`. The
    conversion precedes the resizing; open_clip's transform of an unconverted file resizes first,
    which gives other pixels for palettes, transparency and CMYK. So decode queries here too.

    The format is read from the bytes, never from the name. A truncated file is `undecodable`, even
    if Pillow could show its upper part. An image of more than `max_pixels` is refused by its
    header, a JPEG of more than MAX_SCANS by its markers. Every refusal raises UndecodableImage.

    With `at_least`, a JPEG is decoded at the smallest of 1/2, 1/4 and 1/8 of its size at which both
    sides keep at least that many pixels: faster, but with different pixels.
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
        with Image.open(io.BytesIO(raw), formats=formats_of(raw)) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UndecodableImage(
                    "too_large", f"{width} x {height} pixels, more than {max_pixels}"
                )
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            image.load()
            rgb = to_rgb(image)
            if upright:
                rgb = turn_upright(rgb, _orientation(image))
            return DecodedImage(rgb=rgb, width=width, height=height)
    except (Image.DecompressionBombError, MemoryError) as error:
        raise UndecodableImage("too_large", _detail(error)) from error
    except UnidentifiedImageError as error:
        if _MAGIC.match(raw):
            raise UndecodableImage("undecodable", "its header is damaged") from error
        raise UndecodableImage("unsupported", f"starts with {raw[:16]!r}") from error
    except _DECODE_ERRORS as error:
        raise UndecodableImage("undecodable", _detail(error)) from error


def _orientation(image: "Image") -> object:
    """The EXIF orientation of a loaded image; 1 if its EXIF cannot be read."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except _DECODE_ERRORS:
        return 1


def holds_image(path: str) -> bool:
    """Whether a file's first bytes are those of a readable image; for files without a suffix."""
    from PIL import Image

    _silence_pillow()
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file, Image.open(file, formats=formats_of(b"")):
            return True
    except (Image.DecompressionBombError, *_DECODE_ERRORS):
        return False


def suffix_of(data: bytes) -> str:
    """The suffix of an image's file, found from its bytes; raises UndecodableImage."""
    from PIL import Image

    _silence_pillow()
    try:
        with Image.open(io.BytesIO(data), formats=formats_of(data)) as image:
            name = image.format or ""
    except (Image.DecompressionBombError, *_DECODE_ERRORS) as error:
        raise UndecodableImage("undecodable", _detail(error)) from error
    return suffix_of_format(name)


def _detail(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _silence_pillow() -> None:
    """Silences Pillow's warnings about broken metadata, which many crawled photos have.

    `catch_warnings` is not safe if several threads decode.
    """
    ours = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    if not warnings.filters or warnings.filters[0] != ours:
        warnings.filterwarnings("ignore", module=r"PIL\.")
