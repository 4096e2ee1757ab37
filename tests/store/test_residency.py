"""Mapped files stay within a limit of memory, and read the same after they were released."""

import sys

import numpy as np
import pytest

from cpp_pipe.store.residency import Residency, mapped_bytes

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux counts memory in this way"
)

MIB = 2**20


def test_mapped_files_are_released_over_the_limit_and_stay_readable(tmp_path):
    (tmp_path / "inside").mkdir()
    np.save(tmp_path / "inside" / "rows.npy", np.arange(8 * MIB, dtype=np.int64))
    mapped = np.load(tmp_path / "inside" / "rows.npy", mmap_mode="r")
    before = mapped_bytes()
    assert int(mapped.sum()) == 8 * MIB * (8 * MIB - 1) // 2
    assert mapped_bytes() > before + 50 * MIB

    other = Residency(before)
    other.add(tmp_path / "elsewhere")
    assert other.trim() and mapped_bytes() > before + 50 * MIB, "it is not one of its files"

    residency = Residency(before + 200 * MIB)
    residency.add(tmp_path)
    assert not residency.trim()
    residency = Residency(before)
    residency.add(tmp_path)
    assert residency.trim() and mapped_bytes() < before + 10 * MIB
    assert int(mapped[-1]) == 8 * MIB - 1
    assert int(mapped.sum()) == 8 * MIB * (8 * MIB - 1) // 2


def test_writable_mappings_are_not_released(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros(4 * MIB, np.int64))
    own = np.load(tmp_path / "rows.npy", mmap_mode="c")
    own[:] = 7
    residency = Residency(0)
    residency.add(tmp_path)
    assert residency.trim()
    assert (own == 7).all()
