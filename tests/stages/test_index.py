"""Indexes: exact for few rows, approximate for many, recall told as it is."""

import numpy as np
import pytest

from cpp_pipe.pipeline.search import nearest
from cpp_pipe.pipeline.work import Job, find_or_make
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.index import Index
from cpp_pipe.store import Draft, Product, Recipe, Store
from cpp_pipe.store.kinds import FEATURES

ROWS, SIZE, PARTS = 3000, 16, 3


def make_features(store: Store):
    """Features around a hundred directions, in three parts."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(100, SIZE))
    z = centres[rng.integers(100, size=ROWS)] + 0.4 * rng.normal(size=(ROWS, SIZE))
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float16)
    names = [f"part-{number}" for number in range(PARTS)]
    recipe = Recipe(
        kind="features",
        format=1,
        stage="project",
        revision=1,
        config={},
        parts={name: {"embeddings": name} for name in names},
    )
    draft: Draft = store.draft(recipe)

    def writer(block):
        def write(scratch):
            np.save(scratch.path("z"), block)
            np.save(scratch.path("c"), block)
            return Product(rows=len(block), shared={"feature_size": SIZE, "model": {}})

        return write

    for name, block in zip(names, np.split(z, PARTS), strict=True):
        draft.make_part(name, writer(block))
    return draft.publish({}, {}), z


@pytest.mark.parametrize(
    ("stage", "factory", "least"),
    [
        (Index(), "Flat", 1.0),
        (Index(exact_rows=100), "HNSW32,Flat", 0.98),
        (Index(exact_rows=100, hnsw_rows=200, search_width=32), "IVF256,Flat", 0.9),
    ],
)
def test_an_index_finds_what_comparing_every_row_finds(tmp_path, stage, factory, least):
    store = Store(tmp_path)
    features, z = make_features(store)
    job = Job(
        slot="index/features",
        stage=stage,
        inputs={FEATURES.name: features},
        runtime=Runtime(),
    )
    index = find_or_make(job, store, "test", {}, lambda line: None)
    assert index.facts["factory"] == factory
    assert index.facts["recall_at_10"] >= least
    hits = 0
    queries = z[::100]
    for query in queries:
        exact = nearest(query[None], features, "z", None, 10)[1]
        found = nearest(query[None], features, "z", index, 10)[1]
        hits += len(set(exact.tolist()) & set(found.tolist()))
    assert hits / (10 * len(queries)) >= least - 0.03
    again = find_or_make(job, Store(tmp_path / "again"), "test", {}, lambda line: None)
    assert again.content == index.content


def test_exact_search_without_an_index_gives_rows_best_first(tmp_path):
    features, z = make_features(Store(tmp_path))
    similarity, rows = nearest(z[1234][None], features, "z", None, 20)
    assert rows[0] == 1234
    assert (np.diff(similarity) <= 0).all()
    full = z.astype(np.float32) @ z[1234].astype(np.float32)
    assert set(rows.tolist()) == set(np.argsort(-full)[:20].tolist())


def test_more_hits_than_rows_are_all_rows(tmp_path):
    features, z = make_features(Store(tmp_path))
    assert len(nearest(z[:1], features, "z", None, 10_000)[1]) == ROWS
