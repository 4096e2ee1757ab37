"""Rivals that compile themselves first: UMAP with HDBSCAN, and EVoC if it is installed."""

import json

import pytest

from cpp_pipe.pipeline.comparison.rivals import RIVALS

from ..cli import succeed
from .world import make_runs

COMPILED = [name for name, rival in RIVALS.items() if rival.compiles and rival.is_installed]


@pytest.mark.slow
@pytest.mark.umap
@pytest.mark.skipif(not COMPILED, reason="neither UMAP nor EVoC is installed")
def test_compiled_rivals_find_well_separated_groups(tmp_path):
    store = make_runs(tmp_path)
    done = succeed(store, "compare", "all", "--rivals", "--json")
    groups = {group["label"]: group for group in json.loads(done.out)["groups"]}
    for name in COMPILED:
        assert groups[name]["acc"]["mean"] > 0.9
        assert f"{name} compiles itself first" in done.err
