"""The store as a whole, on a disk and in a bucket: versions, formats, runs, verify, gc."""

import errno
import json
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.store import ConfigError, MissingError, Store, StoreError
from cpp_pipe.store.artifact import Artifact
from cpp_pipe.store.backend import backend_of
from cpp_pipe.store.digest import digest_json
from cpp_pipe.store.kinds import FEATURES
from cpp_pipe.store.manifest import Manifest, PartRecord
from cpp_pipe.store.paths import StorePath, is_in_bucket
from cpp_pipe.store.upkeep import collect, find_garbage, verify, verify_runs

from ..rights import file_modes_hold
from ..small_disk import no_file_may_grow_above
from .stores import (
    PARTS,
    assignments_table,
    json_values,
    publish,
    recipe,
    rewrite,
    write_assignments,
    write_features,
)

FINITE = json_values(are_finite=True)


@given(st.dictionaries(st.text(), FINITE, min_size=2, max_size=5), st.randoms())
def test_a_digest_ignores_the_order_of_keys(value, random):
    keys = list(value)
    random.shuffle(keys)
    assert digest_json(value) == digest_json({key: value[key] for key in keys})


@given(st.dictionaries(st.text(max_size=5), FINITE, max_size=3))
def test_a_version_ignores_the_order_of_settings_and_parts(config):
    forth = recipe(config={"gamma": 1.0, **config})
    back = recipe(
        config=dict(reversed({"gamma": 1.0, **config}.items())), parts=("c-02", "b-01", "a-00")
    )
    assert forth.version == back.version


@pytest.mark.parametrize("change", ["config", "revision", "stage", "source"])
def test_a_version_changes_with_whatever_changes_the_numbers(change):
    old = recipe()
    fields = {name: getattr(old, name) for name in old.__dataclass_fields__}
    changed = {
        "config": {"config": {"gamma": 1.5}},
        "revision": {"revision": 2},
        "stage": {"stage": "other"},
        "source": {"parts": {**old.parts, "a-00": {"shard": "other bytes"}}},
    }[change]
    assert type(old)(**{**fields, **changed}).version != old.version


def test_a_manifest_reads_back_as_it_was_written(root):
    artifact = publish(Store(root))
    manifest, path = artifact.manifest, artifact.folder / "manifest.json"
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json())), path) == manifest
    part, path = manifest.parts[0], artifact.folder / "parts" / "a-00.part.json"
    assert PartRecord.from_json(json.loads(json.dumps(part.to_json())), path) == part


def test_reading_an_empty_store_creates_nothing(root):
    store = Store(root)
    assert store.artifacts() == [] and store.runs.names() == []
    assert store.runs.read("default").versions == {}
    assert not store.root.exists()


def test_a_store_of_another_format_is_refused(root):
    Store(root).write("store.json", b'{"format": 99}')
    with pytest.raises(StoreError, match="has the format 99, this version of cpp-pipe reads"):
        Store(root)


def test_an_artifact_of_another_format_is_refused(root):
    artifact = publish(Store(root))
    rewrite(artifact.folder / "manifest.json", lambda value: value.update(format=7))
    # Another store would embed all images again.
    with pytest.raises(StoreError, match=r"in format 7, .* or begin another run with --run"):
        _ = Artifact(artifact.folder).manifest


def test_the_error_of_a_missing_version_says_where_to_look(root):
    with pytest.raises(MissingError, match="cpp-pipe status"):
        Store(root).open(FEATURES, "0" * 16)


def test_verify_finds_no_fault_in_a_sound_store(root):
    assert list(verify(publish(Store(root)))) == []


def file_of(artifact: Artifact, part: str, role: str):
    """The path of a file in its store."""
    return artifact.folder / "parts" / artifact.part_names[part].files[role].name


def test_verify_names_the_file_of_a_flipped_byte(root):
    artifact = publish(Store(root))
    damaged = file_of(artifact, "b-01", "z")
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(bytes(content))
    faults = list(verify(Artifact(artifact.folder)))
    assert [fault.path for fault in faults] == [damaged]
    assert "other bytes" in faults[0].what


def test_verify_names_missing_and_truncated_files(root):
    artifact = publish(Store(root))
    gone, cut = file_of(artifact, "a-00", "z"), file_of(artifact, "c-02", "c")
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-4])
    faults = {fault.path: fault.what for fault in verify(Artifact(artifact.folder))}
    assert faults[gone] == "is missing"
    assert "instead of" in faults[cut]


def test_a_quick_verify_names_missing_and_truncated_files_and_reads_none(root):
    artifact = publish(Store(root))
    gone, cut, flipped = (
        file_of(artifact, part, role)
        for part, role in (("a-00", "z"), ("c-02", "c"), ("b-01", "z"))
    )
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-4])
    flipped.write_bytes(bytes(len(flipped.read_bytes())))
    faults = {fault.path: fault.what for fault in verify(Artifact(artifact.folder), is_quick=True)}
    assert faults.keys() == {gone, cut}
    assert "missing" in faults[gone] and "bytes instead of" in faults[cut]


def publish_with_input(store: Store) -> tuple[Artifact, Artifact]:
    """Published features, and assignments that were made from them."""
    source = publish(store)
    draft = store.draft(recipe(kind="assignments"))
    for name in draft.recipe.parts:
        draft.make_part(name, lambda scratch: write_assignments(scratch, assignments_table()))
    return source, draft.publish({"features": source}, {})


def test_verify_reads_on_where_what_an_artifact_was_made_from_is_damaged(root):
    """The first damaged manifest ended the command, and other damage was not named."""
    source, made = publish_with_input(Store(root))
    (source.folder / "manifest.json").write_text("{")
    cut = file_of(made, "b-01", "rows")
    cut.write_bytes(cut.read_bytes()[:-4])
    assert [fault.path for fault in verify(Artifact(source.folder))] == [
        source.folder / "manifest.json"
    ]
    assert [fault.path for fault in verify(Artifact(made.folder))] == [cut]


@pytest.mark.parametrize("damaged", [b"{", None])
def test_verify_names_a_damaged_decision(root, damaged: bytes | None):
    store = Store(root)
    store.runs.update("mine", settings={"train": {"lr": 1.0}})
    log = store.runs.edits("mine")
    for seen in range(2):
        log.append({"by": "ada", "op": "name"}, seen=seen)
    assert list(verify_runs(store)) == []
    first = store.root / "runs" / "mine" / "edits" / "00000001.json"
    if damaged is None:
        first.unlink()
    else:
        first.write_bytes(damaged)
    (fault,) = verify_runs(store)
    assert str(first) in fault.what and fault.path == store.root / "runs" / "mine"


def set_age(path: StorePath, seconds: float) -> None:
    """Dates a file's last change back by some seconds."""
    assert isinstance(path, Path), "in a bucket the date of a file cannot be set"
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_a_changed_manifest_is_read_again(root):
    artifact = publish(Store(root))
    path = artifact.folder / "manifest.json"
    if is_in_bucket(path):
        pytest.skip("manifests in a bucket are read each time")
    for age in (3600, 1800):  # long ago, so that it may be kept
        set_age(path, age)
        assert Artifact(artifact.folder).manifest.stage == artifact.manifest.stage
    rewrite(path, lambda manifest: manifest.update(format=7))
    set_age(path, 900)
    with pytest.raises(StoreError, match="in format 7"):
        _ = Artifact(artifact.folder).manifest


def test_gc_never_removes_what_a_run_refers_to(root):
    store = Store(root)
    kept = publish(store, recipe(config={"gamma": 1.0}))
    lost = publish(store, recipe(config={"gamma": 2.0}))
    half = store.draft(recipe(config={"gamma": 3.0}))
    half.make_part("a-00", write_features)
    dropped = store.draft(recipe(config={"gamma": 4.0}))
    dropped.make_part("a-00", write_features)
    begun = {"heads": "0" * 16, "features": half.recipe.version}
    store.runs.update("mine", versions={"features": kept.version}, making=begun)
    assert {item.path for item in find_garbage(store)} == {lost.folder, dropped.folder}
    collect(store)
    assert list(verify(Artifact(kept.folder))) == []
    assert list(half.finished()) == ["a-00"]
    assert not lost.folder.exists() and not dropped.folder.exists()
    assert find_garbage(store) == []


def test_gc_removes_nothing_where_it_may_not_look_into_a_run(tmp_path, monkeypatch):
    """In Python 3.14 the run was taken for one that is gone, and its artifacts were removed."""
    monkeypatch.setattr(Path, "is_file", lambda path: os.path.isfile(path))
    monkeypatch.setattr(Path, "is_dir", lambda path: os.path.isdir(path))
    store = Store(tmp_path)
    kept = publish(store)
    store.runs.update("mine", versions={"features": kept.version})
    folder = tmp_path / "runs" / "mine"
    folder.chmod(0)
    try:
        with file_modes_hold(), pytest.raises(StoreError, match=r"Permission denied"):
            collect(store)
    finally:
        folder.chmod(0o755)
    assert collect(store) == [] and list(verify(kept)) == []


def test_gc_keeps_the_inputs_of_what_a_run_refers_to(root):
    store = Store(root)
    _, made = publish_with_input(store)
    store.runs.update("mine", versions={"assignments": made.version})
    assert find_garbage(store) == []


def test_gc_keeps_what_a_newer_version_made_and_goes_on(root):
    """It ended with an error that the manifest is of another format."""
    store = Store(root)
    lost = publish(store, recipe(config={"gamma": 2.0}))
    source, made = publish_with_input(store)
    rewrite(made.folder / "manifest.json", lambda value: value.update(format=7, parts={}))
    for versions in ({}, {"assignments": made.folder.name}):  # whether a run refers to it or not
        store.runs.update("mine", versions=versions)
        assert {item.path for item in find_garbage(store)} == {lost.folder}
    collect(store)
    assert made.folder.exists() and source.folder.exists() and not lost.folder.exists()


def test_gc_refuses_while_another_command_writes(root):
    store = Store(root)
    with store.writing(), pytest.raises(StoreError, match="another command is writing"):
        collect(store)
    assert collect(store) == []


def test_gc_finds_files_that_a_killed_process_left_on_a_disk(tmp_path):
    store = Store(tmp_path)
    artifact = publish(store)
    store.runs.update("mine", versions={"features": artifact.version})
    left = artifact.folder / "parts" / ".tmp-a-00.z.npy-123-abcd"
    left.write_bytes(b"half")
    assert [item.path for item in find_garbage(store)] == [left]
    assert [item.bytes for item in collect(store)] == [4]
    assert not left.exists() and find_garbage(store) == []


def test_gc_counts_the_bytes_that_it_frees(tmp_path):
    """Parts that a newer version has too were counted, although they stay on the disk."""
    store = Store(tmp_path)
    first = publish(store)
    draft = store.draft(recipe(parts=(*PARTS, "d-03")))
    draft.make_part("d-03", write_features)
    second = draft.publish({}, {})
    own = sum(path.stat().st_size for path in first.folder.rglob("*.json"))
    store.runs.update("mine", versions={"features": second.version})
    assert {item.path: item.bytes for item in find_garbage(store)} == {first.folder: own}
    store.runs.update("mine", versions={"features": None})
    files = {path.stat().st_ino: path.stat().st_size for path in tmp_path.glob("features/*/**/*.*")}
    folders = [first.folder, second.folder]
    assert sorted(item.path for item in find_garbage(store)) == sorted(folders)
    assert sum(item.bytes for item in collect(store)) == sum(files.values())


def test_gc_lists_no_temporary_files_of_a_command_that_still_writes(tmp_path):
    store = Store(tmp_path)
    artifact = publish(store)
    store.runs.update("mine", versions={"features": artifact.version})
    scratch = artifact.folder / "parts" / ".tmp-a-00"
    with store.writing():
        scratch.mkdir()
        assert find_garbage(store) == []
    assert [item.path for item in find_garbage(store)] == [scratch]


def test_updates_of_a_run_are_merged(root):
    runs = Store(root).runs
    a, b, c = ("0123456789abcde" + last for last in "abc")
    runs.update("mine", versions={"heads": a}, settings={"train": {"lr": 1.0}})
    runs.update("mine", versions={"features": b}, making={"heads": c})
    runs.update("mine", making={"heads": None}, settings={"train": {"lr": 2.0}})
    record = runs.read("mine")
    assert record.versions == {"heads": a, "features": b}
    assert record.making == {}
    assert record.settings == {"train": {"lr": 2.0}}
    assert runs.names() == ["mine"]


def test_concurrent_updates_of_a_run_are_all_kept(root):
    runs = Store(root).runs
    slots = [f"index/{number}" for number in range(8)]
    with ThreadPoolExecutor(len(slots)) as pool:
        list(pool.map(lambda slot: runs.update("mine", versions={slot: "0" * 16}), slots))
    assert sorted(runs.read("mine").versions) == slots


def test_a_disk_that_syncs_no_folders_holds_a_store(tmp_path, monkeypatch):
    """Those that a virtual machine shares with its host may not: nothing could be written."""
    sync = os.fsync

    def sync_files(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(handle)

    monkeypatch.setattr(os, "fsync", sync_files)
    assert list(verify(publish(Store(tmp_path)))) == []


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b"])
def test_a_name_of_a_run_that_could_leave_its_folder_is_refused(root, name):
    with pytest.raises(ConfigError, match="--run must begin with"):
        Store(root).runs.read(name)


def test_a_name_of_a_run_that_is_too_long_for_a_disk_is_refused(root):
    """It was called a file that cannot be read, and must be restored."""
    with pytest.raises(ConfigError, match="--run must have at most 255 characters, got 300"):
        Store(root).runs.read("a" * 300)


def test_a_run_that_a_disk_finds_under_a_name_in_other_case_is_not_damaged(tmp_path):
    """Disks of macOS and Windows do; a link finds it under another name on any."""
    runs = Store(tmp_path).runs
    runs.update("Photos", settings={"train": {"lr": 1.0}})
    (tmp_path / "runs" / "photos").symlink_to("Photos")
    with pytest.raises(StoreError, match=r"is the record of the run 'Photos': write --run Photos"):
        runs.read("photos")
    assert runs.read("Photos").settings == {"train": {"lr": 1.0}}


def test_a_run_of_a_newer_version_is_not_damaged(root):
    runs = Store(root).runs
    runs.update("mine", versions={"features": "0" * 16})
    rewrite(runs.path("mine"), lambda record: record["versions"].update(songs="0" * 16))
    with pytest.raises(StoreError, match="'songs', a kind that this version of cpp-pipe does not"):
        runs.read("mine")


def test_a_lock_is_free_once_its_owner_releases_it(root):
    path = Store(root).root / "lock"
    lock = backend_of(path).lock
    with lock(path) as first, lock(path, wait=False) as second:
        assert first and not second
    with lock(path, wait=False) as third:
        assert third


def test_a_full_disk_is_an_error_and_keeps_finished_parts(root):
    draft = Store(root).draft(recipe())
    draft.make_part("a-00", write_features)
    no_space = pytest.raises(StoreError, match="no space left while writing")
    with no_file_may_grow_above(100), no_space:
        draft.make_part("b-01", lambda scratch: write_features(scratch, rows=1000))
    assert list(draft.finished()) == ["a-00"]
    draft.make_part("b-01", write_features)
    assert sorted(draft.finished()) == ["a-00", "b-01"]
