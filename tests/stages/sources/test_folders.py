"""Folders of images: which images are found, how they are split into chunks, and their texts."""

import hashlib
import json
import ntpath
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.sources.changes import digest_contents
from cpp_pipe.stages.sources.fields import MAX_TEXT_BYTES
from cpp_pipe.stages.sources.images import tree
from cpp_pipe.stages.sources.images.files import EDGE_BYTES, ImageFile, fingerprint_files
from cpp_pipe.stages.sources.images.folders import (
    MAX_IMAGES,
    FolderChunk,
    find_chunks,
    image_path,
    split_chunks,
)
from cpp_pipe.stages.sources.images.pixels import UndecodableImage
from cpp_pipe.stages.sources.images.tree import FolderImage, walk
from cpp_pipe.store.errors import ConfigError, ShardError

from ...rights import file_modes_hold
from .image_files import png, write_image


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def keys(root: Path) -> list[str]:
    return [
        f"{folder}/{image.name}" if folder else image.name
        for folder, images in walk(root)
        for image in images
    ]


def read(chunk: FolderChunk) -> dict[str, tuple[str, dict]]:
    """Caption and extra by key."""
    with chunk.open(Path()) as opened:
        fields = {entry.key: entry.fields() for entry in opened.samples}
    return {key: (value.caption or "", json.loads(value.extra)) for key, value in fields.items()}


def test_images_are_found_below_the_folder_in_natural_order(tmp_path):
    touch(tmp_path, "b.jpg", "a10.png", "a9.png", "cats/2.webp", "cats/old/1.gif", "birds/x.bmp")
    assert keys(tmp_path) == [
        "a9.png", "a10.png", "b.jpg", "birds/x.bmp", "cats/2.webp", "cats/old/1.gif",
    ]  # fmt: skip


def test_only_image_suffixes_count_in_any_case(tmp_path):
    touch(tmp_path, "a.JPG", "b.Jpeg", "c.TIFF", "d.txt", "e.jpg.part", "f", "g.tar", "h.mov")
    assert keys(tmp_path) == ["a.JPG", "b.Jpeg", "c.TIFF"]


def test_files_of_operating_systems_are_skipped(tmp_path):
    touch(tmp_path, "a.jpg", "._a.jpg", ".thumbs/a.jpg", "__MACOSX/a.jpg", "@eaDir/a/b.jpg")
    assert keys(tmp_path) == ["a.jpg"]


def test_what_a_store_beside_the_images_made_of_them_is_skipped(tmp_path):
    """Where `--images .` made the store, its figures were embedded when images were added."""
    store = touch(tmp_path / "artifacts", "store.json", "lock", "runs/default/run.json",
                  "k_curve/0/parts/a.png", "sprites/0/parts/0.jpg", "shards/b.jpg")  # fmt: skip
    touch(tmp_path, "a.jpg", "embeddings/c.jpg")
    assert keys(tmp_path) == ["a.jpg", "artifacts/shards/b.jpg", "embeddings/c.jpg"]
    (store / "store.json").unlink()
    assert "artifacts/sprites/0/parts/0.jpg" in keys(tmp_path)


def test_a_link_to_a_folder_is_followed_once_and_never_in_a_circle(tmp_path):
    root = touch(tmp_path / "root", "cats/1.jpg")
    elsewhere = touch(tmp_path / "elsewhere", "2.jpg", "deep/3.jpg")
    (root / "up").symlink_to(tmp_path)
    (root / "cats" / "round").symlink_to(root)
    (root / "again").symlink_to(root / "cats")
    (root / "one").symlink_to(elsewhere)
    (root / "two").symlink_to(elsewhere)
    (elsewhere / "deep" / "loop").symlink_to(elsewhere)
    (elsewhere / "deep" / "home").symlink_to(root)
    assert keys(root) == ["cats/1.jpg", "one/2.jpg", "one/deep/3.jpg"]


def test_a_linked_folder_on_another_drive_of_windows_is_not_around_its_images(monkeypatch):
    """Paths of two drives have no common path, which ended `embed` in a traceback."""
    monkeypatch.setattr(tree.os, "path", ntpath)
    assert not tree._overlap("D:\\more", "C:\\photos")
    assert tree._overlap("C:\\photos\\more", "C:\\photos")
    assert tree._overlap("C:\\", "C:\\photos")
    assert not tree._overlap("C:\\photos2", "C:\\photos")


def test_a_folder_named_like_an_image_is_a_folder(tmp_path):
    touch(tmp_path, "album.jpg/1.jpg")
    assert keys(tmp_path) == ["album.jpg/1.jpg"]


@given(st.lists(st.text("ab012", min_size=1, max_size=5), max_size=40, unique=True))
def test_chunks_hold_every_image_in_order(names):
    images = [FolderImage(name, {}) for name in names]
    chunks = list(split_chunks(images))
    assert [image for chunk in chunks for image in chunk] == images
    assert all(chunks)


def test_a_chunk_has_at_most_a_thousand_images():
    chunks = list(split_chunks(FolderImage(f"{n}.jpg", {}) for n in range(20_000)))
    assert max(map(len, chunks)) == MAX_IMAGES
    assert len(chunks) < 60  # not much smaller on average: each chunk is four files in the store


def names_of_chunks(names: list[str]) -> list[tuple[str, ...]]:
    chunks = split_chunks(FolderImage(name, {}) for name in names)
    return [tuple(image.name for image in chunk) for chunk in chunks]


@pytest.mark.parametrize("where", [0, 1, 7_000, 20_000])
def test_an_inserted_image_changes_only_a_few_chunks(where):
    names = [f"IMG_{n:05d}.jpg" for n in range(20_000)]
    before = names_of_chunks(names)
    names.insert(where, "new.jpg")
    after = names_of_chunks(names)
    assert len(set(after) - set(before)) <= 4


def test_a_folder_is_split_into_chunks_and_never_joined_with_another(tmp_path):
    names = [f"many/{n}.jpg" for n in range(1100)]
    touch(tmp_path, *names, "few/1.jpg", "0.jpg")
    chunks = find_chunks(tmp_path)
    assert [chunk.folder for chunk in chunks][:2] == ["", "few"]
    assert {chunk.folder for chunk in chunks[2:]} == {"many"} and len(chunks) > 3
    assert [chunk.name for chunk in chunks][:2] == [tmp_path.name, f"{tmp_path.name}/few"]
    assert len({chunk.part_name for chunk in chunks}) == len(chunks)


def test_moving_the_folder_changes_no_chunk(tmp_path):
    root = tmp_path / "photos"
    write_image(root / "a.png")
    write_image(root / "cats" / "b.png", 1)
    before = [(chunk.identity, chunk.part_name, chunk.name) for chunk in find_chunks(root)]
    (tmp_path / "other").mkdir()
    moved = Path(shutil.move(root, tmp_path / "other"))
    after = [(chunk.identity, chunk.part_name, chunk.name) for chunk in find_chunks(moved)]
    assert after == before
    renamed = moved.rename(tmp_path / "images")
    # Its name is the value of the column `shard` in every row.
    identities = {chunk.identity for chunk in find_chunks(renamed)}
    assert identities.isdisjoint(identity for identity, _, _ in before)


@pytest.mark.parametrize("at", [0, 4095, -1, -4096])
def test_a_changed_byte_at_either_end_changes_only_its_chunk(tmp_path, at):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "big.jpg").write_bytes(bytes(50_000))
    touch(tmp_path, "b/1.jpg")
    before = find_chunks(tmp_path)
    content = bytearray(50_000)
    content[at] ^= 1
    (tmp_path / "a" / "big.jpg").write_bytes(content)
    after = find_chunks(tmp_path)
    assert after[0].identity != before[0].identity
    assert after[1].identity == before[1].identity


def test_a_changed_caption_or_size_is_noticed_but_not_a_time(tmp_path):
    path = write_image(tmp_path / "a.png")
    identities = [find_chunks(tmp_path)[0].identity]
    os.utime(path, (1, 1))
    assert find_chunks(tmp_path)[0].identity == identities[0]
    for text in ("a cat", "a dog"):
        (tmp_path / "a.txt").write_text(text)
        identities.append(find_chunks(tmp_path)[0].identity)
    path.write_bytes(path.read_bytes() + b"more")
    identities.append(find_chunks(tmp_path)[0].identity)
    assert len(set(identities)) == 4


def test_text_files_beside_an_image_become_its_fields(tmp_path):
    write_image(tmp_path / "cats" / "a.b.PNG")
    (tmp_path / "cats" / "a.b.TXT").write_text(" a cat \n")
    (tmp_path / "cats" / "a.b.json").write_text(
        json.dumps({"url": "http://x", "NSFW": None, "stars": 5, "text": "other"})
    )
    (tmp_path / "cats" / "a.b.cls").write_text("tabby\n")
    write_image(tmp_path / "top.png")
    chunks = find_chunks(tmp_path)
    with chunks[1].open(tmp_path) as opened:
        (sample,) = opened.samples
        fields = sample.fields()
    assert sample.key == "cats/a.b.PNG" and sample.offset == 0
    assert (fields.caption, fields.label, fields.url) == ("a cat", "tabby", "http://x")
    extra = {"folder": "cats", "NSFW": None, "stars": 5, "text": "other"}
    assert json.loads(fields.extra) == extra
    assert read(chunks[0]) == {"top.png": ("", {"folder": tmp_path.name})}


def test_the_users_own_field_named_folder_is_kept(tmp_path):
    write_image(tmp_path / "a.png")
    (tmp_path / "a.json").write_text('{"folder": "mine"}')
    assert read(find_chunks(tmp_path)[0])["a.png"][1] == {"folder": "mine"}


def test_unreadable_texts_are_noted_with_the_reason(tmp_path):
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a.json").write_text("{broken")
    extra = read(find_chunks(tmp_path)[0])["a.png"][1]
    assert extra["txt_error"] == "No such file or directory" and "json_error" in extra


@pytest.mark.parametrize("what", ["pipe", "device"])
def test_a_text_that_is_no_file_is_noted_and_not_read(tmp_path, what):
    write_image(tmp_path / "a.png")
    text = tmp_path / "a.txt"
    if what == "pipe":
        os.mkfifo(text)  # opening it waits for a writer
    else:
        text.symlink_to("/dev/zero")  # its size is 0, and it never ends
    extra = read(find_chunks(tmp_path)[0])["a.png"][1]
    assert extra["txt_error"] == "a folder, a pipe or a device"


def test_a_text_that_is_too_long_is_noted_after_other_fields(tmp_path):
    write_image(tmp_path / "a.png")
    (tmp_path / "a.json").write_text('{"stars": 5}')
    for size in (MAX_TEXT_BYTES, MAX_TEXT_BYTES + 1):
        (tmp_path / "a.txt").write_bytes(b"x" * size)
        caption, extra = read(find_chunks(tmp_path)[0])["a.png"]
        assert len(caption) == (size if size <= MAX_TEXT_BYTES else 0)
    why = f"{MAX_TEXT_BYTES + 1} bytes, more than {MAX_TEXT_BYTES}"
    assert list(extra.items()) == [("folder", tmp_path.name), ("stars", 5), ("txt_error", why)]


def test_unreadable_images_are_skipped_with_a_reason(tmp_path):
    write_image(tmp_path / "whole.png")
    (tmp_path / "broken-link.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    (chunk,) = find_chunks(tmp_path)
    reasons = {}
    with chunk.open(tmp_path) as opened:
        assert opened.complete and opened.suffixes == {"png": 3}
        for entry in opened.samples:
            try:
                assert entry.read_image() == png(0) and entry.size == len(png(0))
                reasons[entry.key] = ""
            except UndecodableImage as error:
                reasons[entry.key] = f"{error.reason}: {error.detail}"
    assert reasons == {
        "broken-link.png": "unreadable: No such file or directory",
        "pipe.png": "not_a_file: a folder, a pipe or a device",
        "whole.png": "",
    }


@pytest.mark.parametrize("name", ["a.png", "a.txt"])
@pytest.mark.parametrize("becomes", ["nothing", "a folder"])
@pytest.mark.parametrize("again", [False, True])
def test_a_file_that_vanished_after_it_was_listed_is_an_error(tmp_path, name, becomes, again):
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a cat")
    (chunk,) = find_chunks(tmp_path)
    chunk = chunk.with_content("content") if again else chunk
    (tmp_path / name).unlink()
    if becomes == "a folder":
        (tmp_path / name).mkdir()
    message = f"{name} could be read when it was listed, but no longer .*: .* run the same command"
    with chunk.open(tmp_path) as opened:
        (entry,) = opened.samples
        read_it = entry.read_image if name == "a.png" else entry.fields
        with pytest.raises(ShardError, match=message):
            read_it()


@pytest.mark.parametrize("name", ["a.png", "a.txt"])
@pytest.mark.parametrize("again", [False, True])
def test_a_file_that_changed_since_it_was_listed_is_refused(tmp_path, name, again):
    """Its part would hold other rows than its name says, for every copy of the listed folder."""
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a cat")
    (chunk,) = find_chunks(tmp_path)
    chunk = chunk.with_content("content") if again else chunk
    with chunk.open(tmp_path) as opened:
        assert opened.samples[0].read_image() == png(0)
    (tmp_path / name).write_bytes(png(1) if name == "a.png" else b"a dog")
    with (
        pytest.raises(ShardError, match="was changed while it was embedded"),
        chunk.open(tmp_path) as opened,
    ):
        assert opened.samples[0].read_image() == png(1 if name == "a.png" else 0)
    with chunk.open(tmp_path) as opened:
        opened.samples[0].fields()  # not all images are read


@pytest.mark.parametrize("size", [1, EDGE_BYTES, EDGE_BYTES + 1, 2 * EDGE_BYTES, 3 * EDGE_BYTES])
def test_what_was_read_has_the_fingerprint_of_what_was_listed(tmp_path, size):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(number % 251 for number in range(size)))
    file = ImageFile(path, was_readable=True)
    file.read()
    assert [file.fingerprint] == [found for found, _ in fingerprint_files([str(path)])]


def test_the_digest_of_a_missing_source_is_an_error(tmp_path):
    write_image(tmp_path / "photos" / "a.png")
    (chunk,) = find_chunks(tmp_path / "photos")
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    with pytest.raises(ShardError, match="No such file"):
        digest_contents(chunk)


def test_the_digest_is_of_the_bytes_that_were_read(tmp_path):
    def digest(root: Path) -> str:
        (chunk,) = find_chunks(root)
        with chunk.open(root) as opened:
            for entry in opened.samples:
                entry.read_image()
            return opened.sha256()

    write_image(tmp_path / "one" / "a.png")
    write_image(tmp_path / "two" / "a.png")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    (tmp_path / "two" / "a.png").write_bytes(png(1))
    assert digest(tmp_path / "one") != digest(tmp_path / "two")


@pytest.mark.parametrize("size", [2 * EDGE_BYTES + 1, MAX_TEXT_BYTES])
def test_the_digest_covers_the_middle_of_long_texts(tmp_path, size):
    write_image(tmp_path / "a.png")
    text = bytearray(b"x" * size)
    found = []
    for letter in b"xy":
        text[size // 2] = letter
        (tmp_path / "a.txt").write_bytes(text)
        (chunk,) = find_chunks(tmp_path)
        with chunk.open(tmp_path) as opened:
            (entry,) = opened.samples
            entry.read_image()
            assert entry.fields().caption == text.decode()
            found.append((chunk.identity, opened.sha256()))
        # Whatever was read of it before: a sample that is skipped has no fields.
        assert digest_contents(chunk) == digest_contents(chunk.with_content("x")) == found[-1][1]
    (before, after), digests = zip(*found, strict=True)
    assert before == after and digests[0] != digests[1]


@pytest.mark.parametrize("size", [2 * EDGE_BYTES, MAX_TEXT_BYTES + 1])
def test_the_digest_omits_short_texts_and_texts_that_are_not_read(tmp_path, size):
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(b"x" * size)
    known = f"a.png\0{hashlib.sha256(png(0)).hexdigest()}\n"
    (chunk,) = find_chunks(tmp_path)
    assert digest_contents(chunk) == hashlib.sha256(known.encode()).hexdigest()


def test_a_file_whose_name_is_not_utf8_is_found_by_its_key(tmp_path):
    path = os.fsencode(tmp_path) + b"/na\xefve.png"
    Path(os.fsdecode(path)).write_bytes(png(0))
    (chunk,) = find_chunks(tmp_path)
    with chunk.open(tmp_path) as opened:
        (sample,) = opened.samples
        assert sample.key == "na\\xefve.png"
        assert sample.read_image() == png(0)
    assert image_path(tmp_path, sample.key).read_bytes() == png(0)
    assert image_path(tmp_path, "absent.png") == tmp_path / "absent.png"


@pytest.mark.parametrize(
    ("files", "name", "message"),
    [
        (
            ["a.tar", "b.tar"],
            "",
            r"holds tar shards, not a folder of images: use --shards",
        ),
        (["a.tar"], "a.tar", r"is a tar shard, not .*: use --shards '.*a\.tar'"),
        (["a.parquet"], "", r"holds Parquet tables, not .*: use --table"),
        (["below/a.parquet"], "", r"holds Parquet tables, not .*: use --table"),
        (["a.npy"], "", r"holds embeddings, not .*: use cpp-pipe import"),
        (
            ["img_emb/0.npy", "metadata/0.parquet"],
            "",
            r"holds embeddings, not .*: use cpp-pipe import",
        ),
        (["a.jpg"], "a.jpg", r"a\.jpg is an image, not a folder .*: use --images '.*'"),
    ],
)
def test_another_kind_of_input_names_its_flag(tmp_path, files, name, message):
    touch(tmp_path, *files)
    with pytest.raises(ConfigError, match=message):
        find_chunks(tmp_path / name)


def test_a_folder_without_images_says_which_files_are_images(tmp_path):
    touch(tmp_path, "notes.txt", ".hidden.jpg")
    with pytest.raises(ShardError, match=r"hold no image.*\.jpg"):
        find_chunks(tmp_path)
    with pytest.raises(ShardError, match=r"notes\.txt is not a folder: name the folder"):
        find_chunks(tmp_path / "notes.txt")
    with pytest.raises(ShardError, match=r"there is no folder .* exists as far as"):
        find_chunks(tmp_path / "a" / "b")


def test_a_folder_without_permission_to_read_is_named(tmp_path):
    write_image(tmp_path / "open" / "a.png")
    write_image(tmp_path / "closed" / "a.png")
    (tmp_path / "closed").chmod(0)
    try:
        with (
            file_modes_hold(),
            pytest.raises(ShardError, match="closed cannot be read: Permission denied"),
        ):
            find_chunks(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
