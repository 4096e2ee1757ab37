"""Mapped files stay within a limit of memory, and read the same after they were released."""

import gc
import sys

import numpy as np
import pytest

from cpp_pipe.store.residency import Residency, map_array, mapped_bytes

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux counts memory in this way"
)

MIB = 2**20


def test_mapped_files_are_released_over_the_limit_and_stay_readable(tmp_path):
    np.save(tmp_path / "rows.npy", np.arange(8 * MIB, dtype=np.int64))
    mapped = map_array(tmp_path / "rows.npy")
    before = mapped_bytes()
    assert int(mapped.sum()) == 8 * MIB * (8 * MIB - 1) // 2
    assert mapped_bytes() > before + 50 * MIB

    assert not Residency(before + 200 * MIB).trim()
    assert mapped_bytes() > before + 50 * MIB
    assert Residency(before).trim() and mapped_bytes() < before + 10 * MIB
    assert int(mapped[-1]) == 8 * MIB - 1
    assert int(mapped.sum()) == 8 * MIB * (8 * MIB - 1) // 2


def test_a_view_of_a_mapped_file_keeps_it_among_those_that_are_released(tmp_path):
    np.save(tmp_path / "rows.npy", np.arange(8 * MIB, dtype=np.int64))
    view = map_array(tmp_path / "rows.npy").view(np.ndarray)
    gc.collect()
    before = mapped_bytes()
    assert int(view[::512].sum()) > 0 and mapped_bytes() > before + 50 * MIB
    assert Residency(before).trim() and mapped_bytes() < before + 10 * MIB


def test_writable_mappings_are_not_released(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros(4 * MIB, np.int64))
    own = np.load(tmp_path / "rows.npy", mmap_mode="c")
    own[:] = 7
    assert Residency(0).trim()
    assert (own == 7).all()


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (5000, 3)])
def test_arrays_of_any_size_are_mapped(tmp_path, shape):
    rows = np.arange(np.prod(shape), dtype=np.float16).reshape(shape)
    np.save(tmp_path / "rows.npy", rows)
    mapped = map_array(tmp_path / "rows.npy")
    assert Residency(0).trim()
    np.testing.assert_array_equal(mapped, rows)


def test_a_mapping_that_nobody_holds_is_not_released(tmp_path):
    """Another thread may unmap it at any moment, and its address be that of other memory then."""
    np.save(tmp_path / "rows.npy", np.arange(8 * MIB, dtype=np.int64))
    held = map_array(tmp_path / "rows.npy")
    passing = np.load(tmp_path / "rows.npy", mmap_mode="r")
    before = mapped_bytes()
    assert held[-1] == passing[-1] and int(passing.sum()) > 0
    assert Residency(0).trim()
    assert mapped_bytes() > before + 50 * MIB
