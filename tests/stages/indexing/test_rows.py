"""Some rows of an artifact, in any order, out of any kind of file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpp_pipe.stages.indexing.rows import VectorRows
from cpp_pipe.stages.part_tables import write_table
from cpp_pipe.store import Artifact, Product, Recipe, Scratch, Store
from cpp_pipe.store.kinds import EMBEDDINGS, Table

from ..indexes import SIZE, made_rows, make_features, split

ROWS = 700


def make_embeddings(store: Store, parts: dict[str, np.ndarray], *, plain: bool) -> Artifact:
    """Embeddings as the stages write them, or as any writer may: cut into groups, compressed."""
    rows, skipped = EMBEDDINGS.files["rows"], EMBEDDINGS.files["skipped"]
    assert isinstance(rows, Table) and isinstance(skipped, Table)
    schema, lost = rows.schema(vector_size=SIZE), skipped.schema()
    recipe = Recipe(
        kind="embeddings",
        format=1,
        stage="embed",
        revision=1,
        config={},
        parts={name: {"shard": name} for name in parts},
    )
    draft = store.draft(recipe)

    def writer(name: str, x: np.ndarray):
        def write(scratch: Scratch) -> Product:
            known = {
                "key": [f"{name}-{row}" for row in range(len(x))],
                "shard": [name] * len(x),
                "extra": ["{}"] * len(x),
            }
            columns = [
                pa.array(known.get(one.name, [None] * len(x)), type=one.type)
                for one in list(schema)[:-1]
            ]
            vectors = pa.FixedSizeListArray.from_arrays(
                pa.array(x.reshape(-1)), type=schema.types[-1]
            )
            table = pa.Table.from_arrays([*columns, vectors], schema=schema)
            if plain:
                write_table(scratch, "rows", table)
            else:
                pq.write_table(table, scratch.path("rows"), row_group_size=97, compression="zstd")
            write_table(scratch, "skipped", pa.Table.from_pylist([], schema=lost))
            model = {"embedding_size": SIZE}
            return Product(rows=len(x), shared={"model": model})

        return write

    for name, x in parts.items():
        draft.make_part(name, writer(name, x))
    return draft.publish({}, {})


@pytest.fixture(params=["features", "plain", "compressed"])
def source(request: pytest.FixtureRequest, tmp_path) -> tuple[Artifact, np.ndarray]:
    z, store = made_rows(ROWS), Store(tmp_path)
    parts = {**split(z, 3), "part-3": z[:0]}
    if request.param == "features":
        return make_features(store, parts), z
    return make_embeddings(store, parts, plain=request.param == "plain"), z


def test_rows_come_in_the_order_that_they_are_asked_for(source):
    artifact, z = source
    rows = VectorRows(artifact)
    assert rows.width == SIZE
    for wanted in ([5], [699, 0, 233, 234, 5, 5], range(0, ROWS, 2), range(ROWS - 1, -1, -1), []):
        assert (rows.take(list(wanted)) == z[list(wanted)].reshape(-1, SIZE)).all()


def test_neighbouring_rows_of_a_part_are_read_across_groups(source):
    artifact, z = source
    rows = VectorRows(artifact)
    start = artifact.starts["part-1"]
    for first, count in ((0, 1), (90, 20), (0, 233), (96, 1), (97, 97)):
        assert (rows.read("part-1", first, count) == z[start + first :][:count]).all()
