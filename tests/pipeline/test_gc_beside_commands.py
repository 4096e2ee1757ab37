"""`gc` at the worst moment of another command keeps what that command found or made."""

import itertools
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cpp_pipe.pipeline.curation.files import whole_file, whole_folder
from cpp_pipe.pipeline.making.jobs import Job, find_or_make
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.fit_quantizer import FitQuantizer
from cpp_pipe.store import Artifact, MissingError, Store, StoreError
from cpp_pipe.store.backend import backend_of
from cpp_pipe.store.files import host_tag, temporary_sibling
from cpp_pipe.store.upkeep import collect, find_garbage, verify_runs

from ..stages.indexes import made_rows, make_features
from ..waiting import wait_until

SLOT = "quantizer/features"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


def quantizer_job(store: Store) -> Job:
    """The work of fitting a quantizer to features that the run "mine" refers to."""
    features = make_features(store, {"a": made_rows(200)})
    store.runs.update("mine", versions={"features": features.version})
    stage = FitQuantizer(space="features", factory="IVF4,SQ8")
    return Job(slot=SLOT, stage=stage, inputs={"features": features}, runtime=Runtime())


def make(store: Store, job: Job, run: str = "mine", say=lambda line: None) -> Artifact:
    """Makes or finds the quantizer for a run."""
    return find_or_make(job, store, run, {}, say)


def test_gc_keeps_what_another_command_has_just_found(store: Store):
    job, refusals = quantizer_job(store), []
    made = make(store, job)
    store.runs.update("mine", versions={SLOT: None})
    assert [item.path for item in find_garbage(store)] == [made.folder]

    def collect_now(line: str) -> None:
        """Runs gc between finding the quantizer and referring to it."""
        assert "is there already" in line
        with pytest.raises(StoreError, match="another command is writing"):
            collect(store)
        refusals.append(line)

    assert make(store, job, say=collect_now).version == made.version
    assert len(refusals) == 1
    assert store.runs.read("mine").versions[SLOT] == made.version
    assert collect(store) == [] and list(verify_runs(store)) == []


def test_gc_keeps_what_another_command_has_just_made(store: Store):
    job, lines = quantizer_job(store), []

    def collect_now(line: str) -> None:
        """Runs gc at each printed line; the last one follows publishing."""
        with pytest.raises(StoreError, match="another command is writing"):
            collect(store)
        lines.append(line)

    made = make(store, job, say=collect_now)
    assert "180 rows in 1 part" in lines[-1]
    assert store.runs.read("mine").versions[SLOT] == made.version
    assert collect(store) == [] and list(verify_runs(store)) == []


def test_what_gc_removes_while_a_command_waits_for_it_is_made_again(store: Store):
    job, backend = quantizer_job(store), backend_of(store.root)
    made = make(store, job)
    store.runs.update("mine", versions={SLOT: None})
    with ThreadPoolExecutor(1) as pool:
        with backend.collecting(store.root) as is_held:
            assert is_held
            waiting = pool.submit(make, store, job)
            time.sleep(0.3)  # so that it has found the quantizer, and would have gone on
            assert [item.path for item in find_garbage(store)] == [made.folder]
            backend.remove(made.folder)
        assert waiting.result(60).content == made.content
    assert list(verify_runs(store)) == []


def test_finding_what_the_run_refers_to_locks_nothing(store: Store):
    job = quantizer_job(store)
    made = make(store, job)
    (store.root / "lock").unlink()
    assert make(store, job).version == made.version
    assert not (store.root / "lock").exists()


def test_a_run_cannot_refer_to_what_gc_has_just_removed(store: Store):
    made = make(store, quantizer_job(store))
    store.runs.update("mine", versions={SLOT: None})
    collect(store)
    with pytest.raises(MissingError, match=f"no published quantizer of version {made.version}"):
        store.refer("other", {SLOT: made.version})
    assert store.runs.names() == ["mine"]


def test_a_run_refers_to_a_version_under_the_lock_of_gc(store: Store):
    """Another command holds the run's record, so `refer` waits after it found the version."""
    made = make(store, quantizer_job(store))
    store.runs.update("mine", versions={SLOT: None})
    lock = store.runs.path("other").with_name("lock")
    with ThreadPoolExecutor(1) as pool:
        with backend_of(lock).lock(lock):
            waiting = pool.submit(store.refer, "other", {SLOT: made.version})
            wait_until(lambda: not _is_free(store), "the store is locked")
            with pytest.raises(StoreError, match="another command is writing"):
                collect(store)
        waiting.result(60)
    assert collect(store) == [] and list(verify_runs(store)) == []


@pytest.mark.parametrize("nested", [False, True])
def test_gc_keeps_what_another_command_writes_into_the_store(
    tmp_path: Path, store: Store, nested: bool
):
    """Reports, tables and copied shards are written without the lock that gc takes."""
    make(store, quantizer_job(store))
    root = tmp_path / "store"
    with whole_folder(root / "kept") as folder:
        (folder / "000.tar").write_bytes(b"half")
        inside = temporary_sibling(folder / "001.tar") if nested else folder / "001.tar"
        inside.write_bytes(b"half")
        with whole_file(root / "reports" / "mine.html") as file:
            file.write_text("half")
            assert collect(store) == []
        assert inside.read_bytes() == b"half"
    assert (root / "reports" / "mine.html").read_text() == "half"
    assert (root / "kept" / "000.tar").read_bytes() == b"half"


def test_gc_removes_leftovers_of_a_killed_process(tmp_path: Path, store: Store):
    made = make(store, quantizer_job(store))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f".tmp-x-{host_tag()}-{ended.pid}-0123abcd", ".tmp-x", f".tmp-x-{host_tag()}-7"]
    left = [tmp_path / "store" / "reports" / name for name in names]
    # Nobody writes to versions while gc holds the lock, not even a process that lives.
    left.append(temporary_sibling(Path(str(made.folder)) / "parts" / "a.npy"))
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    assert {item.path for item in collect(store)} == set(left)
    assert not any(path.exists() for path in left)


def test_gc_keeps_temporary_files_of_other_programs_beside_the_store(tmp_path: Path, store: Store):
    """With --store . a folder of a project is the store's, too."""
    make(store, quantizer_job(store))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    root = tmp_path / "store"
    kept = [root / name for name in (".tmp-notes/.tmp-a", "src/.tmp-b", "src/.tmp-c/d")]
    left = root / "src" / f".tmp-x-{host_tag()}-{ended.pid}-0123abcd"
    for path in (*kept, left):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    assert [item.path for item in collect(store)] == [left]
    assert all(path.read_text() == "mine" for path in kept)


def _is_free(store: Store) -> bool:
    with backend_of(store.root).collecting(store.root) as is_held:
        return is_held


def test_gc_can_list_while_parts_are_made_and_removed(store: Store):
    """A folder that vanished before it was listed used to end the command."""
    made = make(store, quantizer_job(store))
    parts, is_done = Path(str(made.folder)) / "parts", threading.Event()

    def churn() -> None:
        for number in itertools.count():
            folder = parts / f".tmp-{number}"
            folder.mkdir()
            for name in range(20):
                (folder / f".tmp-{name}").write_bytes(b"x")
            shutil.rmtree(folder)
            if is_done.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        churning = pool.submit(churn)
        try:
            for _ in range(60):
                garbage = find_garbage(store)
                assert all(item.path.name.startswith(".tmp-") for item in garbage)
        finally:
            is_done.set()
        churning.result(60)
    assert find_garbage(store) == []
