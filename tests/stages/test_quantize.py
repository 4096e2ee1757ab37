"""Lists of a part: their codes are written to a mapped file."""

import os
from typing import Any

import numpy as np
import pytest

from cpp_pipe.stages import quantize
from cpp_pipe.store import Store

from .indexes import fit, made_rows, make, make_features, split


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves no room")
def test_the_room_for_codes_is_reserved_before_they_are_written(tmp_path, monkeypatch):
    """Where a disk becomes full, writing to a mapped file kills the process."""
    encode, missing_bytes = quantize._encode, []

    def watched(prepared: Any, block: np.ndarray, lists: np.ndarray) -> np.ndarray:
        for path in tmp_path.rglob(".tmp-*/*.codes.npy"):
            status = path.stat()
            missing_bytes.append(status.st_size - 512 * status.st_blocks)
        return encode(prepared, block, lists)

    monkeypatch.setattr(quantize, "_encode", watched)
    store = Store(tmp_path)
    features = make_features(store, split(made_rows(3000), 1))
    inputs = {"features": features, "quantizer/features": fit(store, features, "IVF64,SQfp16")}
    make(quantize.Quantize(space="features"), store, inputs)
    assert missing_bytes and max(missing_bytes) <= 0
