"""The clusters of a run as cards: for each number of clusters, and for its whole hierarchy."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...store import Artifact, MissingError
from ..view.captions import Caption, read_captions, read_level_captions
from ..view.columns import read_column
from ..view.facts import FAR
from .columns import Column, overlaps
from .damage import reading
from .models import Card, Grouping, Member, Name, NodeCard
from .tree import Node, Tree

if TYPE_CHECKING:
    import numpy as np

MEMBERS = 12
"""Typical members of a card, and doubtful ones."""

NAMES = 5
"""Captions of a card."""

_KEPT_BYTES = 32 * 2**20
"""Of rows of nodes that are several clusters of their level, and were sorted together."""


class Clusters:
    """Which rows are in which cluster, the surest first. Any thread may ask."""

    def __init__(
        self,
        assignments: Artifact,
        captions: Artifact | None,
        hierarchy: Artifact | None,
        levels: Artifact | None,
        folder: Path,
    ) -> None:
        self._assignments = assignments
        self._captions = captions
        self._hierarchy = hierarchy
        self._levels = levels
        self._folder = folder
        self._columns: dict[str, Column] = {}
        self._node_rows: OrderedDict[int, np.ndarray] = OrderedDict()
        self._cards: dict[str, list[Card]] = {}
        self._lock = threading.RLock()
        counts: Mapping[str, int] = assignments.facts["clusters"]
        self.groupings = [
            Grouping(name=f"k-{asked}", k=int(k), asked=int(asked)) for asked, k in counts.items()
        ]

    @cached_property
    def tree(self) -> Tree | None:
        """The hierarchy, where there is one and rows are put into it."""
        if self._hierarchy is None or self._levels is None:
            return None
        with reading(self._hierarchy):
            merged = self._hierarchy.table(self._hierarchy.only_part).slice(1)
        return Tree(merged.column("left").to_pylist(), merged.column("right").to_pylist())

    def need_tree(self) -> Tree:
        """The hierarchy; MissingError where there is none."""
        if self.tree is None:
            raise MissingError("the run has no hierarchy: `cpp-pipe serve` makes it at its start")
        return self.tree

    def grouping(self, name: str) -> Grouping:
        """A grouping by its name; MissingError where there is none."""
        for one in self.groupings:
            if one.name == name:
                return one
        there = ", ".join(one.name for one in self.groupings)
        raise MissingError(f"there is no grouping {name[:40]!r}: there are {there}")

    def column(self, name: str) -> Column:
        """The clusters of every row in a grouping."""
        found = self.grouping(name)
        is_first = found is self.groupings[0]
        suffix = "" if is_first else f"_{found.asked}"
        return self._kept(name, lambda: self._read(self._assignments, suffix, found.k))

    def level(self, level: int) -> Column:
        """The clusters of every row at one of the kept levels of the hierarchy."""
        assert self._levels is not None, "no rows are put into the hierarchy"
        suffix = "" if level == self.need_tree().finest else f"_{level}"
        levels = self._levels
        return self._kept(f"level-{level}", lambda: self._read(levels, suffix, level))

    def _kept(self, name: str, read: Callable[[], Column]) -> Column:
        found = self._columns.get(name)
        if found is None:
            with self._lock:
                found = self._columns.get(name)
                if found is None:
                    found = self._columns[name] = read().mapped(self._folder / name)
        return found

    def _read(self, source: Artifact, suffix: str, k: int) -> Column:
        return Column.of(
            self._gather(source, f"cluster{suffix}"), self._gather(source, f"confidence{suffix}"), k
        )

    def _gather(self, source: Artifact, name: str) -> "np.ndarray":
        """One column of all rows."""
        with reading(source):
            return read_column(source, name)

    @cached_property
    def novelty(self) -> "np.ndarray":
        """(n,) float32."""
        return self._gather(self._assignments, "novelty")

    @cached_property
    def names(self) -> Mapping[int, Sequence[Name]]:
        """Captions of the clusters of the first grouping, best first."""
        if self._captions is None:
            return {}
        with reading(self._captions):
            found = read_captions(self._captions)
        return {cluster: _names(captions) for cluster, captions in found.items()}

    @cached_property
    def _node_names(self) -> Mapping[int, Sequence[Name]]:
        """Captions of nodes, where the run's clusters are a cut of the hierarchy."""
        tree, found = self.tree, {}
        if self._captions is None or tree is None:
            return {}
        own = self._assignments.manifest.inputs.get("hierarchy")
        if own is None or self._hierarchy is None or own.version != self._hierarchy.version:
            return {}
        with reading(self._captions):
            named = read_level_captions(self._captions)
        for level in sorted({level for level, _ in named}, reverse=True):
            # The coarsest level of a node comes last.
            for number, node in enumerate(tree.at(level)):
                if (level, number) in named:
                    found[node.number] = _names(named[level, number])
        return found

    def _own(self) -> Column:
        return self.column(self.groupings[0].name)

    def cards(self, name: str) -> list[Card]:
        """A card for each cluster of a grouping."""
        with self._lock:
            if name not in self._cards:
                self._cards[name] = self._make_cards(name)
            return self._cards[name]

    def _make_cards(self, name: str) -> list[Card]:
        column = self.column(name)
        shared = None if name == self.groupings[0].name else self._overlaps(column)
        far = column.sums(self.novelty > FAR)
        sums = column.sums(column.confidence)
        return [
            Card(**self._facts(column, [one], one, far, sums, shared)) for one in range(column.k)
        ]

    @cached_property
    def node_cards(self) -> list[NodeCard]:
        """A card for each node of the hierarchy, by its number."""
        with self._lock:
            tree, found = self.need_tree(), {}
            for level in tree.kept_levels:
                nodes = [one for one in tree.nodes if self._pieces[one.number][0] == level]
                column = self.level(level)
                shared = self._overlaps(column)
                far = column.sums(self.novelty > FAR)
                sums = column.sums(column.confidence)
                for node in nodes:
                    _, pieces = self._pieces[node.number]
                    facts = self._facts(column, pieces, node.number, far, sums, shared)
                    if node.number in self._node_names:
                        facts["names"] = list(self._node_names[node.number])[:NAMES]
                    found[node.number] = _node_card(node, facts)
            return [found[number] for number in range(len(tree.nodes))]

    def node_rows(self, number: int) -> "tuple[np.ndarray, Column]":
        """The rows of a node, the surest first, and the column that tells how sure."""
        self.node(number)
        level, pieces = self._pieces[number]
        column = self.level(level)
        if len(pieces) == 1:
            return column.rows(pieces), column
        with self._lock:
            found = self._node_rows.pop(number, None)
        rows = column.rows(pieces) if found is None else found
        with self._lock:
            self._node_rows[number] = rows
            while sum(one.nbytes for one in self._node_rows.values()) > _KEPT_BYTES:
                self._node_rows.popitem(last=False)
        return rows, column

    @cached_property
    def _pieces(self) -> list[tuple[int, list[int]]]:
        """For each node its kept level, and the clusters there that make it up."""
        tree = self.need_tree()
        levels = [tree.level_of(node) for node in tree.nodes]
        return [
            (level, tree.pieces(node, level))
            for node, level in zip(tree.nodes, levels, strict=True)
        ]

    def node(self, number: int) -> Node:
        """A node by its number; MissingError where there is none."""
        nodes = self.need_tree().nodes
        if not 0 <= number < len(nodes):
            raise MissingError(f"the hierarchy has no node {number}: it has 0 to {len(nodes) - 1}")
        return nodes[number]

    def _overlaps(self, column: Column) -> "np.ndarray":
        own = self._own()
        return overlaps(column.cluster, own.cluster, column.k, own.k)

    def _facts(
        self,
        column: Column,
        pieces: Sequence[int],
        number: int,
        far: "np.ndarray",
        sums: "np.ndarray",
        shared: "np.ndarray | None",
    ) -> dict[str, Any]:
        """What a card says of some clusters of a column together."""
        pieces = list(pieces)
        size = int(column.sizes[pieces].sum())
        sure, doubtful = column.ends(pieces, MEMBERS)
        if shared is None:
            names = list(self.names.get(number, ()))
        else:
            names = self._names_of(shared[pieces].sum(0), size)
        return {
            "id": number,
            "size": size,
            "confidence": float(sums[pieces].sum()) / size if size else None,
            "far": int(far[pieces].sum()),
            "names": names[:NAMES],
            "typical": _members(sure, column),
            "doubtful": _members(doubtful, column),
        }

    def _names_of(self, shared: "np.ndarray", size: int) -> list[Name]:
        """Captions of rows of several captioned clusters: each counts by how many rows it has."""
        scores: dict[str, float] = {}
        for cluster in shared.nonzero()[0].tolist():
            share = float(shared[cluster]) / size
            for one in self.names.get(cluster, ()):
                scores[one.caption] = scores.get(one.caption, 0.0) + share * one.score
        best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
        return [Name(caption=caption, score=score) for caption, score in best[:NAMES]]


def _names(captions: Sequence[Caption]) -> list[Name]:
    return [Name(caption=words, score=score) for words, score in captions]


def _members(rows: "np.ndarray", column: Column) -> list[Member]:
    confidences = column.confidence[rows].tolist()
    return [
        Member(row=row, confidence=round(confidence, 4))
        for row, confidence in zip(rows.tolist(), confidences, strict=True)
    ]


def _node_card(node: Node, facts: dict[str, Any]) -> NodeCard:
    return NodeCard(
        **facts,
        left=node.left,
        right=node.right,
        parent=node.parent,
        finest=node.finest,
        coarsest=node.coarsest,
    )
