"""Inputs named through symbolic links: the named file is the one that is read."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe import Run
from cpp_pipe.pipeline.config import CONFIGS
from cpp_pipe.pipeline.making.named_inputs import (
    absolute_file,
    absolute_patterns,
    vocabulary_setting,
)
from cpp_pipe.pipeline.making.vocabularies import words_stage
from cpp_pipe.pipeline.view.images import read_row
from cpp_pipe.stages.sources.images.folders import shard_name
from cpp_pipe.store.digest import digest_file
from cpp_pipe.store.paths import absolute

from ..stages.shards import write_shards
from ..stages.sources.image_files import png, write_folder, write_image
from .cli import DIGITS, embed, succeed
from .curation.world import members

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


def test_images_behind_a_link_and_dots_are_the_named_ones(folder: Path):
    write_image(folder / "far" / "photos" / "named.png", 1)
    write_image(folder / "here" / "photos" / "other.png", 2)
    succeed(folder / "store", "embed", "--images", "link/../photos", *DIGITS)
    assert keys(folder / "store") == ["named.png"]


def test_shards_behind_a_link_and_dots_are_the_named_ones(folder: Path):
    write_shards(folder / "far" / "shards", shards=2, size=2)
    write_shards(folder / "here" / "shards", shards=2, size=3, first=50)
    embed(folder / "store", "link/../shards/{000..001}.tar")
    assert len(keys(folder / "store")) == 4
    # The run means the same files in another folder.
    os.chdir(folder)
    succeed(folder / "store", "embed")
    assert len(keys(folder / "store")) == 4


def test_a_folder_has_its_own_name_even_if_named_by_dots(folder: Path):
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
    assert absolute_patterns([named]) == (meant.replace("HERE", str(folder / "here")),)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(["below", "link", "..", ".", "far", "here", ""]), max_size=8))
def test_an_absolute_path_leads_to_the_same_file(tmp_path_factory, names: list[str]):
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


# What a run records of its inputs.


def as_a_hub_keeps_them(folder: Path, files: list[Path]) -> Path:
    """A folder of links with the names of files, which lie elsewhere under their digests."""
    blobs, links = folder / "blobs", folder / "snapshot"
    blobs.mkdir()
    links.mkdir()
    for file in files:
        blob = file.replace(blobs / digest_file(file))
        (links / file.name).symlink_to(Path("..", "blobs", blob.name))
    return links


def images_of(store: Path) -> dict[str, bytes]:
    """The bytes of every row's image."""
    run = Run.open(store)
    artifact = run.artifact("embeddings")
    sources = run.record.sources
    return {key: read_row(artifact, sources, n) for n, key in enumerate(artifact.column("key"))}


def test_shards_that_are_links_to_files_of_other_names_are_found_again(tmp_path: Path):
    """huggingface_hub stores its downloads like this."""
    links = as_a_hub_keeps_them(tmp_path, write_shards(tmp_path / "in", shards=2, size=5))
    store = tmp_path / "store"
    embed(store, links)
    assert set(Run.open(store).record.sources.values()) == {
        str(links / "000.tar"),
        str(links / "001.tar"),
    }
    kept = members(links / "000.tar", links / "001.tar")
    assert images_of(store) == {
        name.removesuffix(".png"): kept[name] for name in kept if name.endswith(".png")
    }
    succeed(store, "curate", "--drop-duplicates", "--above", "0.999", "--out", tmp_path / "kept")


def test_images_behind_a_linked_folder_are_found_again(tmp_path: Path):
    write_folder(tmp_path / "2019", 6)
    (tmp_path / "photos").symlink_to("2019")
    store = tmp_path / "store"
    succeed(store, "embed", "--images", tmp_path / "photos", *DIGITS)
    assert len(images_of(store)) == 6
    out = tmp_path / "kept"
    succeed(store, "curate", "--drop-duplicates", "--above", "0.999", "--out", out)


def test_images_that_a_linked_table_names_are_found_again(tmp_path: Path):
    write_image(tmp_path / "here" / "1.png", 1)
    table = tmp_path / "blob"
    pq.write_table(pa.table({"image": ["1.png"], "key": ["one"]}), table)
    (tmp_path / "here" / "table.parquet").symlink_to(table)
    store = tmp_path / "store"
    succeed(store, "embed", "--table", tmp_path / "here" / "table.parquet", *DIGITS)
    assert images_of(store) == {"one": png(1)}


# Files that are read by their suffix, which the target of a link may lack.


def linked(folder: Path, file: Path) -> Path:
    """A link with the name of a file, which lies elsewhere under its digest."""
    return as_a_hub_keeps_them(folder, [file]) / file.name


def test_weights_that_are_a_link_to_a_file_of_another_name_are_read(tmp_path: Path):
    shards = write_shards(tmp_path / "in", shards=1, size=3)
    copy = shutil.copy(CONFIGS / "digits-clip.safetensors", tmp_path)
    weights = linked(tmp_path, Path(copy))
    named = ("--model-config", CONFIGS / "digits-clip.json", "--pretrained", weights)
    store = tmp_path / "store"
    succeed(store, "embed", "--shards", *shards, *named)
    assert Run.open(store).artifact("embeddings").facts["model"]["pretrained"] == weights.name
    assert "nothing to do" in succeed(store, "embed").err


def test_a_link_to_weights_with_a_suffix_is_followed(tmp_path: Path):
    """Embeddings that were made through such a link keep their version."""
    shutil.copy(CONFIGS / "digits-clip.safetensors", tmp_path / "v2.safetensors")
    (tmp_path / "newest.safetensors").symlink_to("v2.safetensors")
    named = absolute_file(str(tmp_path / "newest.safetensors"))
    assert named == str(tmp_path / "v2.safetensors")


@pytest.mark.parametrize("form", ["npz", "parquet", "txt"])
def test_vocabularies_that_are_links_to_files_of_other_names_are_read(tmp_path: Path, form: str):
    path = tmp_path / f"words.{form}"
    if form == "npz":
        np.savez(path, name=np.array(["cat", "dog"]), t=np.eye(2))
    elif form == "parquet":
        pq.write_table(pa.table({"name": ["cat", "dog"]}), path)
    else:
        path.write_text("cat\ndog\n")
    named = vocabulary_setting([str(linked(tmp_path, path))])
    assert named is not None
    stage, files = words_stage(named, (), "--vocabulary")
    (vocabulary,) = stage.vocabularies
    assert vocabulary.read(files[vocabulary.part_name]).names == ("cat", "dog")
