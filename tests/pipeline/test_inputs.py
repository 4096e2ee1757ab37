"""Every kind of input from the command line: folders, tables, shards elsewhere, and packing."""

import io
import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.commands.run import run_name
from cpp_pipe.pipeline.view.images import read_row
from cpp_pipe.store import Artifact, MissingError
from cpp_pipe.store.digest import digest_json

from ..stages.shards import write_shards
from ..stages.sources.image_files import label, png, write_folder, write_image
from ..stages.sources.web import serve
from ..store.stores import rewrite
from .cli import DIGITS, SMALL, Outcome, call, embed, fail, succeed


@pytest.fixture
def store(tmp_path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def photos(tmp_path) -> Path:
    """Twenty digits in a folder for each digit."""
    return write_folder(tmp_path / "photos", 20)


def embed_images(store: Path, *folders: Path, more: tuple[str, ...] = ()) -> Outcome:
    named = [word for folder in folders for word in ("--images", str(folder))]
    return succeed(store, "embed", *named, *DIGITS, *more)


def embeddings(store: Path, run: str = "default") -> Artifact:
    return Run.open(store, run).artifact("embeddings")


def rows(artifact: Artifact) -> dict[str, dict]:
    """Every row by its key."""
    return {
        row["key"]: row for part in artifact.parts for row in artifact.table(part.name).to_pylist()
    }


def images_of(store: Path, run: str = "default") -> dict[str, bytes]:
    """The bytes of every row's image."""
    opened = Run.open(store, run)
    artifact = opened.artifact("embeddings")
    sources = opened.record.sources
    return {key: read_row(artifact, sources, n) for n, key in enumerate(artifact.column("key"))}


# Folders.


def test_a_folder_of_images_is_embedded_as_it_is(store, photos):
    write_image(photos / "top.PNG", 30)
    (photos / "top.txt").write_text("a scan")
    (photos / "7" / "broken.jpg").write_bytes(b"no image")
    (photos / "7" / "empty.jpg").touch()
    done = embed_images(store, photos)
    assert "found 23 images in 11 folders" in done.err
    assert "seen 23 = embedded 21 + skipped 2" in done.out
    artifact = embeddings(store)
    found = rows(artifact)
    assert set(found) == {f"{label(n)}/{n:04d}.png" for n in range(20)} | {"top.PNG"}
    row = found[f"{label(3)}/0003.png"]
    assert row["shard"] == f"photos/{label(3)}" and row["label"] is None
    assert (row["offset"], row["size"], row["width"]) == (0, len(png(3)), 32)
    assert json.loads(row["extra"]) == {"folder": str(label(3))}
    assert found["top.PNG"]["caption"] == "a scan" and found["top.PNG"]["shard"] == "photos"
    reasons = [row["reason"] for part in artifact.parts
               for row in artifact.table(part.name, "skipped").to_pylist()]  # fmt: skip
    assert sorted(reasons) == ["empty", "unsupported"]


def test_an_image_has_the_same_embedding_in_a_folder_and_in_a_shard(store, tmp_path, photos):
    assert call(None, "pack", photos, tmp_path / "shards").code == 0
    embed_images(store, photos)
    embed(store, tmp_path / "shards", more=("--run", "packed"))
    folder, shard = rows(embeddings(store)), rows(embeddings(store, "packed"))
    assert len(folder) == len(shard) == 20
    for key, row in folder.items():
        assert row["embedding"] == shard[key.removesuffix(".png")]["embedding"]


def test_packing_says_what_it_did_and_what_comes_next(store, tmp_path, photos):
    write_image(photos / f"{label(0)}" / "0000.jpg")
    done = call(None, "pack", photos, tmp_path / "shards", "--shard-size", "8")
    assert "seen 21 = packed 21 + skipped 0, in 3 shards" in done.out
    assert f"next: cpp-pipe run --shards {tmp_path / 'shards'} " in done.out
    assert f"{label(0)}/0000.png gets the key {label(0)}/0000-2" in done.err
    assert "seen 21 = embedded 21" in embed(store, tmp_path / "shards").out
    again = call(None, "pack", photos, tmp_path / "shards")
    assert again.code == 2 and "exists already: name a new one, nothing is overwritten" in again.err


def test_added_images_cost_only_the_parts_that_they_touch(store, photos):
    embed_images(store, photos)
    before = embeddings(store)
    write_image(photos / "7" / "added.png", 40)
    write_image(photos / "new" / "added.png", 41)
    done = embed_images(store, photos)
    folders = len(before.parts)
    assert f"{folders - 1} of {folders + 1} parts are there already" in done.err
    after = embeddings(store)
    shared = set(before.part_names) & set(after.part_names)
    assert len(shared) == folders - 1
    for name in shared:
        assert os.path.samefile(before.path(name, "rows"), after.path(name, "rows"))
    assert {"7/added.png", "new/added.png"} <= set(rows(after))


def test_a_changed_image_is_noticed(store, photos):
    embed_images(store, photos)
    before = rows(embeddings(store))
    key = next(iter(before))
    write_image(photos / key, 55)
    done = embed_images(store, photos)
    assert "9 of 10 parts are there already" in done.err
    after = rows(embeddings(store))
    changed = {key for key, row in after.items() if row["embedding"] != before[key]["embedding"]}
    assert changed == {key}


def test_after_moving_a_folder_nothing_is_embedded_and_images_are_found(store, tmp_path, photos):
    embed_images(store, photos)
    succeed(store, "train", *SMALL)
    sheet = tmp_path / "sheet.png"
    words = ["search", "--key", next(iter(rows(embeddings(store)))), "-n", "3", "--sheet", sheet]
    succeed(store, *words)
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.move(photos, tmp_path / "elsewhere"))
    line = fail(store, *words)
    assert f"cannot be read from {photos}" in line
    assert "`cpp-pipe embed --images` with where it lies now" in line
    assert "nothing to do" in embed_images(store, moved).err
    sheet.unlink()
    succeed(store, *words)
    drawn = np.asarray(Image.open(sheet).convert("L"), np.float32)
    # A row is nearest to itself, so the second tile shows the first row's digit, enlarged.
    tile = drawn[8 + 40 : 168 - 40, 176 + 40 : 336 - 40]
    assert tile.std() > 20
    found = images_of(store)
    assert found == {f"{label(n)}/{n:04d}.png": png(n) for n in range(20)}


def test_a_missing_or_damaged_image_is_one_clear_error(store, photos):
    embed_images(store, photos)
    run = Run.open(store)
    keys = run.artifact("embeddings").column("key")
    (photos / keys[0]).write_bytes(b"no image")
    (photos / keys[1]).unlink()
    with pytest.raises(MissingError, match="changed since it was embedded"):
        run.image(0)
    with pytest.raises(MissingError, match=rf"{keys[1]} cannot be read from .*No such file"):
        run.image(1)
    assert run.image(2).size == (32, 32)


def test_two_folders_are_one_run_and_a_folder_in_a_folder_is_refused(store, tmp_path, photos):
    other = write_image(tmp_path / "other" / "a.png", 50).parent
    embed_images(store, photos, other, other)
    assert len(rows(embeddings(store))) == 21
    line = fail(store, "embed", "--images", photos, "--images", photos / "7", *DIGITS)
    assert "is inside" in line and "name only one" in line


def test_sources_whose_identities_begin_alike_are_all_read_once(store, tmp_path, monkeypatch):
    monkeypatch.setattr("cpp_pipe.stages.sources.shards.NAME_DIGITS", 1)
    named = []
    for n in range(17):  # there are 16 digits, so that at least two share theirs
        (tmp_path / str(n)).mkdir()
        named += ["--table", write_table(tmp_path / str(n) / "a.parquet", {"jpg": [png(n)]})]
    done = succeed(store, "embed", *named, *DIGITS)
    assert "copy" not in done.err
    found = embeddings(store)
    assert found.rows == len(found.parts) == 17
    assert min(len(part.name) for part in found.parts) == len("a-0")
    run = Run.open(store)
    assert sorted(read_row(found, run.record.sources, n) for n in range(17)) == sorted(
        png(n) for n in range(17)
    )
    assert "nothing to do" in succeed(store, "embed", *named, *DIGITS).err
    assert embeddings(store).version == found.version
    shutil.copytree(tmp_path / "0", tmp_path / "copy")
    done = succeed(store, "embed", *named, "--table", tmp_path / "copy" / "a.parquet", *DIGITS)
    assert "is a copy of" in done.err and "nothing to do" in done.err


def test_imported_files_whose_identities_begin_alike_are_all_read(store, tmp_path, monkeypatch):
    monkeypatch.setattr("cpp_pipe.stages.sources.shards.NAME_DIGITS", 1)
    files = [tmp_path / str(n) / "a.npy" for n in range(17)]
    for n, file in enumerate(files):
        file.parent.mkdir()
        np.save(file, np.random.default_rng(n).normal(size=(2, 8)).astype(np.float32))
    succeed(store, "import", *files, "--model", "ViT-B-32")
    assert embeddings(store).rows == 34


@pytest.mark.slow
def test_several_processes_give_the_same_from_every_kind_of_input(store, tmp_path, photos):
    table = write_table(tmp_path / "a.parquet", {"jpg": [png(n) for n in range(40, 45)]})
    shards = write_shards(tmp_path / "shards", shards=1, size=5, first=60)
    named = ["--images", photos, "--table", table, "--shards", shards[0], *DIGITS]
    succeed(store, "embed", *named)
    one = embeddings(store)
    assert one.rows == 30
    other = tmp_path / "other"
    succeed(other, "embed", *named, "--workers", "2")
    assert embeddings(other).content == one.content
    kinds = [part.facts["source"] for part in one.parts]
    assert {kind: kinds.count(kind) for kind in kinds} == {"images": 10, "table": 1, "tar": 1}
    found = images_of(store)
    assert found["0"] == png(40)
    assert len(found) == 30 and all(Image.open(io.BytesIO(one)) for one in found.values())


# The whole path.


def test_one_command_does_everything_for_a_folder(store, tmp_path):
    photos = write_folder(tmp_path / "my photos", 60)
    done = succeed(
        store, "run", "--images", photos, *DIGITS, "--vocabulary", "digits-words.txt", *SMALL,
        "--set", "assign.k=5",
    )  # fmt: skip
    assert "seen 60 = embedded 60" in done.out
    assert done.out.count("%") >= 5  # captions with their shares
    assert "next:" in done.out and f"cpp-pipe report --run my-photos --store {store}" in done.out
    assert "cpp-pipe eval --label folder --run my-photos" in done.out
    status = json.loads(succeed(store, "status", "--json").out)["my-photos"]
    assert {row["slot"] for row in status} >= {
        "embeddings", "heads", "features", "spectrum", "assignments", "captions", "index/features",
        "index/embeddings",
    }  # fmt: skip
    words = ["--run", "my-photos", "--json"]
    hits = json.loads(succeed(store, "search", "--text", "seven", "-n", "3", *words).out)
    assert {hit["key"].split("/")[0] for hit in hits} == {"7"}
    assert all(hit["caption"] for hit in hits)
    scores = json.loads(succeed(store, "eval", "--label", "folder", *words).out)
    assert (scores["n"], scores["classes"], scores["k"]) == (60, 10, 5)
    # The same command makes nothing a second time.
    again = succeed(store, "run", "--images", photos, *SMALL, "--set", "assign.k=5")
    assert "making" not in again.err


def test_a_run_without_the_label_of_its_settings_says_so_and_what_comes_next(store, tmp_path):
    """It ended in an error after hours of work, without the commands that come next."""
    photos = write_folder(tmp_path / "photos", 20)
    done = succeed(
        store, "run", "--images", photos, *DIGITS, "--vocabulary", "digits-words.txt", *SMALL,
        "--set", "assign.k=3", "--set", "data.label=style",
    )  # fmt: skip
    assert "not scored: none of the 20 rows to score has the label 'style': " in " ".join(
        done.out.split()
    )
    assert "next:" in done.out


def test_run_without_arguments_names_both_ways(store, photos):
    line = fail(store, "run")
    assert "cpp-pipe run --images FOLDER" in line and "cpp-pipe run CONFIG" in line
    assert f"cpp-pipe run --images '{photos}'" in fail(store, "run", photos)
    assert "neither a file nor a shipped config" in fail(store, "run", "nonesuch")


@pytest.mark.parametrize(
    ("named", "name"),
    [
        ({"config": "configs/my.toml"}, "my"),
        ({"images": ["/tmp/été à la mer!"]}, "t-la-mer"),
        ({"images": ["/tmp/été"], "config": "digits"}, "digits"),
        ({"images": ["/tmp/..."]}, "images"),
        ({"shards": ["laion/{000..999}.tar"]}, "laion"),
        ({"shards": ["s3://bucket/laion/*.tar"]}, "laion"),
        ({"tables": ["beans/*.parquet"]}, "beans"),
        ({"tables": ["beans"]}, "beans"),
    ],
)
def test_a_run_is_named_after_its_source(named, name):
    nothing = {"config": None, "images": None, "shards": None, "tables": None}
    assert run_name(**{**nothing, **named}) == name


def test_a_second_folder_of_the_same_name_does_not_take_the_run_of_the_first(store, tmp_path):
    """Its images replaced those of the first, and got the decisions about them."""
    first, second, third = (tmp_path / name / "photos" for name in "abc")
    write_folder(first, 12)
    write_folder(second, 12, first=12)
    succeed(store, "embed", "--images", first, *DIGITS, "--run", "photos")
    version = Run.open(store, "photos").record.versions["embeddings"]
    line = fail(store, "run", "--images", second, *DIGITS)
    assert f"the run 'photos' has the images of {first}, not of {second}" in line
    assert Run.open(store, "photos").record.versions == {"embeddings": version}
    few = (*DIGITS, "--vocabulary", "digits-words.txt", *SMALL, "--set", "assign.k=2")
    succeed(store, "run", "--images", first, "--images", second, *few)
    succeed(store, "run", "--images", second, *few)
    third.parent.mkdir()
    second.rename(third)
    done = succeed(store, "run", "--images", third, *few)
    assert f"{second} is gone: run photos continues with {third}" in done.err


def test_a_second_config_of_the_same_name_does_not_take_the_run_of_the_first(store, tmp_path):
    """Its images replaced those of the first without a word."""
    few = (*DIGITS, "--vocabulary", "digits-words.txt", *SMALL, "--set", "assign.k=2")
    configs = []
    for number, name in enumerate("ab"):
        write_folder(tmp_path / name / "images", 12, first=12 * number)
        configs.append(tmp_path / name / "pets.toml")
        configs[-1].write_text(f"[data]\nimages = ['{tmp_path / name / 'images'}']\n")
    succeed(store, "run", configs[0], *few)
    version = Run.open(store, "pets").record.versions["embeddings"]
    line = fail(store, "run", configs[1], *few)
    first, second = (config.parent / "images" for config in configs)
    assert f"the run 'pets' has the images of {first}, not of {second}" in line
    assert Run.open(store, "pets").record.versions["embeddings"] == version
    configs[0].write_text(f"[data]\nimages = ['{second}', '{first}']\n")  # one more folder
    succeed(store, "run", configs[0], *few)
    succeed(store, "run", configs[0], *few)


# Tables.


def write_table(path: Path, columns: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_tables_of_hugging_face_are_embedded_and_shown(store, tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for part in range(2):
        numbers = range(part * 10, part * 10 + 10)
        image = pa.array([{"bytes": png(n), "path": None} for n in numbers], kind)
        columns = {"image": image, "label": list(map(label, numbers)), "id": list(numbers)}
        write_table(tmp_path / "data" / f"train-{part:05d}.parquet", columns)
    done = succeed(store, "embed", "--table", tmp_path / "data" / "train-*.parquet", *DIGITS)
    assert "found 2 tables" in done.err and "seen 20 = embedded 20 + skipped 0" in done.out
    found = rows(embeddings(store))
    assert [found[str(n)]["label"] for n in range(20)] == [str(label(n)) for n in range(20)]
    assert (found["3"]["offset"], found["3"]["size"]) == (None, len(png(3)))
    assert found["13"]["shard"] == "train-00001.parquet"
    assert images_of(store) == {str(n): png(n) for n in range(20)}
    assert "nothing to do" in succeed(store, "embed", "--table", tmp_path / "data", *DIGITS).err
    (tmp_path / "data" / "train-00000.parquet").unlink()
    with pytest.raises(MissingError, match=r"run `cpp-pipe embed --table` with where it lies now"):
        images_of(store)


def test_skipped_rows_do_not_shift_the_images(store, tmp_path):
    cells = [png(0), b"no image", None, png(3), png(4)]
    write_table(tmp_path / "a.parquet", {"img": cells})
    done = succeed(store, "embed", "--table", tmp_path, *DIGITS, "--max-skipped", "0.5")
    assert "skipped 2 (" in done.out and "no_image 1" in done.out and "unsupported 1" in done.out
    assert images_of(store) == {"0": png(0), "3": png(3), "4": png(4)}


def test_a_table_of_paths_is_embedded_and_shown(store, tmp_path):
    for n in range(5):
        write_image(tmp_path / "in" / "files" / f"{n}.png", n)
    columns = {"file_name": [f"files/{n}.png" for n in range(6)], "text": ["a digit"] * 6}
    table = write_table(tmp_path / "in" / "a.parquet", columns)
    done = succeed(store, "embed", "--table", table, *DIGITS, "--max-skipped", "0.2")
    assert "skipped 1 (unreadable 1)" in done.out
    assert images_of(store) == {str(n): png(n) for n in range(5)}
    assert rows(embeddings(store))["0"]["caption"] == "a digit"


def test_addresses_in_a_table_are_skipped_and_img2dataset_is_named(store, tmp_path):
    urls = ["http://example.org/a.jpg"] * 3
    table = write_table(tmp_path / "laion.parquet", {"URL": urls, "TEXT": ["a", "b", "c"]})
    line = fail(store, "embed", "--table", table, *DIGITS)
    assert "remote (3)" in line and "tar shards of them with img2dataset" in line
    write_table(table, {"image": [png(0), png(1), *[None] * 2], "url": ["x", *urls]})
    mixed = write_table(tmp_path / "b.parquet", {"path": ["a.png", *urls]})
    write_image(tmp_path / "a.png")
    line = fail(store, "embed", "--table", mixed, *DIGITS)
    assert "75.0%" in line and "img2dataset" in line
    done = succeed(store, "embed", "--table", mixed, *DIGITS, "--max-skipped", "0.8")
    assert "remote: 3 images are URLs" in done.out and "img2dataset" in done.out


def test_the_image_column_can_be_named(store, tmp_path):
    table = write_table(tmp_path / "a.parquet", {"jpg": [png(0)], "thumb": [png(1)]})
    succeed(store, "embed", "--table", table, "--image-column", "thumb", *DIGITS)
    assert images_of(store) == {"0": png(1)}
    assert Run.open(store).record.settings["data"]["image_column"] == "thumb"
    line = fail(store, "embed", "--table", table, "--image-column", "nonesuch", *DIGITS)
    assert "--image-column 'nonesuch'" in line and "jpg, thumb" in line


# Shards elsewhere, and counts beside them.


def test_shards_on_the_web_are_embedded_like_local_ones(store, tmp_path, monkeypatch):
    monkeypatch.setenv("CPP_PIPE_FOLLOW_ALL", "1")  # the server is on this machine
    pytest.importorskip("aiohttp", reason="fsspec reads the web by aiohttp")
    folder = tmp_path / "served"
    write_shards(folder, shards=2)
    with serve(folder) as web:
        done = embed(store, f"{web.url}/{{000..001}}.tar")
        assert "seen 40 = embedded 40" in done.out and "found 2 shards" in done.err
        found = images_of(store)
        line = fail(store, "embed", "--shards", f"{web.url}/{{000..002}}.tar", *DIGITS)
        assert "found 2 of 3 shards" in line and "002.tar" in line
    assert len(found) == 40 and set(found.values()) == {png(n) for n in range(40)}
    # The same shards from the disk are the same parts.
    assert "nothing to do" in embed(store, folder).err
    assert images_of(store) == found
    assert not list(store.rglob("fetched-*"))


def test_shards_in_a_bucket_are_embedded_and_shown(store, tmp_path, monkeypatch):
    monkeypatch.setenv("CPP_PIPE_FOLLOW_ALL", "1")  # the bucket is in memory
    files = fsspec.filesystem("memory")
    (path,) = write_shards(tmp_path / "in", shards=1)
    files.pipe("/bucket/inputs/a.tar", path.read_bytes())
    done = embed(store, "memory://bucket/inputs/*.tar")
    assert "seen 20 = embedded 20" in done.out
    assert set(images_of(store).values()) == {png(n) for n in range(20)}
    files.rm("/bucket/inputs/a.tar")
    with pytest.raises(MissingError, match=r"cannot be read from memory://.*a\.tar"):
        images_of(store)


def test_differing_counts_of_img2dataset_are_reported_and_kept(store, tmp_path):
    write_shards(tmp_path / "in", shards=3)
    for name, count in (("000", 20), ("001", 25)):
        stats = json.dumps({"count": 30, "successes": count})
        (tmp_path / "in" / f"{name}_stats.json").write_text(stats)
    done = embed(store, tmp_path / "in")
    differing = [line for line in done.out.splitlines() if "counts differ" in line]
    assert differing == [
        "counts differ: img2dataset's stats file says 25 samples for 001.tar, which holds 20"
    ]
    facts = [part.facts.get("stats_successes") for part in embeddings(store).parts]
    assert facts == [20, 25, None]


def test_a_tar_shard_keeps_its_version(store, tmp_path):
    """The version is spelt out, so that no change of code changes it unnoticed."""
    (path,) = write_shards(tmp_path / "in", shards=1, size=3)
    embed(store, path)
    content = path.read_bytes()
    identity = digest_json(
        {"name": "000.tar", "size": len(content), "edges_sha256": sha256(content).hexdigest()}
    )
    artifact = embeddings(store)
    recipe = {
        "kind": "embeddings",
        "format": 1,
        "stage": "embed",
        "revision": 3,
        "config": dict(artifact.manifest.config),
        "sources": {"shard": identity},
    }
    assert artifact.parts[0].recipe == digest_json(recipe)
    assert artifact.parts[0].name == f"000-{identity[:8]}"
    parts = {**recipe, "sources": {artifact.parts[0].name: {"shard": identity}}}
    assert artifact.version == digest_json(parts)[:16]


def test_images_of_parts_without_a_source_are_found_in_their_tars(store, tmp_path):
    write_shards(tmp_path / "in", shards=1, size=3)
    embed(store, tmp_path / "in")
    path = Path(str(embeddings(store).folder / "manifest.json"))
    rewrite(path, lambda manifest: manifest["parts"][0]["facts"].pop("source"))
    assert set(images_of(store).values()) == {png(n) for n in range(3)}


def test_imported_embeddings_have_no_images(store, tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3, dtype=np.float32))
    succeed(store, "import", tmp_path / "a.npy", "--model", "ViT-B-32")
    with pytest.raises(MissingError, match="its embedding was imported"):
        Run.open(store).image(0)


# What is named, and what it is.


def test_naming_one_kind_replaces_the_others(store, tmp_path, photos):
    write_shards(tmp_path / "shards", shards=1, size=3, first=60)
    embed_images(store, photos)
    assert Run.open(store).record.settings["data"]["images"] == [str(photos)]
    embed(store, tmp_path / "shards")
    data = Run.open(store).record.settings["data"]
    assert data["images"] == [] and data["shards"] == [str(tmp_path / "shards")]
    assert embeddings(store).rows == 3
    both = ["--images", photos, "--shards", tmp_path / "shards"]
    done = succeed(store, "embed", *both, *DIGITS)
    assert "11 of 11 parts are there already" in done.err
    assert embeddings(store).rows == 23
    # Without a name the record says what it was.
    assert "nothing to do" in succeed(store, "embed").err


def test_a_config_may_name_folders_and_tables(store, tmp_path, photos):
    config = tmp_path / "my.toml"
    config.write_text(
        f"[data]\nimages = ['{photos}']\n[embed]\nmodel = 'digits-clip'\npretrained = 'shipped'\n"
    )
    assert "seen 20 = embedded 20" in succeed(store, "embed", "--config", config).out


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("embed --shards photos", "--images 'photos'"),
        ("embed --shards photos/7", "--images 'photos/7'"),
        ("embed photos", "--images 'photos'"),
        ("embed --shards photos/7/*.png", "--images 'photos/7'"),
        ("embed --shards photos/7/picture.png", "--images 'photos/7'"),
        ("embed --shards tables", "--table 'tables'"),
        ("embed --shards tables/a.parquet", "--table 'tables/a.parquet'"),
        ("embed --shards vectors", "cpp-pipe import 'vectors'"),
        ("embed --shards vectors/a.npy", "cpp-pipe import 'vectors/a.npy'"),
        ("embed --images shards", "--shards 'shards'"),
        ("embed --images shards/000.tar", "--shards 'shards/000.tar'"),
        ("embed --images tables", "--table 'tables'"),
        ("embed --images tables/a.parquet", "--table 'tables/a.parquet'"),
        ("embed --images vectors", "cpp-pipe import 'vectors'"),
        ("embed --images photos/7/picture.png", "--images 'photos/7'"),
        ("embed --table photos", "--images 'photos'"),
        ("embed --table shards", "--shards 'shards'"),
        ("embed --table shards/000.tar", "--shards 'shards/000.tar'"),
        ("embed --table vectors", "cpp-pipe import 'vectors'"),
        ("embed --images s3://bucket/photos", "cpp-pipe pack makes"),
        ("embed --table s3://bucket/a.parquet", "only local tables can be read"),
        ("run photos", "cpp-pipe run --images 'photos'"),
        ("run --images shards", "--shards 'shards'"),
        ("import photos --model x", "cpp-pipe embed --images 'photos'"),
        ("import shards --model x", "cpp-pipe embed --shards 'shards'"),
        ("import tables --model x", "cpp-pipe embed --table 'tables'"),
        ("import tables/a.parquet --model x", "cpp-pipe embed --table 'tables/a.parquet'"),
        ("import photos/7/picture.png --model x", "cpp-pipe embed --images 'photos/7'"),
        ("embed --images nowhere", "there is no folder"),
        ("embed", "--images FOLDER"),
    ],
)
def test_an_input_of_another_kind_names_the_right_flag(
    store, tmp_path, monkeypatch, asked, message
):
    write_image(tmp_path / "photos" / "7" / "picture.png")
    write_shards(tmp_path / "shards", shards=1, size=1)
    write_table(tmp_path / "tables" / "a.parquet", {"jpg": [png(0)]})
    (tmp_path / "vectors").mkdir()
    np.save(tmp_path / "vectors" / "a.npy", np.eye(3, dtype=np.float32))
    monkeypatch.chdir(tmp_path)
    line = fail(store, *asked.split())
    assert message in line.replace(f"{tmp_path}/", "")
    assert not (store / "embeddings").exists()
