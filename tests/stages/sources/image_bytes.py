"""Bytes of images: sound ones in many formats and modes, and hostile ones."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from webdataset.autodecode import imagehandler

COLOURS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8))
"""A small image of noise."""


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file of an image in a format of Pillow."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def as_in_training(data: bytes) -> np.ndarray:
    """The pixels that open_clip is trained on: what webdataset decodes as `pilrgb`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(imagehandler("pilrgb", extensions=["image"])("image", data))


def palette(**options: Any) -> bytes:
    """A PNG with a palette."""
    image = COLOURS.quantize(16)
    return encoded(image, "PNG", **options)


def animated(kind: str, **options: Any) -> bytes:
    """Three frames, of which the first is `COLOURS`."""
    others = [COLOURS.rotate(angle) for angle in (90, 180)]
    return encoded(COLOURS, kind, save_all=True, append_images=others, **options)


def rotated_by_exif() -> bytes:
    """A JPEG whose EXIF asks for a rotation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(COLOURS, "JPEG", exif=exif)


def with_broken_exif() -> bytes:
    """A photo whose EXIF block ends early, which Pillow warns about."""
    exif = Image.Exif()
    exif[0x010E] = "a long description of the picture" * 4
    raw = encoded(COLOURS, "JPEG", exif=exif)
    start = raw.index(b"Exif\0\0")
    tail = raw[start:].replace(struct.pack("<L", 133), struct.pack("<L", 99_999), 1)
    return raw[:start] + tail


def with_thumbnails(count: int) -> bytes:
    """A photo with other JPEGs in application blocks, as cameras write them."""
    raw, small = encoded(COLOURS, "JPEG"), encoded(COLOURS.resize((4, 4)), "JPEG")
    block = b"\xff\xe7" + struct.pack(">H", len(small) + 2) + small
    return raw[:2] + block * count + raw[2:]


SOUND: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(COLOURS, "JPEG"),
    "progressive jpeg": lambda: encoded(COLOURS, "JPEG", progressive=True),
    "grey jpeg": lambda: encoded(COLOURS.convert("L"), "JPEG"),
    "CMYK jpeg": lambda: encoded(COLOURS.convert("CMYK"), "JPEG"),
    "jpeg with an orientation": rotated_by_exif,
    "jpeg with broken EXIF": with_broken_exif,
    "several jpegs in one": lambda: animated("MPO"),
    "jpeg with a film after it": lambda: encoded(COLOURS, "JPEG") + b"\xff\xda" * 1000,
    "jpeg with a thumbnail": lambda: with_thumbnails(200),
    "png": lambda: encoded(COLOURS, "PNG"),
    "png with alpha": lambda: encoded(COLOURS.convert("RGBA").rotate(30), "PNG"),
    "grey png with alpha": lambda: encoded(COLOURS.convert("LA").rotate(30), "PNG"),
    "1-bit png": lambda: encoded(COLOURS.convert("1"), "PNG"),
    "palette png": palette,
    "palette png, one colour transparent": lambda: palette(transparency=3),
    "palette png, transparency in bytes": lambda: palette(transparency=bytes(range(0, 160, 10))),
    "rgb png, one colour transparent": lambda: encoded(COLOURS, "PNG", transparency=(1, 2, 3)),
    "animated png": lambda: animated("PNG"),
    "gif": lambda: encoded(COLOURS.quantize(16), "GIF"),
    "gif with transparency": lambda: encoded(COLOURS.quantize(16), "GIF", transparency=2),
    "animated gif": lambda: animated("GIF"),
    "webp": lambda: encoded(COLOURS, "WEBP"),
    "webp with alpha": lambda: encoded(COLOURS.convert("RGBA").rotate(30), "WEBP", lossless=True),
    "animated webp": lambda: animated("WEBP", lossless=True),
    "bmp": lambda: encoded(COLOURS, "BMP"),
    "tiff": lambda: encoded(COLOURS, "TIFF", compression="tiff_lzw"),
    "avif": lambda: encoded(COLOURS, "AVIF"),
    "jpeg 2000": lambda: encoded(COLOURS, "JPEG2000"),
    "ico": lambda: encoded(COLOURS, "ICO"),
    "ppm": lambda: encoded(COLOURS, "PPM"),
    "1 x 1": lambda: encoded(COLOURS.resize((1, 1)), "PNG"),
}
"""Functions that make images which decode, by name."""


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", checksum)

    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


def resized_header(kind: str) -> bytes:
    """A small image whose header claims 20,000 x 20,000 pixels."""
    if kind == "JPEG":
        raw = bytearray(encoded(COLOURS, "JPEG"))
        at = raw.index(b"\xff\xc0") + 5
        raw[at : at + 4] = struct.pack(">HH", 20_000, 20_000)
    elif kind == "GIF":
        raw = bytearray(encoded(COLOURS.quantize(4), "GIF"))
        raw[6:10] = struct.pack("<HH", 20_000, 20_000)
    else:
        raw = bytearray(encoded(COLOURS, "BMP"))
        raw[18:26] = struct.pack("<ll", 20_000, 20_000)
    return bytes(raw)


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan, of a few bytes, is repeated."""
    raw = encoded(Image.new("RGB", (800, 600)), "JPEG", progressive=True)
    last = raw[raw.rindex(b"\xff\xda") : -2]
    return raw[:-2] + last * (count - raw.count(b"\xff\xda")) + raw[-2:]


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "empty"),
    "one byte": (lambda: b"\xff", "unsupported"),
    "zeros": (lambda: bytes(10_000), "unsupported"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported"),
    "html": (lambda: b"<!DOCTYPE html><html><body>404 Not Found", "unsupported"),
    "pdf": (lambda: b"%PDF-1.7\n" + bytes(100), "unsupported"),
    "film": (lambda: b"\0\0\0\x18ftypmp42" + bytes(100), "unsupported"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unsupported"),
    "jpeg cut in its pixels": (lambda: encoded(COLOURS, "JPEG")[:-300], "undecodable"),
    "jpeg without its end": (lambda: encoded(COLOURS, "JPEG")[:-40], "undecodable"),
    "jpeg cut in its header": (lambda: encoded(COLOURS, "JPEG")[:100], "undecodable"),
    "png cut in its pixels": (lambda: encoded(COLOURS, "PNG")[:500], "undecodable"),
    "png cut in its header": (lambda: encoded(COLOURS, "PNG")[:20], "undecodable"),
    "webp cut short": (lambda: encoded(COLOURS, "WEBP")[:-100], "undecodable"),
    "gif cut short": (lambda: encoded(COLOURS.quantize(16), "GIF")[:-200], "undecodable"),
    "tiff cut short": (lambda: encoded(COLOURS, "TIFF")[:1000], "undecodable"),
    "avif cut short": (lambda: encoded(COLOURS, "AVIF")[:-100], "undecodable"),
    "avif cut in its header": (lambda: encoded(COLOURS, "AVIF")[:40], "undecodable"),
    "jpeg 2000 cut in its header": (lambda: encoded(COLOURS, "JPEG2000")[:30], "undecodable"),
    "bmp cut short": (lambda: encoded(COLOURS, "BMP")[:1000], "undecodable"),
    "png with a wrong checksum": (
        lambda: encoded(COLOURS, "PNG").replace(b"IDAT", b"IDAU", 1),
        "undecodable",
    ),
    "png bomb of 400 megapixels": (lambda: png_header(20_000, 20_000), "too_large"),
    "png bomb of 100 megapixels": (lambda: png_header(10_000, 10_000), "too_large"),
    "jpeg bomb": (lambda: resized_header("JPEG"), "too_large"),
    "jpeg bomb of many scans": (lambda: with_scans(100_000), "too_large"),
    "gif bomb": (lambda: resized_header("GIF"), "too_large"),
    "bmp bomb": (lambda: resized_header("BMP"), "too_large"),
}
"""Functions that make bytes which do not decode, each with its reason, by name."""
