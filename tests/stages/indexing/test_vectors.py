"""Vectors of an artifact read in any order, from any kind of file."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from cpp_pipe.stages.indexing.vectors import VectorRows
from cpp_pipe.stages.rows.part_rows import join_features
from cpp_pipe.store import Artifact, Product, Recipe, Scratch, Store
from cpp_pipe.store.kinds import EMBEDDINGS

from ...store.stores import model_of
from ..indexes import SIZE, features_of_one_head, made_rows, make_features, split

ROWS = 700


def make_embeddings(store: Store, parts: dict[str, np.ndarray], *, plain: bool) -> Artifact:
    """Embeddings as the stages write them, or in compressed row groups, as another writer may."""
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
            columns = {
                "key": [f"{name}-{row}" for row in range(len(x))],
                "shard": [name] * len(x),
                "extra": ["{}"] * len(x),
                "embedding": x,
            }
            if plain:
                scratch.write_table("rows", columns)
            else:
                table = EMBEDDINGS.table().to_arrow(columns)
                pq.write_table(table, scratch.path("rows"), row_group_size=97, compression="zstd")
            scratch.write_table("skipped", [])
            facts = {"shard": name, "seen": len(x), "embedded": len(x), "skipped": {}}
            return Product(rows=len(x), facts=facts, shared={"model": model_of(SIZE)})

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


def test_rows_are_returned_in_the_requested_order(source):
    artifact, z = source
    rows = VectorRows(artifact)
    assert rows.width == SIZE
    for wanted in ([5], [699, 0, 233, 234, 5, 5], range(0, ROWS, 2), range(ROWS - 1, -1, -1), []):
        assert (rows.take(list(wanted)) == z[list(wanted)].reshape(-1, SIZE)).all()


def test_equal_features_and_cluster_features_are_read_once(tmp_path):
    z = made_rows(60, size=2 * SIZE)[:, :SIZE]
    features = features_of_one_head(Store(tmp_path), split(z, 2))
    rows, joined = VectorRows(features), VectorRows(features, width=2 * SIZE)
    assert (rows.width, joined.width) == (SIZE, 2 * SIZE)
    wanted = [59, 0, 31]
    assert (rows.take(wanted) == z[wanted]).all() and (rows.join(z, z) == z).all()
    assert (rows.read("part-1", 3, 4) == z[33:37]).all()
    assert (joined.take(wanted) == join_features(z, z)[wanted]).all()
    assert (joined.join(z, z) == join_features(z, z)).all()


def test_queries_of_either_width_give_the_same_row(tmp_path):
    """Pages, scripts and files from before z alone was used hold joined vectors."""
    z = made_rows(60)
    features = features_of_one_head(Store(tmp_path), split(z, 2))
    for rows in (VectorRows(features), VectorRows(features, width=2 * SIZE)):
        assert set(rows.query_widths) == {SIZE, 2 * SIZE}
        for query in (z[7], join_features(z, z)[7], np.hstack([z[7], z[7]])):
            found = rows.as_row(query)
            found = found / np.linalg.norm(found)
            np.testing.assert_allclose(found, rows.take([7])[0], atol=1e-3)
        assert rows.as_row(np.ones(3)).shape == (3,)


def test_features_of_two_heads_accept_only_joined_queries(tmp_path):
    features = make_features(Store(tmp_path), split(made_rows(60), 2))
    rows, query = VectorRows(features), made_rows(1)[0]
    assert rows.query_widths == (SIZE,) and (rows.as_row(query) == query).all()
    assert rows.as_row(query[: SIZE // 2]).shape == (SIZE // 2,)


def test_neighbouring_rows_are_read_across_row_groups(source):
    artifact, z = source
    rows = VectorRows(artifact)
    start = artifact.starts["part-1"]
    for first, count in ((0, 1), (90, 20), (0, 233), (96, 1), (97, 97)):
        assert (rows.read("part-1", first, count) == z[start + first :][:count]).all()
