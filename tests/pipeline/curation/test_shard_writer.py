"""New shards hold chosen samples byte for byte, and appear whole or not at all."""

import json
import os
import shutil
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpp_pipe.pipeline.curation.shard_writer import MANIFEST, write_shards
from cpp_pipe.store import Artifact, ConfigError, MissingError, Store

from ...stages.shards import write_shards as write_digit_shards
from ...stages.sources.image_files import png, write_folder, write_image
from ..cli import DIGITS, embed, fail, succeed
from .world import artifact, headers, members, plain_tar, rows_by_key


def places(store: Path) -> dict[str, str]:
    return dict(Store(store).runs.read("default").sources)


def copy(store: Path, out: Path, rows=None, **how) -> list[Path]:
    """Copies rows of a run, by default all."""
    embeddings = artifact(store, "embeddings")
    rows = np.arange(embeddings.rows) if rows is None else np.array(rows)
    return list(write_shards(rows, embeddings, places(store), out, **how).shards)


def nothing_was_written(out: Path) -> bool:
    """Whether neither the folder nor a temporary one exists."""
    return not [path for path in out.parent.iterdir() if out.name in path.name]


@pytest.fixture
def embedded(tmp_path) -> tuple[Path, Path]:
    """A store of two shards of digits, and the folder of the shards."""
    shards = tmp_path / "shards"
    write_digit_shards(shards, shards=2, size=6)
    embed(tmp_path / "store", shards)
    return tmp_path / "store", shards


def test_members_are_copied_byte_for_byte_with_their_headers(embedded, tmp_path):
    store, shards = embedded
    chosen = [1, 2, 7, 11]
    made = copy(store, tmp_path / "out", chosen, samples_per_shard=3)
    keys = [artifact(store, "embeddings").column("key")[row] for row in chosen]
    expected = {
        name: data
        for name, data in members(*shards.glob("*.tar")).items()
        if name.partition(".")[0] in keys
    }
    assert members(*made) == expected
    assert len(expected) == 4 * len(chosen)
    old = headers(*shards.glob("*.tar"))
    assert headers(*made) == {name: old[name] for name in expected}
    assert [len(members(shard)) // 4 for shard in made] == [3, 1]


def test_curated_shards_embed_to_the_same_rows(embedded, tmp_path):
    store, _ = embedded
    copy(store, tmp_path / "out", [0, 3, 8])
    embed(tmp_path / "again", tmp_path / "out")
    old, new = rows_by_key(store), rows_by_key(tmp_path / "again")
    assert len(new) == 3
    assert new == {key: old[key] for key in new}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_folders_and_extra_members_are_copied(form, tmp_path):
    folder = "a/" * 60 if form == tarfile.USTAR_FORMAT else "ä long folder/" * 20
    names = {
        f"{folder}x.png": png(0),
        f"{folder}x.seg.PNG": b"no image at all",
        f"{folder}x.txt": "words, ünd möre".encode(),
        "./y.JSON": b'{"a": 1}',
        "./y.png": png(1),
        "z.png": png(2),
        "lonely.txt": b"no image beside it",
    }
    shard = plain_tar(tmp_path / "shards" / "odd.tar", names, form)
    store = tmp_path / "store"
    embed(store, shard, more=["--max-skipped", "0.5"])
    made = copy(store, tmp_path / "out")
    expected = {name: data for name, data in names.items() if name != "lonely.txt"}
    assert members(*made) == expected
    old = headers(shard)
    assert headers(*made) == {name: old[name] for name in expected}
    embed(tmp_path / "again", tmp_path / "out")
    assert rows_by_key(tmp_path / "again") == rows_by_key(store)


def test_scattered_members_of_a_sample_are_copied_together(tmp_path):
    content = {"a.png": png(0), "b.png": png(1), "a.txt": b"one", "b.txt": b"two"}
    embed(tmp_path / "store", plain_tar(tmp_path / "mixed.tar", content))
    (made,) = copy(tmp_path / "store", tmp_path / "out")
    assert list(members(made)) == ["a.png", "a.txt", "b.png", "b.txt"]
    assert members(made) == content


def test_a_repeated_key_starts_a_new_shard(tmp_path):
    for name, first in (("one", 0), ("two", 3)):
        plain_tar(tmp_path / f"{name}.tar", {f"{n}.png": png(first + n) for n in range(3)})
    store = tmp_path / "store"
    embed(store, tmp_path / "one.tar", tmp_path / "two.tar")
    made = copy(store, tmp_path / "out")
    assert [sorted(members(shard)) for shard in made] == [["0.png", "1.png", "2.png"]] * 2
    images = [image for shard in made for image in members(shard).values()]
    assert sorted(images) == sorted(png(n) for n in range(6))


def test_of_two_members_with_one_name_the_embedded_one_is_copied(tmp_path):
    shard = tmp_path / "twice.tar"
    with tarfile.open(shard, "w") as tar:
        for name, data in (("a.png", png(0)), ("a.png", png(1)), ("b.png", png(2))):
            plain_tar(tmp_path / "one.tar", {name: data})
            with tarfile.open(tmp_path / "one.tar") as single:
                header = single.getmember(name)
                tar.addfile(header, single.extractfile(header))
    embed(tmp_path / "store", shard, more=["--max-skipped", "0.5"])
    (made,) = copy(tmp_path / "store", tmp_path / "out")
    assert members(made) == {"a.png": png(0), "b.png": png(2)}


def test_links_are_counted_and_not_copied(tmp_path):
    shard = tmp_path / "links.tar"
    plain_tar(shard, {"a.png": png(0), "b.png": png(1)})
    with tarfile.open(shard, "a") as tar:
        header = tarfile.TarInfo("a.txt")
        header.type, header.linkname = tarfile.LNKTYPE, "b.png"
        tar.addfile(header)
    store = tmp_path / "store"
    embed(store, shard)
    done = succeed(store, "curate", "--out", tmp_path / "out")
    assert "1 member is a link and was not copied" in done.err
    assert members(tmp_path / "out" / "00000.tar") == {"a.png": png(0), "b.png": png(1)}


def test_the_manifest_names_the_old_and_new_shard_of_each_image(embedded, tmp_path):
    store, _ = embedded
    chosen = [0, 5, 6, 9]
    copy(store, tmp_path / "out", chosen, samples_per_shard=3, prefix="new-")
    rows = pq.read_table(tmp_path / "out" / MANIFEST).to_pylist()
    embeddings = artifact(store, "embeddings")
    assert [row["row"] for row in rows] == chosen
    assert [row["key"] for row in rows] == [embeddings.column("key")[row] for row in chosen]
    assert [row["shard"] for row in rows] == [embeddings.column("shard")[row] for row in chosen]
    assert [row["new_shard"] for row in rows] == ["new-00000.tar"] * 3 + ["new-00001.tar"]
    for row in rows:
        data = (tmp_path / "out" / row["new_shard"]).read_bytes()
        image = members(tmp_path / "out" / row["new_shard"])[f"{row['new_key']}.png"]
        assert data[row["offset"] : row["offset"] + row["size"]] == image


def test_a_folder_that_is_not_empty_is_refused_and_not_changed(embedded, tmp_path):
    store, _ = embedded
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert "exists already" in fail(store, "curate", "--out", out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    (out / "mine.txt").unlink()
    succeed(store, "curate", "--out", out)
    assert members(out / "00000.tar")


def test_a_missing_shard_is_named_before_anything_is_written(embedded, tmp_path):
    store, shards = embedded
    (shards / "001.tar").unlink()
    out = tmp_path / "out"
    line = fail(store, "curate", "--out", out)
    assert "001.tar cannot be read" in line
    assert "cpp-pipe embed --shards" in line
    assert nothing_was_written(out)
    copy(store, out, [0, 1])  # rows of the other shard


@pytest.mark.parametrize("cut", ["behind the last byte", "inside the last sample"])
def test_of_a_truncated_shard_the_embedded_samples_are_copied(tmp_path, cut):
    whole = plain_tar(tmp_path / "whole.tar", {f"{n}.png": png(n) for n in range(4)})
    with tarfile.open(whole) as tar:
        last = tar.getmember("3.png")
    shard = tmp_path / "cut.tar"
    end = last.offset_data + last.size - (0 if cut == "behind the last byte" else 9)
    shard.write_bytes(whole.read_bytes()[:end])
    store = tmp_path / "store"
    embed(store, shard, more=["--allow-partial", "--max-skipped", "0.5"])
    found = members(*copy(store, tmp_path / "out"))
    kept = 4 if cut == "behind the last byte" else 3
    assert found == {f"{n}.png": png(n) for n in range(kept)}


@pytest.mark.parametrize("change", ["grown", "replaced"])
def test_a_changed_shard_is_named(embedded, tmp_path, change):
    store, shards = embedded
    if change == "grown":
        with (shards / "000.tar").open("ab") as file:
            file.write(bytes(10_240))
    else:
        shutil.copy(shards / "001.tar", shards / "000.tar")
    assert "000.tar was changed since it was embedded" in fail(
        store, "curate", "--out", tmp_path / "out"
    )
    assert nothing_was_written(tmp_path / "out")


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (0, "large.tar was changed since it was embedded"),
        # A time of change from before it was embedded tells nothing, but its headers do.
        (-10_000, "has no 030 where it was embedded from"),
    ],
)
def test_a_change_in_the_middle_of_a_shard_is_noticed(tmp_path, seconds, message):
    content = {f"{n:03d}.png": png(n) + bytes(4000) for n in range(60)}
    shard = plain_tar(tmp_path / "large.tar", content)
    store = tmp_path / "store"
    embed(store, shard)
    data = bytearray(shard.read_bytes())
    at = data.index(b"030.png")
    data[at : at + 7] = b"030.txt"
    header = bytearray(data[at : at + 512])
    header[148:156] = b" " * 8
    data[at + 148 : at + 156] = f"{sum(header):06o}\0 ".encode()
    shard.write_bytes(data)
    changed = shard.stat().st_mtime + seconds
    os.utime(shard, (changed, changed))
    line = fail(store, "curate", "--out", tmp_path / "out")
    assert message in line
    assert nothing_was_written(tmp_path / "out")


def test_a_full_disk_leaves_nothing_behind(embedded, tmp_path, monkeypatch):
    store, _ = embedded
    monkeypatch.setattr(os, "fsync", _no_space)
    with pytest.raises(ConfigError, match="No space left"):
        copy(store, tmp_path / "out", samples_per_shard=2)
    assert nothing_was_written(tmp_path / "out")


def _no_space(handle: int) -> None:
    raise OSError(28, "No space left on device")


def test_imported_embeddings_have_nothing_to_copy(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.eye(4, dtype=np.float32))
    store = tmp_path / "store"
    succeed(store, "import", tmp_path / "x.npz", "--model", "ViT-B-32", "--pretrained", "openai")
    line = fail(store, "curate", "--out", tmp_path / "out")
    assert "imported without images" in line


def test_images_of_a_folder_become_samples_with_the_files_beside_them(tmp_path):
    root = write_folder(tmp_path / "photos", 8)
    first = min(root.rglob("*.png"))
    first.with_suffix(".txt").write_text("a caption")
    write_image(root / "no.1" / "dots. and blanks.png", 9)
    write_image(root / "no.1" / "dots_ and blanks.PNG", 10)
    store = tmp_path / "store"
    succeed(store, "embed", "--images", root, *DIGITS)
    made = copy(store, tmp_path / "out")
    images = {path.read_bytes() for path in root.rglob("*") if path.suffix in (".png", ".PNG")}
    copied = members(*made)
    assert {data for name, data in copied.items() if name.endswith("png")} == images
    assert [data for name, data in copied.items() if name.endswith(".txt")] == [b"a caption"]
    embed(tmp_path / "again", tmp_path / "out")
    assert vectors(tmp_path / "again") == vectors(store)


def test_rows_of_a_table_become_samples_with_their_fields(tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "image": pa.array([{"bytes": png(n), "path": f"{n}.png"} for n in range(5)], kind),
            "caption": [f"number {n}" for n in range(5)],
            "label": ["odd" if n % 2 else "even" for n in range(5)],
            "url": [f"https://example.org/{n}" for n in range(5)],
            "colour": ["red"] * 5,
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    store = tmp_path / "store"
    succeed(store, "embed", "--table", tmp_path / "rows.parquet", *DIGITS)
    copy(store, tmp_path / "out", [0, 2, 3])
    embed(tmp_path / "again", tmp_path / "out")
    old, new = rows_by_key(store), rows_by_key(tmp_path / "again")
    assert list(new) == ["0", "2", "3"]
    for key, row in new.items():
        for name in ("caption", "label", "url", "width", "height", "size", "embedding"):
            assert row[name] == old[key][name], name
        assert json.loads(row["extra"])["colour"] == "red"


def test_shards_in_a_bucket_are_copied_from_there(tmp_path, monkeypatch):
    monkeypatch.setenv("CPP_PIPE_FOLLOW_ALL", "1")  # the bucket is in memory
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    shards = tmp_path / "local"
    write_digit_shards(shards, shards=1, size=5)
    files.pipe_file("/bucket/000.tar", (shards / "000.tar").read_bytes())
    store = tmp_path / "store"
    embed(store, "memory://bucket/000.tar")
    made = copy(store, tmp_path / "out", [1, 4])
    old = members(shards / "000.tar")
    assert members(*made) == {name: old[name] for name in members(*made)}
    assert len(members(*made)) == 8
    files.store.clear()
    with pytest.raises(MissingError, match=r"memory://bucket/000\.tar"):
        copy(store, tmp_path / "later", [1])


def vectors(store: Path) -> list[tuple]:
    """The embeddings of a run without their keys, sorted."""
    embeddings: Artifact = artifact(store, "embeddings")
    parts = [embeddings.embeddings(part.name) for part in embeddings.parts]
    return sorted(map(tuple, np.concatenate(parts).tolist()))


# A folder that was changed.


def change_folder(folder: Path, change: str) -> str:
    """Changes a folder of four images; returns what the message must say."""
    image = folder / "in" / "1.png"
    match change:
        case "gone":
            image.unlink()
            return "(in/1.png is gone)"
        case "larger":
            image.write_bytes(image.read_bytes() + bytes(9))
            return "(in/1.png has another size)"
        case "added":
            (folder / "in" / "new.png").write_bytes(png(9))
            return "(in/new.png was added)"
        case "overwritten":
            data = bytearray(image.read_bytes())
            data[-1] ^= 1
            image.write_bytes(data)
            later = image.stat().st_mtime + 100
            os.utime(image, (later, later))
            return "(in/1.png was written to later)"
        case "text":
            (folder / "in" / "2.txt").write_text("two!")
            later = image.stat().st_mtime + 100
            os.utime(folder / "in" / "2.txt", (later, later))
            return "(in/2.txt was written to later)"
        case _:
            for path in (folder / "in").glob("*.png"):
                path.unlink()
            (folder / "in" / "new.png").write_bytes(png(9))
            return "(in/0.png is gone, in/1.png is gone, in/2.png is gone, and 2 more files)"


@pytest.mark.parametrize("change", ["gone", "larger", "added", "overwritten", "text", "many"])
def test_changed_files_of_a_folder_are_named_with_what_to_do(tmp_path, change):
    folder = tmp_path / "photos"
    (folder / "in").mkdir(parents=True)
    for number in range(4):
        (folder / "in" / f"{number}.png").write_bytes(png(number))
        (folder / "in" / f"{number}.txt").write_text("one")
    store = tmp_path / "store"
    succeed(store, "embed", "--images", folder, *DIGITS)
    message = change_folder(folder, change)
    line = fail(store, "curate", "--out", tmp_path / "out")
    assert f"{folder} was changed since it was embedded {message}: put it back, or run" in line
    assert "`cpp-pipe embed --images`" in line
    assert nothing_was_written(tmp_path / "out")
