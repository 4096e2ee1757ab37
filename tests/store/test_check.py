"""A file that differs from what its kind declares is refused, and the error says how."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.store import Product, Store, StoreError
from cpp_pipe.store.check import check_file
from cpp_pipe.store.digest import digest_file
from cpp_pipe.store.integrity import require_declared, require_whole
from cpp_pipe.store.kinds import ASSIGNMENTS
from cpp_pipe.store.manifest import FileRecord
from cpp_pipe.store.specs import VECTOR, Column, Table

from .stores import recipe, write_assignments

SPEC = Table(
    suffix=".parquet",
    columns=(Column(name="key", type="string"), Column(name="cluster", type="int32")),
    repeated=(
        Column(name="cluster_{}", type="int32"),
        Column(name="confidence_{}", type="float32", unit="0 to 1"),
    ),
)
ROWS = 2


def empty_columns(schema: pa.Schema) -> pa.Table:
    """Two rows of zeros and empty strings in a schema."""
    values = {pa.string(): [""] * ROWS, pa.bool_(): [False] * ROWS}
    arrays = [pa.array(values.get(field.type, [0] * ROWS), field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def check(folder: Path, table: pa.Table, spec: Table = SPEC) -> None:
    path = folder / f"part{spec.suffix}"
    pq.write_table(table, path)
    check_file(path, spec, rows=ROWS)


def repeating(*numbers: int) -> pa.Table:
    return empty_columns(SPEC.schema(numbers=numbers))


def test_repeated_columns_follow_the_others_once_for_each_number():
    assert SPEC.schema().names == ["key", "cluster"]
    schema = SPEC.schema(numbers=[30, 7])
    again = ["cluster_30", "confidence_30", "cluster_7", "confidence_7"]
    assert schema.names == ["key", "cluster", *again]
    field = schema.field("confidence_7")
    assert field.type == pa.float32() and not field.nullable
    assert field.metadata == {b"unit": b"0 to 1"}


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.integers(0, 10**6), max_size=5, unique=True))
def test_repeated_columns_are_accepted_for_any_numbers_in_any_order(tmp_path_factory, numbers):
    check(tmp_path_factory.mktemp("any"), repeating(*numbers))


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns(["confidence_5"]),
        lambda table: table.drop_columns(["cluster_5"]),
        lambda table: table.drop_columns(["confidence_12"]),
        lambda table: table.select([0, 1, 3, 2, 4, 5]),
        lambda table: table.select([0, 1, 2, 4, 3, 5]),
        lambda table: table.select([0, 1, 2, 5, 4, 3]),
        lambda table: table.select([2, 3, 4, 5, 0, 1]),
        lambda table: table.select([0, 2, 3, 4, 5, 1]),
        lambda table: table.set_column(2, "cluster_5", pa.array([0] * ROWS, pa.int64())),
        lambda table: table.set_column(
            2, pa.field("cluster_5", pa.int32(), nullable=True), pa.array([0] * ROWS, pa.int32())
        ),
        lambda table: table.append_column("score_5", pa.array([0] * ROWS)),
        lambda table: table.rename_columns([*table.column_names[:4], "cluster_x", "confidence_x"]),
        lambda table: table.rename_columns(
            [*table.column_names[:4], "cluster_012", "confidence_012"]
        ),
        lambda table: table.rename_columns(
            [*table.column_names[:4], "cluster_-1", "confidence_-1"]
        ),
    ],
    ids=[
        "no confidence",
        "no cluster",
        "the last incomplete",
        "a pair in reverse order",
        "columns by name, not by number",
        "another number's confidence",
        "before the others",
        "among the others",
        "another type",
        "nullable",
        "a column that is not declared",
        "not a number",
        "a number with a leading zero",
        "a negative number",
    ],
)
def test_repeated_columns_that_are_incomplete_or_out_of_order_are_refused(tmp_path, change):
    table = repeating(5, 12)
    check(tmp_path, table)
    with pytest.raises(StoreError, match="the kind declares"):
        check(tmp_path, change(table))


def test_repeated_columns_of_one_number_twice_are_refused(tmp_path):
    # A reader could not pick one of them by name.
    with pytest.raises(StoreError, match=r"part\.parquet"):
        check(tmp_path, repeating(5, 5))


def test_a_table_without_repeated_columns_refuses_them(tmp_path):
    plain = Table(suffix=SPEC.suffix, columns=SPEC.columns)
    check(tmp_path, repeating(), plain)
    with pytest.raises(StoreError, match="the kind declares"):
        check(tmp_path, repeating(5), plain)


def test_rows_of_a_table_with_repeated_columns_are_counted(tmp_path):
    with pytest.raises(StoreError, match="has 1 row, its part has 2"):
        check(tmp_path, repeating(5).slice(1))


def test_a_draft_refuses_assignments_with_half_a_pair_of_columns(tmp_path):
    table = empty_columns(ASSIGNMENTS.table().schema(numbers=[20, 3]))
    draft = Store(tmp_path).draft(recipe(kind=ASSIGNMENTS.name))
    with pytest.raises(StoreError, match="the kind declares"):
        draft.make_part(
            "a-00", lambda scratch: write_assignments(scratch, table.drop_columns(["confidence_3"]))
        )
    assert draft.finished() == {}
    draft.make_part("a-00", lambda scratch: write_assignments(scratch, table))
    assert list(draft.finished()) == ["a-00"]


NAMED = Table(
    suffix=".parquet",
    columns=(),
    repeated=(Column(name="{}", type="float32", nullable=True),),
    are_named=True,
)


def test_columns_may_be_repeated_for_names(tmp_path):
    check(tmp_path, empty_columns(NAMED.schema(numbers=["sharpness", "a_1"])), NAMED)
    written = NAMED.to_arrow({"b": [1.0, None], "a": [2.0, 3.0]}, numbers=["b", "a"])
    assert written.column_names == ["b", "a"] and written.column("b").null_count == 1
    check(tmp_path, written, NAMED)


@pytest.mark.parametrize(
    "fields",
    [
        [("Sharpness", pa.float32())],
        [("a b", pa.float32())],
        [("1", pa.float32())],
        [("a", pa.float64())],
        [("a", pa.float32()), ("a", pa.float32())],
        [("a", pa.float32()), ("é", pa.float32())],
    ],
)
def test_columns_of_other_names_or_types_are_refused(tmp_path, fields):
    with pytest.raises(StoreError, match="the kind declares"):
        check(tmp_path, empty_columns(pa.schema(fields)), NAMED)


VECTORS = Table(suffix=".parquet", columns=(Column(name="embedding", type=VECTOR),))


def write_vectors(path: Path, vectors: np.ndarray, row_group: int) -> None:
    """Writes a part of vectors in row groups, as a stage does."""
    flat = pa.array(vectors.reshape(-1))
    schema = VECTORS.schema(vector_size=vectors.shape[1])
    rows = pa.FixedSizeListArray.from_arrays(flat, type=schema.field(0).type)
    pq.write_table(
        pa.Table.from_arrays([rows], schema=schema),
        path,
        row_group_size=row_group,
        use_dictionary=False,
        compression="none",
    )


def test_checking_vectors_needs_a_fraction_of_their_memory(tmp_path):
    rows, width = 100_000, 512
    path = tmp_path / "part.parquet"
    write_vectors(path, np.ones((rows, width), np.float16), rows)
    usual, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        check_file(path, VECTORS, rows=rows, width=width, are_finite=True)
        own = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)
    decoded = pool.max_memory()
    assert decoded, "Arrow decodes them in this pool"
    assert decoded + own < 2 * rows * width // 5


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (1_023, 511), (1_024, 0), (2_999, 511), (3_000, 7)])
def test_a_vector_that_is_not_finite_is_found_wherever_it_is(tmp_path, place, number):
    vectors = np.ones((3_001, 512), np.float16)
    path = tmp_path / "part.parquet"
    write_vectors(path, vectors, 3_000)
    check_file(path, VECTORS, rows=len(vectors), are_finite=True)
    vectors[place] = number
    write_vectors(path, vectors, 3_000)
    check_file(path, VECTORS, rows=len(vectors))
    with pytest.raises(StoreError, match=r"embedding of part\.parquet has numbers that are not"):
        check_file(path, VECTORS, rows=len(vectors), are_finite=True)


def test_vectors_are_checked_once_they_are_read_and_not_for_other_columns(tmp_path):
    path = tmp_path / "version" / "parts" / "part.parquet"
    path.parent.mkdir(parents=True)
    write_vectors(path, np.full((2, 3), np.nan, np.float16), 2)
    record = FileRecord(name=path.name, sha256=digest_file(path), bytes=path.stat().st_size)
    require_whole(path, record, is_read_whole=True)
    for _ in range(2):
        require_declared(path, VECTORS, rows=2, has_vectors_read=False)
        with pytest.raises(StoreError, match="numbers that are not finite"):
            require_declared(path, VECTORS, rows=2)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_part_with_vectors_that_are_not_finite_is_not_kept(tmp_path, wrong):
    """Readers would refuse the published artifact."""
    draft = Store(tmp_path).draft(recipe())

    def write(scratch):
        np.save(scratch.path("z"), np.full((3, 2), wrong, np.float16))
        np.save(scratch.path("c"), np.zeros((3, 2), np.float16))
        return Product(rows=3)

    with pytest.raises(StoreError, match=r"a-00\.z\.npy has numbers that are not finite"):
        draft.make_part("a-00", write)
    assert draft.finished() == {}


@pytest.mark.parametrize(
    "array", [np.ones((3, 2), np.float16, order="F"), np.ones((3, 2), ">f2")], ids=["F", "big"]
)
def test_an_array_of_another_layout_is_refused(tmp_path, array):
    """Readers assume that its bytes lie row after row."""
    draft = Store(tmp_path).draft(recipe())

    def write(scratch):
        np.save(scratch.path("z"), array)
        np.save(scratch.path("c"), np.zeros((3, 2), np.float16))
        return Product(rows=3)

    with pytest.raises(StoreError, match=r"a-00\.z\.npy is not stored row after row"):
        draft.make_part("a-00", write)
