"""Decoding: any bytes become the pixels that CLIP is trained on, or a reason."""

import contextlib
import io
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from cpp_pipe.stages.sources.images.pixels import MAX_SCANS, UndecodableImage, decode
from cpp_pipe.stages.sources.tar.listing import scan
from cpp_pipe.stages.sources.tar.shard_bytes import open_shard

from .damage import EDITS, damaged
from .image_bytes import (
    COLOURS,
    HOSTILE,
    SOUND,
    animated,
    as_in_training,
    encoded,
    png_header,
    rotated_by_exif,
    with_scans,
)


@pytest.mark.parametrize("name", SOUND)
def test_pixels_equal_those_of_training_without_a_warning(name: str):
    data = SOUND[name]()
    image = decode(data)
    assert image.rgb.mode == "RGB"
    assert image.rgb.size == (image.width, image.height)
    assert np.array_equal(np.asarray(image.rgb), as_in_training(data))


def test_some_sound_images_make_pillow_warn():
    for name, message in [
        ("palette png, transparency in bytes", "Transparency expressed in bytes"),
        ("jpeg with broken EXIF", "corrupt EXIF|larger than file|Truncated"),
    ]:
        with pytest.warns(UserWarning, match=message):
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
