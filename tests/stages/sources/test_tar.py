"""Tar shards: the contents of a listing; no damage goes unnoticed."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_expander
from webdataset.writer import TarWriter

from cpp_pipe.stages.sources.tar.listing import ShardListing, scan, split_name
from cpp_pipe.stages.sources.tar.shards import parse_successes
from cpp_pipe.store.errors import ShardError

from .tar_bytes import SAMPLES, end_mark, tar_bytes


def write(folder: Path, content: bytes) -> Path:
    path = folder / "shard.tar"
    path.write_bytes(content)
    return path


def listed(folder: Path, *members: tuple[str, bytes]) -> ShardListing:
    return scan(write(folder, tar_bytes(list(members))))


def contents(path: Path, listing: ShardListing) -> dict[str, dict[str, bytes]]:
    """The bytes of every member of every sample."""
    raw = path.read_bytes()
    return {
        sample.key: {
            suffix: raw[span.offset : span.offset + span.size]
            for suffix, span in sample.members.items()
        }
        for sample in listing.samples
    }


def read_with_webdataset(path: Path) -> dict[str, dict[str, Any]]:
    with path.open("rb") as stream:
        files = tar_file_expander([{"url": str(path), "stream": stream}])
        return {
            sample["__key__"]: {k: v for k, v in sample.items() if not k.startswith("__")}
            for sample in group_by_keys(files)
        }


def faults(listing: ShardListing) -> list[tuple[str, str]]:
    return [(fault.key, fault.reason) for fault in listing.faults]


def test_the_real_shards_are_listed_byte_for_byte(shared: Path):
    path = shared / "data" / "caltech101" / "00000.tar"
    listing = scan(path)
    assert len(listing.samples) == listing.seen == 500
    assert listing.complete
    assert listing.samples[0].key == "joshua_tree_0037"
    assert listing.suffixes == {"jpg": 500, "cls": 500, "json": 500}
    with tarfile.open(path) as tar, path.open("rb") as file:
        for sample in listing.samples[::25]:
            for suffix, span in sample.members.items():
                member = tar.extractfile(f"{sample.key}.{suffix}")
                file.seek(span.offset)
                assert member is not None
                assert file.read(span.size) == member.read()


def test_a_shard_of_webdataset_is_read_as_webdataset_reads_it(tmp_path: Path):
    path = tmp_path / "shard.tar"
    with path.open("wb") as file, TarWriter(file, mtime=0) as tar:
        for i in range(5):
            fields = {"url": f"u{i}", "key": i}
            tar.write({"__key__": f"x.y/{i:04d}", "jpg": bytes([i] * 99), "json": fields})
    assert contents(path, scan(path)) == read_with_webdataset(path)


@pytest.mark.parametrize("layout", ["gnu", "pax", "ustar", "v7", "oldgnu"])
def test_shards_of_gnu_tar_are_read_byte_for_byte(tmp_path: Path, layout: str):
    long = "n" * 60 if layout == "v7" else "n" * 90
    names = [f"{long}/{i:04d}.{suffix}" for i in range(3) for suffix in ("jpg", "txt")]
    (tmp_path / long).mkdir()
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * 20)
    command = ["tar", f"--format={layout}", "-cf", "shard.tar", long]
    subprocess.run(command, cwd=tmp_path, check=True)
    path = tmp_path / "shard.tar"
    listing = scan(path)
    assert listing.complete
    assert not listing.faults
    for key, members in contents(path, listing).items():
        for suffix, content in members.items():
            assert content == (tmp_path / f"{key}.{suffix}").read_bytes()
    assert len(listing.samples) == 3


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_non_ascii_names_are_kept_whole(tmp_path: Path, layout: int):
    name = "ordner/" * 40 + "größe " + "x" * 120
    path = write(tmp_path, tar_bytes([(f"{name}.jpg", b"1"), (f"{name}.txt", b"2")], layout))
    assert contents(path, scan(path)) == {name: {"jpg": b"1", "txt": b"2"}}


def test_names_that_are_not_utf8_stay_distinct(tmp_path: Path):
    content = tar_bytes([("a_1.jpg", b"1"), ("a_2.jpg", b"2")])
    content = rename(rename(content, b"a_1", b"a\xe4\x31"), b"a_2", b"a\xf6\x31")
    listing = scan(write(tmp_path, content))
    assert [sample.key for sample in listing.samples] == ["a\\xe41", "a\\xf61"]


def rename(content: bytes, old: bytes, new: bytes) -> bytes:
    """The tar with a name in a header replaced by one of equal length, and its checksum fixed."""
    start = content.index(old)
    header = bytearray(content[start : start + 512])
    header[: len(new)] = new
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return content[:start] + bytes(header) + content[start + 512 :]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("0001.jpg", ("0001", "jpg")),
        ("a/b.c/0001.JPG", ("a/b.c/0001", "jpg")),
        ("./a/0001.seg.PNG", ("a/0001", "seg.png")),
        ("././0001.jpg", ("0001", "jpg")),
        ("0001.", ("0001", "")),
        ("README", None),
        (".DS_Store", None),
        ("a/._0001.jpg", None),
        ("__MACOSX/a/0001.jpg", None),
        ("a/__MACOSX/0001.jpg", None),
        ("__meta__/0001.jpg", None),
        ("__x.jpg", ("__x", "jpg")),
    ],
)
def test_a_key_ends_at_the_first_dot_of_the_base_name(name: str, split: tuple[str, str] | None):
    assert split_name(name) == split


@given(st.text("ab./_", min_size=1, max_size=12))
def test_keys_are_those_of_webdataset(name: str):
    # We treat hidden files, and names that start with "./", differently on purpose.
    assume(not name.startswith("./") and not name.rpartition("/")[2].startswith("."))
    ours = split_name(name)
    meta, _, _ = name.partition("/")
    if "/" in name and len(meta) >= 4 and meta.startswith("__") and meta.endswith("__"):
        assert ours is None
        return
    stream = [{"fname": name, "data": b"", "__url__": ""}]
    internal = {"__key__", "__url__"}
    theirs = [(s["__key__"], k) for s in group_by_keys(stream) for k in s if k not in internal]
    assert theirs == ([] if ours is None else [ours])


def test_interleaved_members_make_whole_samples(tmp_path: Path):
    listing = listed(
        tmp_path,
        ("a.jpg", b"1"),
        ("b.jpg", b"2"),
        ("c.txt", b"3"),
        ("a.txt", b"4"),
        ("c.jpg", b"5"),
        ("b.txt", b"6"),
    )
    assert contents(tmp_path / "shard.tar", listing) == {
        "a": {"jpg": b"1", "txt": b"4"},
        "b": {"jpg": b"2", "txt": b"6"},
        "c": {"txt": b"3", "jpg": b"5"},
    }
    assert not listing.faults


def test_a_second_sample_under_a_key_is_a_fault_and_the_first_is_kept(tmp_path: Path):
    listing = listed(
        tmp_path,
        *(("a.jpg", b"1"), ("a.txt", b"1"), ("b.jpg", b"2")),
        *(("a.jpg", b"3"), ("a.txt", b"3"), ("a.jpg", b"4")),
    )
    assert contents(tmp_path / "shard.tar", listing)["a"] == {"jpg": b"1", "txt": b"1"}
    assert faults(listing) == [("a", "duplicate_key"), ("a", "duplicate_key")]
    assert [fault.detail for fault in listing.faults] == ["again: jpg, txt", "again: jpg"]
    assert listing.seen == 4
    assert listing.complete


def test_a_sample_without_an_image_is_a_fault_that_names_its_members(tmp_path: Path):
    listing = listed(
        tmp_path, ("a.txt", b"1"), ("a.seg.png", b"1"), ("b.mp4", b""), ("c.png", b"1")
    )
    assert faults(listing) == [("a", "no_image"), ("b", "no_image")]
    assert listing.faults[0].detail == "suffixes seen: seg.png, txt"
    assert [sample.key for sample in listing.samples] == ["c"]


def test_of_several_images_the_same_one_is_taken_in_any_order(tmp_path: Path):
    members = [("a.png", b"1"), ("a.jpg", b"2"), ("a.mask.jpg", b"3"), ("a.webp", b"4")]
    for order in (members, members[::-1]):
        (sample,) = listed(tmp_path, *order).samples
        assert sample.image_suffix == "jpg"
        assert sample.image == sample.members["jpg"]


def test_links_and_devices_in_place_of_images_are_faults(tmp_path: Path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, kind in [
            ("folder.jpg", tarfile.DIRTYPE),
            ("a.jpg", tarfile.SYMTYPE),
            ("b.png", tarfile.LNKTYPE),
            ("c.jpg", tarfile.FIFOTYPE),
            ("d.jpg", tarfile.REGTYPE),
            ("d.png", tarfile.SYMTYPE),
            ("notes.md", tarfile.SYMTYPE),
        ]:
            header = tarfile.TarInfo(name)
            header.type = kind
            header.linkname = "elsewhere.jpg"
            tar.addfile(header)
    listing = scan(write(tmp_path, stream.getvalue()))
    assert faults(listing) == [("a", "not_a_file"), ("b", "not_a_file"), ("c", "not_a_file")]
    assert [sample.key for sample in listing.samples] == ["d"]


def test_an_image_without_a_key_is_a_fault_but_macos_litter_is_not(tmp_path: Path):
    listing = listed(
        tmp_path,
        *((".jpg", b"1"), ("a/.hidden.png", b"1"), ("x.jpg", b"1"), ("README", b"1")),
        *(("._x.jpg", b"1"), ("__MACOSX/._x.jpg", b"1"), (".DS_Store", b"1")),
    )
    assert faults(listing) == [(".jpg", "no_key"), ("a/.hidden.png", "no_key")]
    assert [sample.key for sample in listing.samples] == ["x"]
    assert listing.suffixes == {"jpg": 1, "": 1}


def test_a_sparse_member_makes_its_sample_a_fault(tmp_path: Path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"middle")
    (tmp_path / "b.jpg").write_bytes(b"whole")
    for layout in ("gnu", "pax"):
        command = ["tar", f"--format={layout}", "-S", "-cf", "shard.tar", "a.jpg", "b.jpg"]
        subprocess.run(command, cwd=tmp_path, check=True)
        listing = scan(tmp_path / "shard.tar")
        assert faults(listing) == [("a", "sparse")]
        assert contents(tmp_path / "shard.tar", listing) == {"b": {"jpg": b"whole"}}
        assert listing.complete


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_cut_is_noticed_and_never_gives_half_a_sample(tmp_path: Path, layout: int):
    folder = "" if layout == tarfile.USTAR_FORMAT else "ä" * 60 + "/"
    names = [("a.jpg", b"j" * 600), ("a.txt", b"one"), ("b.jpg", b"k" * 512), ("c.jpg", b"l" * 9)]
    whole = tar_bytes([(folder + name, content) for name, content in names], layout)
    end = end_mark(whole)
    path = write(tmp_path, whole[: end + 1024])
    expected = contents(path, scan(path))
    keys = list(expected)
    assert len(keys) == 3
    for cut in reversed(range(end + 1024)):
        os.truncate(path, cut)
        try:
            listing = scan(path)
        except ShardError:
            assert 0 < cut < 512
            continue
        assert listing.complete == (cut >= end + 512)
        assert listing.complete == (listing.why_cut is None) == (listing.cut_at is None)
        assert listing.cut_at is None or listing.cut_at <= cut
        samples = contents(path, listing)
        assert list(samples) == keys[: len(samples)]
        # All but the last sample are whole; the last one has only whole members, or is a fault.
        for key, members in samples.items():
            assert members.items() <= expected[key].items()
        for key in list(samples)[:-1]:
            assert samples[key] == expected[key]
        assert len(listing.faults) <= 1
        assert all(fault.reason == "truncated" for fault in listing.faults)


def test_a_sample_with_a_cut_member_is_a_fault_even_if_its_image_is_whole(tmp_path: Path):
    whole = tar_bytes([("a.jpg", b"1" * 600), ("b.jpg", b"2" * 600), ("b.json", b"{}" * 600)])
    start = whole.index(b"{}{}")
    listing = scan(write(tmp_path, whole[: start + 7]))
    assert [sample.key for sample in listing.samples] == ["a"]
    assert faults(listing) == [("b", "truncated")]
    assert listing.faults[0].offset == start
    assert (listing.complete, listing.cut_at) == (False, start + 7)


def test_a_cut_before_the_last_image_is_truncated_not_missing(tmp_path: Path):
    whole = tar_bytes([("a.cls", b"1"), ("a.jpg", b"1"), ("b.cls", b"2"), ("b.jpg", b"2")])
    listing = scan(write(tmp_path, whole[: whole.index(b"b.jpg")]))
    assert faults(listing) == [("b", "truncated")]


def test_an_empty_file_is_an_incomplete_shard(tmp_path: Path):
    listing = scan(write(tmp_path, b""))
    assert (listing.seen, listing.complete, listing.why_cut) == (0, False, "the file is empty")


def test_an_empty_tar_is_complete(tmp_path: Path):
    listing = listed(tmp_path)
    assert (listing.seen, listing.complete, listing.cut_at) == (0, True, None)


def test_concatenated_tars_are_not_complete(tmp_path: Path):
    first, second = tar_bytes([("a.jpg", b"1")]), tar_bytes([("b.jpg", b"2")])
    listing = scan(write(tmp_path, first + second))
    assert [sample.key for sample in listing.samples] == ["a"]
    assert not listing.complete
    assert "more follows the end mark" in (listing.why_cut or "")


def test_a_damaged_header_ends_the_listing_there(tmp_path: Path):
    content = bytearray(tar_bytes(SAMPLES))
    at = content.index(b"b/0002.jpg")
    content[at + 3] ^= 1
    listing = scan(write(tmp_path, bytes(content)))
    assert [sample.key for sample in listing.samples] == ["a/0001"]
    assert (listing.complete, listing.cut_at) == (False, at)
    assert listing.why_cut == f"the header at byte {at} is damaged"


def resized(content: bytes, start: int, size: int) -> bytes:
    """The tar with another size, in base 256, in the header at `start`, and its checksum fixed."""
    header = bytearray(content[start : start + 512])
    header[124:136] = (size + (1 << 96 if size < 0 else 0x80 << 88)).to_bytes(12, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return content[:start] + bytes(header) + content[start + 512 :]


@pytest.mark.parametrize("size", [-1, -1024, -(2**62), 2**62, 2**70])
def test_an_impossible_size_ends_the_listing(tmp_path: Path, size: int):
    content = tar_bytes([("a.jpg", b"1"), ("b.jpg", b"2"), ("c.jpg", b"3")])
    listing = scan(write(tmp_path, resized(content, 1024, size)))
    assert [sample.key for sample in listing.samples] == ["a"]
    assert not listing.complete


def test_a_sparse_member_that_points_back_does_not_loop(tmp_path: Path):
    with (tmp_path / "b.jpg").open("wb") as file:
        file.truncate(1 << 20)
    (tmp_path / "a.jpg").write_bytes(b"whole")
    command = ["tar", "--format=gnu", "-S", "-cf", "shard.tar", "a.jpg", "b.jpg"]
    subprocess.run(command, cwd=tmp_path, check=True)
    path = tmp_path / "shard.tar"
    listing = scan(write(tmp_path, resized(path.read_bytes(), 1024, -1024)))
    assert [sample.key for sample in listing.samples] == ["a"]
    assert (listing.complete, listing.cut_at) == (False, 1024)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>" * 50, r"not a tar: it starts with b'<!DOCTYPE html"),
        (b"x", r"not a tar: it starts with b'x'"),
        (b"\0" * 100, r"not a tar"),
        (b"\0" * 600 + b"x", None),
        (b"PK\x03\x04" + b"1" * 600, r"not a tar but a zip or an \.npz"),
        (b"PAR1" + b"1" * 600, r"not a tar but Parquet"),
    ],
)
def test_an_error_for_a_file_that_is_not_a_tar_says_what_it_is(
    tmp_path: Path, content: bytes, message: str | None
):
    path = write(tmp_path, content)
    if message is None:
        assert not scan(path).complete
        return
    with pytest.raises(ShardError, match=message):
        scan(path)


@pytest.mark.parametrize("program", ["gzip", "bzip2", "xz", "zstd"])
def test_an_error_for_a_compressed_tar_asks_to_decompress_it(tmp_path: Path, program: str):
    content = tar_bytes(SAMPLES)
    compressed = {
        "gzip": lambda: __import__("gzip").compress(content),
        "bzip2": lambda: __import__("bz2").compress(content),
        "xz": lambda: __import__("lzma").compress(content),
        "zstd": lambda: b"\x28\xb5\x2f\xfd" + content,
    }[program]()
    with pytest.raises(ShardError, match=f"compressed with {program}: decompress it first"):
        scan(write(tmp_path, compressed))


def test_a_shard_that_cannot_be_opened_is_an_error(tmp_path: Path):
    with pytest.raises(ShardError, match="cannot be read"):
        scan(tmp_path / "absent.tar")


@settings(deadline=None, max_examples=150)
@given(
    layout=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    edits=st.lists(
        st.tuples(st.integers(0, 9000), st.sampled_from(["set", "insert"]), st.binary(max_size=12)),
        min_size=1,
        max_size=4,
    ),
)
def test_damage_never_changes_members_before_it(
    tmp_path_factory: pytest.TempPathFactory, layout: int, edits: list[tuple[int, str, bytes]]
):
    members = [(f"{'long/' * 25}{name}", content) for name, content in SAMPLES]
    if layout == tarfile.USTAR_FORMAT:
        members = SAMPLES
    whole = tar_bytes(members, layout)
    damaged = bytearray(whole)
    first_touched = len(whole)
    for at, how, new in edits:
        at %= len(whole)
        first_touched = min(first_touched, at)
        damaged[at : at + (len(new) if how == "set" else 0)] = new
    folder = tmp_path_factory.getbasetemp()
    reference = contents(write(folder, whole), scan(write(folder, whole)))
    path = write(folder, bytes(damaged))
    try:
        listing = scan(path)
    except ShardError:
        assert first_touched < 512
        return
    for sample in listing.samples:
        for suffix, span in sample.members.items():
            assert 0 <= span.offset <= span.offset + span.size <= len(damaged)
            if span.offset + span.size <= first_touched:
                content = bytes(damaged[span.offset : span.offset + span.size])
                assert reference[sample.key][suffix] == content


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=2000), st.sampled_from([0, 257, 512]))
def test_any_bytes_are_listed_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
):
    content = tar_bytes([("a.jpg", json.dumps({"a": 1}).encode())])
    path = write(tmp_path_factory.getbasetemp(), content[:at] + noise)
    try:
        listing = scan(path)
    except ShardError:
        return
    assert not listing.complete or not noise.strip(b"\0")


@pytest.mark.parametrize(
    ("successes", "count"),
    [("12", 12), ("0", 0), ("-1", None), ("1e3", None), ("true", None), (str(2**60), None)],
)
def test_only_counts_that_a_manifest_can_hold_are_taken_from_img2dataset(successes, count):
    """With any other, a part could not be read again, and its shard never be embedded."""
    assert parse_successes(f'{{"successes": {successes}}}'.encode()) == count
