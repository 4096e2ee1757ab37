"""Facts that the page shows about one cluster."""

from typing import Any

import numpy as np

from ...stages.rows.artifact_rows import pick_evenly
from ...store import MissingError
from ..view.spectra import second_moment, singular_values
from .decided_clusters import DECIDED
from .image_facts import list_items
from .models import Card, ClusterFacts, ClusterSpectra, Items, Near, NodeCard, Part, Space
from .moment_products import cosines, union_products
from .open_run import OpenRun
from .partition import Partition
from .tree import Tree

TREE = "tree"
"""The grouping whose clusters are the nodes of the hierarchy."""

_MAX_NEAR = 8
_BINS = 20
_SAMPLE_ROWS = 400
"""Rows over which singular values are taken: enough for a curve, few enough to read quickly."""
_MAX_LABELS = 6


def find_rows(opened: OpenRun, grouping: str, cluster: int) -> tuple[np.ndarray, Partition]:
    """The rows of a cluster, the most confident first, and the partition with their confidences.

    MissingError if there is no such cluster.
    """
    if grouping == TREE:
        return opened.clusters.node_rows(cluster)
    partition = opened.clusters.partition(grouping)
    if grouping == DECIDED:
        opened.decided.require(cluster)
    if not 0 <= cluster < partition.k:
        raise MissingError(
            f"cluster must be from 0 to {partition.k - 1} in {grouping}, got {cluster}"
        )
    return partition.rows([cluster]), partition


def describe_cluster(opened: OpenRun, grouping: str, cluster: int) -> ClusterFacts:
    """A cluster of a grouping, or a node of the hierarchy."""
    rows, partition = find_rows(opened, grouping, cluster)
    is_node = grouping == TREE
    cards = opened.clusters.node_cards if is_node else opened.clusters.cards(grouping)
    card: Card = cards[cluster]
    node, closest = (cluster, None) if is_node else _find_closest_node(opened, grouping, cluster)
    return ClusterFacts(
        card=card,
        grouping=grouping,
        near=_near_nodes(opened, cluster) if is_node else _near(opened, grouping, cluster),
        closest_node=closest,
        **_relatives(opened, opened.clusters.tree, node),
        histogram=count_confidences(partition.confidence[rows]),
        labels=most_frequent_labels(opened, rows, _MAX_LABELS),
    )


def describe_spectra(opened: OpenRun, grouping: str, cluster: int) -> ClusterSpectra:
    """The singular values of a sample of a cluster's rows, in each space."""
    rows, _ = find_rows(opened, grouping, cluster)
    sample = pick_evenly(rows, _SAMPLE_ROWS)
    return ClusterSpectra(singular_values=_singular_values(opened, sample), sampled=len(sample))


def list_cluster(
    opened: OpenRun, grouping: str, cluster: int, offset: int, limit: int, *, doubtful_first: bool
) -> Items:
    """Some rows of a cluster, the most or the least confident first."""
    rows, partition = find_rows(opened, grouping, cluster)
    ordered = rows[::-1] if doubtful_first else rows
    page = ordered[offset : offset + limit]
    return Items(total=len(rows), offset=offset, items=list_items(opened, page, partition))


def _near(opened: OpenRun, grouping: str, cluster: int) -> list[Near]:
    return _nearest(opened.sampled(grouping).cosines(cluster), cluster)


def _near_nodes(opened: OpenRun, number: int) -> list[Near]:
    """The most similar nodes at the finest level that holds a node."""
    node, tree = opened.clusters.node(number), opened.clusters.need_tree()
    nodes = tree.at(node.finest)
    sizes = opened.clusters.level(tree.finest).sizes
    weights = np.zeros((len(nodes), tree.finest))
    for place, other in enumerate(nodes):
        leaves = list(other.leaves)
        weights[place, leaves] = sizes[leaves] / max(1, sizes[leaves].sum())
    products = union_products(opened.sampled(TREE).products, weights)
    own = [other.number for other in nodes].index(number)
    nearest = _nearest(cosines(products[own], np.diag(products), own), own)
    return [Near(id=nodes[near.id].number, alike=near.alike) for near in nearest]


def _nearest(alike: np.ndarray, own: int) -> list[Near]:
    order = (-alike).argsort(kind="stable").tolist()
    return [
        Near(id=cluster, alike=round(float(alike[cluster]), 4))
        for cluster in order
        if cluster != own and alike[cluster] > 0
    ][:_MAX_NEAR]


def _find_closest_node(
    opened: OpenRun, grouping: str, cluster: int
) -> tuple[int | None, Part | None]:
    """The node that shares most with a cluster: rows in both divided by rows in either."""
    tree = opened.clusters.tree
    if tree is None:
        return None, None
    partition, finest = opened.clusters.partition(grouping), opened.clusters.level(tree.finest)
    rows = partition.rows([cluster])
    shared, size = np.bincount(finest.cluster[rows], minlength=finest.k), len(rows)
    best, closest = 0.0, None
    counts: list[tuple[int, int]] = []
    """For each node, its rows that are in the cluster too, and all of its rows."""
    leaves = zip(shared.tolist(), finest.sizes.tolist(), strict=True)
    for node in tree.nodes:  # each comes after the nodes that it splits into
        if node.left is None or node.right is None:
            both, own = next(leaves)
        else:
            (both, own), (right_both, right_own) = counts[node.left], counts[node.right]
            both, own = both + right_both, own + right_own
        counts.append((both, own))
        either = size + own - both
        if either and both / either > best:
            best, closest = both / either, node.number
    return closest, None if closest is None else Part(id=closest, shared=round(best, 4))


def _relatives(opened: OpenRun, tree: Tree | None, number: int | None) -> dict[str, Any]:
    """The nodes that a node is merged with and splits into, and the levels where that happens."""
    if tree is None or number is None:
        return {
            "node": None,
            "merges_with": None,
            "merges_at": None,
            "splits_into": [],
            "splits_at": None,
        }
    cards, node = opened.clusters.node_cards, tree.nodes[number]
    sibling: NodeCard | None = None
    if node.parent is not None:
        parent = tree.nodes[node.parent]
        other = parent.right if parent.left == number else parent.left
        assert other is not None, "a parent has two children"
        sibling = cards[other]
    children = [child for child in (node.left, node.right) if child is not None]
    return {
        "node": cards[number],
        "merges_with": sibling,
        "merges_at": node.coarsest - 1 if sibling else None,
        "splits_into": [cards[child] for child in children],
        "splits_at": node.finest + 1 if children else None,
    }


def _singular_values(opened: OpenRun, sample: np.ndarray) -> dict[Space, list[float]]:
    """Singular values of sampled rows in each space, divided by the largest."""
    by_space: dict[Space, list[float]] = {}
    for space in opened.finder.spaces:
        if len(sample):
            x = opened.finder.read(sample, space)
            values = singular_values(second_moment(x), len(x))
            by_space[space] = [round(float(value), 5) for value in values]
    return by_space


def count_confidences(confidences: np.ndarray) -> list[int]:
    """Rows by confidence, in equal bins from 0 to 1."""
    bins = np.minimum((confidences * _BINS).astype(np.int64), _BINS - 1)
    return np.bincount(bins, minlength=_BINS).tolist()


def most_frequent_labels(opened: OpenRun, rows: np.ndarray, most: int) -> list[tuple[str, int]]:
    """The labels of some rows with their numbers of rows, the most frequent first."""
    codes, names = opened.labels
    counts = np.bincount(of_rows(codes, rows) + 1, minlength=len(names) + 1)[1:]
    order = (-counts).argsort(kind="stable")[:most].tolist()
    return [(names[code], int(counts[code])) for code in order if counts[code]]


def of_rows(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The values (n,) of distinct rows, in any order: all of them are not copied."""
    return values if len(rows) == len(values) else values[rows]
