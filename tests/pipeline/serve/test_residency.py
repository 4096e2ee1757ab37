"""Reading many rows of features keeps few of their mapped files in memory."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.finder import Finder
from cpp_pipe.stages.rows.part_rows import join_features
from cpp_pipe.store import Product, Store
from cpp_pipe.store.residency import Residency

from ...store.stores import model_of, recipe

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux counts memory in this way"
)


class _Watched(Residency):
    """Memory that also knows the most of its files that it was asked to release."""

    most = 0

    def trim(self) -> bool:
        self.most = max(self.most, _resident_bytes())
        return super().trim()


def _resident_bytes() -> int:
    """The bytes of mapped features in memory."""
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
