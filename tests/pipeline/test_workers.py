"""Processes that share the parts of one store: by `--worker i/n`, and by `--workers` one a GPU."""

import os
import random
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.chaos import finish, start
from cpp_pipe.pipeline import threads
from cpp_pipe.pipeline.device import Share, divide_machine
from cpp_pipe.pipeline.making.engines.local import make_in_parallel, make_parts
from cpp_pipe.pipeline.making.engines.part_maker import order_for_worker
from cpp_pipe.stages.contract import Part, Runtime, Silent, Stage
from cpp_pipe.stages.sources.digits import write_digit_shards
from cpp_pipe.store import Draft, Product, Scratch, Store
from cpp_pipe.store.kinds import FEATURES, Kind
from cpp_pipe.store.locks import lock

from ..store.stores import recipe, write_features
from ..waiting import wait_until
from .cli import DIGITS, SMALL, embed, fail, open_whole, succeed

SHARDS = 12
_PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shards, and a store in which one process made what two processes share."""
    folder = tmp_path_factory.mktemp("alone")
    write_digit_shards(folder / "shards", SHARDS)
    embed(folder / "store", folder / "shards")
    succeed(folder / "store", "train", *SMALL)
    shutil.copytree(folder / "store", folder / "trained")
    succeed(folder / "store", "assign", "--k", "10")
    return folder


def words(alone: Path, worker: str) -> list[str]:
    """The words of an embed command of one worker."""
    return ["embed", "--shards", str(alone / "shards"), *DIGITS, "--worker", worker]


def embed_as(worker: str, alone: Path, store: Path) -> ForkServerProcess:
    """Starts one worker in a process of its own; its output goes to a file beside the store."""
    output = store.parent / f"{worker[0]}.txt"
    return start([*words(alone, worker), "--store", store], output)


def finished_parts(store: Path) -> list[Path]:
    """The small files of all finished parts, the oldest first."""
    return sorted(store.rglob("*.part.json"), key=lambda path: path.stat().st_mtime_ns)


def test_two_processes_import_what_one_imports(tmp_path):
    (tmp_path / "img_emb").mkdir()
    for number in range(3):
        rows = np.random.default_rng(number).standard_normal((20, 8), np.float32)
        np.save(tmp_path / "img_emb" / f"img_emb_{number}.npy", rows)
    for workers in ("1", "2"):
        words = ("import", tmp_path, "--model", "ViT-B-32", "--workers", workers)
        succeed(tmp_path / workers, *words)
    one, two = (open_whole(tmp_path / workers) for workers in ("1", "2"))
    assert one.rows == 60 and one.content == two.content


# Who takes which part.


@given(st.integers(0, 30), st.integers(1, 9))
def test_workers_begin_with_their_shares_and_then_help_with_the_rest(parts, workers):
    all_parts = [Part(name=str(number), sources={}) for number in range(parts)]
    turns = [order_for_worker(all_parts, (worker, workers)) for worker in range(workers)]
    shares = [all_parts[worker::workers] for worker in range(workers)]
    for turn, share in zip(turns, shares, strict=True):
        assert turn[: len(share)] == share
        assert sorted(part.name for part in turn) == sorted(part.name for part in all_parts)


def test_a_worker_begins_with_its_share(alone: Path, tmp_path: Path):
    store = tmp_path / "store"
    succeed(store, *words(alone, "1/3"))
    order = [path.name for path in finished_parts(store)]
    assert order[: SHARDS // 3] == sorted(order)[1::3]
    assert open_whole(store).content == open_whole(alone / "store").content


@pytest.mark.parametrize(
    ("worker", "allowed"),
    [
        ("8/8", "from 0/8 to 7/8"),
        ("-1/2", "I/N, such as 0/8 to 7/8"),
        ("0/0", "I/N"),
        ("1", "I/N"),
        ("one/two", "I/N"),
        ("", "I/N"),
    ],
)
def test_an_invalid_worker_is_refused_with_valid_ones(tmp_path: Path, worker: str, allowed: str):
    line = fail(tmp_path, "project", "--worker", worker)
    assert f"--worker must be {allowed}" in line and f"got {worker!r}" in line
    assert not any(tmp_path.iterdir())


def test_an_absent_engine_is_named_before_any_work(tmp_path: Path):
    assert "--engine must be local or ray, got 'spark'" in fail(
        tmp_path, "project", "--engine", "spark"
    )
    if find_spec("ray") is None:
        line = fail(tmp_path, "project", "--engine", "ray")
        assert "pip install 'cpp-pipe[ray]'" in line


# Which device each has.


@given(st.integers(1, 20), st.integers(1, 9), st.integers(1, 70))
def test_processes_take_gpus_in_turn_and_divide_the_cores(workers, gpus, cores):
    shares = divide_machine(workers, "cuda", gpus=gpus, cores=cores)
    assert [share.device for share in shares] == [f"cuda:{n % gpus}" for n in range(workers)]
    used = Counter(share.device for share in shares)
    assert len(used) == min(workers, gpus)
    assert max(used.values()) - min(used.values()) <= 1
    threads = [share.threads for share in shares]
    assert max(threads) - min(threads) <= 1
    assert sum(threads) == max(cores, workers)


@pytest.mark.parametrize("name", ["cpu", "mps", "cuda:1"])
def test_all_processes_share_a_named_device(name: str):
    shares = divide_machine(4, name, gpus=8 if name == "cuda:1" else 0, cores=16)
    assert shares == (Share(device=name, threads=4),) * 4


def threads_of_all_libraries() -> int:
    """The number of threads of each library whose threads can sleep."""
    import threadpoolctl
    import torch

    pools = threadpoolctl.threadpool_info()
    counts = {pool["num_threads"] for pool in pools if pool.get("threading_layer") != "pthreads"}
    (count,) = {*counts, torch.get_num_threads(), int(os.environ["OMP_NUM_THREADS"])}
    return count


@dataclass(frozen=True, kw_only=True)
class RecordsProcess(Stage):
    """A stage whose parts record their process; each process waits until all have begun."""

    name: ClassVar[str] = "test"
    kind: ClassVar[Kind] = FEATURES
    revision: ClassVar[int] = 1
    processes: int

    def make(
        self, part: Part, prepared: None, inputs: object, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Writes one part, with the process' number, its device and its threads."""
        begun = scratch.checkpoints.parent / "begun"
        begun.mkdir(exist_ok=True)
        (begun / str(os.getpid())).touch()
        wait_until(lambda: len(list(begun.iterdir())) >= self.processes)
        facts = {
            "process": os.getpid(),
            "device": runtime.device,
            "threads": str(threads_of_all_libraries()),
        }
        return replace(write_features(scratch), facts=facts)


def parts_of(store: Path, count: int) -> tuple[Draft, list[Part]]:
    """A draft, and its parts."""
    made_so = recipe(parts=tuple(f"part-{number}" for number in range(count)))
    parts = [Part(name=name, sources=source) for name, source in made_so.parts.items()]
    return Store(store).draft(made_so), parts


def test_each_process_takes_one_share_and_keeps_it(tmp_path: Path):
    shares = tuple(Share(device=f"cpu:{number}", threads=number + 1) for number in range(2))
    draft, parts = parts_of(tmp_path, 6)
    assert make_in_parallel(RecordsProcess(processes=2), draft, parts, {}, Runtime(), shares) == []
    facts = [record.facts for record in draft.finished().values()]
    assert len(facts) == 6
    by_process = {part["process"]: (part["device"], part["threads"]) for part in facts}
    assert all(by_process[part["process"]] == (part["device"], part["threads"]) for part in facts)
    assert sorted(by_process.values()) == [("cpu:0", "1"), ("cpu:1", "2")]
    assert os.getpid() not in by_process


def test_a_thousand_shares_block_nothing(tmp_path: Path):
    """More than about 740 filled the pipe from which workers take them, before any started."""
    draft, parts = parts_of(tmp_path, 2)
    shares = (Share(device="cpu", threads=1),) * 1000
    assert make_in_parallel(RecordsProcess(processes=2), draft, parts, {}, Runtime(), shares) == []


class Lines(Silent):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, line: str) -> None:
        """Keeps a line."""
        self.lines.append(line)


def test_more_processes_than_a_machine_can_hold_are_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(threads, "most_processes", lambda: 2)
    draft, parts = parts_of(tmp_path, 4)
    runtime = Runtime(workers=900, progress=Lines())
    assert make_parts(RecordsProcess(processes=2), draft, parts, {}, runtime) == []
    assert len({record.facts["process"] for record in draft.finished().values()}) == 2
    assert isinstance(runtime.progress, Lines)
    assert runtime.progress.lines == [
        "2 processes instead of 4: at most 4 are started for each processor"
    ]


# Several at once.


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_any_number_of_workers_makes_the_same_content(alone: Path, tmp_path: Path, count: int):
    store = tmp_path / "store"
    workers = [embed_as(f"{number}/{count}", alone, store) for number in range(count)]
    assert [finish(worker) for worker in workers] == [0] * count
    for number in range(count):
        output = (tmp_path / f"{number}.txt").read_text()
        assert "seen 896 = embedded 896 + skipped 0" in output
    assert open_whole(store).content == open_whole(alone / "store").content


@pytest.mark.slow
def test_a_killed_worker_leaves_its_parts_to_the_others(alone: Path, tmp_path: Path):
    store = tmp_path / "store"
    workers = [embed_as(f"{number}/3", alone, store) for number in range(3)]
    wait_until(lambda: len(finished_parts(store)) >= 2)
    workers[1].kill()
    workers[1].join()
    assert workers[1].exitcode != 0
    assert len(finished_parts(store)) < SHARDS
    assert [finish(workers[0]), finish(workers[2])] == [0, 0]
    assert open_whole(store).content == open_whole(alone / "store").content


@pytest.mark.slow
def test_two_workers_refine_and_assign_like_one(alone: Path, tmp_path: Path):
    store = shutil.copytree(alone / "trained", tmp_path / "store")
    workers = [
        start(
            ["assign", "--k", "10", "--worker", f"{number}/2", "--store", store],
            tmp_path / f"{number}.txt",
        )
        for number in range(2)
    ]
    assert [finish(worker) for worker in workers] == [0, 0]
    for slot in ("features", "spectrum", "assignments"):
        assert open_whole(store, slot).content == open_whole(alone / "store", slot).content
    for number in range(2):
        assert "896 rows in 10 clusters" in (tmp_path / f"{number}.txt").read_text()


# Parts that others hold.


def lock_of_a_part(alone: Path, store: Path) -> Path:
    """The lock of the last part of the embeddings."""
    whole = open_whole(alone / "store")
    return store / "embeddings" / whole.version / "locks" / whole.parts[-1].name


def test_a_worker_that_does_not_wait_leaves_held_parts_to_others(alone: Path, tmp_path: Path):
    store = tmp_path / "store"
    left = [*words(alone, "0/2"), "--no-wait"]
    with lock(lock_of_a_part(alone, store)):
        done = succeed(store, *left)
    assert "other workers are still making 1 of 12 parts of embeddings" in done.err
    assert "the last to finish publishes" in done.err
    assert done.out == ""
    assert Store(store).artifacts() == []
    assert "unfinished" in succeed(store, "status").out
    assert "seen 896" in succeed(store, *left).out
    assert open_whole(store).content == open_whole(alone / "store").content


def hold(path: Path, is_held: Path) -> None:
    """Holds a lock until it is killed."""
    with lock(path):
        is_held.touch()
        time.sleep(_PATIENCE_SECONDS)


@pytest.mark.slow
def test_the_part_of_a_dead_peer_is_taken_over(alone: Path, tmp_path: Path):
    store, output = tmp_path / "store", tmp_path / "0.txt"
    path, is_held = lock_of_a_part(alone, store), tmp_path / "held"
    peer = get_context("forkserver").Process(target=hold, args=(path, is_held))
    peer.start()
    wait_until(is_held.exists)
    worker = embed_as("0/2", alone, store)
    wait_until(lambda: output.is_file() and "waiting for 1 part that" in output.read_text())
    assert len(finished_parts(store)) == SHARDS - 1
    time.sleep(0.5)
    assert worker.is_alive()
    peer.kill()
    peer.join()
    assert finish(worker) == 0
    assert open_whole(store).content == open_whole(alone / "store").content


@dataclass(frozen=True, kw_only=True)
class Slow(Stage):
    """A stage whose parts take a few milliseconds."""

    name: ClassVar[str] = "test"
    kind: ClassVar[Kind] = FEATURES
    revision: ClassVar[int] = 1

    def make(
        self, part: Part, prepared: None, inputs: object, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Writes one part after a pause; raises FileExistsError if it exists."""
        time.sleep(random.Random(f"{part.name}{runtime.worker}").uniform(0, 0.004))
        (scratch.checkpoints.parent / f"made-{part.name}").touch(exist_ok=False)
        return write_features(scratch)


@pytest.mark.parametrize(("wait", "rounds"), [(False, 20), (True, 3)])
def test_one_finishing_worker_sees_every_part(tmp_path: Path, wait: bool, rounds: int):
    names = tuple(f"part-{number}" for number in range(7))
    for number in range(rounds):
        made_so = recipe(parts=names, config={"round": number})
        parts = [Part(name=name, sources=made_so.parts[name]) for name in names]

        def work(worker: int, made_so=made_so, parts=parts) -> tuple[Draft, list[Part]]:
            draft = Store(tmp_path).draft(made_so)
            runtime = Runtime(worker=(worker, 4), wait=wait)
            return draft, make_parts(Slow(), draft, parts, {}, runtime)

        with ThreadPoolExecutor(4) as pool:
            ended = list(pool.map(work, range(4)))
        draft = ended[0][0]
        assert sorted(draft.finished()) == sorted(names)
        left = [parts for _, parts in ended]
        assert [] in left
        assert not wait or left == [[]] * 4
