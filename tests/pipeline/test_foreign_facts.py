"""Forged facts in the manifests of a whole store: no reader gives a traceback."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpp_pipe import Run
from cpp_pipe.store import Store

from ..store.stores import rewrite
from .readers import FIRST_ANSWERS, READERS, answers_of, read_by
from .serve.server import serve
from .whole_store import copy_of, unlinked

VALUES = (..., None, {}, [], "", "x", -1, 0, 2**40, 1e300, True, [[1]], {"a": -1})


def facts_of(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each value in a JSON value."""
    if not isinstance(value, dict | list):
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*place, key)
        yield from facts_of(inner, (*place, key))


def cases(store: Path) -> list[tuple[str, tuple[Any, ...]]]:
    """The manifest of every kind in use with each fact, setting and input that it holds."""
    found = []
    for slot, version in Store(store).runs.read("default").versions.items():
        name = f"{slot.partition('/')[0]}/{version}/manifest.json"
        manifest = json.loads((store / name).read_text())
        for field in ("facts", "config", "inputs", "made_by"):
            found += [(name, (field, *place)) for place in facts_of(manifest[field])]
        part = ("parts", 0, "facts")
        found += [(name, (*part, *place)) for place in facts_of(manifest["parts"][0]["facts"])]
    return found


def put(manifest: Any, place: tuple[Any, ...], new: Any) -> None:
    for key in place[:-1]:
        manifest = manifest[key]
    if new is ...:
        del manifest[place[-1]]
    else:
        manifest[place[-1]] = new


@pytest.mark.parametrize(
    "count", [pytest.param(40, id="some"), pytest.param(120, id="many", marks=pytest.mark.slow)]
)
def test_no_reader_crashes_over_a_forged_fact(page_store, tmp_path, count):
    key = Run.open(page_store).artifact("embeddings").column("key")[0]
    known = cases(page_store)
    assert len(known) > 150
    draw, wrong = random.Random(count), []
    for number in range(count):
        (name, place), new = draw.choice(known), draw.choice(VALUES)
        store = copy_of(page_store, tmp_path / str(number))
        rewrite(unlinked(store / name), lambda value, place=place, new=new: put(value, place, new))
        for reader in READERS if number % 4 else ():
            error = read_by(reader, store, key)
            wrong += [(name, place, new, reader, error)] if error else []
        error = answers_of(store) if not number % 4 else ""
        wrong += [(name, place, new, "serve", error)] if error else []
    assert wrong == []


def test_readers_work_without_forged_facts(page_store, tmp_path):
    """Otherwise the test above could not fail."""
    key = Run.open(page_store).artifact("embeddings").column("key")[0]
    store = copy_of(page_store, tmp_path)
    for reader in READERS:
        assert read_by(reader, store, key, must_work=True) == ""
    with serve(store) as server:
        for path in FIRST_ANSWERS:
            assert server.get(path).status_code == 200, path
