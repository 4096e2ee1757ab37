"""The similarity of clusters agrees with moments computed directly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.moment_products import cosines, moment_products, union_products
from cpp_pipe.pipeline.serve.open_run import OpenRun
from cpp_pipe.pipeline.serve.routes import prepare_answers, prepare_comparisons
from cpp_pipe.store import StoreError


def samples(counts, p=5, seed=0):
    generator = np.random.default_rng(seed)
    rows = []
    for count in counts:
        z = generator.standard_normal((count, p))
        rows.append((z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32))
    return rows


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
    products = moment_products([along, -along, across, along[:0]])
    assert np.allclose(cosines(products, 0), [1, 1, 0, 0])
    assert (cosines(moment_products([along[:0], along]), 0) == 0).all()


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
