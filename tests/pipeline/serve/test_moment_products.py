"""The similarity of clusters agrees with moments computed directly."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.moment_products import (
    moment_products,
    own_products,
    union_products,
)
from cpp_pipe.pipeline.serve.open_run import OpenRun
from cpp_pipe.pipeline.serve.routes import prepare_answers, prepare_comparisons
from cpp_pipe.pipeline.serve.similarities import Sampled, Similarities
from cpp_pipe.store import StoreError


def samples(counts, p=5, seed=0):
    generator = np.random.default_rng(seed)
    rows = []
    for count in counts:
        z = generator.standard_normal((count, p))
        rows.append((z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32))
    return rows


def sampled(clusters) -> Sampled:
    return Sampled(state=0, rows=[], samples=clusters, own=own_products(clusters))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_products_between_clusters_are_those_of_their_second_moments(counts):
    clusters = samples(counts)
    products = moment_products(clusters)
    for a, first in enumerate(clusters):
        for b, second in enumerate(clusters):
            if a == b or not len(first) or not len(second):
                continue
            m, n = (z.T.astype(np.float64) @ z / len(z) for z in (first, second))
            assert np.isclose(products[a, b], np.trace(m @ n), rtol=1e-4)
    np.testing.assert_allclose(own_products(clusters), np.diag(products), rtol=1e-6)
    for number in range(len(clusters)):
        np.testing.assert_allclose(
            moment_products(clusters, [number])[0], products[number], rtol=1e-5
        )


def test_a_row_is_not_paired_with_itself():
    (z,) = samples([6])
    pairs = [(z[i] @ z[j]) ** 2 for i in range(6) for j in range(6) if i != j]
    assert np.isclose(moment_products([z])[0, 0], np.mean(pairs), rtol=1e-5)


def test_a_union_of_clusters_has_the_products_of_its_pooled_rows():
    clusters = samples([40, 80, 30])
    products = moment_products(clusters)
    weights = np.array([[1 / 3, 2 / 3, 0], [0, 0, 1]])
    pooled = moment_products([np.concatenate(clusters[:2]), clusters[2]])
    assert np.isclose(union_products(products, weights)[0, 1], pooled[0, 1], rtol=1e-5)


def test_clusters_in_one_direction_have_cosine_one_and_empty_ones_zero():
    along = np.tile(np.eye(1, 4, 0, dtype=np.float32), (5, 1))
    across = np.tile(np.eye(1, 4, 1, dtype=np.float32), (5, 1))
    assert np.allclose(sampled([along, -along, across, along[:0]]).cosines(0), [1, 1, 0, 0])
    assert (sampled([along[:0], along]).cosines(0) == 0).all()


def test_very_many_clusters_are_compared_in_little_memory():
    """All products of 20,000 clusters took 3.2 GB, several times over."""
    k = 20_000
    (z,) = samples([2 * k])
    similarities = Similarities(lambda rows: z[rows])
    rows = list(np.arange(2 * k).reshape(k, 2))
    tracemalloc.start()
    try:
        alike = similarities.get("k-20000", 0, lambda: rows).cosines(3)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()
    few = sampled([z[own] for own in rows[:10]])
    np.testing.assert_allclose(alike[:10], few.cosines(3), rtol=1e-5)


def test_the_first_page_is_prepared_without_comparing_clusters(own_store):
    for path in (own_store / "features").glob("*/parts/*.z.npy"):
        path.write_bytes(path.read_bytes()[:-1])
    opened = OpenRun(Run.open(own_store))
    try:
        prepare_answers(opened)
        with pytest.raises(StoreError, match="was changed"):
            prepare_comparisons(opened)
    finally:
        opened.close()
