"""Shards in an S3 bucket, through the real command: the same result as from a disk, and errors."""

import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cpp_pipe import Run
from cpp_pipe.stages.sources import remote
from cpp_pipe.stages.sources.remote import Address, RemoteShard
from cpp_pipe.store import Artifact, ShardError

from ...buckets import s3_server, use_server
from ...pipeline.cli import DIGITS, embed, fail
from ..shards import write_shards

pytest.importorskip("s3fs", reason="fsspec reads S3 through s3fs: pip install 'cpp-pipe[s3]'")

BUCKET = "pictures"
ALL = f"s3://{BUCKET}/laion/{{000..002}}.tar"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server."""
    with s3_server() as address:
        yield address


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of digits on a disk."""
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder)
    return folder


@pytest.fixture(scope="module")
def local(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The embeddings made from the disk."""
    store = tmp_path_factory.mktemp("local")
    embed(store, shards)
    return embeddings(store)


@pytest.fixture
def bucket(
    server: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The file system of a bucket with the same shards; retries do not wait."""
    use_server(monkeypatch, server, tmp_path)
    monkeypatch.setattr(remote, "PAUSES_SECONDS", (0.0,))
    files = fresh()
    files.mkdir(BUCKET)
    for path in shards.glob("*.tar"):
        files.put_file(str(path), f"{BUCKET}/laion/{path.name}")
    yield files
    fresh().rm(BUCKET, recursive=True)


def fresh() -> Any:
    """A file system without cached listings, as in a new process."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    return S3FileSystem()


def embeddings(store: Path) -> Artifact:
    """The embeddings of the default run of a store."""
    return Run.open(store).artifact("embeddings")


def put(files: Any, name: str, content: bytes) -> None:
    """Writes a shard, and drops cached listings."""
    files.pipe_file(f"{BUCKET}/laion/{name}", content)
    fresh()


@pytest.mark.parametrize(
    "pattern",
    [
        ALL,
        f"s3://{BUCKET}/laion/<000..002>.tar",
        f"s3://{BUCKET}/laion/*.tar",
        f"s3://{BUCKET}/laion",
    ],
)
def test_every_notation_for_a_bucket_gives_the_content_of_the_disk(
    bucket: Any, local: Artifact, tmp_path: Path, pattern: str
):
    done = embed(tmp_path / "store", pattern)
    assert "found 3 shards" in done.err
    assert "seen 60 = embedded 60 + skipped 0" in done.out
    made = embeddings(tmp_path / "store")
    assert (made.version, made.content) == (local.version, local.content)
    assert [part.facts for part in made.parts] == [part.facts for part in local.parts]


def test_shards_copied_into_a_bucket_are_not_embedded_again(
    bucket: Any, shards: Path, tmp_path: Path
):
    embed(tmp_path / "store", shards)
    assert "is there already: nothing to do" in embed(tmp_path / "store", ALL).err


def test_an_image_is_read_out_of_its_remote_shard(bucket: Any, shards: Path, tmp_path: Path):
    embed(tmp_path / "there", ALL)
    embed(tmp_path / "here", shards)
    there, here = (Run.open(tmp_path / name).image(25) for name in ("there", "here"))
    assert there.tobytes() == here.tobytes()


@pytest.mark.slow
def test_worker_processes_read_a_bucket(bucket: Any, local: Artifact, tmp_path: Path):
    embed(tmp_path / "store", ALL, more=["--workers", "2"])
    assert embeddings(tmp_path / "store").content == local.content


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--shards", "s3://nonesuch/{000..002}.tar"], "there is no bucket 'nonesuch'; check its"),
        (["--shards", "s3://nonesuch/000.tar"], "there is no bucket 'nonesuch'"),
        (["--shards", "s3://nonesuch/*.tar"], "there is no bucket 'nonesuch'"),
        (["--shards", "s3://nonesuch/laion/"], "there is no bucket 'nonesuch'"),
        (
            ["--shards", f"s3://{BUCKET}/laion/9.tar"],
            "laion/9.tar does not exist: check the address and your right to read",
        ),
        (
            ["--shards", f"s3://{BUCKET}/laion/{{000..004}}.tar"],
            "missing: {003..004}.tar: restore them",
        ),
        (["--shards", f"s3://{BUCKET}/laion/*.wds"], "finds no shard: check the address"),
        (["--shards", f"s3://{BUCKET}/coyo/"], "finds no shard: that folder holds no .tar"),
        (["--table", f"s3://{BUCKET}/a.parquet"], "only local tables can be read: download it"),
        (["--images", f"s3://{BUCKET}/laion"], "from elsewhere only tar shards are read"),
    ],
)
def test_a_missing_source_says_what_to_do(
    bucket: Any, tmp_path: Path, flags: list[str], message: str
):
    assert message in fail(tmp_path / "store", "embed", *flags, *DIGITS)
    assert not (tmp_path / "store").exists()


def test_missing_shards_are_skipped_where_that_is_allowed(bucket: Any, tmp_path: Path):
    pattern = f"s3://{BUCKET}/laion/{{000..004}}.tar"
    done = embed(tmp_path / "store", pattern, more=["--allow-partial"])
    assert "found 3 of 5 shards; missing: {003..004}.tar" in done.err
    assert "seen 60 = embedded 60" in done.out


def without_credentials(server: str, patch: pytest.MonkeyPatch) -> None:
    """Removes the credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.delenv(name)


def with_wrong_credentials(server: str, patch: pytest.MonkeyPatch) -> None:
    """Makes the server refuse the credentials."""
    allow_requests(server, "0")


def with_a_bad_address(server: str, patch: pytest.MonkeyPatch) -> None:
    """Sets an invalid server address."""
    patch.setenv("AWS_ENDPOINT_URL", "nonsense")


def allow_requests(server: str, count: str) -> None:
    """Makes moto check credentials after this many more requests."""
    url, kind = f"{server}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(url, count.encode(), kind)).close()


@pytest.mark.parametrize("pattern", [ALL, f"s3://{BUCKET}/laion/*.tar"], ids=["named", "glob"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            without_credentials,
            r"no credentials for s3://pictures/laion/.*: for s3:// set AWS_ACCESS_KEY_ID and "
            r"AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for gs://",
        ),
        (
            with_wrong_credentials,
            r"s3://pictures/laion/.* may not be read .*: check whose credentials these are",
        ),
        (
            with_a_bad_address,
            r"s3://pictures/laion/.* cannot be reached: Invalid endpoint: nonsense",
        ),
    ],
)
def test_an_inaccessible_bucket_says_what_to_do(
    bucket: Any,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[str, pytest.MonkeyPatch], None],
    message: str,
    pattern: str,
):
    with monkeypatch.context() as patch:
        spoil(server, patch)
        fresh()
        try:
            line = fail(tmp_path / "store", "embed", "--shards", pattern, *DIGITS)
        finally:
            allow_requests(server, "inf")
    fresh()
    assert re.search(message, line), line
    assert not (tmp_path / "store").exists()


def test_a_public_bucket_is_read_without_credentials(
    bucket: Any, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import fsspec

    bucket.chmod(BUCKET, "public-read")
    for path in bucket.ls(f"{BUCKET}/laion"):
        bucket.chmod(path, "public-read")
    with monkeypatch.context() as patch:
        without_credentials(server, patch)
        patch.setitem(fsspec.config.conf, "s3", {})
        # As fsspec does on import.
        fsspec.config.set_conf_env(fsspec.config.conf, {"FSSPEC_S3_ANON": "true"})
        fresh()
        assert "seen 60" in embed(tmp_path / "store", ALL).out
    fresh()


def test_only_a_shard_that_changes_is_embedded_again(
    bucket: Any, shards: Path, local: Artifact, tmp_path: Path
):
    store = tmp_path / "store"
    embed(store, ALL)
    (other,) = write_shards(tmp_path / "other", shards=1, size=15, first=100)
    put(bucket, "001.tar", other.read_bytes())
    done = embed(store, ALL)
    assert "2 of 3 parts are there already" in done.err
    assert "seen 55 = embedded 55" in done.out
    put(bucket, "001.tar", (shards / "001.tar").read_bytes())
    embed(store, ALL)
    assert embeddings(store).content == local.content


@pytest.mark.parametrize("size", [5000, 20480])
def test_a_shard_that_changes_after_it_was_identified_is_refused(
    bucket: Any, tmp_path: Path, size: int
):
    put(bucket, "000.tar", b"a" * 20480)
    shard = RemoteShard.of(Address(f"s3://{BUCKET}/laion/000.tar"))
    bucket.pipe_file(f"{BUCKET}/laion/000.tar", b"b" * size)
    message = r"s3://.*/000\.tar was changed while it was embedded: nothing of it is kept"
    with pytest.raises(ShardError, match=message), shard.open(tmp_path):
        pass
    assert not list(tmp_path.glob("fetched*"))


def test_a_shard_deleted_after_it_was_identified_is_a_clear_error(bucket: Any, tmp_path: Path):
    shard = RemoteShard.of(Address(f"s3://{BUCKET}/laion/000.tar"))
    bucket.rm(f"{BUCKET}/laion/000.tar")
    with pytest.raises(ShardError, match=r"000\.tar cannot be read: "), shard.open(tmp_path):
        pass
