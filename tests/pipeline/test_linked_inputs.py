"""Inputs that are named through symbolic links: the file that is read is the one that was named."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe import Run
from cpp_pipe.pipeline.making.named_inputs import anchored
from cpp_pipe.stages.sources.images.folders import shard_name
from cpp_pipe.store.paths import absolute

from ..stages.shards import write_shards
from ..stages.sources.image_files import write_folder, write_image
from .cli import DIGITS, embed, succeed

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows takes `..` for the folder before")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a link `link` to `far/deep`."""
    (tmp_path / "here" / "below").mkdir(parents=True)
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "far" / "deep")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def keys(store: Path) -> list[str]:
    return sorted(Run.open(store).artifact("embeddings").column("key"))


def test_images_behind_a_link_and_its_parent_are_those_that_were_named(folder: Path):
    write_image(folder / "far" / "photos" / "named.png", 1)
    write_image(folder / "here" / "photos" / "other.png", 2)
    succeed(folder / "store", "embed", "--images", "link/../photos", *DIGITS)
    assert keys(folder / "store") == ["named.png"]


def test_shards_behind_a_link_and_its_parent_are_those_that_were_named(folder: Path):
    write_shards(folder / "far" / "shards", shards=2, size=2)
    write_shards(folder / "here" / "shards", shards=2, size=3, first=50)
    embed(folder / "store", "link/../shards/{000..001}.tar")
    assert len(keys(folder / "store")) == 4
    # The run means the same files in another folder.
    os.chdir(folder)
    succeed(folder / "store", "embed")
    assert len(keys(folder / "store")) == 4


def test_a_folder_is_called_as_it_is_named_or_as_the_folder_that_dots_lead_to(folder: Path):
    assert shard_name(Path("link"), "") == "link"
    assert shard_name(Path("link/.."), "a/b") == "far/a/b"
    assert shard_name(Path("link/../.."), "") == folder.name
    assert shard_name(Path("below/.."), "") == "here"
    assert shard_name(Path("."), "") == "here"
    assert shard_name(Path("/"), "") == "root"
    assert shard_name(Path("/.."), "") == "root"


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("a.tar", "HERE/a.tar"),
        ("./below/.//a.tar", "HERE/below/a.tar"),
        ("below/../a.tar", "HERE/a.tar"),
        ("../here/a.tar", "HERE/a.tar"),
        ("link/../a.tar", "HERE/link/../a.tar"),
        ("link/../../a.tar", "HERE/link/../../a.tar"),
        ("below/../link/../{0..9}.tar", "HERE/link/../{0..9}.tar"),
        ("*/../a.tar", "HERE/*/../a.tar"),
        ("/../a.tar", "/a.tar"),
        ("@link/../list.txt", "@HERE/link/../list.txt"),
        ("s3://bucket/a/../b.tar", "s3://bucket/a/../b.tar"),
    ],
)
def test_a_named_input_means_the_same_in_every_folder(folder: Path, named: str, meant: str):
    assert anchored([named]) == (meant.replace("HERE", str(folder / "here")),)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(["below", "link", "..", ".", "far", "here", ""]), max_size=8))
def test_an_absolute_path_leads_where_the_path_leads(tmp_path_factory, names: list[str]):
    top = tmp_path_factory.getbasetemp() / "linked"
    if not top.exists():
        write_folder(top / "here" / "below", 1)
        (top / "far" / "deep").mkdir(parents=True)
        (top / "here" / "link").symlink_to(top / "far" / "deep")
        (top / "far" / "here").symlink_to(top / "here")
    path = os.path.join(top, "here", *filter(None, names))
    assert os.path.exists(absolute(path)) == os.path.exists(path)
    if os.path.exists(path):
        assert os.path.samefile(absolute(path), path)
