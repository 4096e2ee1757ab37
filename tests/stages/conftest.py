"""The small CLIP of digits, opened once for each file of tests."""

import pytest

from cpp_pipe.stages.encoding.encoder import Encoder

from .small_models import load_digits_clip


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """The CLIP of digits on the CPU."""
    return load_digits_clip()
