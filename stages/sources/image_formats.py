"""Which files are images: those of every format that Pillow and its installed plugins read."""

import contextlib
import importlib
import os
from collections.abc import Mapping
from functools import cache

from .camera_raw import RAW, is_raw, register_raw_opener

FIRST_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
"""If a sample in a tar has several images, its image is the one whose suffix comes first here."""

_HEIF_SUFFIXES = ("heic", "heics", "heif", "heifs", "hif")
RAW_SUFFIXES = (
    "dng", "3fr", "arw", "cr2", "cr3", "crw", "dcr", "erf", "fff", "iiq", "k25", "kdc", "mef",
    "mos", "mrw", "nef", "nrw", "orf", "pef", "raf", "rw2", "rwl", "sr2", "srf", "srw",
    "x3f",
)  # fmt: skip
"""Suffixes of the RAW files of cameras; the usual one first."""

EXTRAS: Mapping[str, str] = {
    **dict.fromkeys(_HEIF_SUFFIXES, "heif"),
    **dict.fromkeys(RAW_SUFFIXES, "raw"),
}
"""By suffix, the extra of this package that reads it, since Pillow alone does not."""

_FIRST_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are tried first. JPEG includes MPO, several JPEGs in one file."""

_MORE_SUFFIXES: Mapping[str, str] = {"mpo": "JPEG", "pjp": "JPEG", "pjpeg": "JPEG"}
"""Formats of suffixes that Pillow does not know."""

_USUAL_SUFFIXES: Mapping[str, str] = {
    "MPO": "jpg",
    "PNG": "png",
    "JPEG2000": "jp2",
    "PPM": "ppm",
    "TGA": "tga",
    RAW: "dng",
}
"""The usual suffix of formats whose first suffix in Pillow is an unusual one."""

_NOT_READ = frozenset({"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow recognises but does not decode itself, and those of measurements: EPS starts
another program, and nothing says which number in a FITS file is white."""

_FOOTER_OF_TGA = b"TRUEVISION-XFILE."
"""The end of a TGA file in the newer form: its beginning does not differ from other bytes."""


@cache
def _formats_by_suffix() -> Mapping[str, str]:
    from PIL import Image

    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    with contextlib.suppress(ImportError):
        register_raw_opener(RAW_SUFFIXES)
    known = {suffix[1:]: name for suffix, name in Image.registered_extensions().items()}
    return {
        suffix: name
        for suffix, name in {**known, **_MORE_SUFFIXES}.items()
        if name in Image.OPEN
        and name not in _NOT_READ
        and (name == "TGA" or Image.OPEN[name][1] is not None)
    }


@cache
def image_suffixes() -> tuple[str, ...]:
    """The suffixes of image files, without the dot and in lower case, usual ones first.

    They match whole suffixes: `a.seg.png` is the member `seg.png` of sample `a`, not its image.
    """
    others = sorted(_formats_by_suffix().keys() - set(FIRST_SUFFIXES))
    return (*FIRST_SUFFIXES, *others)


@cache
def _suffix_set() -> frozenset[str]:
    return frozenset(image_suffixes())


def is_image_suffix(suffix: str) -> bool:
    """Whether files with this suffix are images that can be read; with or without its dot."""
    return suffix.lower().removeprefix(".") in _suffix_set()


def is_image_name(name: str) -> bool:
    """Whether a file with this name is an image that can be read, judged by its suffix."""
    return is_image_suffix(os.path.splitext(name)[1])


def is_extra_installed(extra: str) -> bool:
    """Whether an extra is installed, judged by the suffixes that are read."""
    return any(is_image_suffix(suffix) for suffix, needed in EXTRAS.items() if needed == extra)


def suffix_of_format(name: str) -> str:
    """The usual suffix of a format that is read, without the dot."""
    if name in _USUAL_SUFFIXES:
        return _USUAL_SUFFIXES[name]
    return next(suffix for suffix in image_suffixes() if _formats_by_suffix()[suffix] == name)


@cache
def _formats_with_magic() -> tuple[str, ...]:
    others = sorted(set(_formats_by_suffix().values()) - {*_FIRST_FORMATS, "TGA", RAW})
    return (*_FIRST_FORMATS, *others)


def formats_of(raw: bytes) -> tuple[str, ...]:
    """The formats, in Pillow's names, that these bytes may have; usual ones first."""
    if RAW in _formats_by_suffix().values() and is_raw(raw):
        return (RAW,)  # Pillow itself reads most as TIFFs with a tiny image
    is_tga = _FOOTER_OF_TGA in raw[-len(_FOOTER_OF_TGA) - 1 :]
    return (*_formats_with_magic(), "TGA") if is_tga else _formats_with_magic()
