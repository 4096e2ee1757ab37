"""Hostile shards and images through the real command: seen = embedded + skipped, in each shard.

`test_tar` and `test_pixels` give the same inputs, and more, to `scan` and `decode` directly.
"""

import gzip
import io
import tarfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.measure import peak_bytes_of
from cpp_pipe import Run
from cpp_pipe.stages.sources.images.pixels import UndecodableImage, decode
from cpp_pipe.stages.sources.tar.listing import scan
from cpp_pipe.stages.sources.tar.shard_bytes import open_shard
from cpp_pipe.store import Artifact, ShardError

from ...pipeline.cli import DIGITS, fail, succeed
from .damage import EDITS, damaged
from .image_bytes import COLOURS, HOSTILE, SOUND, as_in_training, encoded, png_header
from .tar_bytes import SAMPLES, end_mark, tar_bytes

PNG = encoded(COLOURS, "PNG")
JPEG = encoded(COLOURS, "JPEG")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One shard, and the expected result."""

    shard: bytes
    embedded: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    """Key and reason."""
    is_partial: bool = False
    captions: dict[str, str] = field(default_factory=dict)


def of_files(*members: tuple[str, bytes], layout: int = tarfile.USTAR_FORMAT) -> bytes:
    return tar_bytes(list(members), layout)


def of_headers(*headers: tuple[str, bytes, str]) -> bytes:
    """A tar with a sound image, and members that are not files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        sound = tarfile.TarInfo("sound.png")
        sound.size = len(PNG)
        tar.addfile(sound, io.BytesIO(PNG))
        for name, kind, target in headers:
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, target
            tar.addfile(header)
    return stream.getvalue()


def flipped(shard: bytes, at: int) -> bytes:
    return shard[:at] + bytes([shard[at] ^ 0xFF]) + shard[at + 1 :]


LONG = "folder/" * 30 + "größe" + "x" * 120
TWO = of_files(("a.png", PNG), ("b.png", PNG))

CASES: dict[str, Case] = {
    "a file of no bytes": Case(shard=b"", is_partial=True),
    "a tar of nothing": Case(shard=of_files()),
    "zeros alone": Case(shard=bytes(4096)),
    "interleaved members": Case(
        shard=of_files(("a.png", PNG), ("b.png", PNG), ("b.txt", b"of b"), ("a.txt", b"of a")),
        embedded=("a", "b"),
        captions={"a": "of a", "b": "of b"},
    ),
    "a key twice": Case(
        shard=of_files(("a.png", PNG), ("a.txt", b"1"), ("a.png", JPEG), ("a.txt", b"2")),
        embedded=("a",),
        skipped=(("a", "duplicate_key"),),
        captions={"a": "1"},
    ),
    "a key of another shard, one": Case(shard=of_files(("same.png", PNG)), embedded=("same",)),
    "a key of another shard, two": Case(shard=of_files(("same.png", JPEG)), embedded=("same",)),
    "no extension": Case(shard=of_files(("a.png", PNG), ("README", b"words")), embedded=("a",)),
    "no key": Case(
        shard=of_files(("a.png", PNG), (".png", PNG)),
        embedded=("a",),
        skipped=((".png", "no_key"),),
    ),
    "upper-case extensions": Case(
        shard=of_files(("a.PNG", PNG), ("a.TXT", b"words"), ("b.JPEG", JPEG)),
        embedded=("a", "b"),
        captions={"a": "words"},
    ),
    "several dots": Case(
        shard=of_files(("a.b.png", PNG), ("a.b.txt", b"no caption"), ("c.seg.png", PNG)),
        skipped=(("a", "no_image"), ("c", "no_image")),
    ),
    "folders inside": Case(
        shard=of_files(("x/a.png", PNG), ("y/a.png", PNG), ("./z/a.png", PNG)),
        embedded=("x/a", "y/a", "z/a"),
    ),
    "macOS's litter": Case(
        shard=of_files(("a.png", PNG), ("._a.png", b"x"), ("__MACOSX/._a.png", b"x")),
        embedded=("a",),
    ),
    "links and devices": Case(
        shard=of_headers(
            ("symbolic.jpg", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard.jpg", tarfile.LNKTYPE, "sound.png"),
            ("pipe.jpg", tarfile.FIFOTYPE, ""),
            ("device.jpg", tarfile.CHRTYPE, ""),
            ("folder.jpg", tarfile.DIRTYPE, ""),
        ),
        embedded=("sound",),
        skipped=(
            ("symbolic", "not_a_file"),
            ("hard", "not_a_file"),
            ("pipe", "not_a_file"),
            ("device", "not_a_file"),
        ),
    ),
    "GNU's long names": Case(
        shard=of_files((f"{LONG}.png", PNG), layout=tarfile.GNU_FORMAT), embedded=(LONG,)
    ),
    "PAX's long names": Case(
        shard=of_files((f"{LONG}.png", PNG), layout=tarfile.PAX_FORMAT), embedded=(LONG,)
    ),
    "texts alone": Case(shard=of_files(("a.txt", b"words")), skipped=(("a", "no_image"),)),
    "two tars joined": Case(shard=TWO + TWO, embedded=("a", "b"), is_partial=True),
    "garbage behind the samples": Case(
        shard=TWO[: TWO.index(b"b.png")] + bytes(range(1, 200)) * 20,
        embedded=("a",),
        is_partial=True,
    ),
    "a damaged header": Case(
        shard=flipped(TWO, TWO.index(b"b.png")), embedded=("a",), is_partial=True
    ),
    "a damaged image": Case(
        shard=flipped(TWO, TWO.index(b"IDAT") + 60),
        embedded=("b",),
        skipped=(("a", "undecodable"),),
    ),
    "a wrong extension": Case(
        shard=of_files(("a.jpg", PNG), ("b.png", JPEG), ("c.webp", encoded(COLOURS, "BMP"))),
        embedded=("a", "b", "c"),
    ),
    "sound images": Case(
        shard=of_files(*((f"{name}.jpg", make()) for name, make in SOUND.items())),
        embedded=tuple(SOUND),
    ),
    "sound images as they were trained on": Case(
        shard=of_files(
            *(
                (f"{name}.png", encoded(Image.fromarray(as_in_training(make())), "PNG"))
                for name, make in SOUND.items()
            )
        ),
        embedded=tuple(SOUND),
    ),
    "hostile images": Case(
        shard=of_files(*((f"{name}.jpg", make()) for name, (make, _) in HOSTILE.items())),
        skipped=tuple((name, reason) for name, (_, reason) in HOSTILE.items()),
    ),
}

REFUSED: dict[str, tuple[bytes, str]] = {
    "garbage": (bytes(range(256)) * 40, "is not a tar: it starts with"),
    "an error page": (b"<!DOCTYPE html><html>404" * 100, "is not a tar"),
    "gzip": (gzip.compress(TWO), "is compressed with gzip: decompress it first"),
    "a zip": (b"PK\x03\x04" + bytes(2000), "is not a tar but a zip or an .npz"),
    "a tar cut in its first header": (TWO[:200], "is not a tar"),
}
"""A file that is not a tar ends the command: it has no samples to account for."""

CUT = of_files(("a.png", PNG), ("a.txt", b"of a"), ("b.txt", b"of b"), ("b.png", PNG))
CUT = CUT[: end_mark(CUT) + 1024]


def case_of_cut(cut: int) -> Case:
    """The expected result for `CUT` cut at a byte, from where its members begin and end."""
    with tarfile.open(fileobj=io.BytesIO(CUT)) as tar:
        members = [member for member in tar.getmembers() if member.offset_data <= cut]
    ends = {member.name: member.offset_data + member.size for member in members}
    is_cut = {name[0]: end > cut for name, end in ends.items()}
    whole = {name for name, end in ends.items() if end <= cut}
    embedded = [key for key in is_cut if f"{key}.png" in whole and not is_cut[key]]
    return Case(
        shard=CUT[:cut],
        embedded=tuple(embedded),
        skipped=tuple((key, "truncated") for key in is_cut if key not in embedded),
        is_partial=cut < end_mark(CUT) + 512,
    )


CASES |= {
    f"cut at byte {cut}": case_of_cut(cut)
    for block in range(512, len(CUT) + 1, 512)
    for cut in (block, block + 1, block + 200, block + 511)
    if cut <= len(CUT)
}


def size_of(data: bytes) -> tuple[int, int]:
    """The size in the file's header, as Pillow reads it, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(io.BytesIO(data)).size


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    """The folder of all shards in CASES, and the embeddings that one command makes of them."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "shards").mkdir()
    for name, case in CASES.items():
        (folder / "shards" / f"{name}.tar").write_bytes(case.shard)
    flags = ["--allow-partial", "--max-skipped", "1"]
    shards = ["--shards", str(folder / "shards")]
    done = succeed(folder / "store", "embed", *shards, *DIGITS, *flags)
    embedded = sum(len(case.embedded) for case in CASES.values())
    skipped = sum(len(case.skipped) for case in CASES.values())
    seen = embedded + skipped
    assert f"seen {seen} = embedded {embedded} + skipped {skipped}" in done.out
    return folder / "shards", Run.open(folder / "store").artifact("embeddings")


@pytest.mark.parametrize("name", CASES)
def test_every_sample_of_a_hostile_shard_is_accounted_for(
    name: str, embedded: tuple[Path, Artifact]
):
    folder, artifact = embedded
    (part,) = [part for part in artifact.parts if part.facts["shard"] == f"{name}.tar"]
    rows = artifact.table(part.name).to_pylist()
    skipped = artifact.table(part.name, "skipped").to_pylist()
    expected = CASES[name]
    assert tuple(row["key"] for row in rows) == expected.embedded
    assert sorted((row["key"], row["reason"]) for row in skipped) == sorted(expected.skipped)
    assert part.facts["seen"] == len(rows) + len(skipped)
    assert part.facts["embedded"] == len(rows)
    assert part.facts["is_partial"] == expected.is_partial
    shard = (folder / f"{name}.tar").read_bytes()
    for row in rows:
        data = shard[row["offset"] : row["offset"] + row["size"]]
        assert (row["width"], row["height"]) == size_of(data)
        assert row["caption"] == expected.captions.get(row["key"], row["caption"])
    vectors = artifact.embeddings(part.name).astype(np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=2e-3)


def test_sound_images_of_every_kind_are_embedded_from_the_pixels_of_training(
    embedded: tuple[Path, Artifact],
):
    _, artifact = embedded
    names = {part.facts["shard"]: part.name for part in artifact.parts}
    ours, theirs = (
        artifact.embeddings(names[f"{name}.tar"]).astype(np.float32)
        for name in ("sound images", "sound images as they were trained on")
    )
    # Half a unit in the last place of float16, for unit rows.
    assert np.abs(ours - theirs).max() < 5e-4


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_not_a_tar_ends_the_command_with_one_line(name: str, tmp_path: Path):
    content, message = REFUSED[name]
    (tmp_path / "0.tar").write_bytes(TWO)
    (tmp_path / "1.tar").write_bytes(content)
    line = fail(tmp_path / "store", "embed", "--shards", str(tmp_path), *DIGITS)
    assert "1.tar" in line and message in line
    (tmp_path / "1.tar").unlink()
    done = succeed(tmp_path / "store", "embed", "--shards", str(tmp_path), *DIGITS)
    assert "1 of 1 part is there already" in done.err


def refuse_bomb(side: int) -> Callable[[], None]:
    """Work that decodes, and refuses, an image of `side` x `side` pixels."""
    data = png_header(side, side)
    Image.open(io.BytesIO(PNG)).load()  # imports what Pillow needs for its first image

    def work() -> None:
        with pytest.raises(UndecodableImage, match="too_large"):
            decode(data)

    return work


def test_a_bomb_of_400_megapixels_takes_no_memory():
    # Its pixels would take 1,200 MB; the file has less than 2 KB.
    assert peak_bytes_of(refuse_bomb, 20_000) < 8 << 20


# The deadline detects a hang: a listing takes a millisecond.
@settings(deadline=timedelta(seconds=5), max_examples=300)
@given(
    layout=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    edits=EDITS,
)
def test_a_damaged_tar_yields_only_samples_of_the_whole_one(
    tmp_path_factory: pytest.TempPathFactory,
    layout: int,
    edits: list[tuple[str, int, int, bytes]],
):
    names = "" if layout == tarfile.USTAR_FORMAT else "long/" * 25
    whole = tar_bytes([(names + name, content) for name, content in SAMPLES], layout)
    content = damaged(whole[: end_mark(whole) + 1024], edits)
    path = tmp_path_factory.getbasetemp() / "damaged.tar"
    path.write_bytes(content)
    try:
        listing = scan(path)
    except ShardError:
        return
    spans = []
    with open_shard(path) as shard:
        for sample in listing.samples:
            for suffix, span in sample.members.items():
                # Its bytes are those at its position, all inside the file.
                member = content[span.offset : span.offset + span.size]
                assert len(member) == span.size
                assert shard.read(span) == member
                # Its name is in the header right before them or, if long, before that.
                header = content[span.offset - 512 : span.offset]
                before = content[: span.offset].decode("utf-8", "backslashreplace").lower()
                assert tarfile.TarInfo.frombuf(header, "utf-8", "backslashreplace").isreg()
                assert f"{sample.key}.{suffix}".lower() in before or "\\x" in sample.key
                spans.append((span.offset - 512, span.offset + span.size))
    # No two members overlap.
    spans.sort()
    for (_, end), (start, _) in pairwise(spans):
        assert end <= start
    keys = [sample.key for sample in listing.samples]
    assert len(set(keys)) == len(keys)
    assert listing.seen == len(listing.samples) + len(listing.faults)
