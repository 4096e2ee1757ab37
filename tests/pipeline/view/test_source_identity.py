"""A foreign store cannot make this machine read or request forbidden places."""

from pathlib import Path

import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.images import Images
from cpp_pipe.pipeline.serve.mapped_folder import MappedFolder
from cpp_pipe.pipeline.serve.row_fields import RowFields
from cpp_pipe.pipeline.view.source_identity import require_inside, require_public_address
from cpp_pipe.store import MissingError, ShardError

from ...stages.sources.image_files import write_folder
from ...store.stores import rewrite
from ..cli import DIGITS, embed, succeed


def name_source(store: Path, place: Path | str) -> None:
    """Puts a place into the record of the run, as a foreign store could."""
    rewrite(
        store / "runs" / "default" / "run.json",
        lambda record: record.update(sources=dict.fromkeys(record["sources"], str(place))),
    )


@pytest.fixture
def store(tmp_path, digit_shards) -> Path:
    """Digits of tar shards."""
    embed(tmp_path / "store", digit_shards)
    return tmp_path / "store"


def images_of(run: Run, folder: Path) -> Images:
    """The images of a run as `serve` reads them."""
    return Images(run, RowFields(run.artifact("embeddings"), MappedFolder(folder)))


@pytest.mark.parametrize("name", ["secret.txt", "other.tar", "image.png", "folder"])
def test_only_the_shard_that_was_embedded_is_read(store, tmp_path, digit_shards, name):
    place = tmp_path / name
    if name == "folder":
        place.mkdir()
    else:
        shard = sorted(digit_shards.glob("*.tar"))[0]
        place.write_bytes(b"secret " * 20_000 + shard.read_bytes())
    name_source(store, place)
    run = Run.open(store)
    for row in (0, run.artifact("embeddings").rows - 1):
        with pytest.raises(MissingError, match="cannot be read"):
            images_of(run, tmp_path).original(row)
        with pytest.raises(MissingError, match="cannot be read"):
            run.image(row)


def test_a_shard_may_be_moved(store, tmp_path, digit_shards):
    run = Run.open(store)
    before = [run.image(row).tobytes() for row in (0, 59)]
    moved = tmp_path / "moved"
    moved.mkdir()
    for shard in digit_shards.glob("*.tar"):
        (moved / shard.name).write_bytes(shard.read_bytes())
    embed(store, moved)
    run = Run.open(store)
    assert all(Path(place).parent == moved for place in run.record.sources.values())
    assert [run.image(row).tobytes() for row in (0, 59)] == before


def test_a_folder_of_other_files_gives_nothing(tmp_path):
    write_folder(tmp_path / "photos", 3)
    succeed(tmp_path / "store", "embed", "--images", tmp_path / "photos", *DIGITS)
    key = Run.open(tmp_path / "store").artifact("embeddings").column("key")[0]
    (tmp_path / "other" / key).parent.mkdir(parents=True)
    (tmp_path / "other" / key).write_text("secret")
    name_source(tmp_path / "store", tmp_path / "other")
    with pytest.raises(MissingError, match="changed since it was embedded"):
        images_of(Run.open(tmp_path / "store"), tmp_path).original(0)


@pytest.mark.parametrize(
    "key", ["/etc/passwd", "../x.png", "a/../../x.png", "..\\x.png", "C:\\x.png", "\\\\host\\x.png"]
)
def test_a_key_that_leaves_its_folder_is_refused(key):
    with pytest.raises(ShardError, match="outside"):
        require_inside(Path("photos"), key)


@pytest.mark.parametrize("key", ["a.png", "a/b c.png", "..a/b..png", "…/ä.png"])
def test_a_key_inside_its_folder_is_allowed(key):
    require_inside(Path("photos"), key)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:8000/x.tar",
        "http://localhost/x.tar",
        "http://[::1]/x.tar",
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.7/x.tar",
        "https://printer.local/x.tar",
        "simplecache::http://example.org/x.tar",
        "ssh://example.org/x.tar",
        "github://org:repo@/x.tar",
        "file:///etc/passwd",
        "memory://x.tar",
    ],
)
def test_a_dangerous_address_is_not_followed(address):
    with pytest.raises(ShardError, match="not followed where a run names it"):
        require_public_address(address)


def test_an_environment_variable_allows_any_address(monkeypatch):
    monkeypatch.setenv("CPP_PIPE_FOLLOW_ALL", "1")
    require_public_address("http://127.0.0.1:8000/x.tar")


@pytest.mark.parametrize("address", ["s3://bucket/x.tar", "gs://b/x.tar", "https://example.org/x"])
def test_buckets_and_the_web_are_followed(address):
    require_public_address(address)
