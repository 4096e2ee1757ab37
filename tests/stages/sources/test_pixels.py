"""Decoding: any bytes become the pixels that CLIP is trained on, or a reason."""

import contextlib
import io
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from webdataset.autodecode import imagehandler

from cpp_pipe.stages.sources.images.pixels import MAX_SCANS, UndecodableImage, decode
from cpp_pipe.stages.sources.tar.listing import scan
from cpp_pipe.stages.sources.tar.shard_bytes import open_shard

from .damage import EDITS, damaged

COLOURS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def as_in_training(data: bytes) -> np.ndarray:
    """The pixels that open_clip is trained on: what webdataset decodes as `pilrgb`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(imagehandler("pilrgb", extensions=["image"])("image", data))


def palette(**options: Any) -> bytes:
    image = COLOURS.quantize(16)
    return encoded(image, "PNG", **options)


def animated(kind: str, **options: Any) -> bytes:
    others = [COLOURS.rotate(angle) for angle in (90, 180)]
    return encoded(COLOURS, kind, save_all=True, append_images=others, **options)


def rotated_by_exif() -> bytes:
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


@pytest.mark.parametrize("name", SOUND)
def test_pixels_equal_those_of_training_without_a_warning(name: str):
    data = SOUND[name]()
    image = decode(data)
    assert image.rgb.mode == "RGB"
    assert image.rgb.size == (image.width, image.height)
    assert np.array_equal(np.asarray(image.rgb), as_in_training(data))


def test_some_sound_images_make_pillow_warn():
    for name, says in [
        ("palette png, transparency in bytes", "Transparency expressed in bytes"),
        ("jpeg with broken EXIF", "corrupt EXIF|larger than file|Truncated"),
    ]:
        with pytest.warns(UserWarning, match=says):
            Image.open(io.BytesIO(SOUND[name]())).convert("RGB")


def test_exif_orientation_is_ignored_as_in_training():
    image = decode(rotated_by_exif())
    assert (image.width, image.height) == COLOURS.size == image.rgb.size


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(kind: str):
    data = animated(kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert Image.open(io.BytesIO(data)).n_frames == 3  # type: ignore[attr-defined]
    assert np.array_equal(np.asarray(decode(data).rgb), np.asarray(COLOURS))


def test_real_photos_have_the_pixels_of_training(shared: Path):
    path = shared / "data" / "caltech101" / "00003.tar"
    modes = set()
    with open_shard(path) as shard:
        for sample in scan(path).samples[:60]:
            data = shard.read(sample.image)
            modes.add(Image.open(io.BytesIO(data)).mode)
            assert np.array_equal(np.asarray(decode(data).rgb), as_in_training(data))
    assert modes == {"RGB", "L"}


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


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_give_a_reason(name: str):
    make, reason = HOSTILE[name]
    with pytest.raises(UndecodableImage) as caught:
        decode(make())
    assert caught.value.reason == reason
    assert 0 < len(caught.value.detail) <= 200


@pytest.mark.parametrize("name", [name for name in HOSTILE if "bomb" in name])
def test_a_bomb_is_refused_before_it_is_decoded(name: str):
    data = HOSTILE[name][0]()
    start = time.process_time()
    with pytest.raises(UndecodableImage):
        decode(data)
    # Decoding 400 million pixels takes seconds and 1.2 GB, reading a header under a millisecond.
    assert time.process_time() - start < 0.2


def test_the_limit_on_pixels_is_exact():
    data = encoded(COLOURS, "PNG")
    assert decode(data, max_pixels=24 * 36).width == 36
    with pytest.raises(UndecodableImage, match="36 x 24 pixels, more than 863"):
        decode(data, max_pixels=24 * 36 - 1)


def test_the_limit_on_scans_is_exact():
    assert decode(with_scans(MAX_SCANS)).width == 800
    with pytest.raises(UndecodableImage, match=f"{MAX_SCANS + 1} scans, more than {MAX_SCANS}"):
        decode(with_scans(MAX_SCANS + 1))


@pytest.mark.parametrize(
    ("at_least", "size"),
    [
        (None, (800, 600)),
        (601, (800, 600)),
        (301, (800, 600)),
        (300, (400, 300)),
        (150, (200, 150)),
        (75, (100, 75)),
        (1, (100, 75)),
    ],
)
def test_a_jpeg_is_decoded_at_the_least_fraction_that_keeps_both_sides(at_least, size):
    for image in (COLOURS, COLOURS.convert("L")):
        decoded = decode(encoded(image.resize((800, 600)), "JPEG"), at_least=at_least)
        assert (decoded.width, decoded.height) == (800, 600)
        assert decoded.rgb.size == size
        assert decoded.rgb.mode == "RGB"


@pytest.mark.parametrize("name", [name for name in SOUND if "jpeg" not in name])
def test_other_formats_are_decoded_at_full_size(name: str):
    data = SOUND[name]()
    decoded = decode(data, at_least=1)
    assert np.array_equal(np.asarray(decoded.rgb), np.asarray(decode(data).rgb))


def test_a_jpeg_at_a_fraction_looks_like_the_whole_one_resized():
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    data = encoded(smooth.resize((1600, 1200), Image.Resampling.BICUBIC), "JPEG", quality=90)
    whole, part = (
        np.asarray(decode(data, at_least=side).rgb.resize((224, 168), Image.Resampling.BICUBIC))
        for side in (None, 448)
    )
    assert not np.array_equal(whole, part)
    assert np.abs(whole.astype(int) - part).mean() < 0.5


@pytest.mark.parametrize("name", [name for name in HOSTILE if "jpeg" in name])
def test_hostile_bytes_have_the_same_reason_at_a_fraction(name: str):
    make, reason = HOSTILE[name]
    with pytest.raises(UndecodableImage) as caught:
        decode(make(), at_least=1)
    assert caught.value.reason == reason


@pytest.mark.parametrize("bytes_like", [bytes, bytearray, memoryview])
def test_every_bytes_like_type_is_accepted(bytes_like: type):
    assert decode(bytes_like(encoded(COLOURS, "PNG"))).width == 36


def test_several_threads_decode_the_same_pixels_without_a_warning():
    data = [make() for make in SOUND.values()] * 4
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(decode, data))
    for raw, image in zip(data[: len(SOUND)], images, strict=False):
        assert np.array_equal(np.asarray(image.rgb), as_in_training(raw))


def test_pillow_prints_no_warning_in_another_program(tmp_path: Path):
    for i, name in enumerate(("palette png, transparency in bytes", "jpeg with broken EXIF")):
        (tmp_path / str(i)).write_bytes(SOUND[name]())
    (tmp_path / "2").write_bytes(png_header(10_000, 10_000))
    code = (
        "import pathlib, sys\n"
        "from cpp_pipe.stages.sources.images.pixels import UndecodableImage, decode\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try: decode(path.read_bytes())\n"
        "    except UndecodableImage as error: print(error.reason)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("too_large\n", "")


# The deadline detects a hang: an image of this size takes a millisecond.
@settings(deadline=timedelta(seconds=5), max_examples=500)
@given(name=st.sampled_from(sorted(SOUND)), edits=EDITS, at_least=st.sampled_from([None, 1]))
def test_damaged_images_are_decoded_or_give_a_reason(
    name: str, edits: list[tuple[str, int, int, bytes]], at_least: int | None
):
    with contextlib.suppress(UndecodableImage):
        image = decode(damaged(SOUND[name](), edits), at_least=at_least)
        assert image.rgb.mode == "RGB"
        assert at_least or image.rgb.size == (image.width, image.height)


@settings(deadline=None, max_examples=20)
@given(share=st.floats(0, 0.99))
def test_a_truncated_photo_is_never_decoded(share: float):
    image = Image.new("RGB", (128, 96))
    ImageDraw.Draw(image).ellipse((10, 10, 90, 80), fill=(200, 30, 90))
    image.paste(COLOURS, (80, 60))
    data = encoded(image, "JPEG")
    with pytest.raises(UndecodableImage):
        decode(data[: int(len(data) * share)])
