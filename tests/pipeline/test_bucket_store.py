"""The whole path over a store in a bucket: the same commands, the same content as on a disk."""

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from cpp_pipe import Run, Store, search
from cpp_pipe.pipeline.making.engines import ray
from cpp_pipe.stages.contract import Runtime, Silent
from cpp_pipe.store import StoreError
from cpp_pipe.store.kinds import EMBEDDINGS
from cpp_pipe.store.leases import SUFFIX

from ..buckets import below, change_json, new_bucket, s3_server, use_server
from ..forked import fork
from ..stages.shards import write_shards
from ..stages.world import plan_of
from .cli import DIGITS, SMALL, call, contents, embed, fail, succeed

pytestmark = pytest.mark.slow

_PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Both:
    """The same run in two stores."""

    disk: Path
    bucket: str
    shards: Path
    cache: Path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """A store on a disk and one in a bucket, after all commands that make something."""
    folder = tmp_path_factory.mktemp("both")
    write_shards(folder / "shards")
    with s3_server() as address, pytest.MonkeyPatch.context() as patch:
        use_server(patch, address, folder)
        made = Both(folder / "artifacts", new_bucket(), folder / "shards", folder / "cache")
        run_commands(made.disk, made.shards, workers=1)
        run_commands(made.bucket, made.shards, workers=2)
        yield made


def run_commands(store: Path | str, shards: Path, workers: int) -> None:
    """Every command that makes something."""
    embed(store, shards, more=["--workers", str(workers)])
    succeed(store, "train", *SMALL)
    succeed(store, "select-k", "--grid", "5,10")
    succeed(store, "hierarchy")
    succeed(store, "assign", "--k", "10")
    succeed(store, "caption", "--vocabulary", "digits-words.txt")
    succeed(store, "index")


# What is made, and read.


def test_contents_equal_those_of_a_store_on_a_disk(both: Both):
    found = contents(both.bucket)
    assert found == contents(both.disk)
    assert set(found) == {
        "embeddings", "heads", "features", "spectrum", "k_curve", "hierarchy", "assignments",
        "words", "captions", "index/features", "index/embeddings",
    }  # fmt: skip


def test_no_command_leaves_a_lease_or_scratch(both: Both):
    there = below(Store(both.bucket).root)
    assert len(there) > 30
    assert not [path for path in there if path.name.endswith(SUFFIX)]
    assert not list((both.cache / "scratch").iterdir())


def test_queries_find_the_same(both: Both):
    disk, bucket = Run.open(both.disk), Run.open(both.bucket)
    key = disk.artifact("embeddings").column("key")[7]
    for query in (("--text", "a photo of the handwritten digit seven"), ("--key", key)):
        words = ["search", *query, "--json", "-n", "3"]
        assert json.loads(succeed(both.bucket, *words).out) == json.loads(
            succeed(both.disk, *words).out
        )
    assert search(store=both.bucket, key=key, n=2) == disk.search(key=key, n=2)
    assert bucket.image(0).tobytes() == disk.image(0).tobytes()


def test_commands_that_read_a_store_read_a_bucket(both: Both):
    assert "run default" in succeed(both.bucket, "status").out
    tree = json.loads(succeed(both.bucket, "lineage", "captions", "--json").out)
    assert tree["content"] == contents(both.disk)["captions"]
    scores = [succeed(store, "eval", "--json").out for store in (both.disk, both.bucket)]
    assert scores[0] == scores[1]
    assert "artifacts are intact" in succeed(both.bucket, "verify").out
    assert succeed(both.bucket, "gc", "--yes").out.splitlines()[0] == "0 items removed, 0.0 MiB"


def test_a_report_lies_beside_the_artifacts(both: Both, tmp_path: Path):
    printed = succeed(both.bucket, "report").out.strip()
    assert printed == f"{both.bucket}/reports/default.html"
    page = (Store(both.bucket).root / "reports" / "default.html").read_text(encoding="utf-8")
    succeed(both.bucket, "report", "--out", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    assert page.rstrip().endswith("</html>")


def test_another_machine_reads_everything(both: Both, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("CPP_PIPE_CACHE", str(tmp_path))
    disk, bucket = Run.open(both.disk), Run.open(both.bucket)
    for slot in bucket.record.versions:
        ours, theirs = disk.artifact(slot), bucket.artifact(slot)
        for part in ours.parts:
            for role in part.files:
                here, there = ours.path(part.name, role), theirs.path(part.name, role)
                assert there.is_relative_to(tmp_path)
                assert there.read_bytes() == here.read_bytes()
    assert bucket.search(text="seven", n=3) == disk.search(text="seven", n=3)


def test_the_store_can_be_named_by_the_environment(both: Both, monkeypatch):
    monkeypatch.setenv("CPP_PIPE_STORE", both.bucket)
    assert "run default" in call(None, "status").out


def test_an_absent_bucket_gives_one_line(both: Both):
    assert "there is no bucket 'absent'" in fail("s3://absent/path", "status")


# What is there is not made again.


def test_the_same_commands_again_have_nothing_to_do(both: Both):
    assert "nothing to do" in embed(both.bucket, both.shards).err
    assert "nothing to do" in succeed(both.bucket, "index").err


def test_new_shards_cost_only_themselves(both: Both, tmp_path: Path):
    write_shards(tmp_path / "more", shards=1, first=200)
    (tmp_path / "more" / "000.tar").rename(tmp_path / "more" / "new.tar")
    done = embed(both.bucket, both.shards, tmp_path / "more", more=["--run", "grown"])
    assert "3 of 4 parts are there already" in done.err
    assert Run.open(both.bucket, "grown").artifact("embeddings").rows == 80


class Recorded(Silent):
    """Progress that is stopped when a line holds some words."""

    def __init__(self, stop_at: str = "") -> None:
        self.lines: list[str] = []
        self._stop_at = stop_at

    def report(self, line: str) -> None:
        """Keeps a line; KeyboardInterrupt at the words."""
        if self._stop_at and self._stop_at in line:
            raise KeyboardInterrupt
        self.lines.append(line)


def test_training_continues_from_the_checkpoint_on_this_machine(both: Both):
    store = Store(both.bucket)
    stopped, whole = Recorded(stop_at="train: kept"), Recorded()
    with pytest.raises(KeyboardInterrupt):
        plan_of(store, both.shards, progress=stopped).make("heads", asked_by="test")
    assert len(list((both.cache / "checkpoints").glob("*/training.safetensors"))) == 1
    heads = plan_of(store, both.shards, progress=whole).make("heads", asked_by="test")
    assert [line for line in whole.lines if line.startswith("train: continues at step")]
    assert not list((both.cache / "checkpoints").iterdir())
    undisturbed = plan_of(Store(both.disk), both.shards).make("heads", asked_by="test")
    assert heads.content == undisturbed.content


# Ray.


def test_a_ray_node_needs_no_folder_where_everything_is_in_a_bucket(both: Both, tmp_path: Path):
    runtime = Runtime(device="cpu")
    before = Path.cwd()
    for store in (both.bucket, both.disk):
        job = plan_of(Store(store), both.shards).job("embeddings")
        draft = Store(store).draft(job.stage.recipe(job.stage.parts({}, job.runtime)))
        if store is both.bucket:
            maker = ray._open_maker(job.stage, draft, {}, runtime, tmp_path / "absent")
            assert maker.kind_name == "embeddings"
        else:
            with pytest.raises(StoreError, match=r"has no folder .*absent.* or the store"):
                ray._open_maker(job.stage, draft, {}, runtime, tmp_path / "absent")
    assert Path.cwd() == before


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is absent: pip install ray")
def test_ray_tasks_make_the_same_content(both: Both):
    bucket = new_bucket()
    words = ["embed", "--shards", str(both.shards), *DIGITS, "--engine", "ray", "--store", bucket]
    # A cluster of its own, and not one that another test has started on this machine.
    with fork(*words, env={**os.environ, "RAY_ADDRESS": "local"}) as process:
        code, _, err = process.finish()
    assert code == 0, err
    assert contents(bucket)["embeddings"] == contents(both.disk)["embeddings"]


# A worker that dies.


def test_another_worker_makes_the_parts_of_a_killed_one(both: Both):
    bucket = new_bucket()
    words = ["embed", "--shards", str(both.shards), *DIGITS, "--batch-size", "1"]
    root, began = Store(bucket).root, time.monotonic()
    with fork(*words, "--store", bucket) as process:
        while not [path for path in below(root) if path.parent.name == "locks"]:
            assert process.poll() is None and time.monotonic() - began < _PATIENCE_SECONDS
        os.kill(process.pid, signal.SIGKILL)
        assert process.finish()[0] == -signal.SIGKILL
    assert Store(bucket).find(EMBEDDINGS, Run.open(both.disk).record.versions["embeddings"]) is None
    left = [path for path in below(root) if path.name.endswith(SUFFIX)]
    assert root / "writers" in {path.parent for path in left}
    assert "another command is writing" in fail(bucket, "gc", "--yes")
    for path in left:
        change_json(path, expires=0)
    succeed(bucket, *words)
    assert contents(bucket)["embeddings"] == contents(both.disk)["embeddings"]
    assert "left behind by a process that was stopped" in succeed(bucket, "gc", "--yes").out
    assert not [path for path in below(root) if path.name.endswith(SUFFIX)]
