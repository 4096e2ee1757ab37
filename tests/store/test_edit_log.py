"""A log of decisions that lost its end is refused, and gets no gap."""

import pytest

from cpp_pipe.store import Store, StoreError
from cpp_pipe.store.backend import backend_of


def entry(value: str) -> dict[str, str]:
    return {"op": "name", "by": "me", "value": value}


def test_a_log_that_lost_an_entry_takes_no_new_one(root):
    store = Store(root)
    log = store.runs.edits("mine")
    log.append(entry("cats"), seen=0)
    log.append(entry("dogs"), seen=1)
    assert len(log.read()) == 2
    path = store.root / "runs" / "mine" / "edits" / "00000002.json"
    backend_of(path).remove(path)
    with pytest.raises(StoreError, match=r"00000002\.json is missing: restore it"):
        log.read()
    with pytest.raises(StoreError, match=r"00000002\.json is missing: restore it"):
        log.append(entry("birds"), seen=2)
    fresh = store.runs.edits("mine")
    assert [read["value"] for read in fresh.read()] == ["cats"]
    assert fresh.append(entry("birds"), seen=1) == 2
