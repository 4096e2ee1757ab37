"""Every file of a folder is embedded, skipped with a reason, or counted as left out."""

import io
import re
import tarfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.stages.sources.ignored_files import describe_left_out
from cpp_pipe.stages.sources.image_formats import image_suffixes, is_image_suffix
from cpp_pipe.stages.sources.images.tree import find_images
from cpp_pipe.stages.sources.tar.listing import scan

from ..forked import fork
from ..stages.sources.image_files import png, write_image
from ..stages.sources.raw_files import dng, jpeg
from .cli import DIGITS, call, fail, succeed


def as_format(number: int, kind: str) -> bytes:
    """A digit in another format."""
    image_suffixes()  # registers the extra that writes HEIC, too
    stream = io.BytesIO()
    Image.open(io.BytesIO(png(number))).convert("RGB").save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def mixed(tmp_path) -> Path:
    """A folder as phones write it."""
    folder = tmp_path / "phone"
    write_image(folder / "a.png", 0)
    write_image(folder / "trip" / "without_suffix", 1)
    for name, kind in (("b.jfif", "JPEG"), ("c.AVIF", "AVIF"), ("trip/d.HEIC", "HEIF"),
                       ("e.jp2", "JPEG2000"), ("f.ppm", "PPM"), ("g.mpo", "MPO"),
                       ("hidden.png.tga", "TGA")):  # fmt: skip
        (folder / name).write_bytes(as_format(2, kind))
    (folder / "a.txt").write_text("its caption")
    for name in ("IMG_1.mov", "IMG_2.MOV", "trip/notes.txt", "plain", "b.aae",
                 "Thumbs.db", "desktop.ini", ".DS_Store", "trip/._a.png"):  # fmt: skip
        (folder / name).write_bytes(b"words")
    return folder


LEFT_OUT = "5 files were left out: 2 .mov, 1 without a suffix, 1 .aae, 1 .txt"


def test_a_mixed_folder_is_accounted_for(tmp_path, mixed):
    done = succeed(tmp_path / "store", "embed", "--images", mixed, *DIGITS)
    assert "seen 9 = embedded 9 + skipped 0" in done.out
    assert LEFT_OUT in done.out
    again = succeed(tmp_path / "store", "embed", "--images", mixed, *DIGITS)
    assert "nothing to do" in again.err and LEFT_OUT in again.out


def test_packing_a_mixed_folder_leaves_out_the_same_files(tmp_path, mixed):
    done = call(None, "pack", mixed, tmp_path / "shards")
    assert done.code == 0
    assert "seen 9 = packed 9 + skipped 0" in done.out and LEFT_OUT in done.out
    store = tmp_path / "store"
    succeed(store, "embed", "--shards", tmp_path / "shards", *DIGITS)
    succeed(store, "embed", "--images", mixed, *DIGITS, "--run", "folder")
    packed, folder = (Run.open(store, run).artifact("embeddings") for run in ("default", "folder"))
    assert sorted(map(tuple, packed.embeddings(packed.only_part).tolist())) == sorted(
        tuple(row) for part in folder.parts for row in folder.embeddings(part.name).tolist()
    )
    assert {key.rsplit("/")[-1] for key in packed.column("key")} >= {"without_suffix", "hidden_png"}


@pytest.mark.parametrize("command", ["curate", "export"])
def test_an_image_without_a_suffix_is_copied_with_that_of_its_format(tmp_path, mixed, command):
    store = tmp_path / "store"
    succeed(store, "embed", "--images", mixed, *DIGITS)
    if command == "curate":
        succeed(store, "curate", "--out", tmp_path / "out")
        with tarfile.open(tmp_path / "out" / "00000.tar") as tar:
            names = tar.getnames()
        assert {"trip/without_suffix.png", "trip/d.heic", "c.avif", "hidden_png.tga"} <= {*names}
        samples = scan(tmp_path / "out" / "00000.tar").samples
        assert len(samples) == 9
    else:
        succeed(store, "export", "fiftyone", "--out", tmp_path / "out")
        suffixes = {path.suffix[1:] for path in (tmp_path / "out" / "data").iterdir()}
        assert {"png", "jpg", "avif", "heic", "jp2", "ppm", "tga"} == suffixes


NAMES = st.lists(
    st.tuples(
        st.sampled_from(["", "x/", "x/y/"]),
        st.sampled_from("abcd"),
        st.sampled_from(["", ".jpg", ".JFIF", ".avif", ".txt", ".json", ".mov", ".TIFF", ".xmp"]),
    ).map("".join),
    min_size=1,
    max_size=12,
    unique=True,
)


@given(names=NAMES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_of_a_folder_vanishes(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("any")
    for name in ["image.png", *names]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name) if not Path(name).suffix else (root / name).touch()
    left_out: Counter[str] = Counter()
    found = [image for _, images in find_images(root, left_out) for image in images]
    texts = {(folder, text) for folder, images in find_images(root)
             for image in images for text in image.texts.values()}  # fmt: skip
    assert len(found) + len(texts) + left_out.total() == len(names) + 1
    assert not any(is_image_suffix(suffix) for suffix in left_out)


def test_other_members_of_a_shard_are_counted(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:

        def add(name: str, content: bytes = b"words", kind: bytes = tarfile.REGTYPE) -> None:
            header = tarfile.TarInfo(name)
            header.size, header.type = len(content), kind
            header.linkname = "elsewhere" if kind == tarfile.SYMTYPE else ""
            tar.addfile(header, io.BytesIO(content))

        add("1.jpg", as_format(0, "JPEG"))
        add("2.avif", as_format(1, "AVIF"))
        add("3.mp4")
        add("README")
        add("4.txt", b"", tarfile.SYMTYPE)
        for name in (".DS_Store", "__MACOSX/._1.jpg", "__meta__/words", "._1.jpg"):
            add(name)
    more = ["--max-skipped", "0.5"]
    done = succeed(tmp_path / "store", "embed", "--shards", tmp_path / "a.tar", *DIGITS, *more)
    assert "seen 3 = embedded 2 + skipped 1 (no_image 1)" in done.out
    assert "no_image: 1 with only mp4\n" in done.out
    assert "2 members of tar shards were left out: 1 without a suffix, 1 .txt" in done.out


def without_extras(store: Path, *words: str | Path) -> str:
    """The output of a command where the extras are not installed."""
    absent, wide = ["pillow_heif", "rawpy"], {"COLUMNS": "1000"}
    with fork(*words, "--store", store, absent=absent, env=wide) as process:
        code, out, err = process.finish()
    assert code == 0, err
    return out


@pytest.mark.parametrize("flag", ["--images", "--shards", "--table"])
def test_after_its_extra_is_installed_heic_is_embedded(tmp_path, flag):
    named, store = tmp_path / "in", tmp_path / "store"
    named.mkdir()
    heic = as_format(1, "HEIF")
    if flag == "--images":
        write_image(named / "a.png")
        (named / "b.heic").write_bytes(heic)
        (named / "c.jpg").write_bytes(heic)  # as some programs rename them
    elif flag == "--shards":
        with tarfile.open(named / "a.tar", "w") as tar:
            for name, content in (("a.png", png(0)), ("b.heic", heic), ("c.jpg", heic)):
                header = tarfile.TarInfo(name)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
    else:
        pq.write_table(pa.table({"image": [png(0), heic, heic]}), named / "a.parquet")
    words = ["embed", flag, named, *DIGITS, "--max-skipped", "0.9"]
    out = without_extras(store, *words)
    assert "embedded 1 + skipped" in out and "pip install 'cpp-pipe[heif]' to read .heic" in out
    done = succeed(store, *words)
    assert "seen 3 = embedded 3 + skipped 0" in done.out
    again = succeed(store, *words)
    assert "nothing to do" in again.err and "embedded 3" in again.out
    run = Run.open(store)
    assert [run.image(row).size for row in range(3)] == [(32, 32)] * 3
    assert "copied 3 samples" in succeed(store, "curate", "--out", tmp_path / "out").out


def test_files_beside_shards_are_counted_but_not_their_tables(tmp_path):
    folder = tmp_path / "shards"
    write_image(tmp_path / "images" / "a.png")
    assert call(None, "pack", tmp_path / "images", folder).code == 0
    (folder / "00000.tar").rename(folder / "00000.TAR")
    for name in ("00000.parquet", "00000_stats.json", "00001.tar.gz", "b.zip", "c.zip"):
        (folder / name).touch()
    done = succeed(tmp_path / "store", "embed", "--shards", folder, *DIGITS)
    assert "seen 1 = embedded 1" in done.out
    assert "3 files were left out: 2 .zip, 1 .gz" in done.out


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "hold no image: name a folder of files that end in .jpg"),
        (("a.mov", "b.mov", "c.txt"), "hold no image, but 2 .mov, 1 .txt: name a folder"),
        (("a.parquet",), "holds Parquet tables, not a folder of images: use --table"),
    ],
)
@pytest.mark.parametrize("command", ["embed", "run", "pack"])
def test_a_folder_without_images_says_what_it_holds(tmp_path, names, message, command):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    if command == "pack":
        done = call(None, "pack", folder, tmp_path / "out")
        assert done.code == 2
        line = done.err
    else:
        line = fail(tmp_path / "store", command, "--images", folder, *DIGITS)
    assert message in re.sub(r"\s+", " ", line)


def test_the_line_names_few_suffixes_and_counts_all():
    assert describe_left_out({"mov": 1}) == "1 file was left out: 1 .mov"
    many = {f"x{n}": n for n in range(1, 12)}
    line = describe_left_out(many)
    assert line.startswith("66 files were left out: 11 .x11, 10 .x10") and "and 6 others" in line


@pytest.mark.skipif(find_spec("rawpy") is None, reason="rawpy is absent: pip install rawpy")
@pytest.mark.parametrize("flag", ["--images", "--shards"])
def test_raw_and_heic_files_are_embedded_once_extras_are_installed(tmp_path, flag):
    named, store = tmp_path / "in", tmp_path / "store"
    named.mkdir()
    files = {"a.png": png(0), "b.dng": dng(jpeg((200, 40, 90))), "c.NEF": dng(jpeg((1, 99, 9))),
             "d.heic": as_format(1, "HEIF")}  # fmt: skip
    if flag == "--images":
        for name, content in files.items():
            (named / name).write_bytes(content)
    else:
        with tarfile.open(named / "a.tar", "w") as tar:
            for name, content in files.items():
                header = tarfile.TarInfo(name)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
    words = ["embed", flag, named, *DIGITS, "--max-skipped", "0.9"]
    out = without_extras(store, *words)
    assert "embedded 1 + skipped" in out
    assert "pip install 'cpp-pipe[raw]' to read .dng, .nef" in out
    done = succeed(store, *words)
    assert "seen 4 = embedded 4 + skipped 0" in done.out
    assert "nothing to do" in succeed(store, *words).err
    run = Run.open(store)
    sizes = sorted(run.image(row).size for row in range(4))
    assert sizes == [(32, 32), (32, 32), (320, 240), (320, 240)]
    assert "copied 4 samples" in succeed(store, "curate", "--out", tmp_path / "out").out
