"""Columns and keys of rows do not depend on how an artifact is cut into parts."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.pipeline.view.columns import iterate_columns, read_column, read_rows, take_rows
from cpp_pipe.pipeline.view.keys import find_rows, match_keys, row_of_key, rows_of_keys
from cpp_pipe.store import Artifact, QueryError

from ...stages.sources.image_files import png, write_image
from ..cli import DIGITS, embed, succeed
from ..curation.world import artifact, plain_tar

ROWS = 60


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory, digit_shards) -> Artifact:
    """Sixty digits in three parts."""
    store = tmp_path_factory.mktemp("columns") / "artifacts"
    embed(store, digit_shards)
    found = artifact(store, "embeddings")
    assert found.rows == ROWS and len(found.parts) == 3
    return found


@pytest.fixture(scope="module")
def repeated(tmp_path_factory) -> Artifact:
    """Two shards that have the keys 0, 1 and 2 each."""
    folder = tmp_path_factory.mktemp("keys")
    shards = [
        plain_tar(folder / f"{name}.tar", {f"{n}.png": png(start + n) for n in range(3)})
        for name, start in (("one", 0), ("two", 3))
    ]
    embed(folder / "artifacts", *shards)
    return artifact(folder / "artifacts", "embeddings")


@given(st.lists(st.integers(0, ROWS - 1), max_size=20))
def test_rows_come_in_the_order_given(embeddings, rows):
    names = ["key", "shard", "size"]
    whole = pa.concat_tables(
        [embeddings.table(part.name, columns=names) for part in embeddings.parts]
    )
    assert take_rows(embeddings, rows, names).equals(whole.take(pa.array(rows, pa.int64())))
    assert read_rows(embeddings, rows, names) == [
        whole.slice(row, 1).to_pylist()[0] for row in rows
    ]


@pytest.mark.parametrize("row", [-1, ROWS])
def test_a_row_that_does_not_exist_raises(embeddings, row):
    with pytest.raises(IndexError, match="of 60"):
        take_rows(embeddings, [3, row], ["key"])


def test_a_column_holds_the_rows_of_all_parts(embeddings):
    sizes = read_column(embeddings, "size")
    assert sizes.tolist() == embeddings.column("size")
    parts = list(iterate_columns(embeddings, ["size", "width"]))
    assert [len(size) for size, _ in parts] == [20, 20, 20]
    assert np.concatenate([width for _, width in parts]).tolist() == embeddings.column("width")


def test_a_key_is_found_in_one_shard_or_in_all(repeated):
    assert repeated.column("key") == ["0", "1", "2"] * 2
    assert find_rows(repeated, "1") == [1, 4]
    assert find_rows(repeated, "1", "two.tar") == [4]
    assert find_rows(repeated, "1", "three.tar") == find_rows(repeated, "7") == []
    assert row_of_key(repeated, "two.tar:2") == 5
    with pytest.raises(QueryError, match=r"in several shards \(one.tar, two.tar\)"):
        row_of_key(repeated, "2")
    with pytest.raises(QueryError, match="in none of the 6 rows"):
        row_of_key(repeated, "7")


def test_names_match_keys_and_unknown_names_are_returned(repeated):
    is_named, unknown = match_keys(repeated, ["0", "two.tar:2", "nobody"])
    assert is_named.tolist() == [True, False, False, True, False, True]
    assert unknown == {"nobody"}


def test_a_name_of_two_images_is_refused_beside_others_too(tmp_path):
    """A key that reads like SHARD:KEY of another image chose both, unless it was given alone."""
    for number, name in enumerate(("one/2.png", "one/3.png", "two/one:2.png")):
        write_image(tmp_path / name, number)
    folders = [flag for name in ("one", "two") for flag in ("--images", tmp_path / name)]
    succeed(tmp_path / "artifacts", "embed", *folders, *DIGITS)
    embeddings = artifact(tmp_path / "artifacts", "embeddings")
    assert sorted(embeddings.column("key")) == ["2.png", "3.png", "one:2.png"]
    with pytest.raises(QueryError, match=r"'one:2\.png' is in several shards \(one, two\)"):
        rows_of_keys(embeddings, ["3.png", "one:2.png"])
    assert len(rows_of_keys(embeddings, ["3.png", "2.png"])) == 2
