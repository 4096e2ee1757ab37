"""Locks: who holds one, when it ends, and disks without them."""

import contextlib
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import portalocker.portalocker
import pytest

from cpp_pipe.store import StoreError, locks
from cpp_pipe.store.locks import lock


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_the_error_for_a_disk_without_locks_says_what_to_do(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, mode: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(portalocker.portalocker, "LOCKER", refuse)
    with pytest.raises(StoreError, match=r"has no locks .* --store"), lock(tmp_path / "lock"):
        pass


HOLD = """
import sys, time
from pathlib import Path
from cpp_pipe.store.locks import lock
with lock(Path(sys.argv[1]), shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def held_by_another(path: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a lock until it is killed."""
    command = [sys.executable, "-c", HOLD, str(path), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def is_free(path: Path, *, shared: bool) -> bool:
    with lock(path, shared=shared, wait=False) as is_held:
        return is_held


@pytest.mark.parametrize("how", ["shared", "alone"])
def test_a_killed_process_releases_its_lock(tmp_path: Path, how: str):
    path = tmp_path / "lock"
    with held_by_another(path, how) as owner:
        assert is_free(path, shared=True) == (how == "shared")
        assert not is_free(path, shared=False)
        owner.kill()
        owner.wait()
        assert is_free(path, shared=False)


def test_a_waiting_process_gets_the_lock_when_its_owner_ends(tmp_path: Path):
    path = tmp_path / "lock"
    with held_by_another(path, "alone") as owner:
        threading.Timer(0.3, owner.kill).start()
        with lock(path) as is_held:
            assert is_held


def test_a_command_that_waits_for_long_says_for_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Where the other one was suspended, it waited forever without a word."""
    monkeypatch.setattr(locks, "SILENT_SECONDS", 0.1)
    path = tmp_path / "lock"
    with held_by_another(path, "alone") as owner:
        threading.Timer(1, owner.kill).start()
        with lock(path):
            assert f"that holds the lock {path}" in caplog.text
    caplog.clear()
    with lock(path):
        pass
    assert caplog.text == ""


def test_a_lock_excludes_versions_that_lock_by_flock(tmp_path: Path):
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not is_free(tmp_path / "lock", shared=True)


def test_a_lock_is_released_when_its_block_raises(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), lock(tmp_path / "lock"):
        raise ZeroDivisionError
    assert is_free(tmp_path / "lock", shared=False)


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="a link stands in the way"), lock(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
