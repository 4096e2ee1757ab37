"""A damaged small file reads as before or is an error, because it holds its own digest.

Also: invalid facts are refused when a manifest is read.
"""

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.store import Artifact, Store, StoreError
from cpp_pipe.store.draft import Draft
from cpp_pipe.store.facts import Fact
from cpp_pipe.store.kind_facts import KIND_FACTS
from cpp_pipe.store.kinds import KINDS
from cpp_pipe.store.manifest import Manifest
from cpp_pipe.store.upkeep import verify

from .old_store import RECORDED
from .stores import json_values, parts_folder, publish, recipe, rewrite

OLD: list[dict[str, Any]] = json.loads(RECORDED.read_text())["artifacts"]


@pytest.fixture
def store(tmp_path) -> Store:
    """A store with one small file of each sort."""
    made = Store(tmp_path / "store")
    with made.writing():
        artifact = publish(made)
    made.runs.update(
        "me",
        settings={"train": {"gamma": 1.5}},
        versions={"features": artifact.version},
        sources={"a-00": "/somewhere/a.tar"},
        stamps={"a-00": "5:6"},
    )
    made.runs.edits("me").append({"op": "name", "by": "me", "value": "cats"}, seen=0)
    return made


def read(store: Store, name: str) -> Any:
    """The value that the program reads from a small file."""
    if name == "store.json":
        return Store(store.root).exists
    if name == "run.json":
        return store.runs.read("me")
    if name == "00000001.json":
        entry = Store(store.root).runs.edits("me").read()[0]
        return {key: entry[key] for key in ("number", "op", "by", "value")}
    if name == "a-00.part.json":
        draft = store.draft(recipe())
        assert isinstance(draft, Draft)
        return draft.find_part("a-00")
    return Artifact(small_files(store)[1].parent).manifest


def read_all(store: Store) -> dict[str, Any]:
    """The value that the program reads from each small file."""
    return {path.name: read(store, path.name) for path in small_files(store)}


def small_files(store: Store) -> list[Path]:
    root, version = Path(str(store.root)), recipe().version
    return [
        root / "store.json",
        root / "features" / version / "manifest.json",
        root / "features" / version / "parts" / "a-00.part.json",
        root / "runs" / "me" / "run.json",
        root / "runs" / "me" / "edits" / "00000001.json",
    ]


def flipped(content: bytes) -> Iterator[bytes]:
    """Copies with one flipped bit, one for each byte."""
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        yield bytes(changed)


def cut(content: bytes) -> Iterator[bytes]:
    """Every proper beginning and every proper end."""
    for place in range(len(content)):
        yield content[:place]
        yield content[place + 1 :]


def blanked(content: bytes) -> Iterator[bytes]:
    """Copies with a region of spaces or zeros: some are still valid JSON."""
    for seed in range(500):
        draw = random.Random(seed)
        start = draw.randrange(len(content))
        length = draw.randint(1, len(content) - start)
        yield content[:start] + draw.choice((b" ", b"\0")) * length + content[start + length :]


def without_lines(content: bytes) -> Iterator[bytes]:
    """Copies in which one or several lines in a row are missing or repeated."""
    lines = content.splitlines(keepends=True)
    for first in range(len(lines)):
        for last in range(first + 1, min(first + 12, len(lines)) + 1):
            yield b"".join([*lines[:first], *lines[last:]])
            yield b"".join([*lines[:last], *lines[first:]])


def other_digits(content: bytes) -> Iterator[bytes]:
    """Copies with one other digit: most numbers, versions and names stay valid."""
    for place, byte in enumerate(content):
        if chr(byte).isdigit():
            yield content[:place] + str((byte - 47) % 10).encode() + content[place + 1 :]


DAMAGES: tuple[Callable[[bytes], Iterator[bytes]], ...] = (
    flipped, cut, blanked, without_lines, other_digits,
)  # fmt: skip


@pytest.mark.parametrize(
    "most", [pytest.param(40, id="some"), pytest.param(10**6, id="all", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("number", range(5))
def test_a_damaged_small_file_is_read_as_it_was_or_refused(store, number, most):
    path = small_files(store)[number]
    before, content = read(store, path.name), path.read_bytes()
    wrong, errors = [], []
    draw = random.Random(number)
    for changed in (each for damage in DAMAGES for each in some_of(damage(content), most, draw)):
        if changed == content:
            continue
        path.write_bytes(changed)
        try:
            if read(store, path.name) != before:
                wrong.append(changed)
        except StoreError as error:
            errors.append(str(error))
    path.write_bytes(content)
    assert wrong == []
    assert errors and all(path.name in error for error in errors)
    assert read(store, path.name) == before


def some_of(damaged: Iterator[bytes], most: int, draw: random.Random) -> list[bytes]:
    """All, or `most` of them drawn at random."""
    every = list(damaged)
    return draw.sample(every, min(most, len(every)))


def test_every_small_file_begins_with_its_digest(store):
    for path in small_files(store):
        assert next(iter(json.loads(path.read_text()))) == "digest"
    written = set(Path(str(store.root)).rglob("*.json"))
    parts = {path for path in written if path.name.endswith(".part.json")}
    assert written - parts == {*small_files(store)} - parts


def test_files_of_earlier_versions_have_no_digest_and_are_read(store):
    before = read_all(store)
    for path in small_files(store):
        rewrite(path, lambda value: None)
        assert b"digest" not in path.read_bytes()
    assert read_all(store) == before
    assert [fault for artifact in store.artifacts() for fault in verify(artifact)] == []


def test_the_error_for_a_file_changed_by_hand_says_what_to_do(store):
    path = small_files(store)[3]
    path.write_text(path.read_text().replace("/somewhere/", "/elsewhere/"))
    with pytest.raises(StoreError, match=r'changed it yourself, remove its line "digest"'):
        store.runs.read("me")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if '"digest"' not in line))
    assert store.runs.read("me").sources == {"a-00": "/elsewhere/a.tar"}
    store.runs.update("me", stamps={"a-00": "7:8"})
    assert json.loads(path.read_text())["digest"]


def test_a_part_record_with_invalid_facts_is_refused(store):
    draft = store.draft(recipe())
    path = Path(str(parts_folder(store, draft))) / "a-00.part.json"
    for change in (
        lambda value: value.update(rows=-1),
        lambda value: value.update(facts=[]),
        lambda value: value.update(shared=None),
    ):
        before = path.read_bytes()
        rewrite(path, change)
        with pytest.raises(StoreError, match="is damaged"):
            draft.find_part("a-00")
        path.write_bytes(before)


# Facts.


def test_every_kind_declares_its_facts_and_no_kind_is_made_from_itself():
    assert set(KIND_FACTS) == set(KINDS)

    def depth(kind: str) -> int:
        return 1 + max(map(depth, KIND_FACTS[kind].made_from), default=0)

    assert max(map(depth, KINDS)) < len(KINDS)


def test_widths_are_declared_only_for_files_of_the_kind():
    for kind, declared in KIND_FACTS.items():
        assert set(declared.widths) <= set(KINDS[kind].files)


def declared_of(value: Mapping[str, Any]) -> list[tuple[tuple[Any, ...], Fact]]:
    """Each declared fact that a manifest holds: its place and its declaration."""
    declared = KIND_FACTS[value["kind"]]
    found = [
        *((("facts", name), fact) for name, fact in declared.facts.items()),
        *((("config", name), fact) for name, fact in declared.config.items()),
        *((("parts", 0, "facts", name), fact) for name, fact in declared.of_part.items()),
    ]
    for place, fact in tuple(found):
        found += [((*place, name), inner) for name, inner in fact.fields.items()]
    return [(place, fact) for place, fact in found if holds(value, place)]


def holds(value: Any, place: tuple[Any, ...]) -> bool:
    with contextlib.suppress(KeyError, TypeError):
        for key in place:
            value = value[key]
        return True
    return False


def changed(value: Mapping[str, Any], place: tuple[Any, ...], new: Any) -> Mapping[str, Any]:
    """A manifest with another value at a place; `...` removes it."""
    whole = json.loads(json.dumps(value))
    inner = whole
    for key in place[:-1]:
        inner = inner[key]
    if new is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = new
    return whole


PLACES = [(value, place, fact) for value in OLD for place, fact in declared_of(value)]


def parse(value: Mapping[str, Any]) -> Manifest:
    return Manifest.from_json({**value, "made_by": {}}, Path("manifest.json"))


def refusal(value: Mapping[str, Any]) -> str:
    """The error for an invalid manifest; empty for a valid one."""
    try:
        parse(value)
    except StoreError as error:
        return str(error)
    return ""


def test_recorded_manifests_match_their_declarations():
    assert len(PLACES) > 150
    for value in OLD:
        parse(value)


@pytest.mark.parametrize("new", [..., None, {}, [], "", "x", -1, 1.5, 10**30, True, [[1]]])
def test_a_fact_that_differs_from_its_declaration_is_refused(new):
    for value, place, fact in random.Random(0).sample(PLACES, 60):
        is_right = not fact.is_required if new is ... else fact.is_right(new)
        error = refusal(changed(value, place, new))
        where = (value["kind"], place, new, error)
        assert error or is_right, where
        # What exceeds another fact, or has fields of its own, may be refused for these.
        assert not error or not is_right or fact.at_most or fact.fields, where
        assert not error or "manifest.json is damaged: " in error, where


@settings(max_examples=40)
@given(st.data())
def test_a_manifest_with_any_facts_is_parsed_or_refused(data):
    value = data.draw(st.sampled_from(OLD))
    place = data.draw(st.sampled_from([place for place, _ in declared_of(value)]))
    new = data.draw(json_values())
    with contextlib.suppress(StoreError):
        parse(changed(value, place, new))


def test_an_input_of_an_impossible_kind_is_refused():
    heads = next(value for value in OLD if value["kind"] == "heads")
    wrong = {"kind": "index", "version": "0" * 16, "content": "0" * 64}
    for slot, used in (("index", wrong), ("embeddings", wrong), ("nonsense", wrong),
                       ("embeddings/a/b", {**wrong, "kind": "embeddings"})):  # fmt: skip
        with pytest.raises(StoreError, match="is damaged"):
            parse({**heads, "inputs": {slot: used}})


@pytest.mark.parametrize("date", ["", "yesterday", 5, None, "2026-99-99"])
def test_an_invalid_date_is_refused(date):
    with pytest.raises(StoreError, match="date"):
        Manifest.from_json({**OLD[0], "made_by": {"date": date}}, Path("manifest.json"))


def test_vectors_of_another_width_than_the_manifest_says_are_refused(store):
    (artifact,) = store.artifacts()
    rewrite(
        Path(str(artifact.folder / "manifest.json")),
        lambda value: value["facts"].update(feature_size=3),
    )
    with pytest.raises(StoreError, match="has 2 numbers in each row, its manifest says 3"):
        Artifact(artifact.folder).array("a-00", "z")
