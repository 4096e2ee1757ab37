"""Disks that fill, stores that become read-only, processes that die, shards that change."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from benchmarks.chaos import finish, start
from cpp_pipe.stages.contract import Spent
from cpp_pipe.stages.sources.digits import write_digit_shards
from cpp_pipe.store import ShardError, Store, StoreError
from cpp_pipe.store.upkeep import verify

from ..forked import fork
from ..small_disk import small_disk
from ..stages.shards import write_shards
from ..stages.world import plan_of
from ..waiting import wait_until
from .cli import DIGITS, embed, fail, open_whole

_PATIENCE_SECONDS = 120


_BATCH = "4"
"""So small that there is time to interrupt."""


def words(shards: Path) -> list[str]:
    """The words of an embed command."""
    return ["embed", "--shards", str(shards), *DIGITS, "--batch-size", _BATCH]


def begin(shards: Path, store: Path, output: Path, *more: str) -> ForkServerProcess:
    """Starts an embed command in a process of its own; its output goes to a file."""
    return start([*words(shards), *more, "--store", store], output)


def resume(store: Path, shards: Path) -> str:
    """Runs the same command to its end in this process; returns its stderr."""
    return embed(store, shards, more=["--batch-size", _BATCH]).err


def count_parts(store: Path) -> int:
    # Not rglob: it may meet a scratch folder that is gone before it is listed.
    return len(list(store.glob("*/*/parts/*.part.json")))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder of 12 shards, and the content of their embeddings."""
    folder = tmp_path_factory.mktemp("many")
    write_digit_shards(folder / "shards", 12)
    resume(folder / "store", folder / "shards")
    return folder / "shards", open_whole(folder / "store").content


# The disk and the store.


def test_a_file_size_limit_gives_one_line_and_keeps_finished_parts(tmp_path: Path):
    shards = tmp_path / "shards"
    write_shards(shards, shards=2, size=10)
    write_shards(tmp_path / "large", shards=1, size=400, first=20)[0].rename(shards / "002.tar")
    store, output = tmp_path / "store", tmp_path / "output.txt"
    process = begin(shards, store, output)
    assert process.pid is not None
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))
    assert finish(process) == 2
    assert "no space left while writing" in output.read_text().splitlines()[-1]
    assert count_parts(store) == 2
    assert not list(store.rglob(".tmp-*"))
    assert "2 of 3 parts are there already" in resume(store, shards)
    assert open_whole(store).rows == 420


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 KiB."""
    with small_disk(tmp_path / "disk", "128k") as folder:
        yield folder


def test_a_full_disk_gives_one_line_and_the_same_command_continues(
    disk: Path, many: tuple[Path, str]
):
    shards, content = many
    store = disk / "store"
    line = fail(store, *words(shards))
    assert "no space left while writing" in line and "run the same command again" in line
    kept = count_parts(store)
    assert 0 < kept < 12
    assert Store(store).artifacts() == []
    command = ["mount", "-o", "remount,size=16m", str(disk)]
    subprocess.run(command, check=True)
    assert f"{kept} of 12 parts are there already" in resume(store, shards)
    assert open_whole(store).content == content


class CallOnce:
    """Progress that calls a function once, after some samples."""

    def __init__(self, after: int, meddle: Callable[[], object]) -> None:
        self._left, self._meddle = after, meddle

    def start(self, what: str, total: int, unit: str) -> None:
        """Ignored."""

    def revise(self, total: int) -> None:
        """Ignored."""

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Counts down to the call."""
        self._left -= done
        if self._left <= 0 < self._left + done:
            self._meddle()

    def parts(self, done: int, total: int) -> None:
        """Ignored."""

    def end(self) -> None:
        """Ignored."""

    def report(self, line: str) -> None:
        """Ignored."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
def test_a_store_that_becomes_read_only_keeps_finished_parts(
    tmp_path: Path, many: tuple[Path, str]
):
    _, content = many
    shards = shutil.copytree(many[0], tmp_path / "shards")
    store = tmp_path / "store"
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o755)

    def close() -> None:
        for folder in store.rglob("parts"):
            folder.chmod(0o555)
        os.seteuid(65534)  # nobody: modes mean nothing to root

    try:
        with pytest.raises(StoreError, match=r"not allowed to write while writing .*--store"):
            plan_of(Store(store), shards, progress=CallOnce(300, close), batch_size=4).make(
                "embeddings"
            )
    finally:
        os.seteuid(0)
    for folder in store.rglob("parts"):
        folder.chmod(0o755)
    assert 0 < count_parts(store) < 12
    made = plan_of(Store(store), shards, batch_size=4).make("embeddings")
    assert made.content == content
    assert list(verify(made)) == []


# Processes.


def children(process: int) -> list[int]:
    """The worker processes that a process has spawned."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [
        int(child)
        for child in listed
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def test_a_limit_of_threads_gives_one_line(
    tmp_path: Path, many: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
):
    def refuse(thread: threading.Thread) -> None:
        """What a container with a limit of processes does."""
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    line = fail(tmp_path / "store", *words(many[0]))
    assert "start no more threads: raise the limit (ulimit -u" in line


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="worker processes are found in /proc"
)
def test_any_of_several_processes_may_be_killed(tmp_path: Path, many: tuple[Path, str]):
    shards, content = many
    store, output = tmp_path / "store", tmp_path / "output.txt"
    # The one that the user started: the others end by themselves.
    process = begin(shards, store, output, "--workers", "2")
    assert process.pid is not None
    wait_until(lambda: count_parts(store) >= 1)
    workers = children(process.pid)
    process.kill()
    process.join()
    assert len(workers) == 2
    wait_until(lambda: not any(map(is_running, workers)))
    # One of the others: the command says so, and keeps what is finished.
    kept = count_parts(store)
    assert kept < 11
    process = begin(shards, store, output, "--workers", "2")
    assert process.pid is not None
    wait_until(lambda: count_parts(store) > kept)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    assert finish(process) == 2
    assert "a worker process died while making embeddings" in output.read_text().splitlines()[-1]
    assert Store(store).artifacts() == []
    assert "parts are there already" in resume(store, shards)
    assert open_whole(store).content == content


@pytest.mark.slow
@pytest.mark.usefixtures("sighup_ends_processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_stops_cleanly_and_the_same_command_continues(
    tmp_path: Path, many: tuple[Path, str], workers: str, number: signal.Signals
):
    shards, content = many
    store = tmp_path / "store"
    command = [*words(shards), "--workers", workers, "--store", str(store)]
    # In a session of its own, all of whose processes get Ctrl-C from a terminal, and SIGTERM from a
    # scheduler.
    with fork(*command) as process:
        wait_until(lambda: count_parts(store) >= 1)
        os.killpg(process.pid, number)
        code, printed, errors = process.finish(_PATIENCE_SECONDS)
    assert code == 130, errors
    assert errors.splitlines()[-1] == (
        "cpp-pipe: stopped; what is finished is kept, and the same command continues from there"
    )
    assert "Traceback" not in errors
    assert printed == ""
    assert Store(store).artifacts() == []
    assert "parts are there already" in resume(store, shards)
    assert open_whole(store).content == content


@pytest.mark.slow
def test_a_command_whose_output_nobody_reads_stops_cleanly_and_logs_it(
    tmp_path: Path, many: tuple[Path, str]
):
    """It ended with 1, and its log file did not say that it was stopped."""
    store, log = tmp_path / "store", tmp_path / "log.txt"
    command = [*words(many[0]), "--store", str(store), "--log-file", str(log)]
    with subprocess.Popen(
        [sys.executable, "-m", "cpp_pipe", *command], stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        wait_until(lambda: count_parts(store) >= 1)
        process.stderr.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(_PATIENCE_SECONDS) == 130
    assert "cpp-pipe: stopped; what is finished is kept" in log.read_text().splitlines()[-1]


@pytest.mark.slow
def test_two_commands_on_one_store_at_once_both_succeed(tmp_path: Path, many: tuple[Path, str]):
    shards, content = many
    store = tmp_path / "store"
    outputs = [tmp_path / "one.txt", tmp_path / "other.txt"]
    processes = [begin(shards, store, output) for output in outputs]
    assert [finish(process) for process in processes] == [0, 0]
    assert all("seen 896 = embedded 896 + skipped 0" in output.read_text() for output in outputs)
    assert open_whole(store).content == content


# Shards that change.


@pytest.fixture
def shards(tmp_path: Path, digit_shards: Path) -> Path:
    """Shards for one test, which may change them."""
    return shutil.copytree(digit_shards, tmp_path / "shards")


def test_a_shard_with_other_bytes_is_embedded_again_and_never_mixed(tmp_path: Path, shards: Path):
    store = tmp_path / "store"
    resume(store, shards)
    before = open_whole(store)
    # As many bytes, under the same name, with another image in one place.
    path = shards / "001.tar"
    data = path.read_bytes()
    other = (shards / "002.tar").read_bytes()
    write_shards(tmp_path / "others", shards=1, size=20, first=300)
    assert len(other) == len(data)
    path.write_bytes(other)
    assert "2 of 3 parts are there already" in resume(store, shards)
    after = open_whole(store)
    assert after.version != before.version
    assert list(verify(before)) == []
    changed = after.table(after.parts[1].name).to_pylist()
    assert {row["shard"] for row in changed} == {"001.tar"}
    assert [row["key"] for row in changed] == after.table(after.parts[2].name)["key"].to_pylist()
    # New shards beside old ones cost only themselves, and so does the old one put back.
    path.write_bytes(data)
    (tmp_path / "others" / "000.tar").rename(shards / "003.tar")
    assert "3 of 4 parts are there already" in resume(store, shards)
    assert open_whole(store).rows == 80
    assert [part.content for part in open_whole(store).parts[:3]] == [
        part.content for part in before.parts
    ]


CHANGES: dict[str, Callable[[Path, bytes], object]] = {
    "grows": lambda path, data: path.write_bytes(data + bytes(512)),
    "shrinks": lambda path, data: path.write_bytes(data[: len(data) // 2]),
    "has other bytes": lambda path, data: path.write_bytes(data[::-1]),
    "is replaced by another file": lambda path, data: (
        path.with_suffix(".new").write_bytes(data[:-512]),
        path.with_suffix(".new").replace(path),
    ),
    "is touched in its middle": lambda path, data: path.write_bytes(
        data[: len(data) // 2] + b"!" + data[len(data) // 2 + 1 :]
    ),
    "is removed": lambda path, data: path.unlink(),
}


BEFORE, WHILE = 10, 30
"""Samples after which the second of three shards of 20 is changed."""


@pytest.mark.parametrize(
    ("change", "after"),
    # What is changed in the middle alone, and before it is read, is the same shard by its edges.
    [
        (change, after)
        for change in CHANGES
        for after in (BEFORE, WHILE)
        if (change, after) != ("is touched in its middle", BEFORE)
    ],
)
def test_a_shard_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, shards: Path, change: str, after: int
):
    store, path = Store(tmp_path / "store"), shards / "001.tar"
    data = path.read_bytes()
    meddler = CallOnce(after, lambda: CHANGES[change](path, data))
    with pytest.raises(ShardError, match=r"001\.tar .*(changed while|cannot be read|not a tar)"):
        plan_of(store, shards, progress=meddler, batch_size=5).make("embeddings")
    # The third shard is read meanwhile, and may be finished or not.
    published = {path.name[:3] for path in tmp_path.rglob("*.part.json")}
    assert "000" in published and "001" not in published
    assert not list(tmp_path.rglob(".tmp-*"))
    path.write_bytes(data)
    assert plan_of(store, shards).make("embeddings").rows == 60
