"""Packing a folder of images: keys and bytes, and all shards or none."""

import os
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_expander

from cpp_pipe.stages.sources.tar.listing import scan, split_name
from cpp_pipe.stages.sources.tar.writer import Packed, distinct, key_of, pack_folder
from cpp_pipe.store.errors import ConfigError, ShardError

from .image_files import png, write_image


def packed(root: Path, out: Path, shard_size: int = 1000, prefix: str = "") -> Packed:
    return pack_folder(
        root, out, shard_size=shard_size, prefix=prefix, report=lambda done, total: None
    )


def members(*shards: Path) -> dict[str, bytes]:
    found = {}
    for path in shards:
        with tarfile.open(path) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}  # pyright: ignore
    return found


def test_images_and_their_text_files_are_copied_unchanged(tmp_path):
    root = tmp_path / "photos"
    write_image(root / "top.PNG")
    write_image(root / "my cats" / "v1.2 final.png", 1)
    (root / "my cats" / "v1.2 final.txt").write_text(" a cat\n")
    (root / "my cats" / "v1.2 final.json").write_text('{"a": 1}')
    (root / "my cats" / "v1.2 final.cls").write_text("7")
    (root / "my cats" / "notes.txt").write_text("not an image")
    (root / "broken.jpg").write_bytes(b"not an image")
    done = packed(root, tmp_path / "out", prefix="p-")
    assert [path.name for path in done.shards] == ["p-00000.tar"]
    assert (done.images, done.renamed, done.skipped) == (3, (), ())
    assert members(*done.shards) == {
        "broken.jpg": b"not an image",
        "top.png": png(0),
        "my_cats/v1_2_final.png": png(1),
        "my_cats/v1_2_final.txt": b" a cat\n",
        "my_cats/v1_2_final.json": b'{"a": 1}',
        "my_cats/v1_2_final.cls": b"7",
    }


def test_webdataset_and_our_reader_find_every_image(tmp_path):
    for number in range(7):
        write_image(tmp_path / "in" / f"a {number % 3}" / f"{number}.x.png", number)
    done = packed(tmp_path / "in", tmp_path / "out", shard_size=3)
    assert [path.name for path in done.shards] == ["00000.tar", "00001.tar", "00002.tar"]
    theirs = {}
    for path in done.shards:
        with path.open("rb") as stream:
            files = tar_file_expander([{"url": str(path), "stream": stream}])
            theirs |= {sample["__key__"]: sample["png"] for sample in group_by_keys(files)}
    ours = [sample.key for path in done.shards for sample in scan(path).samples]
    assert list(theirs) == ours and len(ours) == 7
    assert all(scan(path).complete for path in done.shards)
    assert sorted(theirs.values()) == sorted(png(number) for number in range(7))


def test_the_same_images_give_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        for number in range(3):
            write_image(tmp_path / folder / f"{number}.png", number)
    os.utime(tmp_path / "two" / "1.png", (1, 1))
    shards = packed(tmp_path / "one", tmp_path / "a").shards
    others = packed(tmp_path / "two", tmp_path / "b").shards
    assert [path.read_bytes() for path in shards] == [path.read_bytes() for path in others]


def test_keys_that_are_taken_get_a_number_and_are_reported(tmp_path):
    for name in ("a b.png", "a.b.png", "a_b.jpg", "a_b.png", "a_b-2.png"):
        write_image(tmp_path / "in" / name)
    done = packed(tmp_path / "in", tmp_path / "out")
    assert done.images == 5 and len(scan(done.shards[0]).samples) == 5
    assert done.renamed == (
        ("a.b.png", "a_b-2"),
        ("a_b-2.png", "a_b-2-2"),
        ("a_b.jpg", "a_b-3"),
        ("a_b.png", "a_b-4"),
    )


@given(st.lists(st.text("a_. -\t\x80é", min_size=1, max_size=6), min_size=1, max_size=3))
def test_a_key_is_read_back_as_it_was_written(pieces):
    key = key_of("/".join(f"x{piece}" for piece in pieces))
    assert split_name(f"{key}.jpg") == (key, "jpg")
    assert not set(key) & set(" .\t")


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("https://x.org/id/7/", "https://x_org/id/7_"),
        ("a/__MACOSX/b", "a/MACOSX/b"),
        ("....../a", "__/a"),
        ("", "_"),
    ],
)
def test_no_key_of_a_table_makes_members_without_a_key(key, written):
    """`curate` and `export webdataset` wrote images that no reader of the shards found."""
    assert key_of(key) == written
    assert split_name(f"{written}.jpg") == (written, "jpg")


def test_many_equal_keys_get_their_numbers_at_once():
    """Each was counted from 1: curating tables whose keys are row numbers took hours."""
    taken: dict[str, int] = {}
    keys = [distinct(key, taken) for key in ("0", "0-2", "0", "0-2")]
    assert keys == ["0", "0-2", "0-3", "0-2-2"]
    began = time.monotonic()
    many = {distinct("0", taken) for _ in range(30_000)}
    assert len(many) == 30_000 and "0-30003" in many
    assert time.monotonic() - began < 10


def test_images_in_a_folder_name_that_webdataset_reserves_are_packed(tmp_path):
    write_image(tmp_path / "in" / "__images__" / "a.png")
    done = packed(tmp_path / "in", tmp_path / "out")
    assert [sample.key for sample in scan(done.shards[0]).samples] == ["images__/a"]


def test_an_unreadable_image_is_skipped_and_reported(tmp_path):
    write_image(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").symlink_to(tmp_path / "nowhere")
    done = packed(tmp_path / "in", tmp_path / "out")
    assert done.images == 1
    assert done.skipped == (("b.png", "unreadable", "No such file or directory"),)
    (tmp_path / "in" / "a.png").unlink()
    with pytest.raises(ConfigError, match=r"no image in .* could be read: b\.png"):
        packed(tmp_path / "in", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_nothing_is_overwritten(tmp_path):
    write_image(tmp_path / "in" / "a.png")
    (tmp_path / "out").mkdir()
    assert packed(tmp_path / "in", tmp_path / "out").images == 1
    before = members(tmp_path / "out" / "00000.tar")
    write_image(tmp_path / "in" / "b.png")
    with pytest.raises(
        ConfigError, match="exists already, and nothing is overwritten: name a new folder"
    ):
        packed(tmp_path / "in", tmp_path / "out")
    assert members(tmp_path / "out" / "00000.tar") == before
    with pytest.raises(ConfigError, match="exists already"):
        packed(tmp_path / "in", tmp_path / "in" / "a.png")


def test_an_interrupted_packing_leaves_no_shards(tmp_path):
    for number in range(4):
        write_image(tmp_path / "in" / f"{number}.png", number)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_folder(tmp_path / "in", tmp_path / "out", shard_size=2, prefix="", report=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_another_kind_of_folder_names_its_flag(tmp_path):
    (tmp_path / "a.tar").touch()
    with pytest.raises(ConfigError, match="holds tar shards, not a folder of images: use --shards"):
        packed(tmp_path, tmp_path / "out")
    with pytest.raises(ShardError, match="there is no folder"):
        packed(tmp_path / "nowhere", tmp_path / "out")
