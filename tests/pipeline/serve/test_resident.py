"""What is mapped stays within a bound, and reads the same after it was let go of."""

import sys

import numpy as np
import pytest

from cpp_pipe.pipeline.serve.resident import Resident, mapped_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is counted so on Linux")

MIB = 2**20


def test_what_is_mapped_is_let_go_of_over_the_bound_and_is_still_there(tmp_path):
    (tmp_path / "inside").mkdir()
    np.save(tmp_path / "inside" / "rows.npy", np.arange(8 * MIB, dtype=np.int64))
    mapped = np.load(tmp_path / "inside" / "rows.npy", mmap_mode="r")
    before = mapped_bytes()
    assert int(mapped.sum()) == 8 * MIB * (8 * MIB - 1) // 2
    assert mapped_bytes() > before + 50 * MIB

    other = Resident(before)
    other.add(tmp_path / "elsewhere")
    assert other.bound() and mapped_bytes() > before + 50 * MIB, "it is none of its files"

    resident = Resident(before + 200 * MIB)
    resident.add(tmp_path)
    assert not resident.bound()
    resident = Resident(before)
    resident.add(tmp_path)
    assert resident.bound() and mapped_bytes() < before + 10 * MIB
    assert int(mapped[-1]) == 8 * MIB - 1
    assert int(mapped.sum()) == 8 * MIB * (8 * MIB - 1) // 2


def test_what_can_be_written_is_left_alone(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros(4 * MIB, np.int64))
    own = np.load(tmp_path / "rows.npy", mmap_mode="c")
    own[:] = 7
    resident = Resident(0)
    resident.add(tmp_path)
    assert resident.bound()
    assert (own == 7).all()
