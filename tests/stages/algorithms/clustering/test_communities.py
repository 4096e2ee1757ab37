import random
import sys

import igraph
import numpy as np
import pytest

from cpp_pipe.stages.algorithms import neighbours
from cpp_pipe.stages.algorithms.clustering import communities
from cpp_pipe.stages.algorithms.clustering.communities import (
    NEIGHBOURS,
    count_communities,
    neighbour_pairs,
)

from ....strategies import random_rows
from .planted import blobs


@pytest.mark.parametrize("groups", [3, 12, 40])
def test_well_separated_blobs_give_their_number(groups: int) -> None:
    assert count_communities(blobs(groups, 30, 64, 0.3), 0) == groups


def test_the_same_seed_gives_the_same_count() -> None:
    z = random_rows(600, 16, 0)
    assert len({count_communities(z, 3) for _ in range(4)}) == 1


def test_the_state_of_the_global_generator_neither_matters_nor_changes() -> None:
    z = random_rows(400, 16, 0)
    random.seed(1)
    before, first = random.getstate(), count_communities(z, 0)
    assert random.getstate() == before
    random.seed(2)
    assert count_communities(z, 0) == first


def test_igraphs_default_generator_is_restored() -> None:
    count_communities(random_rows(100, 8, 0), 0)
    random.seed(5)
    first = igraph.Graph.Erdos_Renyi(30, 0.3).get_edgelist()
    random.seed(5)
    assert igraph.Graph.Erdos_Renyi(30, 0.3).get_edgelist() == first


def test_rows_in_another_order_give_nearly_the_same_count() -> None:
    z = blobs(20, 30, 64, 1.0)
    order = np.random.default_rng(1).permutation(len(z))
    first, second = count_communities(z, 0), count_communities(z[order], 0)
    assert first is not None and second is not None
    # Leiden visits vertices in another order, so it may end in another optimum.
    assert second == pytest.approx(first, abs=2)


def test_without_igraph_there_is_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    assert count_communities(blobs(3, 30, 16, 0.3), 0) is None


@pytest.mark.parametrize("n", [0, 1, 2, 3, 11])
def test_too_few_rows_for_a_community_give_no_count(n: int) -> None:
    assert count_communities(random_rows(n, 8, 0), 0) is None


@pytest.mark.parametrize("block", [7, 64, 1000])
def test_pairs_are_those_of_all_cosines_at_once(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", block)
    z = random_rows(150, 8, 0)
    cosines = z.astype(np.float64) @ z.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1)[:, :NEIGHBOURS]
    expected = {(min(i, j), max(i, j)) for i, near in enumerate(nearest) for j in near}
    pairs = [tuple(pair) for pair in neighbour_pairs(z).tolist()]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == expected


def test_more_rows_than_the_limit_are_sampled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(communities, "ROWS", 300)
    sizes = []
    pairs = neighbour_pairs
    monkeypatch.setattr(
        communities, "neighbour_pairs", lambda rows: (sizes.append(len(rows)), pairs(rows))[1]
    )
    assert count_communities(blobs(6, 100, 32, 0.3), 0) == 6
    assert sizes == [300]
