"""Shards in buckets and on the web: listed, identified, downloaded, and retried."""

import json
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from cpp_pipe.stages.sources import remote
from cpp_pipe.stages.sources.patterns import PatternTarget, expand
from cpp_pipe.stages.sources.remote import (
    Address,
    RemoteShard,
    expand_remote,
    identify_shards,
    read_range,
)
from cpp_pipe.stages.sources.shards import EDGE_BYTES, Shard
from cpp_pipe.stages.sources.tar.shards import TarShard
from cpp_pipe.store.errors import ShardError

from ..shards import write_shards
from .web import serve

pytest.importorskip("aiohttp", reason="fsspec reads the web through aiohttp")


@pytest.fixture
def memory():
    """An empty bucket in memory."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    return files


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Two shards of digits."""
    folder = tmp_path_factory.mktemp("served")
    write_shards(folder, shards=2, size=120)
    return folder


@pytest.fixture
def web(shards, monkeypatch):
    """The same shards on the web; retries do not wait."""
    monkeypatch.setattr(remote, "PAUSES_SECONDS", (0.0, 0.0))
    with serve(shards) as served:
        yield served


def urls(pattern: str) -> list[str]:
    return [str(address) for address in expand_remote(pattern)[0]]


def samples(shard: RemoteShard | TarShard, scratch: Path) -> list:
    """All contents of a shard."""
    with shard.open(scratch) as opened:
        entries = [
            (entry.key, entry.offset, entry.size, entry.read_image()) for entry in opened.samples
        ]
        return [*entries, opened.sha256(), opened.complete]


def test_every_notation_names_the_same_addresses(memory):
    for name in ("000", "001", "002", "010"):
        memory.pipe(f"/bucket/laion/{name}.tar", b"x")
    memory.pipe("/bucket/laion/000.parquet", b"x")
    memory.pipe("/bucket/laion/.hidden.tar", b"x")
    expected = [f"memory://bucket/laion/{name}.tar" for name in ("000", "001", "002")]
    assert urls("memory://bucket/laion/{000..002}.tar") == expected
    assert urls("memory://bucket/laion/<000..002>.tar") == expected
    names = ["000.tar", "001.tar", "002.tar", "010.tar"]
    for pattern in ("laion/*.tar", "laion/", "laion"):
        assert [Address(url).name for url in urls(f"memory://bucket/{pattern}")] == names


def test_addresses_that_do_not_exist_are_missing(memory):
    memory.pipe("/bucket/0.tar", b"x")
    found, missing = expand_remote("memory://bucket/{0..2}.tar")
    assert [str(address) for address in found] == ["memory://bucket/0.tar"]
    assert missing == ["memory://bucket/1.tar", "memory://bucket/2.tar"]
    assert expand_remote("memory://bucket/7.tar") == ([], ["memory://bucket/7.tar"])
    with pytest.raises(ShardError, match="finds no shard"):
        expand_remote("memory://bucket/{7..9}.tar")
    with pytest.raises(ShardError, match="finds no shard"):
        expand_remote("memory://bucket/*.wds")


def test_addresses_mix_with_paths_and_lists(memory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    memory.pipe("/bucket/0.tar", b"x")
    Path("1.tar").touch()
    Path("list.txt").write_text("memory://bucket/0.tar\n1.tar\n")
    target = PatternTarget(expand_remote=expand_remote)
    matches = expand(["@list.txt", "memory://bucket/{0..1}.tar"], target)
    assert [str(place) for place in matches.found] == ["memory://bucket/0.tar", "1.tar"]
    assert matches.missing == ("memory://bucket/1.tar",)
    assert [str(place) for place in matches.duplicates] == ["memory://bucket/0.tar"]
    with pytest.raises(ShardError, match=r"the shard memory://bucket/9\.tar does not exist: check"):
        expand(["memory://bucket/9.tar"], target)


@pytest.mark.parametrize("where", ["memory", "web"])
def test_a_remote_shard_is_the_same_as_a_local_copy(memory, web, shards, tmp_path, where):
    for path in shards.glob("*.tar"):
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
    base = "memory://bucket" if where == "memory" else web.url
    remote_shards = identify_shards([Address(f"{base}/{n:03d}.tar") for n in range(2)])
    for n, shard in enumerate(remote_shards):
        local = TarShard.of(shards / f"{n:03d}.tar")
        assert shard.size > 2 * 64 * 1024
        assert (shard.identity, shard.part_name) == (local.identity, local.part_name)
        assert samples(shard, tmp_path) == samples(local, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_identifying_a_shard_reads_only_its_edges(web):
    RemoteShard.of(Address(f"{web.url}/000.tar"))
    assert web.ranges == [EDGE_BYTES, EDGE_BYTES]
    assert web.requests.count("GET /000.tar") == 2


def test_a_name_is_the_last_component_without_the_query():
    assert Address("https://host/a/000.tar?token=a/b").name == "000.tar"
    assert Address("s3://bucket/what?/000.tar").name == "000.tar"


def test_a_query_in_an_address_is_not_a_glob(web):
    assert urls(f"{web.url}/000.tar?token=1") == [f"{web.url}/000.tar?token=1"]
    assert RemoteShard.of(Address(f"{web.url}/000.tar?token=1")).name == "000.tar"


def test_a_web_page_that_lists_a_folder_names_its_shards(web):
    assert urls(f"{web.url}/") == [f"{web.url}/000.tar", f"{web.url}/001.tar"]


def test_a_passing_error_is_retried(web, shards, tmp_path):
    web.failures = {"GET /000.tar": [503, 0], "HEAD /000.tar": [500]}
    shard = RemoteShard.of(Address(f"{web.url}/000.tar"))
    assert shard.identity == Shard.of(shards / "000.tar").identity
    web.failures = {"GET /000.tar": [0, 503]}
    assert len(samples(shard, tmp_path)) == 122
    assert web.failures == {"GET /000.tar": []}


def test_a_lasting_error_is_reported_once_and_leaves_no_files(web, tmp_path):
    shard = RemoteShard.of(Address(f"{web.url}/000.tar"))
    web.failures = {"GET /000.tar": [0] * 10}
    with pytest.raises(ShardError, match=r"http.*/000\.tar cannot be read after 3 tries: "):
        samples(shard, tmp_path)
    assert len(web.failures["GET /000.tar"]) == 7
    assert list(tmp_path.iterdir()) == []


def test_a_denied_request_is_not_retried(web, tmp_path):
    shard = RemoteShard.of(Address(f"{web.url}/000.tar"))
    web.failures = {"GET /000.tar": [403] * 10}
    with pytest.raises(ShardError, match=r"cannot be read: ClientResponseError: 403"):
        samples(shard, tmp_path)
    assert len(web.failures["GET /000.tar"]) == 9


def test_an_unreachable_server_is_an_error_not_a_missing_shard(web):
    with pytest.raises(ShardError, match="cannot be read after 3 tries: Client"):
        expand_remote("http://127.0.0.1:9/000.tar")


def test_a_server_without_range_requests_is_refused_before_the_download(web):
    web.supports_ranges = False
    with pytest.raises(ShardError, match="supports no range requests: download it first"):
        RemoteShard.of(Address(f"{web.url}/000.tar"))


def test_an_image_is_one_range_request(web, shards):
    content = (shards / "001.tar").read_bytes()
    assert read_range(f"{web.url}/001.tar", 1536, 1000) == content[1536:2536]
    with pytest.raises(ShardError, match="ends before byte"):
        read_range(f"{web.url}/001.tar", len(content) - 10, 20)
    with pytest.raises(ShardError, match="cannot be read"):
        read_range(f"{web.url}/gone.tar", 0, 20)


def test_an_error_in_a_downloaded_copy_names_its_address(memory, tmp_path):
    memory.pipe("/bucket/0.tar", b"no tar at all, " * 100)
    shard = RemoteShard.of(Address("memory://bucket/0.tar"))
    with pytest.raises(ShardError, match=r"the shard memory://bucket/0\.tar is not a tar"):
        samples(shard, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["memory", "disk", "web"])
def test_the_counts_of_img2dataset_are_found_beside_a_shard(
    memory, shards, tmp_path, monkeypatch, where
):
    content = (shards / "000.tar").read_bytes()
    stats = json.dumps({"count": 150, "successes": 119}).encode()
    for name, value in (("000.tar", content), ("000_stats.json", stats), ("001.tar", content)):
        memory.pipe(f"/bucket/{name}", value)
        (tmp_path / name).write_bytes(value)

    def counted(shard: RemoteShard | TarShard) -> int | None:
        with shard.open(tmp_path) as opened:
            return opened.facts.get("stats_successes")

    with serve(tmp_path) as web:
        base = {"memory": "memory://bucket", "web": web.url}.get(where)
        found = [
            TarShard.of(tmp_path / name) if base is None else
            RemoteShard.of(Address(f"{base}/{name}"))
            for name in ("000.tar", "001.tar")
        ]  # fmt: skip
        assert [counted(shard) for shard in found] == [119, None]


@pytest.mark.parametrize(
    ("address", "module", "message"),
    [
        ("s3://bucket/0.tar", "s3fs", "pip install 'cpp-pipe[s3]'"),
        ("gs://bucket/0.tar", "gcsfs", "pip install 'cpp-pipe[gcs]'"),
        ("https://example.org/0.tar", "aiohttp", "pip install 'cpp-pipe[http]'"),
        ("nonesuch://bucket/0.tar", "s3fs", "has an unknown protocol: use s3://"),
    ],
)
def test_a_missing_package_for_a_protocol_names_the_extra(tmp_path, address, module, message):
    # In another process: fsspec keeps what it has loaded.
    words = ["embed", "--shards", address, "--store", str(tmp_path)]
    code = f"import sys; sys.modules[{module!r}] = None; sys.argv[1:] = {words}"
    code += "; from cpp_pipe.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cpp-pipe: {address} ") and message in done.stderr
