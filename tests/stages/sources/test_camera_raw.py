"""RAW files are read by the preview that they hold; without the extra they are counted."""

import io
import struct
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cpp_pipe.stages.sources.camera_raw import RAW, is_raw
from cpp_pipe.stages.sources.ignored_files import describe_left_out, needed_extras
from cpp_pipe.stages.sources.image_formats import EXTRAS, RAW_SUFFIXES, is_image_suffix
from cpp_pipe.stages.sources.images.pixels import UndecodableImage, decode, suffix_of

from .raw_files import dng, jpeg

has_rawpy = pytest.mark.skipif(find_spec("rawpy") is None, reason="rawpy is absent: pip install it")
ORANGE = (220, 120, 20)


@has_rawpy
def test_a_raw_file_is_its_preview_and_not_the_first_image_of_its_tiff():
    image = decode(dng(jpeg(ORANGE)))
    assert (image.width, image.height) == (320, 240)
    assert np.abs(np.asarray(image.rgb, int) - ORANGE).max() < 8
    assert suffix_of(dng(jpeg(ORANGE))) == "dng"


@has_rawpy
@pytest.mark.parametrize(("orientation", "is_turned"), [(1, False), (3, False), (6, True)])
def test_a_preview_is_rotated_only_if_asked(orientation, is_turned):
    data = dng(jpeg(ORANGE), orientation=orientation)
    size = (240, 320) if is_turned else (320, 240)
    assert decode(data, upright=True).rgb.size == size
    assert decode(data).rgb.size == (320, 240)


@has_rawpy
def test_a_large_preview_is_decoded_at_a_fraction_if_allowed():
    data = dng(jpeg(ORANGE, (1600, 1200)), size=(1600, 1200))
    small = decode(data, at_least=300)
    assert small.rgb.size == (400, 300) and (small.width, small.height) == (1600, 1200)
    with pytest.raises(UndecodableImage, match="too_large"):
        decode(data, max_pixels=1000)


@has_rawpy
@pytest.mark.parametrize("kept", [0.1, 0.3, 0.6, 0.9])
def test_a_damaged_raw_file_is_undecodable(kept):
    preview = jpeg(ORANGE)
    data = dng(preview)
    with pytest.raises(UndecodableImage):
        decode(data[: int(kept * (data.index(preview) + len(preview)))])


@has_rawpy
def test_a_truncated_raw_file_shows_nothing_of_an_earlier_image():
    """LibRaw's memory still held it, in about one of seven files that were cut."""
    preview = jpeg(ORANGE)
    data = dng(preview)
    for _ in range(60):
        assert decode(data).rgb.size == (320, 240)
        with pytest.raises(UndecodableImage):
            decode(data[: data.index(preview) + len(preview) - 40])


@has_rawpy
@pytest.mark.parametrize("size", [(16, 16), (160, 120), (320, 240)])
def test_a_small_preview_is_not_taken_for_a_truncated_one(size):
    """A black image has a few hundred, before which LibRaw writes a header of its own."""
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "JPEG", optimize=True)
    preview = file.getvalue()
    assert len(preview) < 1000
    data = dng(preview, size=size)
    assert decode(data).rgb.size == size
    for lost in (1, 40, 130):
        with pytest.raises(UndecodableImage):
            decode(data[: data.index(preview) + len(preview) - lost])


@has_rawpy
def test_a_raw_file_without_a_preview_is_undecodable():
    with pytest.raises(UndecodableImage, match=r"undecodable.*LibRaw finds no preview"):
        decode(dng(None))


@has_rawpy
def test_every_raw_suffix_is_an_image_suffix():
    assert all(map(is_image_suffix, RAW_SUFFIXES))


def test_other_tiffs_are_no_raw_files():
    for mode, compression in (("RGB", "jpeg"), ("RGB", "tiff_lzw"), ("L", "raw"), ("I;16", "raw")):
        file = io.BytesIO()
        Image.new(mode, (40, 30)).save(file, "TIFF", compression=compression)
        assert not is_raw(file.getvalue())
        assert decode(file.getvalue()).rgb.size == (40, 30)
    assert not is_raw(jpeg(ORANGE)) and not is_raw(b"") and not is_raw(b"II*\0")
    assert is_raw(dng(jpeg(ORANGE))) and is_raw(dng(None))


@given(st.data())
def test_any_bytes_can_be_checked_for_a_raw_file(data):
    whole = bytearray(dng(jpeg(ORANGE, (16, 16)), size=(16, 16)))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(4, 600))
        whole[place : place + 4] = struct.pack("<I", data.draw(st.integers(0, 2**32 - 1)))
    assert is_raw(bytes(whole)) in (True, False)


def test_without_its_extra_a_raw_file_is_counted_and_the_extra_is_named():
    code = """
import sys
sys.modules["rawpy"] = None
from cpp_pipe.stages.sources.image_formats import is_image_suffix
from cpp_pipe.stages.sources.ignored_files import describe_left_out
assert not is_image_suffix("dng") and not is_image_suffix("nef") and is_image_suffix("jpg")
print(describe_left_out({"nef": 4, "dng": 1}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "5 files were left out: 4 .nef, 1 .dng; pip install 'cpp-pipe[raw]' to read .dng, .nef\n"
    )


def test_the_reason_of_a_skipped_sample_names_missing_extras():
    assert needed_extras("no_image", "suffixes seen: cr2, txt") == {"raw"}
    assert needed_extras("no_image", "suffixes seen: heic, dng") == {"heif", "raw"}
    assert needed_extras("no_image", "suffixes seen: mov") == set()
    assert needed_extras("undecodable", "suffixes seen: cr2") == set()
    assert {EXTRAS[suffix] for suffix in RAW_SUFFIXES} == {"raw"}
    assert "pip" not in describe_left_out({"mov": 3}) and RAW
