"""Facts that somebody made up in the manifests of a whole store: no reader gives a traceback."""

import json
import random
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cpp_pipe import Run
from cpp_pipe.store import Store

from ..store.stores import rewrite
from .cli import call
from .serve.server import make_run, serve
from .whole_store import copy_of

READERS: Mapping[str, tuple[str, ...]] = {
    "status": ("status",),
    "search": ("search", "--key", "KEY", "--json"),
    "report": ("report", "--no-pictures", "--out", "OUT.html"),
    "export": ("export", "parquet", "--out", "OUT.parquet"),
    "clusters": ("clusters", "--json"),
    "lineage": ("lineage", "captions"),
    "skipped": ("skipped",),
    "verify": ("verify",),
}
"""KEY and OUT are replaced."""

FIRST_ANSWERS = (
    "/api/run", "/api/state", "/api/clusters", "/api/clusters/0", "/api/images/0", "/api/map",
    "/api/map/points", "/api/tree", "/api/edits",
)  # fmt: skip

VALUES = (..., None, {}, [], "", "x", -1, 0, 2**40, 1e300, True, [[1]], {"a": -1})


@pytest.fixture(scope="module")
def template(tmp_path_factory, digit_shards) -> Path:
    """A store with everything that the page can show."""
    folder = tmp_path_factory.mktemp("facts")
    return make_run(folder / "artifacts", digit_shards)


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


def read_by(
    reader: str,
    store: Path,
    key: str,
    readers: Mapping[str, tuple[str, ...]] = READERS,
    *,
    must_work: bool = False,
) -> str:
    """What is wrong with how a reader takes a store; empty where it answers or says why not."""
    out = str(store.parent / "out")
    words = [word.replace("KEY", key).replace("OUT", out) for word in readers[reader]]
    try:
        done = call(store, *words)
    except Exception as error:  # noqa: BLE001
        return "".join(traceback.format_exception(error)[-3:])
    lines = [line for line in done.err.splitlines() if line.startswith("cpp-pipe: ")]
    is_named = done.code == 2 and len(lines) == 1 and "Traceback" not in done.err
    if must_work:
        return "" if done.code == 0 else done.err
    return "" if done.code == 0 or is_named or (reader, done.code) == ("verify", 1) else done.err


def answers_of(store: Path) -> str:
    """What is wrong with the first answers of a server."""
    try:
        with serve(store) as server:
            answers = {path: server.get(path) for path in FIRST_ANSWERS}
    except Exception as error:  # noqa: BLE001
        is_named = type(error).__module__.startswith("cpp_pipe.")
        return "" if is_named else "".join(traceback.format_exception(error)[-3:])
    wrong = {path: answer.text for path, answer in answers.items() if answer.status_code == 500}
    return str(wrong) if wrong else ""


@pytest.mark.parametrize(
    "count", [pytest.param(40, id="some"), pytest.param(120, id="many", marks=pytest.mark.slow)]
)
def test_no_reader_fails_over_a_fact_that_somebody_made_up(template, tmp_path, count):
    key = Run.open(template).artifact("embeddings").column("key")[0]
    known = cases(template)
    assert len(known) > 150
    draw, wrong = random.Random(count), []
    for number in range(count):
        (name, place), new = draw.choice(known), draw.choice(VALUES)
        store = copy_of(template, tmp_path / str(number))
        content = (store / name).read_bytes()
        (store / name).unlink()  # it is a link to the template's
        (store / name).write_bytes(content)
        rewrite(store / name, lambda value, place=place, new=new: put(value, place, new))
        for reader in READERS if number % 4 else ():
            wrong += [(name, place, new, reader, said) for said in [read_by(reader, store, key)]
                      if said]  # fmt: skip
        said = answers_of(store) if not number % 4 else ""
        wrong += [(name, place, new, "serve", said)] if said else []
    assert wrong == []


def test_readers_work_without_made_up_facts(template, tmp_path):
    """Else the test above would find nothing."""
    key = Run.open(template).artifact("embeddings").column("key")[0]
    store = copy_of(template, tmp_path)
    for reader in READERS:
        assert read_by(reader, store, key, must_work=True) == ""
    with serve(store) as server:
        for path in FIRST_ANSWERS:
            assert server.get(path).status_code == 200, path
