"""One cluster and one image in full."""

import json
from typing import TYPE_CHECKING, Any

from ..view.spectra import second_moment, singular_values
from .columns import Column, overlaps
from .models import (
    Card,
    ClusterFacts,
    Found,
    ImageFacts,
    Item,
    Items,
    Near,
    NodeCard,
    Part,
    Place,
    Space,
)
from .opened import Opened, spread
from .plain import plain
from .similarity import cosines, of_unions
from .tree import Node, Tree

if TYPE_CHECKING:
    import numpy as np

TREE = "tree"
"""The grouping whose clusters are the nodes of the hierarchy."""

_MOST_NEAR = 8
_BINS = 20
_SAMPLED = 400
"""Rows over which singular values are taken: more than make a curve that is looked at, and few
enough to be read at once."""
_MOST_LABELS = 6


def find_rows(opened: Opened, grouping: str, cluster: int) -> "tuple[np.ndarray, Column]":
    """The rows of a cluster, the surest first, and the column that tells how sure.

    MissingError where there is no such cluster.
    """
    if grouping == TREE:
        return opened.clusters.node_rows(cluster)
    column = opened.clusters.column(grouping)
    if not 0 <= cluster < column.k:
        from ...store import MissingError

        raise MissingError(f"{grouping} has no cluster {cluster}: it has 0 to {column.k - 1}")
    return column.rows([cluster]), column


def describe_cluster(opened: Opened, grouping: str, cluster: int) -> ClusterFacts:
    """A cluster of a grouping, or a node of the hierarchy."""
    import numpy as np

    rows, column = find_rows(opened, grouping, cluster)
    is_node = grouping == TREE
    card: Card = (opened.clusters.node_cards if is_node else opened.clusters.cards(grouping))[
        cluster
    ]
    sample = spread(rows, _SAMPLED)
    tree = opened.clusters.tree
    node, closest = (cluster, None) if is_node else _closest(opened, grouping, cluster)
    confidences = column.confidence[rows]
    histogram = np.bincount(
        np.minimum((confidences * _BINS).astype(np.int64), _BINS - 1), minlength=_BINS
    )
    return ClusterFacts(
        card=card,
        grouping=grouping,
        near=_near_nodes(opened, cluster) if is_node else _near(opened, grouping, cluster),
        closest_node=closest,
        **_relatives(opened, tree, node),
        histogram=histogram.tolist(),
        singular_values=_values(opened, sample),
        sampled=len(sample),
        labels=_labels(opened, rows),
    )


def _near(opened: Opened, grouping: str, cluster: int) -> list[Near]:
    return _nearest(cosines(opened.products(grouping), cluster), cluster)


def _near_nodes(opened: Opened, number: int) -> list[Near]:
    """The nodes of the finest level that holds a node, by how alike they are."""
    import numpy as np

    node, tree = opened.clusters.node(number), opened.clusters.need_tree()
    beside = tree.at(node.finest)
    sizes = opened.clusters.level(tree.finest).sizes
    weights = np.zeros((len(beside), tree.finest))
    for place, one in enumerate(beside):
        leaves = list(one.leaves)
        weights[place, leaves] = sizes[leaves] / max(1, sizes[leaves].sum())
    products = of_unions(opened.products(TREE), weights)
    own = [one.number for one in beside].index(number)
    found = _nearest(cosines(products, own), own)
    return [Near(id=beside[one.id].number, alike=one.alike) for one in found]


def _nearest(alike: "np.ndarray", own: int) -> list[Near]:
    order = (-alike).argsort(kind="stable").tolist()
    return [
        Near(id=one, alike=round(float(alike[one]), 4))
        for one in order
        if one != own and alike[one] > 0
    ][:_MOST_NEAR]


def _closest(opened: Opened, grouping: str, cluster: int) -> tuple[int | None, Part | None]:
    """The node of the hierarchy that shares most rows with a cluster, of all in either."""
    import numpy as np

    tree = opened.clusters.tree
    if tree is None:
        return None, None
    column, finest = opened.clusters.column(grouping), opened.clusters.level(tree.finest)
    shared = overlaps(column.cluster, finest.cluster, column.k, finest.k)[cluster]
    size = int(column.sizes[cluster])
    best, found = 0.0, None
    for node in tree.nodes:
        leaves = np.array(node.leaves)
        both = int(shared[leaves].sum())
        either = size + int(finest.sizes[leaves].sum()) - both
        if either and both / either > best:
            best, found = both / either, node.number
    return found, None if found is None else Part(id=found, shared=round(best, 4))


def _relatives(opened: Opened, tree: Tree | None, number: int | None) -> dict[str, Any]:
    """What a node is merged with and splits into."""
    none = {"merges_with": None, "merges_at": None, "splits_into": [], "splits_at": None}
    if tree is None or number is None:
        return {"node": None, **none}
    cards, node = opened.clusters.node_cards, tree.nodes[number]
    sibling: NodeCard | None = None
    if node.parent is not None:
        parent: Node = tree.nodes[node.parent]
        other = parent.right if parent.left == number else parent.left
        assert other is not None, "a parent has two children"
        sibling = cards[other]
    halves = [one for one in (node.left, node.right) if one is not None]
    return {
        "node": cards[number],
        "merges_with": sibling,
        "merges_at": node.coarsest - 1 if sibling else None,
        "splits_into": [cards[one] for one in halves],
        "splits_at": node.finest + 1 if halves else None,
    }


def _values(opened: Opened, sample: "np.ndarray") -> dict[Space, list[float]]:
    """Singular values of sampled rows in both spaces, over the largest."""
    found: dict[Space, list[float]] = {}
    for space in opened.finder.spaces:
        if len(sample):
            x = opened.finder.read(sample, space)
            values = singular_values(second_moment(x), len(x))
            found[space] = [round(float(one), 5) for one in values]
    return found


def _labels(opened: Opened, rows: "np.ndarray") -> list[tuple[str, int]]:
    import numpy as np

    codes, names = opened.labels
    counts = np.bincount(codes[rows] + 1, minlength=len(names) + 1)[1:]
    order = (-counts).argsort(kind="stable")[:_MOST_LABELS].tolist()
    return [(names[one], int(counts[one])) for one in order if counts[one]]


def list_items(opened: Opened, rows: "np.ndarray", column: Column) -> list[Item]:
    """What a grid shows of some rows."""
    told = opened.rows.read(rows.tolist(), ("key", "shard", "width", "height"))
    clusters, confidences = column.cluster[rows].tolist(), column.confidence[rows].tolist()
    return [
        Item(row=row, cluster=cluster, confidence=round(confidence, 4), **one)
        for row, cluster, confidence, one in zip(
            rows.tolist(), clusters, confidences, told, strict=True
        )
    ]


def list_cluster(
    opened: Opened, grouping: str, cluster: int, offset: int, limit: int, *, doubtful_first: bool
) -> Items:
    """Some of the rows of a cluster, the surest or the most doubtful first."""
    rows, column = find_rows(opened, grouping, cluster)
    ordered = rows[::-1] if doubtful_first else rows
    some = ordered[offset : offset + limit]
    return Items(total=len(rows), offset=offset, items=list_items(opened, some, column))


def list_found(opened: Opened, rows: "np.ndarray", similarities: "np.ndarray") -> list[Found]:
    """What is known of rows that were found, in the first grouping."""
    column = opened.clusters.column(opened.clusters.groupings[0].name)
    names = opened.clusters.names
    told = zip(
        rows.tolist(),
        similarities.tolist(),
        column.cluster[rows].tolist(),
        column.confidence[rows].tolist(),
        opened.rows.read(rows.tolist(), ("key", "shard")),
        strict=True,
    )
    return [
        Found(
            row=row,
            similarity=round(similarity, 5),
            cluster=cluster,
            confidence=round(confidence, 4),
            name=names[cluster][0].caption if names.get(cluster) else None,
            **one,
        )
        for row, similarity, cluster, confidence, one in told
    ]


def describe_image(opened: Opened, row: int) -> ImageFacts:
    """A row in full; MissingError where there is none."""
    from ...store import MissingError

    if row >= len(opened.rows):
        raise MissingError(f"there is no row {row}: there are 0 to {len(opened.rows) - 1}")
    from .rows import COLUMNS

    (told,) = opened.rows.read([row], COLUMNS)
    clusters, places = opened.clusters, []
    for number, grouping in enumerate(clusters.groupings):
        column = clusters.column(grouping.name)
        cluster = int(column.cluster[row])
        names = clusters.names.get(cluster) if number == 0 else None
        places.append(
            Place(
                grouping=grouping.name,
                cluster=cluster,
                confidence=float(column.confidence[row]),
                name=names[0].caption if names else None,
            )
        )
    part, _ = opened.rows.locate(row)
    leaf = None
    if clusters.tree is not None:
        leaf = int(clusters.level(clusters.tree.finest).cluster[row])
    return ImageFacts(
        row=row,
        source=opened.run.record.sources.get(part, ""),
        novelty=float(clusters.novelty[row]),
        places=places,
        node=leaf,
        **{**told, "extra": plain(json.loads(told["extra"]))},
    )
