"""RAW files as cameras write them, small: a TIFF with a preview and the pixels of a sensor."""

import io
import struct
from collections.abc import Iterable
from typing import Any

from PIL import Image

SENSOR = (64, 48)
_SIZES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 10: "ii"}


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (320, 240)) -> bytes:
    """An image of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG", quality=95)
    return file.getvalue()


def _folder(entries: Iterable[tuple[int, int, Any]], at: int) -> bytes:
    entries = sorted(entries, key=lambda entry: entry[0])
    out, more = struct.pack("<H", len(entries)), b""
    for tag, kind, values in entries:
        form = _SIZES[kind]
        if kind == 2:
            content, count = values + b"\0", len(values) + 1
        elif kind in (5, 10):
            content, count = (
                b"".join(struct.pack(f"<{form}", *value) for value in values),
                len(values),
            )
        else:
            content, count = struct.pack(f"<{len(values)}{form}", *values), len(values)
        out += struct.pack("<HHI", tag, kind, count)
        if len(content) <= 4:
            out += content.ljust(4, b"\0")
        else:
            out += struct.pack("<I", at + 2 + 12 * len(entries) + 4 + len(more))
            more += content + bytes(len(content) % 2)
    return out + struct.pack("<I", 0) + more


def dng(
    preview: bytes | None, *, size: tuple[int, int] = (320, 240), orientation: int = 1
) -> bytes:
    """A DNG with a preview in JPEG, or without one."""
    width, height = SENSOR
    pixels = struct.pack(f"<{width * height}H", *(x * 37 % 4096 for x in range(width * height)))
    identity = [(int(row == column), 1) for row in range(3) for column in range(3)]
    sensor = [
        (254, 4, [0]), (256, 4, [width]), (257, 4, [height]), (258, 3, [16]), (259, 3, [1]),
        (262, 3, [32803]), (277, 3, [1]), (278, 4, [height]), (279, 4, [len(pixels)]),
        (284, 3, [1]), (33421, 3, [2, 2]), (33422, 1, [0, 1, 1, 2]), (50714, 3, [0]),
        (50717, 4, [4095]),
    ]  # fmt: skip
    camera = [
        (271, 2, b"Acme"), (272, 2, b"Cam"), (274, 3, [orientation]), (50706, 1, [1, 4, 0, 0]),
        (50708, 2, b"Acme Cam"), (50721, 10, identity), (50728, 5, [(1, 1)] * 3),
        (50778, 3, [21]),
    ]  # fmt: skip
    if preview is None:
        whole = _folder([*sensor, *camera, (273, 4, [0])], 8)
        return b"II*\0" + struct.pack("<I", 8) + _folder(
            [*sensor, *camera, (273, 4, [8 + len(whole)])], 8
        ) + pixels  # fmt: skip
    shown = [
        *camera, (254, 4, [1]), (256, 4, [size[0]]), (257, 4, [size[1]]), (258, 3, [8, 8, 8]),
        (259, 3, [7]), (262, 3, [6]), (277, 3, [3]), (278, 4, [size[1]]),
        (279, 4, [len(preview)]), (284, 3, [1]),
    ]  # fmt: skip

    def folders(second: int, at: int, pixels_at: int) -> tuple[bytes, bytes]:
        first = _folder([*shown, (330, 4, [second]), (273, 4, [at])], 8)
        return first, _folder([*sensor, (273, 4, [pixels_at])], second)

    first, second = folders(0, 0, 0)
    at = 8 + len(first) + len(second)
    padded = preview + bytes(len(preview) % 2)
    first, second = folders(8 + len(first), at, at + len(padded))
    return b"II*\0" + struct.pack("<I", 8) + first + second + padded + pixels
