"""The hierarchy as a tree: against the cut that `assign` makes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.pipeline.serve.tree import Tree
from cpp_pipe.stages.algorithms.clustering.hierarchy import cut


@st.composite
def mergings(draw):
    """Left and right of each merging of some leaves, in any order."""
    leaves = draw(st.integers(1, 12))
    alive, left, right = list(range(leaves)), [], []
    for parent in range(leaves, 2 * leaves - 1):
        pair = sorted(draw(st.permutations(alive))[:2])
        left.append(pair[0])
        right.append(pair[1])
        alive = [one for one in alive if one not in pair] + [parent]
    return left, right


@given(mergings())
def test_each_level_holds_every_leaf_once_and_numbers_clusters_as_assign_does(pairs):
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


@given(mergings())
def test_a_node_is_made_of_whole_clusters_of_its_kept_level(pairs):
    tree = Tree(*pairs)
    for node in tree.nodes:
        level = tree.level_of(node)
        pieces = tree.pieces(node, level)
        leaves = [leaf for piece in pieces for leaf in tree.at(level)[piece].leaves]
        assert sorted(leaves) == list(node.leaves)
        assert level in tree.kept_levels


@given(mergings())
def test_a_parent_begins_where_its_halves_end(pairs):
    tree = Tree(*pairs)
    for node in tree.nodes:
        if node.left is None or node.right is None:
            assert node.leaves == (node.number,)
            continue
        halves = tree.nodes[node.left], tree.nodes[node.right]
        assert all(one.parent == node.number for one in halves)
        assert all(one.coarsest == node.finest + 1 for one in halves)
    assert [one.coarsest for one in tree.nodes if one.parent is None] == [1]


@given(mergings())
def test_kept_levels_fall_from_the_finest(pairs):
    levels = Tree(*pairs).kept_levels
    finest = len(pairs[0]) + 1
    assert levels[0] == finest and list(levels) == sorted(set(levels), reverse=True)
    assert finest < 2 or levels[-1] == 2
