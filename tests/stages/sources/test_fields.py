"""The fields of a sample, for any contents of its text members."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.sources.fields import (
    MAX_OTHER_BYTES,
    MAX_TEXT_BYTES,
    SampleFields,
    clean_text,
)
from cpp_pipe.stages.sources.tar.listing import Span
from cpp_pipe.stages.sources.tar.shard_bytes import open_shard
from cpp_pipe.stages.sources.tar.shards import open_tar
from cpp_pipe.store.errors import ShardError


def read(folder: Path, **members: bytes) -> SampleFields:
    """The fields of one sample with an image and these members; `_` stands for a dot."""
    path = folder / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for suffix, content in {"jpg": b"image", **members}.items():
            header = tarfile.TarInfo(f"key.{suffix.replace('_', '.')}")
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    with open_tar(path, None) as opened:
        (entry,) = opened.samples
        return entry.fields()


def extra(found: SampleFields) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(found.extra, parse_constant=refuse)


def test_a_sample_with_only_an_image_has_no_fields(tmp_path: Path):
    assert read(tmp_path) == SampleFields(caption=None, label=None, url=None, extra="{}")


def test_the_real_shards_give_label_and_split(shared: Path):
    path = shared / "data" / "caltech101" / "00000.tar"
    with open_tar(path, None) as opened:
        found = opened.samples[0].fields()
        assert opened.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.caption, found.label, found.url) == (None, "52", None)
    assert extra(found) == {
        "file": "joshua_tree/image_0037.jpg",
        "label": "joshua_tree",
        "split": "val",
    }


def test_a_sample_of_img2dataset_fills_every_column_once(tmp_path: Path):
    fields_of_laion = {
        "caption": "a red kite",
        "url": "http://host/kite.jpg",
        "key": "000012345",
        "status": "success",
        "width": 256,
        "NSFW": "UNLIKELY",
        "similarity": 0.33,
        "exif": "{}",
    }
    found = read(tmp_path, txt=b"a red kite\n", json=json.dumps(fields_of_laion).encode())
    assert (found.caption, found.url) == ("a red kite", "http://host/kite.jpg")
    left = {k: v for k, v in fields_of_laion.items() if k not in ("caption", "url")}
    assert extra(found) == left
    assert list(extra(found)) == list(left)


@pytest.mark.parametrize("names", [("TEXT", "URL", "LABEL"), ("Caption", "Url", "Label")])
def test_json_fields_are_found_in_any_case(tmp_path: Path, names: tuple[str, ...]):
    values = dict(zip(names, ("words", "http://a", 7), strict=True))
    found = read(tmp_path, json=json.dumps(values).encode())
    assert (found.caption, found.url, found.label) == ("words", "http://a", "7")
    assert extra(found) == {}


def test_a_member_wins_over_a_json_field_which_is_kept_if_it_differs(tmp_path: Path):
    values = {"caption": "theirs", "label": "cat", "text": "more"}
    found = read(tmp_path, txt=b"ours", cls=b" 3\n", json=json.dumps(values).encode())
    assert (found.caption, found.label) == ("ours", "3")
    assert extra(found) == values


def test_a_blank_caption_counts_as_none(tmp_path: Path):
    assert read(tmp_path, txt=b" \n").caption is None
    assert read(tmp_path, txt=b"", json=b'{"text": "words"}').caption == "words"


def test_fields_of_another_type_stay_in_extra(tmp_path: Path):
    values = {"caption": ["one", "two"], "label": True, "url": None}
    found = read(tmp_path, json=json.dumps(values).encode())
    assert (found.caption, found.label, found.url) == (None, None, None)
    assert extra(found) == values


def test_the_url_may_be_a_member_of_its_own(tmp_path: Path):
    assert read(tmp_path, url=b"http://a\n").url == "http://a"
    assert read(tmp_path, url=b"http://a", json=b'{"URL": "http://b"}').url == "http://b"


def test_invalid_utf8_is_replaced(tmp_path: Path):
    found = read(tmp_path, txt=b"caf\xe9 \xff", cls=b"\xef\xbb\xbf5")
    assert (found.caption, found.label) == ("caf\ufffd \ufffd", "5")


@pytest.mark.parametrize("broken", [b"{", b"{'a': 1}", b"\xff\xfe", b"[" * 100_000, b"1" * 5000])
def test_broken_json_is_noted_and_raises_no_error(tmp_path: Path, broken: bytes):
    found = read(tmp_path, txt=b"words", json=broken)
    assert found.caption == "words"
    assert set(extra(found)) == {"json_error"}
    assert extra(found)["json_error"]


def test_json_that_is_not_an_object_is_kept(tmp_path: Path):
    assert extra(read(tmp_path, json=b"[1, 2]")) == {"json": [1, 2]}


def test_numbers_that_are_not_finite_become_null(tmp_path: Path):
    found = read(tmp_path, json=b'{"a": NaN, "b": [Infinity, -Infinity, 1e999, 1.5], "c": 1e308}')
    assert extra(found) == {"a": None, "b": [None, None, None, 1.5], "c": 1e308}


def test_a_lone_surrogate_can_be_written_as_utf8(tmp_path: Path):
    values = b'{"text": "a\\ud800b", "x": "\\udc00", "y": "\\ud83d\\ude00"}'
    found = read(tmp_path, json=values)
    assert found.caption == "a\ufffdb"
    assert extra(found) == {"x": "\ufffd", "y": "😀"}
    found.extra.encode()


def test_only_small_text_members_are_kept_under_their_suffix(tmp_path: Path):
    found = read(
        tmp_path,
        author=b"Ann\n",
        seg_txt=b"words",
        npy=b"\x93NUMPY\x01\x00",
        zeros=b"a\x00b",
        long=b"x" * (MAX_OTHER_BYTES + 1),
        png=b"another image",
        split=b"member",
        json=b'{"split": "field"}',
    )
    assert extra(found) == {
        "split": "field",
        "author": "Ann",
        "seg.txt": "words",
        ".split": "member",
    }


def test_a_text_that_is_too_long_is_noted_and_not_read(tmp_path: Path):
    found = read(tmp_path, txt=b"x" * (MAX_TEXT_BYTES + 1))
    assert found.caption is None
    assert extra(found) == {"txt_error": f"{MAX_TEXT_BYTES + 1} bytes, more than {MAX_TEXT_BYTES}"}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(values=st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=5))
def test_any_json_object_is_kept_whole_as_strict_json(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
):
    raw = json.dumps(values).encode()
    found = read(tmp_path_factory.getbasetemp(), json=raw)
    left = extra(found)
    strict = json.dumps(json.loads(raw, parse_constant=lambda _: None), ensure_ascii=False)
    # A lone surrogate, which UTF-8 cannot hold, is U+FFFD in the store.
    for name, value in json.loads(clean_text(strict)).items():
        if name in left:
            assert left[name] == value
        else:
            column = "caption" if name.lower() == "text" else name.lower()
            assert getattr(found, column) == (clean_text(str(value)).strip() or None)


@settings(deadline=None, max_examples=60)
@given(txt=st.binary(max_size=50), raw=st.binary(max_size=50), other=st.binary(max_size=50))
def test_any_bytes_in_text_members_give_fields(
    tmp_path_factory: pytest.TempPathFactory, txt: bytes, raw: bytes, other: bytes
):
    found = read(tmp_path_factory.getbasetemp(), txt=txt, json=raw, other=other, cls=txt)
    for text in (found.caption, found.label, found.url, found.extra):
        assert text is None or text.encode()
    assert isinstance(extra(found), dict)


def test_an_empty_shard_can_be_opened(tmp_path: Path):
    path = tmp_path / "shard.tar"
    path.touch()
    with open_shard(path) as shard:
        assert shard.size == 0
        assert shard.read(Span(0, 0)) == b""
        assert shard.sha256() == hashlib.sha256(b"").hexdigest()


def test_a_shard_that_shrinks_while_it_is_read_raises_an_error(tmp_path: Path):
    path = tmp_path / "shard.tar"
    path.write_bytes(b"x" * 10_000)
    with open_shard(path) as shard:
        assert shard.read(Span(5000, 5000)) == b"x" * 5000
        path.write_bytes(b"x" * 6000)
        with pytest.raises(ShardError, match="was changed while it was read"):
            shard.read(Span(5000, 5000))


def test_an_absent_shard_is_an_error(tmp_path: Path):
    with pytest.raises(ShardError, match="cannot be read"), open_shard(tmp_path / "absent.tar"):
        pass
