"""fetch: files in the layouts of torchvision become tar shards with labels, splits and classes."""

import importlib
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from http.client import IncompleteRead
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torchvision import datasets

from cpp_pipe.pipeline.config import CONFIGS, Settings, read_tables
from cpp_pipe.pipeline.datasets.catalog import CATALOG
from cpp_pipe.pipeline.datasets.download_commands import DOWNLOAD_COMMANDS
from cpp_pipe.pipeline.datasets.shards import write_shards
from cpp_pipe.pipeline.datasets.superclasses import SUPERCLASS
from cpp_pipe.pipeline.view.labels import read_labels
from cpp_pipe.store import ConfigError, Store

from ...stages.sources.web import serve
from ...waiting import wait_until
from ..cli import DIGITS, Outcome, call, fail, open_whole, succeed
from .synthetic_files import (
    MAKERS,
    Expected,
    jpeg,
    make_cifar10,
    make_food,
    make_imagenet_archives,
    make_ucf_videos,
    md5,
)

UNPACKING = pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")
"""torchvision 0.29 unpacks tars without a filter, about which Python 3.12 and 3.13 warn."""


def fetch(*words: str | Path) -> Outcome:
    """Runs fetch, which must work."""
    done = call(None, "fetch", *words)
    assert done.code == 0, done.err
    return done


def samples_of(shards: list[Path]) -> dict[str, dict[str, bytes]]:
    """The members of each sample by suffix, by key."""
    samples: dict[str, dict[str, bytes]] = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                content = tar.extractfile(member)
                assert content is not None
                samples.setdefault(key, {})[suffix] = content.read()
    return samples


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def image_of(sample: dict[str, bytes]) -> bytes:
    """The encoded image of a sample."""
    return next(content for suffix, content in sample.items() if suffix in ("jpg", "jpeg", "png"))


def test_every_data_set_has_made_files():
    assert set(MAKERS) == set(CATALOG)


@pytest.mark.parametrize("name", MAKERS)
def test_samples_have_their_labels_splits_and_class_names(name, tmp_path, monkeypatch):
    expected = MAKERS[name](tmp_path / "files", monkeypatch)
    done = check_samples(name, tmp_path, expected)
    assert f"has {CATALOG[name].images:,} images: these files are incomplete" in done.out


@UNPACKING
def test_archives_of_imagenet_are_unpacked_first(tmp_path, monkeypatch):
    check_samples("imagenet", tmp_path, make_imagenet_archives(tmp_path / "files", monkeypatch))


@pytest.fixture
def videos(tmp_path, monkeypatch) -> Expected:
    """Four videos in the folder `files`, where torchcodec can decode them."""
    try:
        importlib.import_module("torchcodec")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchcodec or FFmpeg is not installed: {type(error).__name__}")
    return make_ucf_videos(tmp_path / "files", monkeypatch)


def test_the_middle_frame_of_a_video_is_taken(tmp_path, videos):
    check_samples("ucf101", tmp_path, videos)
    for sample in samples_of(list((tmp_path / "shards").glob("*.tar"))).values():
        shade = Image.open(io.BytesIO(sample["png"])).getpixel((16, 16))
        assert shade == pytest.approx((80, 80, 80), abs=8)


@pytest.mark.parametrize("damage", ["empty", "no video", "without a header", "cut", "a lost link"])
def test_a_damaged_video_is_skipped_and_listed(damage, tmp_path, videos):
    """One damaged video used to end the fetch of all 13,320."""
    path = tmp_path / "files" / "UCF-101" / "YoYo" / "v_YoYo_g08_c01.avi"
    content = path.read_bytes()
    path.unlink()
    if damage == "a lost link":
        path.symlink_to(tmp_path / "nowhere.avi")
    else:
        damaged = {
            "empty": b"",
            "no video": b"not a video",
            "without a header": b"RIFF" + bytes(200),
            "cut": content[:300],
        }
        path.write_bytes(damaged[damage])
    out = tmp_path / "shards"
    done = fetch("ucf101", out, "--from", tmp_path / "files")
    assert "seen 4 = written 3 + skipped 1, in 2 shards" in done.out
    (skipped,) = json.loads((out / "skipped.json").read_text())
    assert (skipped["key"], skipped["reason"]) == ("YoYo/v_YoYo_g08_c01", "undecodable")
    assert skipped["detail"] and str(tmp_path) not in skipped["detail"]
    assert ".cpp" not in skipped["detail"]
    expected = set(videos) - {"YoYo/v_YoYo_g08_c01"}
    assert samples_of(sorted(out.glob("*.tar"))).keys() == expected


def check_samples(name: str, folder: Path, expected: Expected) -> Outcome:
    """Fetches from `files` in a folder into `shards`, and compares every sample."""
    out = folder / "shards"
    done = fetch(name, out, "--from", folder / "files", "--shard-size", "2")
    count = len(expected)
    assert f"seen {count} = written {count} + skipped 0, in " in done.out
    classes = json.loads((out / "classes.json").read_text())
    seen = {}
    for shard in sorted(out.glob("*.tar")):
        samples = samples_of([shard])
        assert 1 <= len(samples) <= 2
        for key, sample in samples.items():
            fields = json.loads(sample["json"])
            label = sample.get("cls")
            class_name = None if label is None else classes[int(label)]
            assert fields.get("class_name") == class_name
            seen[key] = (class_name, fields.get("split"))
            assert shard.name.startswith(f"{fields['split']}-" if "split" in fields else "0")
            Image.open(io.BytesIO(image_of(sample))).verify()
    assert seen == expected
    return done


def test_image_files_are_copied_byte_for_byte(tmp_path, monkeypatch):
    make_food(tmp_path / "files", monkeypatch)
    fetch("food101", tmp_path / "out", "--from", tmp_path / "files")
    samples = samples_of(list((tmp_path / "out").glob("*.tar")))
    assert samples
    for key, sample in samples.items():
        file = tmp_path / "files" / "food-101" / "images" / f"{key}.jpg"
        assert sample["jpg"] == file.read_bytes()


def test_the_same_files_give_the_same_bytes(tmp_path, monkeypatch):
    make_cifar10(tmp_path / "files", monkeypatch)
    for out in ("one", "two"):
        fetch("cifar10", tmp_path / out, "--from", tmp_path / "files", "--shard-size", "7")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_an_interrupted_fetch_keeps_whole_shards_and_ends_the_same(tmp_path, monkeypatch):
    make_cifar10(tmp_path / "files", monkeypatch)
    words = ("cifar10", tmp_path / "out", "--from", tmp_path / "files", "--shard-size", "7")
    fetch(*words)
    whole = files_of(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    interrupted = interrupt("cifar10", tmp_path, shards=3)
    cut = interrupted / "train-00001.tar"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (interrupted / "train-00099.tar").write_bytes(b"of a call that skipped fewer images")
    (interrupted / ".tmp-train-00003.tar-0123abcd-99-0123abcd").write_bytes(b"of a killed process")
    done = fetch(*words)
    assert "2 of 4 shards were there already" in done.err
    assert files_of(tmp_path / "out") == whole
    assert not interrupted.exists()


def interrupt(name: str, folder: Path, shards: int, shard_size: int = 7) -> Path:
    """Fetches `files` of a folder into `out`, and stops after some shards; returns their folder."""

    def report(done: int, skipped: int) -> None:
        if len(list((folder / "out.partial").glob("*.tar"))) >= shards:
            raise KeyboardInterrupt

    data_set, root, out = CATALOG[name], folder / "files", folder / "out"
    listing = data_set.open(root, (), download=False)
    with pytest.raises(KeyboardInterrupt):
        write_shards(listing, data_set, root, out, shard_size=shard_size, report=report)
    return folder / "out.partial"


def test_shards_of_another_data_set_are_not_continued(tmp_path, monkeypatch):
    """Keys of CIFAR-10 and of CIFAR-100 are the same: train/00000 and so on."""
    make_cifar10(tmp_path / "files", monkeypatch)
    MAKERS["cifar100"](tmp_path / "files", monkeypatch)
    words = ("--from", tmp_path / "files", "--shard-size", "2")
    fetch("cifar100", tmp_path / "whole", *words)
    interrupt("cifar10", tmp_path, shards=2, shard_size=2)
    done = fetch("cifar100", tmp_path / "out", *words)
    assert "already" not in done.err
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("differs", ["files", "size", "split"])
def test_a_fetch_with_other_arguments_begins_again(differs, tmp_path, monkeypatch):
    make_cifar10(tmp_path / "files", monkeypatch)
    shutil.copytree(tmp_path / "files", tmp_path / "copy")
    interrupt("cifar10", tmp_path, shards=2)
    words = ["--from", tmp_path / ("copy" if differs == "files" else "files")]
    words += ["--shard-size", "3" if differs == "size" else "7"]
    words += ["--split", "train"] if differs == "split" else []
    done = fetch("cifar10", tmp_path / "out", *words)
    assert "already" not in done.err
    fetch("cifar10", tmp_path / "whole", *words)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("name", ["notes.txt", "train-00000.tar", ".tmp-mine", "classes.json"])
def test_foreign_files_are_left_alone(name, tmp_path, monkeypatch):
    make_cifar10(tmp_path / "files", monkeypatch)
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / name).write_text("mine")
    message = fail_fetch("cifar10", tmp_path / "out", "--from", tmp_path / "files")
    assert f"out.partial, where shards are written first, holds {name}" in message
    assert files_of(tmp_path / "out.partial") == {name: b"mine"}


def test_a_file_put_among_unfinished_shards_is_left_alone(tmp_path, monkeypatch):
    make_cifar10(tmp_path / "files", monkeypatch)
    interrupted = interrupt("cifar10", tmp_path, shards=2)
    (interrupted / "my-train-00000.tar").write_text("mine")
    before = files_of(interrupted)
    message = fail_fetch("cifar10", tmp_path / "out", "--from", tmp_path / "files")
    assert "holds my-train-00000.tar, which this command did not write" in message
    assert files_of(interrupted) == before


def test_a_fetch_that_is_killed_is_continued(tmp_path, monkeypatch):
    dishes = {"waffles": [f"waffles/{number}" for number in range(300)]}
    for split in ("train", "test"):
        path = tmp_path / "files" / "food-101" / "meta" / f"{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dishes if split == "train" else {"waffles": []}))
    for name in dishes["waffles"]:
        jpeg(tmp_path / "files" / "food-101" / "images" / f"{name}.jpg", len(name))
    words = ["food101", "--from", str(tmp_path / "files"), "--shard-size", "1"]
    killed = [sys.executable, "-m", "cpp_pipe", "fetch", *words, str(tmp_path / "killed")]
    with subprocess.Popen(killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        partial = tmp_path / "killed.partial"
        wait_until(lambda: len(list(partial.glob("*.tar"))) >= 3 or process.poll() is not None)
        process.kill()
    assert not (tmp_path / "killed").exists()
    done = fetch(*words, tmp_path / "killed")
    assert "of 300 shards were there already" in done.err
    fetch(*words, tmp_path / "whole")
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_finished_shards_are_not_written_again(tmp_path, monkeypatch):
    MAKERS["cifar100"](tmp_path / "files", monkeypatch)
    monkeypatch.chdir(tmp_path)
    fetch("cifar20", "--from", "files")
    before = files_of(tmp_path / "cifar100")
    assert "holds the 5 images of" in fetch("cifar100", "--from", "files").out
    assert files_of(tmp_path / "cifar100") == before
    message = fail_fetch("cifar10", "cifar100", "--from", "files")
    assert "OUT cifar100 exists already" in message


def test_an_image_that_is_missing_is_counted_and_named(tmp_path, monkeypatch):
    make_food(tmp_path / "files", monkeypatch)
    (tmp_path / "files" / "food-101" / "images" / "waffles" / "0.jpg").unlink()
    done = fetch("food101", tmp_path / "out", "--from", tmp_path / "files")
    assert "seen 4 = written 3 + skipped 1, in 2 shards" in done.out
    assert "waffles/0 is left out: unreadable" in done.err
    (skipped,) = json.loads((tmp_path / "out" / "skipped.json").read_text())
    assert (skipped["key"], skipped["reason"]) == ("waffles/0", "unreadable") and skipped["detail"]


def test_all_skipped_images_are_listed(tmp_path, monkeypatch):
    listed = {"waffles": [f"waffles/{number}" for number in range(10)]}
    meta = tmp_path / "files" / "food-101" / "meta"
    meta.mkdir(parents=True)
    for split in ("train", "test"):
        (meta / f"{split}.json").write_text(json.dumps(listed))
    jpeg(tmp_path / "files" / "food-101" / "images" / "waffles" / "7.jpg")
    words = ("--from", tmp_path / "files", "--split", "train")
    done = fetch("food101", tmp_path / "out", *words)
    assert f"and 4 more left out: see {tmp_path / 'out' / 'skipped.json'}" in done.err
    skipped = json.loads((tmp_path / "out" / "skipped.json").read_text())
    assert [entry["key"] for entry in skipped] == [f"waffles/{i}" for i in range(10) if i != 7]


def test_the_output_must_not_be_in_the_folder_of_source_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (
        ("cifar10", "downloads/cifar10"),
        ("cifar10", "downloads"),
        ("cifar10", "files", "--from", "files"),
        ("cifar10", "files", "--from", "files.partial"),
    ):
        assert "name another folder for the shards" in fail_fetch(*words)
    assert list(tmp_path.iterdir()) == []


def test_existing_shards_of_another_size_are_reported(tmp_path, monkeypatch):
    make_cifar10(tmp_path / "files", monkeypatch)
    words = ("cifar10", tmp_path / "out", "--from", tmp_path / "files")
    fetch(*words, "--shard-size", "7")
    output = fetch(*words, "--shard-size", "9").out
    assert (
        "already, in shards of at most 7 images: name a new folder for shards of another" in output
    )
    for same in (words, (*words, "--shard-size", "7")):
        assert "in shards of at most" not in fetch(*same).out


def test_incomplete_files_are_reported_by_every_fetch_of_them(tmp_path, monkeypatch):
    """A second fetch, as after an interruption, said only that the shards were there."""
    make_food(tmp_path / "downloads" / "food101", monkeypatch)
    monkeypatch.chdir(tmp_path)
    words = ("food101", "--downloads", "downloads")
    for done in (fetch(*words), fetch(*words)):
        assert (
            "Food-101 has 101,000 images: these files are incomplete; remove downloads/food101 and "
            "food101 to download them again"
        ) in " ".join(done.out.split())
    part = fetch("food101", "test", "--from", "downloads/food101", "--split", "test").out
    assert "Food-101 has 101 classes: these files are incomplete\n" in part


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        (("wikiart", "out", "--split", "x"), "OUT and --split"),
        (("laion-aesthetic", "--shard-size", "7"), "--shard-size"),
        (("wikiart", "--from", "files"), "--from"),
        (("--downloads", "files"), "--downloads"),
        (("cifar10", "out", "--from", "files", "--downloads", "more"), "--downloads"),
    ],
)
def test_arguments_without_effect_are_refused(words, idle):
    assert fail_fetch(*words).endswith(f"leave out {idle}")


def test_one_split_can_be_fetched_alone(tmp_path, monkeypatch):
    make_food(tmp_path / "files", monkeypatch)
    fetch("food101", tmp_path / "out", "--from", tmp_path / "files", "--split", "test")
    assert [path.name for path in (tmp_path / "out").glob("*.tar")] == ["test-00000.tar"]
    message = fail_fetch("food101", tmp_path / "out", "--from", tmp_path / "files")
    assert "exists already: name a new one" in message
    message = fail_fetch("food101", tmp_path / "no", "--from", tmp_path, "--split", "val")
    assert "--split val: those of food101 are train, test" in message


@UNPACKING
def test_the_next_command_reads_existing_shards(tmp_path, monkeypatch):
    make_imagenet_archives(tmp_path / "files", monkeypatch)
    monkeypatch.chdir(tmp_path)
    files = ("--from", tmp_path / "files")
    done = fetch("imagenet", "elsewhere", *files)
    assert "cpp-pipe run imagenet --shards 'elsewhere/train-*.tar'" in done.out + done.err
    done = fetch("imagenet", *files, "--split", "val")
    assert "cpp-pipe run imagenet --shards imagenet\n" in done.out + done.err


def test_caltech_without_its_background_says_what_is_missing(tmp_path, monkeypatch):
    MAKERS["caltech101"](tmp_path / "files", monkeypatch)
    (background,) = (tmp_path / "files").rglob("101_ObjectCategories/BACKGROUND_Google")
    shutil.rmtree(background)
    message = fail_fetch("caltech101", tmp_path / "out", "--from", tmp_path / "files")
    assert "BACKGROUND_Google is missing" in message
    assert "an empty folder of that name is enough" in message
    background.mkdir()
    fetch("caltech101", tmp_path / "out", "--from", tmp_path / "files")


def test_images_of_cifar100_have_both_labels(tmp_path, monkeypatch):
    MAKERS["cifar100"](tmp_path / "files", monkeypatch)
    fetch("cifar100", tmp_path / "out", "--from", tmp_path / "files")
    samples = samples_of(list((tmp_path / "out").glob("*.tar")))
    assert samples
    for sample in samples.values():
        fields = json.loads(sample["json"])
        assert fields["coarse_label"] == SUPERCLASS[fields["class_name"]]


def test_each_superclass_has_five_classes():
    superclasses = list(SUPERCLASS.values())
    assert len(SUPERCLASS) == 100
    assert {superclasses.count(name) for name in superclasses} == {5}


def test_images_of_coco_have_objects_and_captions(tmp_path, monkeypatch):
    MAKERS["coco"](tmp_path / "files", monkeypatch)
    fetch("coco", tmp_path / "out", "--from", tmp_path / "files")
    samples = samples_of(list((tmp_path / "out").glob("*.tar")))
    sample = samples["train2017/000000000009"]
    fields = json.loads(sample["json"])
    assert fields["objects"] == ["dog", "person"]
    assert fields["captions"] == ["Two.", "A dog."] and sample["txt"] == b"Two."
    assert json.loads(samples["val2017/000000000031"]["json"])["objects"] == []
    assert all("cls" not in sample for sample in samples.values())


@UNPACKING
def test_a_download_is_made_once_and_checked(tmp_path, monkeypatch):
    make_cifar10(tmp_path / "made", monkeypatch)
    archive = tmp_path / "served" / datasets.CIFAR10.filename
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made" / datasets.CIFAR10.base_folder, datasets.CIFAR10.base_folder)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive))
    with serve(archive.parent) as web:
        monkeypatch.setattr(datasets.CIFAR10, "url", f"{web.url}/{archive.name}")
        fetch("cifar10", tmp_path / "one", "--downloads", tmp_path / "downloads")
        archive.unlink()
        fetch("cifar10", tmp_path / "two", "--downloads", tmp_path / "downloads")
        message = fail_fetch("cifar10", tmp_path / "three", "--downloads", tmp_path / "empty")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert "CIFAR-10 cannot be downloaded (" in message and "--from" in message
    assert not (tmp_path / "three").exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), "(Connection reset by peer): try"),
        (TimeoutError("timed out"), "cannot be downloaded (timed out): try again, or get it from"),
        (IncompleteRead(b"some", 9), "(IncompleteRead(4 bytes read, 9 more expected)): try again"),
        (OSError(28, "No space left on device"), "cannot be read from files: No space left on dev"),
    ],
)
def test_a_download_that_breaks_off_says_what_happened_and_what_to_do(error, message):
    """It was a traceback, or `None: Connection reset by peer. The folder must hold ...`."""

    def read(root, splits, download):
        raise error

    data_set = replace(CATALOG["cifar10"], reader=read)
    with pytest.raises(ConfigError, match=re.escape(message)):
        data_set.open(Path("files"), (), download=True)
    if isinstance(error, OSError):  # as of a network disk
        with pytest.raises(ConfigError, match="cannot be read from files"):
            data_set.open(Path("files"), (), download=False)


def test_files_with_another_checksum_are_refused(tmp_path, monkeypatch):
    make_cifar10(tmp_path / "files", monkeypatch)
    batch = tmp_path / "files" / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:-1] + b"x")
    message = fail_fetch("cifar10", tmp_path / "out", "--from", tmp_path / "files")
    assert "Dataset not found or corrupted. The folder must hold cifar-10-batches-py/" in message


@pytest.mark.parametrize("name", [name for name in CATALOG if not CATALOG[name].is_downloaded])
def test_a_set_that_cannot_be_downloaded_says_where_it_is_from(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = fail_fetch(name)
    assert CATALOG[name].source in message and CATALOG[name].files in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", CATALOG)
def test_an_empty_folder_says_what_it_must_hold(name, tmp_path):
    (tmp_path / "empty").mkdir()
    message = fail_fetch(name, tmp_path / "out", "--from", tmp_path / "empty")
    assert CATALOG[name].title in message or "middle frames" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "other bytes", "another type"])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("stanford-cars", "stanford_cars/devkit/cars_meta.mat"),
        ("stanford-cars", "stanford_cars/cars_test_annos_withlabels.mat"),
        ("imagenet", "meta.bin"),
    ],
)
def test_damaged_lists_of_a_data_set_are_one_clear_error(name, file, damage, tmp_path, monkeypatch):
    MAKERS[name](tmp_path / "files", monkeypatch)
    path = tmp_path / "files" / file
    content = path.read_bytes()
    # The header of a .mat has 128 bytes; then the type of an array follows.
    damaged = {
        "empty": b"",
        "cut": content[: len(content) // 2],
        "other bytes": bytes(range(256)),
        "another type": content[:128] + b"\x25" * 8 + content[136:],
    }
    path.write_bytes(damaged[damage])
    message = fail_fetch(name, tmp_path / "out", "--from", tmp_path / "files")
    assert f"{CATALOG[name].title} cannot be read from {tmp_path / 'files'}: " in message
    assert "weights_only" not in message and CATALOG[name].source in message
    assert not (tmp_path / "out").exists()


def test_classes_that_differ_between_splits_are_refused(tmp_path, monkeypatch):
    make_food(tmp_path / "files", monkeypatch)
    meta = tmp_path / "files" / "food-101" / "meta" / "test.json"
    meta.write_text(json.dumps({"waffles": ["waffles/1"]}))
    message = fail_fetch("food101", tmp_path / "out", "--from", tmp_path / "files")
    assert "the classes of the split test differ from those of train" in message


def test_a_missing_frame_of_the_list_is_an_error(tmp_path, monkeypatch):
    MAKERS["ucf101"](tmp_path / "files", monkeypatch)
    shutil.rmtree(tmp_path / "files" / "UCF-101-midframes" / "YoYo")
    message = fail_fetch("ucf101", tmp_path / "out", "--from", tmp_path / "files")
    assert "no frame of 1 of the 2 videos of train, e.g. v_YoYo_g08_c01" in message


@pytest.mark.skipif(
    importlib.util.find_spec("torchcodec") is not None, reason="torchcodec is installed"
)
def test_videos_without_torchcodec_say_what_to_install(tmp_path):
    (tmp_path / "UCF-101").mkdir()
    message = fail_fetch("ucf101", tmp_path / "out", "--from", tmp_path)
    assert "pip install 'cpp-pipe[video]'" in message


def test_all_data_sets_are_listed():
    out = fetch().out
    for name, data_set in CATALOG.items():
        assert any(
            line.startswith(f"{name} ") and data_set.title in line for line in out.splitlines()
        )
    assert all(name in out for name in DOWNLOAD_COMMANDS)


def test_the_error_for_a_wrong_name_suggests_the_nearest():
    assert "did you mean cifar100?" in fail_fetch("cifar-100")


@pytest.mark.parametrize("name", DOWNLOAD_COMMANDS)
def test_sets_fetched_by_other_programs_name_the_shipped_config(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = fetch(name).out
    assert "huggingface" in out and f"cpp-pipe run {name}" in out
    assert list(tmp_path.iterdir()) == []


def test_tables_of_wikiart_hold_the_label_of_its_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = {"bytes": jpeg(tmp_path / "painting.jpg").read_bytes(), "path": "1.jpg"}
    columns = {"image": [image], "artist": [4], "genre": [2], "style": [21]}
    (tmp_path / "wikiart" / "data").mkdir(parents=True)
    pq.write_table(pa.table(columns), "wikiart/data/train-00000-of-00001.parquet")
    store = tmp_path / "artifacts"
    table = DOWNLOAD_COMMANDS["wikiart"].split("--table ")[1].strip().strip("'")
    succeed(store, "embed", "--config", "wikiart", "--table", table, *DIGITS)
    label = Store(store).runs.read("default").settings["data"]["label"]
    assert read_labels(open_whole(store), label, None) == ["21"]


# Configs.


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_config_begins_with_where_its_data_comes_from(path):
    head = " ".join(line.strip("# ") for line in path.read_text().splitlines()[:4])
    name = "cifar10" if path.stem == "reference" else path.stem
    assert f"cpp-pipe fetch {name}" in head or (path.stem == "digits" and "scikit-learn" in head)


@pytest.mark.parametrize("name", [name for name in CATALOG if (CONFIGS / f"{name}.toml").is_file()])
def test_a_config_takes_the_shards_that_fetch_writes(name):
    config = CONFIGS / f"{name}.toml"
    data = Settings.from_tables(read_tables(config), str(config)).data
    assert [Path(pattern).parent for pattern in data.shards] == [Path(CATALOG[name].shards)]
    assert name == "coco" or data.label == CATALOG[name].label


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("cifar10", "`cpp-pipe fetch cifar10` writes them"),
        ("cifar20", "`cpp-pipe fetch cifar20` writes them"),
        ("reference", "`cpp-pipe fetch cifar10` writes them"),
        ("wikiart", "`cpp-pipe fetch wikiart` says how to get them"),
    ],
)
def test_a_config_without_its_images_says_the_command(config, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in fail(tmp_path / "artifacts", "run", config)
    assert message in fail(tmp_path / "artifacts", "embed", "--config", config)


def test_other_shards_of_a_config_need_not_be_fetched(tmp_path, digit_shards):
    """Shards at an address, or in braces, were said not to be there."""
    shards = f'data.shards=["{digit_shards}/{{000..002}}.tar"]'
    done = succeed(tmp_path, "embed", "--config", "cifar10", "--set", shards, *DIGITS)
    assert "seen 60 = embedded 60" in done.out


def fail_fetch(*words: str | Path) -> str:
    """Runs fetch, which must fail; returns its one line of error."""
    done = call(None, "fetch", *words)
    assert done.code == 2, done.out
    (line,) = [line for line in done.err.splitlines() if line.startswith("cpp-pipe: ")]
    return line
