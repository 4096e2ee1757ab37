"""RAW files of cameras: the preview that each holds, which rawpy (LibRaw) finds.

The pixels of the sensor are not developed: that takes seconds, and each program makes a different
image of them. The preview is what the camera's own screen showed.
"""

import importlib
import io
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from .jpeg_scans import MAX_SCANS, count_scans

RAW = "CAMERA-RAW"
"""Pillow's name of the format once its opener is registered."""

_MAGIC = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb", b"\0MRM")
"""First bytes of Fujifilm, Panasonic, Olympus, Sigma and Minolta. Nearly all others are TIFFs."""
_TIFF = (b"II*\0", b"MM\0*")
_END_OF_JPEG = b"\xff\xd9"
_TAIL = 128
"""Bytes at the end of a preview that must be those of the file: fewer than the smallest one has,
because LibRaw writes a header of its own before it."""
_ORIENTATION = 0x0112
_BY_FLIP = {3: 3, 5: 8, 6: 6}
"""The EXIF orientation of each flip of LibRaw; any other is upright."""

_SUB_IFDS, _COMPRESSION, _PHOTOMETRIC, _DNG_VERSION = 330, 259, 262, 50706
_SENSOR_VALUES = {_PHOTOMETRIC: {32803, 34892}, _COMPRESSION: {32767, 32770, 34713, 65535}}
"""Values of TIFF tags that only RAW files have: pixels of a sensor, and makers' compressions."""
_MOST_FOLDERS = 16
"""Most folders of a TIFF that are read."""


def is_raw(raw: bytes) -> bool:
    """Whether bytes are those of a RAW file; of any other TIFF only its folders are read."""
    if raw.startswith(_MAGIC) or raw[4:12] == b"ftypcrx ":
        return True
    if not raw.startswith(_TIFF):
        return False
    if raw[8:10] == b"CR":  # Canon
        return True
    try:
        return any(_is_of_sensor(folder) for folder in _folders(raw))
    except struct.error:  # an offset points beyond the file's end
        return False


def _is_of_sensor(folder: dict[int, tuple[int, ...]]) -> bool:
    return _DNG_VERSION in folder or any(
        not values.isdisjoint(folder.get(tag, ())) for tag, values in _SENSOR_VALUES.items()
    )


def _folders(raw: bytes) -> Iterator[dict[int, tuple[int, ...]]]:
    """The tags of each folder of a TIFF, also of nested ones, with their whole numbers."""
    order = "<" if raw.startswith(b"II") else ">"
    waiting, seen = [struct.unpack_from(f"{order}I", raw, 4)[0]], set[int]()
    while waiting and len(seen) < _MOST_FOLDERS:
        at = waiting.pop(0)
        if at == 0 or at in seen:
            continue
        seen.add(at)
        (count,) = struct.unpack_from(f"{order}H", raw, at)
        folder = {}
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from(f"{order}HHI", raw, entry)
            size = {1: "B", 3: "H", 4: "I", 13: "I"}.get(kind)
            if size is None or length > 64:
                continue
            form = f"{order}{length}{size}"
            place = entry + 8
            if struct.calcsize(form) > 4:
                (place,) = struct.unpack_from(f"{order}I", raw, place)
            folder[tag] = struct.unpack_from(form, raw, place)
        yield folder
        waiting += folder.get(_SUB_IFDS, ())
        waiting += struct.unpack_from(f"{order}I", raw, at + 2 + 12 * count)


def register_raw_opener(suffixes: Sequence[str]) -> None:
    """Lets Pillow open RAW files by their previews; ImportError without the extra `raw`."""
    from PIL import Image, ImageFile

    rawpy = importlib.import_module("rawpy")

    class CameraRaw(ImageFile.ImageFile):
        """A RAW file as the preview that it holds."""

        format = RAW

        def _open(self) -> None:
            self._preview, self._flip = _open_preview(rawpy, self.fp.read())  # pyright: ignore
            self._mode, self._size = self._preview.mode, self._preview.size

        def draft(self, mode: Any, size: Any) -> Any:
            """Lets a preview in JPEG be decoded smaller."""
            drawn = self._preview.draft(mode, size)
            self._mode, self._size = self._preview.mode, self._preview.size
            return drawn

        def load(self) -> Any:
            """Decodes the preview."""
            pixels = self._preview.load()
            self.im, self._mode = self._preview.im, self._preview.mode
            self._size = self._preview.size
            return pixels

        def getexif(self) -> Any:
            """The EXIF of the preview, with the orientation of the file if it has none."""
            exif = self._preview.getexif()
            if _ORIENTATION not in exif and self._flip in _BY_FLIP:
                exif[_ORIENTATION] = _BY_FLIP[self._flip]
            return exif

    Image.register_open(RAW, CameraRaw, _may_be_raw)
    Image.register_extensions(RAW, [f".{suffix}" for suffix in suffixes])


def _may_be_raw(prefix: bytes) -> bool:
    return prefix.startswith((*_MAGIC, *_TIFF)) or prefix[4:12] == b"ftypcrx "


def _open_preview(rawpy: Any, raw: bytes) -> tuple[Any, int]:
    """The preview of a RAW file, not decoded yet, and LibRaw's flip; OSError without a preview."""
    from PIL import Image

    try:
        with rawpy.imread(io.BytesIO(raw)) as opened:
            preview, flip = opened.extract_thumb(), int(opened.sizes.flip)
    except rawpy.LibRawError as error:
        raise OSError(f"LibRaw finds no preview ({_text_of(error)})") from error
    if preview.format == rawpy.ThumbFormat.JPEG:
        if count_scans(preview.data) > MAX_SCANS:
            raise OSError(f"its preview has more than {MAX_SCANS} scans")
        # LibRaw fills the missing end of a cut file with whatever is in memory: with zeros, or with
        # the end of an image that was read before.
        end = preview.data.rfind(_END_OF_JPEG) + len(_END_OF_JPEG)
        if end <= len(preview.data) // 2 or preview.data[max(0, end - _TAIL) : end] not in raw:
            raise OSError("its preview is cut")
        return Image.open(io.BytesIO(preview.data), formats=("JPEG",)), flip
    return Image.fromarray(preview.data), flip


def _text_of(error: BaseException) -> str:
    """The message of an error of LibRaw, which is bytes."""
    message = error.args[0] if error.args else ""
    return message.decode(errors="replace") if isinstance(message, bytes) else str(message)
