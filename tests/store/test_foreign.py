"""A store that somebody else wrote is input: its files are checked before they are used."""

import contextlib
import io
import json
import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpp_pipe.store import Artifact, ConfigError, Store, StoreError
from cpp_pipe.store.digest import digest_file, digest_json
from cpp_pipe.store.integrity import require_declared
from cpp_pipe.store.kinds import FEATURES
from cpp_pipe.store.parsing import is_plain_name
from cpp_pipe.store.specs import Tensors
from cpp_pipe.store.upkeep import collect, find_garbage, verify

from .stores import (
    assignments_table,
    json_values,
    publish,
    recipe,
    write_assignments,
    write_features,
)

PATHS = ["../../x", "/etc/passwd", "a/b", "..", ".", "", "a\0b", "x/../../y"]
WRONG = [None, 5, 1.5, True, [], {}, "no digest", "g" * 64, "0" * 63]


def change(path: Path, *keys: Any, value: Any) -> None:
    """Sets a value of a JSON file; a value `...` removes it."""
    content = json.loads(path.read_text())
    if keys[0] != "digest":
        content.pop("digest", None)  # whoever forges a file would also forge its digest
    place = content
    for key in keys[:-1]:
        place = place[key]
    if value is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    path.write_text(json.dumps(content))


def places(value: Any, keys: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys that lead to each value inside a JSON document."""
    if not isinstance(value, dict | list):
        return []
    below = value.items() if isinstance(value, dict) else enumerate(value)
    return [path for key, inner in below for path in ((*keys, key), *places(inner, (*keys, key)))]


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
def test_a_damaged_manifest_is_an_error_and_a_fault(artifact, keys, value):
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
        change(path, *keys, value=data.draw(json_values() | st.sampled_from(PATHS)))
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
    """A folder outside the store, with the files of an artifact and one that must stay."""
    folder = tmp_path / "outside"
    (folder / "parts").mkdir(parents=True)
    for name in ("manifest.json", "precious.txt", "parts/a.part.json", "parts/.tmp-a"):
        (folder / name).write_text("{}")
    return folder


def content(folder: Path) -> list[tuple[str, bytes]]:
    """Every file below a folder with its bytes."""
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


def test_over_the_limit_only_files_read_whole_are_digested(artifact, monkeypatch):
    monkeypatch.setenv("CPP_PIPE_CHECK_MIB", "0")
    path = artifact.path("c-02", "z")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    artifact.array("c-02", "z")
    with pytest.raises(StoreError, match="other bytes"):
        artifact.path("c-02", "z", is_read_whole=True)


@pytest.mark.parametrize("value", ["-1", "nan", "many"])
def test_an_invalid_limit_is_refused(artifact, monkeypatch, value):
    monkeypatch.setenv("CPP_PIPE_CHECK_MIB", value)
    with pytest.raises(ConfigError, match="CPP_PIPE_CHECK_MIB must be"):
        artifact.array("a-00", "z")


def test_a_damaged_artifact_can_be_made_again_after_gc(artifact):
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


# Forged files whose digests fit, because the manifest is forged too.


def forge(artifact: Artifact, role: str, content: bytes) -> Path:
    """Replaces a file of the first part, and its digests in all records."""
    path = artifact.place(artifact.parts[0].name, role)
    assert isinstance(path, Path)
    path.write_bytes(content)
    record = {"name": path.name, "sha256": digest_file(path), "bytes": len(content)}
    manifest = json.loads((artifact.folder / "manifest.json").read_text())
    del manifest["digest"]
    part = manifest["parts"][0]
    part["files"][role] = record
    part["content"] = digest_json({name: file["sha256"] for name, file in part["files"].items()})
    manifest["content"] = digest_json({each["name"]: each["content"] for each in manifest["parts"]})
    (artifact.folder / "manifest.json").write_text(json.dumps(manifest))
    (artifact.folder / "parts" / f"{part['name']}.part.json").write_text(json.dumps(part))
    return path


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def archive_of(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, z=array)
    return file.getvalue()


def parquet(**columns: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


GOOD = saved(np.ones((3, 2), np.float16))
ARRAYS = {
    "empty": b"",
    "text": b"no array at all",
    "half a header": GOOD[:40],
    "half the rows": GOOD[:-6],
    "objects": saved(np.array([[{}, {}]] * 3, object)),
    "an archive": archive_of(np.ones((3, 2), np.float16)),
    "a pickle that runs code": b"\x80\x04cposix\nsystem\n(S'touch owned'\ntR.",
    "other rows": saved(np.ones((4, 2), np.float16)),
    "another type": saved(np.ones((3, 2), np.float64)),
    "another shape": saved(np.ones(3, np.float16)),
    "more rows than any disk holds": GOOD.replace(b"(3, 2)", b"(3000000000000, 2)".ljust(6))[:200],
    "code in its header": GOOD.replace(b"(3, 2)", b"exit()"),
    "a negative shape": GOOD.replace(b"(3, 2)", b"(-3,2)"),
}


@pytest.mark.parametrize("content", ARRAYS)
def test_an_array_with_a_forged_digest_must_match_its_declaration(artifact, content):
    path = forge(artifact, "z", ARRAYS[content])
    assert Artifact(artifact.folder).content != artifact.content
    with pytest.raises(StoreError, match=re.escape(path.name)) as raised:
        Artifact(artifact.folder).array(artifact.parts[0].name, "z")
    assert "restore it, or remove" in str(raised.value)


TABLES = {
    "empty": b"",
    "text": b"no table at all, but long enough for a footer",
    "only its mark": b"PAR1PAR1",
    "half": parquet(key=["a"] * 3)[:60],
    "other columns": parquet(key=["a"] * 3),
    "another type": parquet(
        key=["a"] * 3, cluster=[0.5] * 3, confidence=[0.5] * 3, novelty=[0.5] * 3
    ),
    "a footer of 4 GiB": b"PAR1" + b"x" * 40 + b"\xff\xff\xff\xffPAR1",
}


@pytest.mark.parametrize("content", TABLES)
def test_a_table_with_a_forged_digest_must_match_its_declaration(tmp_path, content):
    store = Store(tmp_path / "store")
    draft = store.draft(recipe(kind="assignments", parts=("a-00",)))
    draft.make_part("a-00", lambda scratch: write_assignments(scratch, assignments_table()))
    artifact = draft.publish({}, {})
    path = forge(artifact, "rows", TABLES[content])
    for read in (lambda a: a.table("a-00"), lambda a: a.column("cluster")):
        with pytest.raises(StoreError, match=re.escape(path.name)):
            read(Artifact(artifact.folder))


def header(value: Any, length: int | None = None) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(64)


TENSORS = {
    "empty": b"",
    "text": b"no tensors at all",
    "a header of 8 EiB": header({}, length=2**63),
    "a header longer than the file": header({}, length=10_000),
    "a header of no JSON": header(b"[[[["),
    "no tensors": header({}),
    "outside of the file": header(
        {"values": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ),
    "a negative shape": header({"values": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}),
    **{
        f"numbers of {name}": header(
            {"values": {"dtype": name, "shape": [64 // size], "data_offsets": [0, 64]}}
        )
        for name, size in (("BF16", 2), ("F8_E4M3", 1), ("C64", 8))
    },
}


@pytest.mark.parametrize("content", TENSORS)
def test_tensors_with_a_hostile_header_are_refused(tmp_path, content):
    path = tmp_path / "version" / "parts" / "spectrum.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(TENSORS[content])
    with pytest.raises(StoreError, match=re.escape(path.name)):
        require_declared(path, Tensors(names=("values",)), rows=1)


BOMBS = {
    "nested": b"[" * 500_000,
    "nested objects": b'{"a":' * 100_000,
    "a huge number": b'{"format": ' + b"9" * 100_000 + b"}",
    "NaN": b'{"format": NaN}',
    "infinity": b'{"format": 1e999}',
    "a lone surrogate": b'{"format": "\\ud800"}',
    "no UTF-8": b'{"format": "\xff"}',
    "UTF-16": '{"format": 1}'.encode("utf-16"),
    "zeros": bytes(10_000),
}


@pytest.mark.parametrize("content", BOMBS)
@pytest.mark.parametrize("name", ["manifest.json", "parts/a-00.part.json", "../../runs/me/run.json",
                                  "../../store.json"])  # fmt: skip
def test_hostile_json_is_a_store_error(artifact, name, content):
    store = Store(artifact.folder.parent.parent)
    store.runs.update("me", versions={"features": artifact.version})
    with store.writing():
        pass
    (artifact.folder / name).write_bytes(BOMBS[content])
    with pytest.raises(StoreError, match=re.escape(name.rpartition("/")[2])):  # noqa: PT012
        opened = Store(store.root)
        opened.runs.read("me")
        _ = Artifact(artifact.folder).manifest
        opened.draft(recipe())


@pytest.mark.parametrize("name", ["\ud800", "x" * 5000, "con\udcff"])
def test_a_name_that_no_disk_accepts_is_a_store_error(artifact, name):
    change(artifact.folder / "manifest.json", "parts", 0, "files", "z", "name", value=name)
    with pytest.raises(StoreError):
        Artifact(artifact.folder).array("a-00", "z")


def test_a_file_behind_a_hard_link_is_never_written(artifact, tmp_path):
    store, precious = Store(artifact.folder.parent.parent), tmp_path / "precious"
    path = artifact.place("a-00", "z")
    assert isinstance(path, Path)
    precious.write_bytes(path.read_bytes())
    path.unlink()
    os.link(precious, path)
    before = precious.read_bytes()
    assert artifact.array("a-00", "z").shape == (3, 2)
    (artifact.folder / "manifest.json").unlink()
    publish(store)
    store.runs.update("me", versions={})
    collect(store)
    assert precious.read_bytes() == before
