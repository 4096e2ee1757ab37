"""Leases and cached copies, which only a store in a bucket has."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cpp_pipe.store import (
    Artifact,
    ConfigError,
    Store,
    StoreError,
    cache,
    integrity,
    leases,
    locks,
)
from cpp_pipe.store import bucket as bucket_backend
from cpp_pipe.store.kinds import FEATURES
from cpp_pipe.store.upkeep import collect, find_garbage, verify

from ..buckets import below, change_json, in_bucket
from ..waiting import wait_until
from .stores import PARTS, parts_folder, publish, recipe, rewrite, write_features, write_full


def lease_of(draft, name="a-00"):
    """The path of the lease of a part."""
    return draft.folder / "locks" / f"{name}{leases.SUFFIX}"


def names(store, draft) -> list[str]:
    """The names of all objects among the parts of a draft."""
    return sorted(path.name for path in below(parts_folder(store, draft)))


# Two processes that make one part.


def test_files_of_two_writers_of_one_part_are_never_mixed(bucket):
    store = Store(bucket)
    draft = store.draft(recipe(parts=("a-00",)))
    both = threading.Barrier(2)

    def write(number):
        def make(scratch):
            product = write_full(scratch, number)
            both.wait()
            return product

        return draft.make_part("a-00", make)

    with ThreadPoolExecutor(2) as pool:
        records = list(pool.map(write, (1, 2)))
    assert records[0] == records[1]
    made = draft.publish({}, {})
    z, c = made.array("a-00", "z"), made.array("a-00", "c")
    assert z.tolist() == c.tolist()
    assert list(verify(made)) == []
    # The slower writer's files are gone: two files and the small file remain.
    assert len(names(store, draft)) == 3


def test_a_reader_sees_a_part_or_a_version_whole_or_not_at_all(bucket):
    store = Store(bucket)
    is_done = threading.Event()
    seen: set[int] = set()

    def read() -> int:
        rounds = 0
        while not is_done.is_set():
            rounds += 1
            finished = Store(bucket).draft(recipe()).finished()
            seen.add(len(finished))
            for record in finished.values():
                for file in record.files.values():
                    path = parts_folder(store, store.draft(recipe())) / file.name
                    assert path.stat().st_size == file.bytes
            found = store.find(FEATURES, recipe().version)
            assert found is None or list(verify(found)) == []
        return rounds

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        wait_until(lambda: 0 in seen or reader.done())
        publish(store)
        wait_until(lambda: 3 in seen or reader.done())
        is_done.set()
        assert reader.result() > 1


# Writers that die.

_KILLED = """
import os, signal, sys
from cpp_pipe.store import Store
from cpp_pipe.store import bucket as bucket_backend
from tests.store.stores import recipe, write_features
from cpp_pipe.store import Scratch

store = Store(sys.argv[1])
with store.writing():
    draft = store.draft(recipe())
    draft.make_part("b-01", write_features)
    with draft.claim("a-00", wait=False) as is_held:
        assert is_held

        def make(scratch: Scratch):
            write_features(scratch)
            files = {role: scratch.path(role) for role in draft.kind.files}
            bucket_backend.take_in("a-00", files, draft.folder / "parts")
            os.kill(os.getpid(), signal.SIGKILL)

        draft.make_part("a-00", make)
"""


@pytest.fixture
def killed(bucket) -> Store:
    """A store whose writer was killed after it uploaded a part, before the small file."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, bucket], cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == -signal.SIGKILL
    return Store(bucket)


def test_a_part_of_a_killed_writer_is_free_once_its_lease_expires(killed, monkeypatch):
    draft = killed.draft(recipe())
    killed.runs.update("mine", making={"features": draft.recipe.version})
    assert list(draft.finished()) == ["b-01"]
    with draft.claim("a-00", wait=False) as is_held:
        assert not is_held
    with pytest.raises(StoreError, match="another command is writing"):
        collect(killed)
    (writer,) = below(killed.root / "writers")
    for path in (writer, lease_of(draft)):
        change_json(path, expires=0)
    left = [name for name in names(killed, draft) if name.startswith("a-00.")]
    assert len(left) == 2
    with draft.claim("a-00", wait=False) as is_held:
        assert is_held
        # Recent files may belong to a part that is being uploaded.
        assert {item.path for item in find_garbage(killed)} == {writer}
        monkeypatch.setattr(bucket_backend, "ORPHAN_SECONDS", 0)
        time.sleep(1)
        removed = {item.path.name for item in collect(killed)}
        assert removed == {writer.name, *left}
        draft.make_part("a-00", write_features)
    draft.make_part("c-02", write_features)
    assert list(verify(draft.publish({}, {}))) == []
    assert collect(killed) == []


def test_one_of_many_takes_over_an_expired_lease(bucket):
    draft = Store(bucket).draft(recipe())
    all_claims = threading.Barrier(8)
    leases.objects.write_json(
        in_bucket(lease_of(draft)), {"owner": "dead", "host": "there", "process": 1, "expires": 0.0}
    )

    def claim(number: int) -> bool:
        all_claims.wait()
        with draft.claim("a-00", wait=False) as is_held:
            all_claims.wait()
            return is_held

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(8))) == 1
    assert not below(draft.folder / "locks")


def test_a_lease_that_another_took_over_meanwhile_is_not_taken(bucket, monkeypatch):
    draft = Store(bucket).draft(recipe())
    leases.objects.write_json(
        in_bucket(lease_of(draft)), {"owner": "dead", "host": "there", "process": 1, "expires": 0.0}
    )
    find, others = leases.objects.find_json, []

    def find_and_be_overtaken(path):
        found = find(path)
        if not others:
            others.append(draft.claim("a-00", wait=False))
            assert others[0].__enter__()
        return found

    monkeypatch.setattr(leases.objects, "find_json", find_and_be_overtaken)
    with draft.claim("a-00", wait=False) as is_held:
        assert others and not is_held
    others[0].__exit__(None, None, None)


def test_a_lease_is_renewed_while_its_owner_lives(bucket, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 2.0)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.2)
    draft = Store(bucket).draft(recipe())
    with draft.claim("a-00", wait=False):
        began = time.monotonic()
        while time.monotonic() - began < 3:
            with draft.claim("a-00", wait=False) as is_held:
                assert not is_held
            time.sleep(0.2)


def test_a_suspended_owner_leaves_its_lease_to_whoever_took_it_over(bucket, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.3)
    draft = Store(bucket).draft(recipe())
    with draft.claim("a-00", wait=False):
        time.sleep(1.1)  # the bucket dates objects by whole seconds
        monkeypatch.setattr(leases, "LEASE_SECONDS", 60)
        taken = draft.claim("a-00", wait=False)
        assert taken.__enter__()
    with draft.claim("a-00", wait=False) as is_held:
        assert not is_held
    taken.__exit__(None, None, None)
    with draft.claim("a-00", wait=False) as is_held:
        assert is_held


def test_a_writer_that_begins_while_gc_runs_waits_for_it(bucket):
    store = Store(bucket)
    order = []

    def write() -> None:
        with store.writing():
            order.append("written")

    with ThreadPoolExecutor(1) as pool:
        with bucket_backend.collecting(in_bucket(store.root)) as is_held:
            assert is_held
            waiting = pool.submit(write)
            wait_until(lambda: below(store.root / "writers") or waiting.done())
            time.sleep(0.3)
            order.append("collected")
        waiting.result()
    assert order == ["collected", "written"]


def test_a_command_that_waits_for_a_lease_says_once_who_holds_it(bucket, monkeypatch, caplog):
    """It waited without a word."""
    monkeypatch.setattr(locks, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(leases, "_PAUSE_SECONDS", 0.1)
    draft = Store(bucket).draft(recipe())

    def claim() -> bool:
        with draft.claim("a-00", wait=True) as is_held:
            return is_held

    with ThreadPoolExecutor(1) as pool:
        with draft.claim("a-00", wait=False):
            waiting = pool.submit(claim)
            wait_until(lambda: caplog.messages)
            time.sleep(0.5)
        assert waiting.result()
    (line,) = caplog.messages
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    assert line.startswith(f"waiting for {holder}, perhaps a suspended one, that holds the lock ")
    assert str(lease_of(draft)) in line


# Copies of a whole store.


def test_a_store_copied_into_a_bucket_and_back_can_be_continued(bucket, tmp_path):
    here, there, back = tmp_path / "here", Store(bucket), tmp_path / "back"
    root = in_bucket(there.root)
    publish(Store(here), recipe(parts=PARTS[:1]))
    root.fs.put(str(here), root.path, recursive=True)
    made = publish(there, recipe(parts=PARTS[:2]))
    assert list(verify(made)) == []
    root.fs.get(root.path, str(back), recursive=True)
    assert len(Store(back).artifacts()) == 2
    draft = Store(back).draft(recipe(parts=PARTS))
    assert sorted(draft.finished()) == list(PARTS[:2])
    draft.make_part(PARTS[2], write_features)
    draft.publish({}, {})
    assert [list(verify(artifact)) for artifact in Store(back).artifacts()] == [[]] * 3


# Copies on this machine.


def copy_of(artifact: Artifact) -> Path:
    """The cached copy of a file."""
    return artifact.path("a-00", "z")


def test_what_was_made_here_is_not_fetched_again(bucket, tmp_path):
    artifact = publish(Store(bucket))
    gone = parts_folder(Store(bucket), Store(bucket).draft(recipe()))
    before = copy_of(artifact).read_bytes()
    bucket_backend.remove(in_bucket(gone))
    assert copy_of(artifact).read_bytes() == before
    assert not list((tmp_path / "cache" / "scratch").iterdir())


@pytest.mark.parametrize("size", [0, 100])
def test_a_truncated_copy_is_fetched_again(bucket, size):
    artifact = publish(Store(bucket))
    path = copy_of(artifact)
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    assert copy_of(artifact).read_bytes() == whole


def test_other_bytes_in_the_bucket_are_refused_and_not_kept(bucket, tmp_path):
    artifact = publish(Store(bucket))
    path = copy_of(artifact)
    path.unlink()
    name = artifact.part_names["a-00"].files["z"].name
    theirs = artifact.folder / "parts" / name
    theirs.write_bytes(bytes(theirs.stat().st_size))
    for _ in range(2):
        with pytest.raises(StoreError, match=f"{name} has other bytes than were written.*restore"):
            copy_of(artifact)
    theirs.unlink()
    with pytest.raises(StoreError, match=f"{name} is missing: restore it"):
        copy_of(artifact)
    assert not list((tmp_path / "cache").rglob(".tmp-*"))


def test_verify_names_a_copy_with_other_bytes(bucket):
    artifact = publish(Store(bucket))
    path = copy_of(artifact)
    path.write_bytes(bytes(path.stat().st_size))
    # The three parts hold the same bytes, and so share the copy.
    faults = list(verify(artifact))
    assert {fault.path for fault in faults} == {path}
    assert all("is no longer a copy of s3://" in fault.what for fault in faults)


def test_all_files_of_a_role_are_fetched_before_they_are_read(bucket, tmp_path):
    artifact = publish(Store(bucket))
    shutil.rmtree(tmp_path / "cache")
    artifact.fetch("z")
    # All parts hold the same bytes.
    (copy,) = (tmp_path / "cache" / "files").glob("*/*")
    assert copy == copy_of(artifact)


def test_many_readers_at_once_fetch_a_file_once(bucket, tmp_path, monkeypatch):
    artifact = publish(Store(bucket))
    copy_of(artifact).unlink()
    fetched = []
    download = cache.objects.download
    monkeypatch.setattr(
        cache.objects, "download", lambda *names: (fetched.append(names), download(*names))
    )
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: copy_of(artifact), range(8)))
    assert len(set(paths)) == 1 and len(fetched) == 1


def test_a_copy_is_checked_once_however_often_it_is_used(bucket, monkeypatch):
    """Each use marks the copy as used, which must not look like a change of its bytes."""
    artifact = publish(Store(bucket))
    digest_file, digested = integrity.digest_file, []

    def watched(path: Path) -> str:
        digested.append(path)
        return digest_file(path)

    monkeypatch.setattr(integrity, "digest_file", watched)
    copy = aged(artifact.path("a-00", "z"), cache.IN_USE_SECONDS)
    digested.clear()
    for _ in range(3):
        assert artifact.path("a-00", "z", is_read_whole=True) == copy
    assert digested == [copy]
    assert time.time() - copy.stat().st_atime < cache.IN_USE_SECONDS / 2, "it is marked as used"


def test_a_file_that_is_not_what_its_kind_declares_is_named_by_its_place_in_the_bucket(bucket):
    """The folder of the copy was to be removed, which changed nothing."""
    store = Store(bucket)
    folder = in_bucket(publish(store).folder)
    rewrite(folder / "manifest.json", lambda value: value["facts"].update(feature_size=3))
    says = f"{folder}: .* has 2 numbers in each row, its manifest says 3: .*remove {folder} and run"
    with pytest.raises(StoreError, match=says):
        Artifact(folder).array("a-00", "z")


def test_a_copy_that_another_command_removes_meanwhile_is_fetched_again(bucket, monkeypatch):
    artifact = publish(Store(bucket))
    copy, utime, removed = copy_of(artifact), os.utime, []

    def remove_first(path: Path, *times: Any, **exact: Any) -> None:
        if not removed:
            removed.append(path)
            path.unlink()
        utime(path, *times, **exact)

    monkeypatch.setattr(os, "utime", remove_first)
    assert copy_of(artifact) == copy and copy.is_file() and removed == [copy]


def aged(path: Path, seconds: float) -> Path:
    """Marks a copy as last used some seconds ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


@pytest.mark.parametrize("bound", ["limit", "disk"])
def test_the_least_recently_used_copies_are_removed_first(bucket, monkeypatch, bound):
    artifact = publish(Store(bucket))
    z, c = (artifact.path("a-00", role) for role in ("z", "c"))
    rows = z.read_bytes()
    size = z.stat().st_size
    if bound == "limit":
        monkeypatch.setenv("CPP_PIPE_CACHE_GIB", str(1.5 * size / 2**30))
    else:
        free = shutil.disk_usage(cache.folder()).free
        monkeypatch.setattr(cache, "SPARE_BYTES", free + 2**40)
    aged(z, cache.IN_USE_SECONDS + 60)
    aged(c, cache.IN_USE_SECONDS - 60)
    c.unlink()
    assert artifact.path("a-00", "c").is_file()
    assert not z.exists(), "the least recently used copy goes"
    assert artifact.path("a-00", "z").read_bytes() == rows, "it is fetched again when it is needed"
    assert c.is_file(), "a copy just used stays, even over the bound"


def test_old_copies_within_the_bound_stay(bucket, monkeypatch):
    artifact = publish(Store(bucket))
    monkeypatch.setenv("CPP_PIPE_CACHE_GIB", "1")
    z, c = (artifact.path("a-00", role) for role in ("z", "c"))
    aged(z, cache.UNUSED_SECONDS)
    c.unlink()
    artifact.path("a-00", "c")
    assert z.is_file()


@pytest.mark.parametrize("text", ["0", "-1", "many", "nan", "inf", "1e305"])
def test_an_invalid_bound_is_refused(bucket, monkeypatch, text):
    artifact = publish(Store(bucket))
    copy_of(artifact).unlink()
    monkeypatch.setenv("CPP_PIPE_CACHE_GIB", text)
    with pytest.raises(ConfigError, match="CPP_PIPE_CACHE_GIB"):
        copy_of(artifact)


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch):
    """A container may run as a number that the system does not know."""

    def find_nobody(number: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("HOME", "CPP_PIPE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", find_nobody)
    with pytest.raises(ConfigError, match=r"no home folder .*: name a folder with CPP_PIPE_CACHE"):
        cache.folder()


def test_gc_removes_copies_that_were_not_used_for_long(bucket, tmp_path):
    store = Store(bucket)
    artifact = publish(store)
    store.runs.update("mine", versions={"features": artifact.version})
    old = copy_of(artifact)
    left = tmp_path / "cache" / "scratch" / "left"
    training = store.draft(recipe(config={})).checkpoints
    for path in (left, training):
        path.mkdir(parents=True)
        (path / "some").touch()
    long_ago = time.time() - cache.UNUSED_SECONDS - 1
    kept = artifact.path("a-00", "c")
    for path in (old, training / "some", training, left):
        os.utime(path, (long_ago, long_ago))
    assert {item.path for item in collect(store)} == {old, training, left}
    assert not any(path.exists() for path in (old, training, left))
    assert kept.is_file()
    assert artifact.path("a-00", "z").is_file()
