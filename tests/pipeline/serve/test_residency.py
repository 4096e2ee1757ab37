"""Mapped files stay within a limit of memory, and read the same after they were released."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.finder import Finder
from cpp_pipe.pipeline.serve.residency import Residency, mapped_bytes
from cpp_pipe.stages.rows.part_rows import join_features
from cpp_pipe.store import Product, Store

from ...store.stores import model_of, recipe

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


class _Watched(Residency):
    """Memory that also knows the most of its files that it was asked to release."""

    most = 0

    def trim(self) -> bool:
        self.most = max(self.most, _resident_bytes())
        return super().trim()


def _resident_bytes() -> int:
    """Of mapped features, those in memory."""
    held, is_feature = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(maxsplit=1)[0]:
            is_feature = line.endswith((".z.npy", ".c.npy"))
        elif is_feature and line.startswith("Rss:"):
            held += 1024 * int(line.split()[1])
    return held


def test_reading_many_rows_maps_a_part_of_them_at_a_time(tmp_path):
    rows, size = 200_000, 64
    z = np.random.default_rng(0).standard_normal((rows, size)).astype(np.float16)
    store = Store(tmp_path)
    draft = store.draft(recipe(parts=("all",)))

    def write(scratch):
        np.save(scratch.path("z"), z)
        np.save(scratch.path("c"), z[::-1])
        return Product(rows=rows, shared={"feature_size": size, "model": model_of(size)})

    draft.make_part("all", write)
    features = draft.publish({}, {})
    store.runs.update("one", versions={"features": features.version})

    wanted = np.random.default_rng(1).integers(0, rows, 12_000)
    residency = _Watched(0)
    found = Finder(Run.open(tmp_path, "one"), residency).read(wanted, "features")
    assert (found == join_features(z[wanted], z[::-1][wanted])).all()
    assert 0 < residency.most < z.nbytes, "at most half of both files"
    assert _resident_bytes() == 0
