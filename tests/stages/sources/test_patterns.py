"""The notations for lists of shards, and a shard's identity."""

import hashlib
import shutil
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset.shardlists import expand_urls

from cpp_pipe.stages.sources.pattern_hints import compress_names
from cpp_pipe.stages.sources.patterns import count_names, expand, expand_braces, natural_key
from cpp_pipe.stages.sources.shards import EDGE_BYTES, Shard
from cpp_pipe.store.errors import ShardError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*patterns: str) -> list[str]:
    return [str(path) for path in expand(patterns).found]


@pytest.mark.parametrize(
    "pattern",
    [
        "laion/{000..011}.tar",
        "laion/<000..011>.tar",
        "laion/0{00..11}.tar",
        "./laion/{000..011}.tar",
    ],
)
def test_every_notation_of_a_range_names_the_same_shards(folder: Path, pattern: str):
    names = [f"laion/{i:03d}.tar" for i in range(12)]
    touch(*names, "laion/012.tar", "laion/11.tar")
    assert found(pattern) == names


@pytest.mark.parametrize(
    "pattern",
    [
        "s{00..03}.tar",
        "s{a,b}.tar",
        "{a,b}/s{0..2}.tar",
        "s{1..9..3}.tar",
        "{x,y{0..2}}.tar",
        "s.tar",
    ],
)
def test_braces_expand_as_in_webdataset(folder: Path, pattern: str):
    names = expand_urls(pattern)
    touch(*names)
    assert found(pattern) == names


def test_missing_shards_are_named_and_the_others_found(folder: Path):
    touch(*(f"{i:04d}.tar" for i in range(1000) if i not in (13, 500, 501, 502, 900, 999)))
    shards = expand(["{0000..0999}.tar"])
    assert len(shards.found) == 994
    assert shards.missing == (
        "0013.tar",
        "0500.tar",
        "0501.tar",
        "0502.tar",
        "0900.tar",
        "0999.tar",
    )
    assert shards.describe() == (
        "found 994 of 1000 shards; missing: 0013.tar, {0500..0502}.tar, 0900.tar, … (and 1 more)"
    )


def test_a_complete_list_is_described_without_missing_shards(folder: Path):
    touch("1.tar", "2.tar")
    assert expand(["{1..2}.tar"]).describe() == "found 2 shards"
    assert expand(["1.tar"]).describe() == "found 1 shard"


def test_shards_are_in_natural_order(folder: Path):
    touch("s-10.tar", "s-9.tar", "s-1.tar")
    assert found("*.tar") == found(".") == ["s-1.tar", "s-9.tar", "s-10.tar"]
    assert found("s-9.tar", "*.tar") == ["s-9.tar", "s-1.tar", "s-10.tar"]


def test_a_shard_named_twice_is_read_once_and_reported(folder: Path):
    touch("a.tar", "b.tar")
    Path("link.tar").symlink_to("a.tar")
    shards = expand(["a.tar", "*.tar", str(folder / "b.tar")])
    assert [str(path) for path in shards.found] == ["a.tar", "b.tar"]
    assert {path.name for path in shards.duplicates} == {"a.tar", "link.tar", "b.tar"}
    assert shards.describe().splitlines()[1].startswith("named more than once and read once: ")


def test_a_folder_stands_for_its_own_tars(folder: Path):
    touch("laion/1.tar", "laion/1.parquet", "laion/._1.tar", "laion/below/2.tar")
    assert found("laion") == found("laion/") == ["laion/1.tar"]
    assert found("laion/**") == found("laion/**/*.tar") == ["laion/1.tar", "laion/below/2.tar"]


def test_a_glob_without_a_suffix_finds_only_tars(folder: Path):
    touch("laion/1.tar", "laion/1_stats.json", "laion/2.wds")
    assert found("laion/*") == found("laion/[1]*") == found("laion/?.*") == ["laion/1.tar"]
    assert found("laion/*.wds") == ["laion/2.wds"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path):
    touch("a[1].tar", "b{1,2}.tar", "a1.tar")
    assert found("a[1].tar") == ["a[1].tar"]
    assert found("b{1,2}.tar") == ["b{1,2}.tar"]


def test_patterns_in_a_list_are_relative_to_the_working_directory_or_the_list(folder: Path):
    touch("here.tar", "lists/beside1.tar", "lists/beside2.tar", "lists/glob/3.tar")
    Path("lists/all.txt").write_text(
        "# the good ones\n\nhere.tar\r\n  beside{1..3}.tar \nglob/*.tar\n", encoding="utf-8"
    )
    shards = expand(["@lists/all.txt"])
    names = ["here.tar", "lists/beside1.tar", "lists/beside2.tar", "lists/glob/3.tar"]
    assert [str(path) for path in shards.found] == names
    assert shards.missing == ("beside3.tar",)


def test_one_absent_file_among_others_is_missing_not_an_error(folder: Path):
    touch("000.tar", "002.tar")
    shards = expand(["000.tar", "001.tar", "002.tar"])  # as a shell expands unquoted braces
    assert shards.missing == ("001.tar",)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("laion/*.tar", r"the folder laion has 2 \.tgz files \(e\.g\. 0\.tgz\) and no \.tar"),
        ("laion/{0..1}.tar", r"the folder laion has 2 \.tgz files"),
        ("laion", r"the folder laion has 2 \.tgz files"),
        ("laion/0.tar", r"the folder laion has 2 \.tgz files"),
        ("padded/{000..002}.tar", r"padded has 1 \.tar file \(e\.g\. 00000\.tar\)$"),
        ("photos", r"\(e\.g\. a\.jpg\) and no \.tar: use --images 'photos', or pack the images"),
        ("vectors", r"cpp-pipe import"),
        ("deep", r"no files, but 1 \.tar in its subfolders: write 'deep/\*/\*\.tar'"),
        ("nowhere/{0..1}.tar", r"there is no folder nowhere"),
        ("nowhere/**/*.tar", r"there is no folder nowhere"),
        ("laion/{0-9}.tar", r"write a range as \{000\.\.999\}"),
        ("laion/{0..1.tar", r"the braces in 'laion/\{0\.\.1\.tar' do not match"),
        ("laion/{0..99999999999}.tar", r"names more than 1000000 shards"),
        ("{0..9999}/{0..9999}.tar", r"names more than 1000000 shards"),
        ("s3://bucket/{0..9}.tar", r"not on this machine"),
        ("pipe:cat 0.tar", r"not on this machine"),
        ("@absent.txt", r"the list of shards absent\.txt cannot be read"),
        ("@empty.txt", r"the list of shards empty\.txt is empty: write one"),
        ("@wrong.txt", r"none of the shards in wrong\.txt exists"),
        ("@nested.txt", r"a list must not hold another list"),
        (" ", r"a shard pattern is empty"),
    ],
)
def test_a_pattern_that_finds_nothing_says_what_is_there(folder: Path, pattern: str, message: str):
    touch("laion/0.tgz", "laion/1.tgz", "padded/00000.tar", "photos/a.jpg", "vectors/a.npy")
    touch("deep/below/0.tar", "there.tar")
    Path("empty.txt").write_text("# nothing\n")
    Path("wrong.txt").write_text("gone.tar\n")
    Path("nested.txt").write_text("@wrong.txt\n")
    with pytest.raises(ShardError, match=message):
        expand([pattern])


def test_an_empty_glob_is_an_error_beside_another_pattern(folder: Path):
    touch("a.tar", "laion/0.tgz")
    with pytest.raises(ShardError, match=r"'laion/\*\.tar' finds no shard"):
        expand(["a.tar", "laion/*.tar"])


def test_an_error_for_names_expanded_by_a_shell_suggests_quotes(folder: Path):
    with pytest.raises(ShardError, match=r"none of the 2 shards .* quote it"):
        expand(["000.tar", "001.tar"])


def test_a_missing_shard_is_named_with_similar_names_and_what_is_there(folder: Path):
    touch("shard-000.tar", "shard-001.tar", "other.txt", ".hidden.tar")
    with pytest.raises(ShardError) as caught:
        expand(["shard000.tar"])
    assert str(caught.value) == (
        "the shard shard000.tar does not exist: did you mean shard-000.tar or shard-001.tar? the "
        "folder . has 2 .tar files (e.g. shard-000.tar), 1 .txt file (e.g. other.txt)"
    )


def test_no_pattern_at_all_is_an_error():
    with pytest.raises(ShardError, match="no shards are named"):
        expand([])


@given(st.lists(st.integers(0, 40), max_size=30, unique=True).map(sorted), st.integers(1, 3))
def test_compressed_names_still_count_every_name(numbers: list[int], width: int):
    names = [f"laion/{i:0{width}d}.tar" for i in numbers]
    text = compress_names(names)
    shown = text.partition(", … (and ")
    count = int(shown[2].removesuffix(" more)")) if shown[1] else 0
    for part in filter(None, shown[0].split(", ")):
        count += len(expand_urls(part))
        assert all(f"laion/{name}" in names for name in expand_urls(part))
    assert count == len(names)


@given(st.lists(st.text("ab0123-", max_size=6), max_size=8), st.randoms())
def test_natural_order_does_not_depend_on_the_order_given(names: list[str], random: Random):
    shuffled = random.sample(names, len(names))
    assert sorted(shuffled, key=natural_key) == sorted(names, key=natural_key)


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        bytes(i * i % 251 for i in range(1000)) * (size // 1000) + b"x" * (size % 1000)
    )
    return path


def test_moving_or_copying_a_shard_keeps_its_identity(tmp_path: Path):
    first = Shard.of(write(tmp_path / "00000.tar", 300_000))
    (tmp_path / "copy").mkdir()
    second = Shard.of(Path(shutil.copy(first.path, tmp_path / "copy" / "00000.tar")))
    assert second.identity == first.identity
    assert second.part_name == first.part_name == f"00000-{first.identity[:8]}"


@pytest.mark.parametrize("size", [0, 1, EDGE_BYTES, 2 * EDGE_BYTES, 2 * EDGE_BYTES + 1, 300_000])
def test_the_edges_are_the_first_and_last_64_kib_or_all(tmp_path: Path, size: int):
    path = write(tmp_path / "a.tar", size)
    content = path.read_bytes()
    edges = content if size <= 131_072 else content[:65_536] + content[-65_536:]
    assert Shard.of(path).edges_sha256 == hashlib.sha256(edges).hexdigest()
    assert Shard.of(path).size == size


@settings(deadline=None, max_examples=30)
@given(at=st.one_of(st.integers(0, EDGE_BYTES - 1), st.integers(300_000 - EDGE_BYTES, 299_999)))
def test_a_changed_byte_at_either_end_changes_the_identity(
    tmp_path_factory: pytest.TempPathFactory, at: int
):
    path = write(tmp_path_factory.mktemp("shards") / "a.tar", 300_000)
    before = Shard.of(path).identity
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert Shard.of(path).identity != before


def test_another_name_or_size_is_another_shard(tmp_path: Path):
    shard = Shard.of(write(tmp_path / "a.tar", 1000))
    assert Shard.of(write(tmp_path / "b.tar", 1000)).identity != shard.identity
    assert Shard.of(write(tmp_path / "a.tar", 1001)).identity != shard.identity


def test_a_shard_that_grew_in_its_middle_is_another_shard(tmp_path: Path):
    path = write(tmp_path / "a.tar", 300_000)
    before = Shard.of(path)
    content = path.read_bytes()
    path.write_bytes(content[:100_000] + b"more" + content[100_000:])
    assert Shard.of(path).edges_sha256 == before.edges_sha256
    assert Shard.of(path).identity != before.identity


@pytest.mark.parametrize("name", ["héllo wörld.tar", "....tar", "-x.tar", "a:b*c?.tar", "x" * 200])
def test_a_part_name_is_safe_in_any_file_system(tmp_path: Path, name: str):
    part = Shard.of(write(tmp_path / name, 10)).part_name
    assert set(part) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert not part.startswith(".")
    assert len(part) <= 120


def test_a_shard_that_cannot_be_read_is_an_error(tmp_path: Path):
    with pytest.raises(ShardError, match="cannot be read"):
        Shard.of(tmp_path / "absent.tar")
    with pytest.raises(ShardError, match="cannot be read"):
        Shard.of(tmp_path)


@pytest.mark.parametrize(
    "pattern",
    ["a", "{a,b}", "{0..9}", "{00..12..3}", "{a..f}x{1..3}", "{a,{b,c}{1..2}}", "{a}", "{}", "{,}",
     "{9..0}", "{a..c..2}", "{1,2}{3,{4,5}}", "{-2..2}"],
)  # fmt: skip
def test_names_are_counted_before_they_are_written(pattern: str):
    assert count_names(pattern) == len(expand_braces(pattern))


@pytest.mark.parametrize(
    "pattern",
    ["{a,b}" * 40, "{a..z}" * 9, "{0..999999999999}", "{" * 100_000, "{a," * 50_000 + "}" * 50_000,
     "{0.." + "9" * 10_000 + "}"],
)  # fmt: skip
def test_patterns_with_too_many_names_are_refused_at_once(pattern: str):
    began = time.monotonic()
    with pytest.raises(ShardError) as raised:
        expand_braces(pattern)
    assert time.monotonic() - began < 5
    assert len(str(raised.value)) < 1100
