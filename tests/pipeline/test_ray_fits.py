"""The whole path on a Ray cluster over a bucket: fits take their samples from the nodes."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpp_pipe import Run, Store
from cpp_pipe.pipeline.making.engines.ray_rows import RayRows
from cpp_pipe.stages.contract import Silent
from cpp_pipe.stages.rows.sampled_rows import gather_rows
from cpp_pipe.stages.sources.digits import write_digit_shards
from cpp_pipe.store import Artifact
from cpp_pipe.store.manifest import PART_SUFFIX
from cpp_pipe.store.paths import StorePath

from ..buckets import below, new_bucket, s3_server, use_server
from ..forked import fork
from ..waiting import wait_until
from .cli import DIGITS, contents, succeed

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is absent: pip install ray"),
]

SHARDS = 24
_PATIENCE_SECONDS = 240
"""A lease of a killed node lasts a minute, and a busy machine is slow."""

ROWS = {("embeddings", "rows"), ("features", "z"), ("features", "c")}
"""Files that hold rows of vectors."""


@dataclass
class Nodes:
    """A Ray cluster whose nodes each keep their own copies of what is in buckets."""

    cluster: Any
    folder: Path
    patch: pytest.MonkeyPatch
    caches: dict[Any, Path] = field(default_factory=dict)

    def add(self) -> Any:
        """Adds a node with a processor."""
        cache = self.folder / f"node-{len(self.caches)}"
        self.patch.setenv("CPP_PIPE_CACHE", str(cache))
        node = self.cluster.add_node(num_cpus=1)
        self.patch.setenv("CPP_PIPE_CACHE", str(self.driver))
        self.caches[node] = cache
        return node

    def kill(self, node: Any) -> None:
        """Kills all processes of a node."""
        self.cluster.remove_node(node, allow_graceful=False)

    @property
    def driver(self) -> Path:
        """The cache of the process that runs the commands, which makes no parts of rows."""
        return self.folder / "driver"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three nodes beside the one that only coordinates, and a server of buckets."""
    import ray  # pyright: ignore[reportMissingImports]
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    folder = tmp_path_factory.mktemp("nodes")
    with s3_server() as address, pytest.MonkeyPatch.context() as patch:
        use_server(patch, address, folder)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        made = Nodes(cluster, folder, patch)
        for _ in range(3):
            made.add()
        yield made
        ray.shutdown()
        cluster.shutdown()


@dataclass(frozen=True)
class Both:
    """The same run, made by the nodes in a bucket and by this machine on a disk."""

    bucket: str
    disk: Path
    lines: str
    """What the commands on Ray reported."""


@pytest.fixture(scope="module")
def both(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Both runs; while the first is embedded, a node is killed and another added."""
    folder = tmp_path_factory.mktemp("both")
    write_digit_shards(folder / "shards", SHARDS)
    bucket = new_bucket()
    root = Store(bucket).root
    ray = ("--engine", "ray", "--address", nodes.cluster.address)
    embed = ("embed", "--shards", str(folder / "shards"), *DIGITS, "--batch-size", "1")
    with fork(*embed, *ray, "--store", bucket) as process:
        is_under_way = "three parts are embedded"
        wait_until(lambda: count_parts(root) > 2, is_under_way, _PATIENCE_SECONDS)
        nodes.kill(list(nodes.caches)[1])
        nodes.add()
        assert count_parts(root) < SHARDS
        code, _, errors = process.finish(_PATIENCE_SECONDS)
    assert code == 0, errors
    lines = make_rest(bucket, *ray)
    succeed(folder / "disk", *embed)
    make_rest(folder / "disk")
    return Both(bucket, folder / "disk", errors + lines)


def count_parts(root: StorePath) -> int:
    """The number of finished parts in a bucket."""
    return sum(path.name.endswith(PART_SUFFIX) for path in below(root))


def make_rest(store: str | Path, *engine: str) -> str:
    """Runs every command from embeddings to an index; returns their reports."""
    commands = (
        ("train", "--set", "train.features=16"),
        ("project",),
        ("spectrum", "--landmarks", "200"),
        ("select-k", "--grid", "5,10"),
        ("hierarchy",),
        ("assign", "--k", "10"),
        ("index", "--set", "index.factory=IVF4,SQ8"),
    )
    return "".join(succeed(store, *command, *engine).err for command in commands)


def copied(cache: Path, store: str) -> set[tuple[str, str]]:
    """The kinds and roles of which a cache holds a file of rows."""
    digests = {path.stem for path in cache.glob("files/*/*")}
    run = Run.open(store)
    return {
        (kind, role)
        for kind, role in ROWS
        for part in run.artifact(kind).parts
        if part.files[role].sha256 in digests
    }


def test_a_cluster_that_loses_a_node_gives_the_artifacts_of_one_machine(both: Both):
    made = contents(both.bucket)
    assert made == contents(both.disk)
    assert set(made) == {
        "embeddings", "heads", "features", "spectrum", "k_curve", "hierarchy", "assignments",
        "quantizer/features", "lists/features", "index/features",
        "quantizer/embeddings", "lists/embeddings", "index/embeddings",
    }  # fmt: skip


def test_the_machine_of_the_command_reads_no_part_of_the_rows(both: Both, nodes: Nodes):
    assert copied(nodes.driver, both.bucket) == set()
    # It has read what it needs, and the nodes have read the rows.
    assert list(nodes.driver.glob("files/*/*"))
    assert set.union(*(copied(cache, both.bucket) for cache in nodes.caches.values())) == ROWS


def test_a_killed_node_changes_no_sample(both: Both, nodes: Nodes):
    features = Run.open(both.bucket).artifact("features")
    rows = np.arange(0, features.rows, 3)
    node = nodes.add()

    def kill_it_at_work() -> None:
        wait_until(lambda: any(nodes.caches[node].glob("files/*/*")), "it reads", _PATIENCE_SECONDS)
        nodes.kill(node)

    thread = threading.Thread(target=kill_it_at_work)
    thread.start()
    draw = RayRows(address=nodes.cluster.address, progress=Silent())
    here = Artifact(Run.open(both.disk).artifact("features").folder)
    while thread.is_alive():
        assert (draw(features, "c", rows) == gather_rows(here, "c", rows)).all()
    thread.join()
    assert (draw(features, "c", rows) == gather_rows(here, "c", rows)).all()


def test_tasks_have_the_names_of_their_work_on_the_dashboard(both: Both):
    import ray  # pyright: ignore[reportMissingImports]

    names = {event["cat"].removeprefix("task::") for event in ray.timeline() or ()}
    assert {"embed", "project", "assign", "quantize", "index"} <= names
    assert {"draw embeddings", "draw features"} <= names


def test_the_samples_are_reported(both: Both):
    for line in (
        "ray: draws 896 rows from 24 parts of embeddings",
        "ray: draws 896 rows from 24 parts of features",
    ):
        assert line in both.lines
