"""Folders of pictures: what is found, what a run is, and what stands beside a picture."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.sources.folders import (
    MOST_PICTURES,
    FolderRun,
    Picture,
    cut,
    find_runs,
    picture_path,
    walk,
)
from cpp_pipe.stages.sources.images import UndecodableImage
from cpp_pipe.store.errors import ConfigError, ShardError

from ...rights import file_modes_hold
from .pictures import png, write_picture


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def keys(root: Path) -> list[str]:
    return [
        f"{folder}/{one.name}" if folder else one.name
        for folder, pictures in walk(root)
        for one in pictures
    ]


def read(run: FolderRun) -> dict[str, tuple[str, dict]]:
    """Caption and extra by key."""
    with run.open(Path()) as opened:
        told = {one.key: one.fields() for one in opened.samples}
    return {key: (one.caption or "", json.loads(one.extra)) for key, one in told.items()}


def test_pictures_are_found_below_the_folder_in_the_order_of_people(tmp_path):
    touch(tmp_path, "b.jpg", "a10.png", "a9.png", "cats/2.webp", "cats/old/1.gif", "birds/x.bmp")
    assert keys(tmp_path) == [
        "a9.png", "a10.png", "b.jpg", "birds/x.bmp", "cats/2.webp", "cats/old/1.gif",
    ]  # fmt: skip


def test_a_suffix_counts_in_any_case_and_nothing_else_does(tmp_path):
    touch(tmp_path, "a.JPG", "b.Jpeg", "c.TIFF", "d.txt", "e.jpg.part", "f", "g.tar", "h.heic")
    assert keys(tmp_path) == ["a.JPG", "b.Jpeg", "c.TIFF"]


def test_what_systems_leave_behind_is_left_out(tmp_path):
    touch(tmp_path, "a.jpg", "._a.jpg", ".thumbs/a.jpg", "__MACOSX/a.jpg", "@eaDir/a/b.jpg")
    assert keys(tmp_path) == ["a.jpg"]


def test_a_link_to_a_folder_is_followed_once_and_never_back(tmp_path):
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


def test_a_folder_named_like_a_picture_is_a_folder(tmp_path):
    touch(tmp_path, "album.jpg/1.jpg")
    assert keys(tmp_path) == ["album.jpg/1.jpg"]


@given(st.lists(st.text("ab012", min_size=1, max_size=5), max_size=40, unique=True))
def test_runs_leave_out_nothing_and_keep_the_order(names):
    pictures = [Picture(name, {}) for name in names]
    runs = list(cut(pictures))
    assert [one for run in runs for one in run] == pictures
    assert all(runs)


def test_a_run_has_a_thousand_pictures_at_most():
    runs = list(cut(Picture(f"{n}.jpg", {}) for n in range(20_000)))
    assert max(map(len, runs)) == MOST_PICTURES
    assert len(runs) < 60  # and on average not many fewer, as each run is four files in the store


def names_of_runs(names: list[str]) -> list[tuple[str, ...]]:
    return [tuple(one.name for one in run) for run in cut(Picture(name, {}) for name in names)]


@pytest.mark.parametrize("where", [0, 1, 7_000, 20_000])
def test_a_picture_that_comes_in_between_changes_a_few_runs_and_no_more(where):
    names = [f"IMG_{n:05d}.jpg" for n in range(20_000)]
    before = names_of_runs(names)
    names.insert(where, "new.jpg")
    after = names_of_runs(names)
    assert len(set(after) - set(before)) <= 4


def test_a_folder_is_cut_into_runs_and_never_joined_with_another(tmp_path):
    names = [f"many/{n}.jpg" for n in range(1100)]
    touch(tmp_path, *names, "few/1.jpg", "0.jpg")
    runs = find_runs(tmp_path)
    assert [run.folder for run in runs][:2] == ["", "few"]
    assert {run.folder for run in runs[2:]} == {"many"} and len(runs) > 3
    assert [run.name for run in runs][:2] == [tmp_path.name, f"{tmp_path.name}/few"]
    assert len({run.part_name for run in runs}) == len(runs)


def test_moving_the_folder_changes_no_run(tmp_path):
    root = tmp_path / "photos"
    write_picture(root / "a.png")
    write_picture(root / "cats" / "b.png", 1)
    before = [(run.identity, run.part_name, run.name) for run in find_runs(root)]
    (tmp_path / "other").mkdir()
    moved = Path(shutil.move(root, tmp_path / "other"))
    assert [(run.identity, run.part_name, run.name) for run in find_runs(moved)] == before
    renamed = moved.rename(tmp_path / "pictures")
    # Its name stands in the column `shard` of every row.
    assert {run.identity for run in find_runs(renamed)}.isdisjoint(one[0] for one in before)


@pytest.mark.parametrize("at", [0, 4095, -1, -4096])
def test_a_changed_byte_at_either_end_changes_its_run_alone(tmp_path, at):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "big.jpg").write_bytes(bytes(50_000))
    touch(tmp_path, "b/1.jpg")
    before = find_runs(tmp_path)
    content = bytearray(50_000)
    content[at] ^= 1
    (tmp_path / "a" / "big.jpg").write_bytes(content)
    after = find_runs(tmp_path)
    assert after[0].identity != before[0].identity
    assert after[1].identity == before[1].identity


def test_a_caption_or_a_size_that_changes_is_noticed_and_a_time_is_not(tmp_path):
    path = write_picture(tmp_path / "a.png")
    seen = [find_runs(tmp_path)[0].identity]
    os.utime(path, (1, 1))
    assert find_runs(tmp_path)[0].identity == seen[0]
    for text in ("a cat", "a dog"):
        (tmp_path / "a.txt").write_text(text)
        seen.append(find_runs(tmp_path)[0].identity)
    path.write_bytes(path.read_bytes() + b"more")
    seen.append(find_runs(tmp_path)[0].identity)
    assert len(set(seen)) == 4


def test_what_stands_beside_a_picture_says_something_of_it(tmp_path):
    write_picture(tmp_path / "cats" / "a.b.PNG")
    (tmp_path / "cats" / "a.b.TXT").write_text(" a cat \n")
    (tmp_path / "cats" / "a.b.json").write_text(
        json.dumps({"url": "http://x", "NSFW": None, "stars": 5, "text": "other"})
    )
    (tmp_path / "cats" / "a.b.cls").write_text("tabby\n")
    write_picture(tmp_path / "top.png")
    runs = find_runs(tmp_path)
    with runs[1].open(tmp_path) as opened:
        (sample,) = opened.samples
        told = sample.fields()
    assert sample.key == "cats/a.b.PNG" and sample.offset == 0
    assert (told.caption, told.label, told.url) == ("a cat", "tabby", "http://x")
    extra = {"folder": "cats", "NSFW": None, "stars": 5, "text": "other"}
    assert json.loads(told.extra) == extra
    assert read(runs[0]) == {"top.png": ("", {"folder": tmp_path.name})}


def test_a_field_of_the_users_own_named_folder_is_kept(tmp_path):
    write_picture(tmp_path / "a.png")
    (tmp_path / "a.json").write_text('{"folder": "mine"}')
    assert read(find_runs(tmp_path)[0])["a.png"][1] == {"folder": "mine"}


def test_texts_that_cannot_be_read_leave_their_reason(tmp_path):
    write_picture(tmp_path / "a.png")
    (tmp_path / "a.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a.json").write_text("{broken")
    extra = read(find_runs(tmp_path)[0])["a.png"][1]
    assert extra["txt_error"] == "No such file or directory" and "json_error" in extra


def test_pictures_that_cannot_be_read_are_reasons_and_no_crash(tmp_path):
    for name in ("gone.png", "whole.png"):
        write_picture(tmp_path / name)
    (tmp_path / "broken-link.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    (run,) = find_runs(tmp_path)
    (tmp_path / "gone.png").unlink()
    reasons = {}
    with run.open(tmp_path) as opened:
        assert opened.complete and opened.suffixes == {"png": 4}
        for one in opened.samples:
            try:
                assert one.read_image() == png(0) and one.size == len(png(0))
                reasons[one.key] = ""
            except UndecodableImage as error:
                reasons[one.key] = f"{error.reason}: {error.detail}"
    assert reasons == {
        "broken-link.png": "unreadable: No such file or directory",
        "gone.png": "unreadable: No such file or directory",
        "pipe.png": "not_a_file: a folder, a pipe or a device",
        "whole.png": "",
    }


def test_the_digest_is_of_the_bytes_that_were_read(tmp_path):
    def digest(root: Path) -> str:
        (run,) = find_runs(root)
        with run.open(root) as opened:
            for one in opened.samples:
                one.read_image()
            return opened.sha256()

    write_picture(tmp_path / "one" / "a.png")
    write_picture(tmp_path / "two" / "a.png")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    (tmp_path / "two" / "a.png").write_bytes(png(1))
    assert digest(tmp_path / "one") != digest(tmp_path / "two")


def test_a_name_that_is_no_text_is_found_again_by_its_key(tmp_path):
    path = os.fsencode(tmp_path) + b"/na\xefve.png"
    Path(os.fsdecode(path)).write_bytes(png(0))
    (run,) = find_runs(tmp_path)
    with run.open(tmp_path) as opened:
        (sample,) = opened.samples
        assert sample.key == "na\\xefve.png"
        assert sample.read_image() == png(0)
    assert picture_path(tmp_path, sample.key).read_bytes() == png(0)
    assert picture_path(tmp_path, "absent.png") == tmp_path / "absent.png"


@pytest.mark.parametrize(
    ("files", "asked", "says"),
    [
        (
            ["a.tar", "b.tar"],
            "",
            r"holds tar shards, where a folder of pictures is asked for: use --shards",
        ),
        (["a.tar"], "a.tar", r"is a tar shard, where .*: use --shards '.*a\.tar'"),
        (["a.parquet"], "", r"holds Parquet tables, where .*: use --table"),
        (["below/a.parquet"], "", r"holds Parquet tables, where .*: use --table"),
        (["a.npy"], "", r"holds embeddings, where .*: use cpp-pipe import"),
        (
            ["img_emb/0.npy", "metadata/0.parquet"],
            "",
            r"holds embeddings, where .*: use cpp-pipe import",
        ),
        (["a.jpg"], "a.jpg", r"a\.jpg is a picture, where a folder .*: use --images '.*'"),
    ],
)
def test_another_kind_of_input_names_its_flag(tmp_path, files, asked, says):
    touch(tmp_path, *files)
    with pytest.raises(ConfigError, match=says):
        find_runs(tmp_path / asked)


def test_a_folder_without_pictures_says_what_pictures_are(tmp_path):
    touch(tmp_path, "notes.txt", ".hidden.jpg")
    with pytest.raises(ShardError, match=r"hold no picture.*\.jpg"):
        find_runs(tmp_path)
    with pytest.raises(ShardError, match=r"notes\.txt is no folder"):
        find_runs(tmp_path / "notes.txt")
    with pytest.raises(ShardError, match=r"there is no folder .* exists as far as"):
        find_runs(tmp_path / "a" / "b")


def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    write_picture(tmp_path / "open" / "a.png")
    write_picture(tmp_path / "closed" / "a.png")
    (tmp_path / "closed").chmod(0)
    try:
        with (
            file_modes_hold(),
            pytest.raises(ShardError, match="closed cannot be read: Permission denied"),
        ):
            find_runs(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
