"""How alike clusters are: against moments that are written out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.pipeline.serve.similarity import cosines, moment_products, of_unions


def samples(counts, p=5, seed=0):
    generator = np.random.default_rng(seed)
    made = []
    for count in counts:
        z = generator.standard_normal((count, p))
        made.append((z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32))
    return made


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_products_between_clusters_are_those_of_their_second_moments(counts):
    some = samples(counts)
    found = moment_products(some)
    for a, one in enumerate(some):
        for b, other in enumerate(some):
            if a == b or not len(one) or not len(other):
                continue
            m, n = (z.T.astype(np.float64) @ z / len(z) for z in (one, other))
            assert np.isclose(found[a, b], np.trace(m @ n), rtol=1e-4)


def test_a_row_is_not_paired_with_itself():
    (z,) = samples([6])
    pairs = [(z[i] @ z[j]) ** 2 for i in range(6) for j in range(6) if i != j]
    assert np.isclose(moment_products([z])[0, 0], np.mean(pairs), rtol=1e-5)


def test_a_union_of_clusters_is_like_its_rows_pooled():
    some = samples([40, 80, 30])
    products = moment_products(some)
    weights = np.array([[1 / 3, 2 / 3, 0], [0, 0, 1]])
    pooled = moment_products([np.concatenate(some[:2]), some[2]])
    assert np.isclose(of_unions(products, weights)[0, 1], pooled[0, 1], rtol=1e-5)


def test_clusters_in_one_direction_are_alike_and_empty_ones_are_like_none():
    along = np.tile(np.eye(1, 4, 0, dtype=np.float32), (5, 1))
    across = np.tile(np.eye(1, 4, 1, dtype=np.float32), (5, 1))
    found = cosines(moment_products([along, -along, across, along[:0]]), 0)
    assert np.allclose(found, [1, 1, 0, 0])
    assert (cosines(moment_products([along[:0], along]), 0) == 0).all()
