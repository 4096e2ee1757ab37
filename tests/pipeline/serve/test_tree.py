"""The hierarchy as a tree agrees with the cuts that `assign` makes."""

import threading
import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.clusters import Clusters
from cpp_pipe.pipeline.serve.mapped_folder import MappedFolder
from cpp_pipe.pipeline.serve.open_run import OpenRun
from cpp_pipe.pipeline.serve.tree import Tree
from cpp_pipe.stages.algorithms.clustering.hierarchy import cut


@st.composite
def merges(draw):
    """Left and right of each merge of some leaves, in any order."""
    leaves = draw(st.integers(1, 12))
    alive, left, right = list(range(leaves)), [], []
    for parent in range(leaves, 2 * leaves - 1):
        pair = sorted(draw(st.permutations(alive))[:2])
        left.append(pair[0])
        right.append(pair[1])
        alive = [node for node in alive if node not in pair] + [parent]
    return left, right


@given(merges())
def test_each_level_holds_every_leaf_once_numbered_as_by_assign(pairs):
    left, right = pairs
    tree = Tree(left, right)
    for level in range(1, tree.finest + 1):
        nodes = tree.at(level)
        assert len(nodes) == level
        numbers = np.empty(tree.finest, np.int64)
        for number, node in enumerate(nodes):
            numbers[list(node.leaves)] = number
        expected = cut(np.array(left, np.int64), np.array(right, np.int64), level)
        assert numbers.tolist() == expected.tolist()


@given(merges())
def test_a_node_consists_of_whole_clusters_of_its_kept_level(pairs):
    tree = Tree(*pairs)
    for node in tree.nodes:
        level = tree.kept_level_of(node)
        pieces = tree.pieces(node, level)
        leaves = [leaf for piece in pieces for leaf in tree.at(level)[piece].leaves]
        assert sorted(leaves) == list(node.leaves)
        assert level in tree.kept_levels


@given(merges())
def test_a_parent_starts_at_the_level_where_its_children_end(pairs):
    tree = Tree(*pairs)
    for node in tree.nodes:
        if node.left is None or node.right is None:
            assert node.leaves == (node.number,)
            continue
        children = tree.nodes[node.left], tree.nodes[node.right]
        assert all(child.parent == node.number for child in children)
        assert all(child.coarsest == node.finest + 1 for child in children)
    assert [node.coarsest for node in tree.nodes if node.parent is None] == [1]


@given(merges())
def test_kept_levels_descend_from_the_finest_to_two(pairs):
    levels = Tree(*pairs).kept_levels
    finest = len(pairs[0]) + 1
    assert levels[0] == finest and list(levels) == sorted(set(levels), reverse=True)
    assert finest < 2 or levels[-1] == 2


def test_a_level_and_all_nodes_are_asked_for_at_the_same_time(finished, tmp_path):
    """Each waited for a lock that the other held, and so did every later request."""
    opened, folder = OpenRun(Run.open(finished)), MappedFolder(tmp_path / "files")
    clusters = Clusters(
        opened.assignments, opened.captions, opened.hierarchy, opened.levels, folder
    )
    answered: list[int] = []
    asks = (
        lambda: clusters.partition("k-5").k,  # has the lock while the folder is held
        lambda: len(clusters.groups_at(4).cards),
        lambda: len(clusters.node_cards),
    )
    threads = [
        threading.Thread(target=lambda ask=ask: answered.append(ask()), daemon=True) for ask in asks
    ]
    with folder.writing():
        for thread in threads:
            thread.start()
            time.sleep(0.2)  # until it waits
    for thread in threads:
        thread.join(20)
    opened.close()
    assert sorted(answered) == [4, 5, 15]
