"""Formats and modes: an image is the same however it was saved, and is found by its suffix."""

import io
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageCms

from cpp_pipe.stages.encoding.encoder import Encoder
from cpp_pipe.stages.sources.digits import digit_halves, digit_image
from cpp_pipe.stages.sources.image_formats import (
    FIRST_SUFFIXES,
    image_suffixes,
    is_image_name,
    is_image_suffix,
    suffix_of_format,
)
from cpp_pipe.stages.sources.images.modes import grey_levels
from cpp_pipe.stages.sources.images.pixels import (
    UndecodableImage,
    decode,
    holds_image,
    suffix_of,
)


def original() -> Image.Image:
    """A digit, large enough that dithering and blocks of a JPEG do not hide it."""
    image = digit_image(int(digit_halves()[1][0])).convert("L")
    return image.resize((128, 128), Image.Resampling.BICUBIC).convert("RGB")


def in_mode(mode: str) -> Image.Image:
    """The digit in a mode of Pillow, or as numbers of a range."""
    image = original()
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        in_lab = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
        assert in_lab is not None
        return in_lab
    if mode in NUMBERS:
        return Image.fromarray(NUMBERS[mode](np.asarray(image.convert("L"))))
    return image.convert("RGBA").convert(mode) if mode == "PA" else image.convert(mode)


NUMBERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "8 bits in 16": lambda grey: grey.astype(np.uint16),
    "12 bits in 16": lambda grey: grey.astype(np.uint16) * 16,
    "16 bits": lambda grey: grey.astype(np.uint16) * 257,
    "16 bits, big-endian": lambda grey: (grey.astype(np.uint16) * 257).astype(">u2"),
    "8 bits in 32": lambda grey: grey.astype(np.int32),
    "16 bits in 32": lambda grey: grey.astype(np.int32) * 257,
    "32 bits": lambda grey: grey.astype(np.int32) * 5_000_000 - 7,
    "floats to 1": lambda grey: grey.astype(np.float32) / 255,
    "grey levels as floats": lambda grey: grey.astype(np.float32),
    "floats": lambda grey: grey.astype(np.float32) * 31 - 999,
}
MODES = ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", *NUMBERS)


def has_numbers_of(image: Image.Image, data: bytes) -> bool:
    """Whether a file holds the numbers of an image; some of Pillow's writers clip them."""
    with Image.open(io.BytesIO(data)) as again:
        again.load()  # the mode of an ICO is known only then
        numbers = [np.asarray(one, np.float64).ravel() for one in (image, again)]
    if len(numbers[0]) != len(numbers[1]) or not numbers[1].std():
        return False
    return bool(np.corrcoef(np.stack(numbers)).min() > 0.99)


def save_in_every_format(image: Image.Image) -> dict[str, bytes]:
    """An image, by suffix, in every format that Pillow writes in its mode and that is read."""
    known = {Image.EXTENSION.get(f".{suffix}", "") for suffix in image_suffixes()}
    saved: dict[str, bytes] = {}
    for name in sorted(known & set(Image.SAVE)):
        stream = io.BytesIO()
        options = {"sizes": [image.size]} if name == "ICO" else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                image.save(stream, name, **options)
            except (OSError, ValueError, KeyError, RuntimeError, AttributeError):
                continue  # this format cannot hold this mode
        if image.mode[0] not in "IF" or has_numbers_of(image, stream.getvalue()):
            saved[suffix_of_format(name)] = stream.getvalue()
    return saved


def embedding(encoder: Encoder, image: Image.Image) -> np.ndarray:
    return encoder.images(encoder.preprocess(image)[None])[0]


def test_usual_and_new_formats_are_in_the_table():
    saved = save_in_every_format(original())
    assert {"jpg", "png", "tif", "webp", "gif", "bmp", "avif", "jp2", "heic", "ppm", "tga"} <= {
        *saved
    }
    assert {"png", "tif"} <= save_in_every_format(in_mode("16 bits")).keys()


@pytest.mark.parametrize("mode", MODES)
def test_an_image_embeds_the_same_in_every_format_and_mode(encoder, mode):
    expected = embedding(encoder, original())
    cosines = {}
    for suffix, data in save_in_every_format(in_mode(mode)).items():
        image = decode(data).rgb
        assert image.mode == "RGB"
        cosines[suffix] = float(embedding(encoder, image) @ expected)
        assert is_image_suffix(suffix_of(data))
    assert {suffix: cosine for suffix, cosine in cosines.items() if cosine < 0.97} == {}
    assert cosines or mode == "HSV"


def test_sixteen_bits_are_divided_by_257():
    numbers = np.arange(0, 65536, 128, dtype=np.uint16)
    np.testing.assert_array_equal(grey_levels(numbers), np.rint(numbers / 257))
    np.testing.assert_array_equal(grey_levels(numbers.astype(np.int32)), np.rint(numbers / 257))


@given(arrays.arrays(np.float32, (5, 4), elements=st.floats(width=32)))
def test_grey_levels_keep_the_order_of_floats(values):
    levels = grey_levels(values)
    assert levels.dtype == np.uint8
    finite = np.isfinite(values)
    order = np.argsort(values[finite], kind="stable")
    assert np.all(np.diff(levels[finite][order].astype(int)) >= 0)
    assert not levels[~finite].any() or not finite.any()


@pytest.mark.parametrize("numbers", [[0, 255], [3, 70]])
def test_8_bit_values_stay_unchanged(numbers):
    for kind in (np.uint16, np.int32, np.float32):
        assert grey_levels(np.array(numbers, kind)).tolist() == numbers


def test_old_suffixes_come_first_and_case_does_not_count():
    assert image_suffixes()[: len(FIRST_SUFFIXES)] == FIRST_SUFFIXES
    for name in ("a.jfif", "a.AVIF", "a.jp2", "a.heic", "a.Mpo", "a.ppm", "a.tga", "a.b.webp"):
        assert is_image_name(name), name
    for name in ("a", "a.mov", "a.eps", "a.pdf", "a.svg", "a.h5", "a.fits", "jpg", ".jpg", "a."):
        assert not is_image_name(name), name


def test_a_file_without_a_suffix_is_recognised_by_its_bytes(tmp_path):
    for suffix, data in save_in_every_format(original()).items():
        path = tmp_path / suffix
        path.write_bytes(data)
        assert holds_image(str(path)) == (suffix != "tga")
    for name, data in (
        ("text", b"#define words"),
        ("empty", b""),
        ("movie", b"\0\0\0\x18ftypmp42"),
    ):
        (tmp_path / name).write_bytes(data)
        assert not holds_image(str(tmp_path / name))
    assert not holds_image(str(tmp_path)) and not holds_image(str(tmp_path / "absent"))


def test_noise_is_recognised_as_no_image():
    rng = np.random.default_rng(0)
    for _ in range(300):
        with pytest.raises(UndecodableImage):
            decode(rng.bytes(200))


def test_without_its_extra_heic_is_no_image_and_the_extra_is_named(tmp_path):
    code = """
import sys
sys.modules["pillow_heif"] = None
from cpp_pipe.stages.sources.image_formats import is_image_suffix
from cpp_pipe.stages.sources.ignored_files import describe_left_out
assert not is_image_suffix("heic") and is_image_suffix("jpg")
print(describe_left_out({"mov": 30, "heic": 6, "txt": 1}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "37 files were left out: 30 .mov, 6 .heic, 1 .txt; pip install 'cpp-pipe[heif]' to read "
        ".heic\n"
    )


ORIENTATIONS = range(1, 9)


def turned(orientation: int, kind: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.new("RGB", (40, 24), "black")
    image.paste("red", (0, 0, 20, 12))
    stream = io.BytesIO()
    image.save(stream, kind, exif=exif, **options)
    return stream.getvalue()


CORNERS = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "tl", 6: "tr", 7: "br", 8: "bl"}
"""Where each orientation puts the upper left corner."""


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied_if_asked(kind, orientation):
    data = turned(orientation, kind)
    plain, upright = decode(data), decode(data, upright=True)
    assert plain.rgb.size == (40, 24)
    assert upright.rgb.size == ((24, 40) if orientation > 4 else (40, 24))
    width, height = upright.rgb.size
    corner = CORNERS[orientation]
    x, y = (3 if "l" in corner else width - 4), (3 if "t" in corner else height - 4)
    red = np.array(upright.rgb.getpixel((x, y)))
    assert np.abs(red - (255, 0, 0)).max() < 20
    assert (upright.width, upright.height) == (40, 24)  # as in the file
