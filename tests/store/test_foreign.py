"""A store that somebody else wrote is input: what its files say is checked before it is used."""

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpp_pipe.store import Artifact, ConfigError, Store, StoreError
from cpp_pipe.store.kinds import FEATURES
from cpp_pipe.store.parsing import is_plain_name
from cpp_pipe.store.upkeep import collect, find_garbage, verify

from .stores import publish, recipe, write_features

PATHS = ["../../x", "/etc/passwd", "a/b", "..", ".", "", "a\0b", "x/../../y"]
WRONG = [None, 5, 1.5, True, [], {}, "no digest", "g" * 64, "0" * 63]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def change(path: Path, *keys: Any, value: Any) -> None:
    """Puts a value at a place of a JSON file; a value `...` removes what stands there."""
    content = json.loads(path.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    if value is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    path.write_text(json.dumps(content))


def places(value: Any, keys: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of keys to each value of a JSON document, the document itself left out."""
    if not isinstance(value, dict | list):
        return []
    below = value.items() if isinstance(value, dict) else enumerate(value)
    return [one for key, inner in below for one in ((*keys, key), *places(inner, (*keys, key)))]


@pytest.fixture
def artifact(tmp_path) -> Artifact:
    """A published artifact in a store of its own."""
    return publish(Store(tmp_path / "store"))


@pytest.mark.parametrize("name", PATHS)
def test_a_file_name_with_a_path_is_refused(artifact, name):
    change(artifact.folder / "manifest.json", "parts", 0, "files", "z", "name", value=name)
    with pytest.raises(StoreError, match=r"files\.z\.name must be a name without a path"):
        Artifact(artifact.folder).array("a-00", "z")
    change(artifact.folder / "parts" / "a-00.part.json", "files", "z", "name", value=name)
    with pytest.raises(StoreError, match="is damaged"):
        Store(artifact.folder.parent.parent).draft(recipe())


@pytest.mark.parametrize("name", PATHS)
def test_a_part_name_with_a_path_is_refused(artifact, name):
    change(artifact.folder / "manifest.json", "parts", 0, "name", value=name)
    with pytest.raises(StoreError, match="is damaged"):
        _ = Artifact(artifact.folder).manifest


def test_plain_names_are_those_without_a_path():
    assert not any(map(is_plain_name, PATHS))
    assert all(map(is_plain_name, ["a-00.z.npy", "..a", "a b", "Ärger", "-rf", "a\nb"]))


DAMAGED: list[tuple[tuple[Any, ...], Any]] = [
    (keys, value)
    for keys in [
        ("content",),
        ("inputs",),
        ("version",),
        ("parts", 0, "files", "z"),
        ("parts", 0, "recipe"),
        ("parts", 0, "rows"),
    ]
    for value in (*WRONG, ...)
    # There are no inputs, and only the files show that there are 5 rows, not 3.
    if (keys[-1], value) not in [("inputs", {}), ("rows", 5)]
]


@pytest.mark.parametrize("keys, value", DAMAGED)
def test_a_damaged_manifest_is_one_clear_error_and_a_fault(artifact, keys, value):
    change(artifact.folder / "manifest.json", *keys, value=value)
    with pytest.raises(StoreError, match=r"is damaged|is that of"):
        _ = Artifact(artifact.folder).manifest
    assert [fault.path.name for fault in verify(Artifact(artifact.folder))] == ["manifest.json"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
@pytest.mark.parametrize(
    "name", ["manifest.json", "parts/a-00.part.json", "../../runs/me/run.json"]
)
def test_any_change_of_a_small_file_is_read_or_refused_as_damage(artifact, name, data):
    store = Store(artifact.folder.parent.parent)
    store.runs.update("me", versions={"features": artifact.version}, sources={"a": "b"})
    path = artifact.folder / name
    before = path.read_text()
    outside = sorted(store.root.parent.iterdir())
    try:
        keys = data.draw(st.sampled_from(places(json.loads(before))))
        change(path, *keys, value=data.draw(json_values | st.sampled_from(PATHS)))
        for read in (
            lambda: find_garbage(store),
            lambda: list(verify(Artifact(artifact.folder))),
            lambda: Artifact(artifact.folder).array("a-00", "z"),
            lambda: store.draft(recipe()),
        ):
            with contextlib.suppress(StoreError):
                read()
    finally:
        path.write_text(before)
    assert sorted(store.root.parent.iterdir()) == outside


def test_a_manifest_in_another_folder_is_refused(artifact):
    elsewhere = artifact.folder.with_name("0" * 16)
    artifact.folder.rename(elsewhere)
    with pytest.raises(StoreError, match="is that of features"):
        _ = Artifact(elsewhere).manifest


# Links.


@pytest.fixture
def outside(tmp_path) -> Path:
    """A folder that is none of the store's business, with all that a version holds."""
    folder = tmp_path / "outside"
    (folder / "parts").mkdir(parents=True)
    for name in ("manifest.json", "precious.txt", "parts/a.part.json", "parts/.tmp-a"):
        (folder / name).write_text("{}")
    return folder


def content(folder: Path) -> list[tuple[str, bytes]]:
    """Every file in a folder with its bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [(str(path.relative_to(folder)), path.read_bytes()) for path in files]


@pytest.mark.parametrize("place", ["features/{}", "features/{}/parts", "features/{}/.tmp-x"])
def test_gc_removes_a_link_and_never_enters_it(artifact, outside, place):
    store, before = Store(artifact.folder.parent.parent), content(outside)
    store.runs.update("me", versions={})
    link = store.root / place.format("0123456789abcdef")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    collect(store)
    assert not link.is_symlink()
    assert content(outside) == before
    assert find_garbage(store) == []


@pytest.mark.parametrize("place", ["features", "features/{}", "features/{}/parts",
                                   "features/{}/locks", "runs/me"])  # fmt: skip
def test_nothing_is_written_through_a_link(tmp_path, outside, place):
    store, made = Store(tmp_path / "store"), recipe()
    with store.writing():
        pass
    link = store.root / place.format(made.version)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    before = content(outside)
    with pytest.raises(StoreError, match="is a link"):  # noqa: PT012
        store.runs.update("me", versions={"features": made.version})
        draft = store.draft(made)
        for name in made.parts:
            with draft.claim(name, wait=True):
                draft.make_part(name, write_features)
        draft.publish({}, {})
    assert content(outside) == before
    assert [path for path in outside.rglob("*") if "a-00" in path.name] == []


def test_a_lock_that_is_a_link_creates_nothing_elsewhere(tmp_path):
    store = Store(tmp_path / "store")
    with store.writing():
        pass
    (store.root / "lock").unlink()
    (store.root / "lock").symlink_to(tmp_path / "created")
    with pytest.raises(StoreError, match="a link stands in the way"), store.writing():
        pass
    assert not os.path.lexists(tmp_path / "created")


def test_the_root_of_a_store_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = Store(tmp_path / "store")
    with store.writing():
        made = publish(store)
    assert store.find(FEATURES, made.version) is not None
    assert list(verify(made)) == []


# Damage.


@pytest.mark.parametrize("role", ["z", "c"])
@pytest.mark.parametrize("damage", ["cut", "grown", "flipped", "gone"])
def test_a_damaged_file_is_named_when_it_is_read(artifact, role, damage):
    path = artifact.path("a-00", role)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    changes: dict[str, Any] = {
        "cut": lambda: path.write_bytes(content[:-4]),
        "grown": lambda: path.write_bytes(content + b"\0"),
        "flipped": lambda: path.write_bytes(content),
        "gone": path.unlink,
    }
    changes[damage]()
    with pytest.raises(StoreError, match=re.escape(str(path))) as raised:
        artifact.array("a-00", role)
    assert "run the same command again" in str(raised.value)


def test_a_file_is_digested_once_unless_it_was_touched(artifact):
    path = artifact.path("b-01", "z")
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    artifact.array("b-01", "z")
    path.touch()
    with pytest.raises(StoreError, match="other bytes"):
        artifact.array("b-01", "z")


def test_a_limit_leaves_mapped_files_to_their_size_and_never_those_read_whole(
    artifact, monkeypatch
):
    monkeypatch.setenv("CPP_PIPE_CHECK_MIB", "0")
    path = artifact.path("c-02", "z")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    artifact.array("c-02", "z")
    with pytest.raises(StoreError, match="other bytes"):
        artifact.path("c-02", "z", is_read_whole=True)


@pytest.mark.parametrize("value", ["-1", "nan", "many"])
def test_a_limit_that_is_no_number_is_refused(artifact, monkeypatch, value):
    monkeypatch.setenv("CPP_PIPE_CHECK_MIB", value)
    with pytest.raises(ConfigError, match="CPP_PIPE_CHECK_MIB must be"):
        artifact.array("a-00", "z")


def test_what_was_damaged_can_be_made_again_once_its_folder_is_gone(artifact):
    store = Store(artifact.folder.parent.parent)
    content = artifact.content
    artifact.path("a-00", "z").unlink()
    collect(store)
    assert publish(store).content == content


@pytest.mark.parametrize("damage", ["a file is gone", "a file is cut", "a small file is no JSON"])
def test_a_damaged_old_version_does_not_stop_a_new_one(artifact, damage):
    store = Store(artifact.folder.parent.parent)
    path = artifact.path("a-00", "z")
    if damage == "a file is gone":
        path.unlink()
    elif damage == "a file is cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        (artifact.folder / "parts" / "a-00.part.json").write_text("{")
    wider = publish(store, recipe(parts=("a-00", "b-01", "c-02", "d-03")))
    assert [fault.path for fault in verify(wider)] == []
    assert wider.rows == 12
