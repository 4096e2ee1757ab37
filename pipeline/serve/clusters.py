"""The clusters of a run as cards: for each number of clusters, and for the whole hierarchy."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...stages.rows.merges import read_merges
from ...store import Artifact, MissingError
from ..view.captions import Caption, read_captions, read_level_captions
from ..view.columns import read_column, read_columns
from ..view.facts import FAR
from .damage import reading
from .decided_clusters import DECIDED, Decided
from .groups import Groups
from .mapped_folder import MappedFolder
from .models import Card, Grouping, Member, Name, NodeCard
from .partition import Partition, count_overlaps
from .tree import Node, Tree

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MEMBERS = 12
"""Typical members of a card, and doubtful ones."""

NAMES = 5
"""Captions of a card."""

COMMON = 0.5
"""Share of the images of a node that a caption must lead for the node to have its name."""

_MIXED = 3
"""Captions that stand for a node without a common one."""

_CACHE_BYTES = 32 * 2**20
"""Of sorted rows of nodes that are several clusters at their kept level."""


class Clusters:
    """Which rows are in which cluster. Safe to call from any thread."""

    def __init__(
        self,
        assignments: Artifact,
        captions: Artifact | None,
        hierarchy: Artifact | None,
        levels: Artifact | None,
        folder: MappedFolder,
    ) -> None:
        self._assignments = assignments
        self._captions = captions
        self._hierarchy = hierarchy
        self._levels = levels
        self._folder = folder
        self._partitions: dict[str, Partition] = {}
        self._node_rows: OrderedDict[int, np.ndarray] = OrderedDict()
        self._cards: dict[str, list[Card]] = {}
        self._groups: tuple[int, Groups] | None = None
        self._lock = threading.RLock()
        counts: Mapping[str, int] = assignments.facts["clusters"]
        self._own_groupings = [
            Grouping(name=f"k-{asked}", k=int(k), asked=int(asked)) for asked, k in counts.items()
        ]

        self.decided = Decided()
        """What people decided; see `with_decided`."""

    def with_decided(self, decided: Decided) -> Self:
        """The same clusters, with other decisions; all else that was computed is shared."""
        other = copy.copy(self)
        other.decided = decided
        with self._lock:
            other._cards = {name: cards for name, cards in self._cards.items() if name != DECIDED}
        return other

    @property
    def groupings(self) -> list[Grouping]:
        """Those of the run, and last the decided clusters, while a decision holds."""
        decided = [self.decided.grouping] if self.decided.holds else []
        return [*self._own_groupings, *decided]

    @cached_property
    def tree(self) -> Tree | None:
        """The hierarchy; None unless there is one with all rows assigned to it."""
        if self._hierarchy is None or self._levels is None:
            return None
        with reading(self._hierarchy):
            left, right = read_merges(self._hierarchy)
        return Tree(left.tolist(), right.tolist())

    def need_tree(self) -> Tree:
        """The hierarchy; MissingError if there is none."""
        if self.tree is None:
            raise MissingError(
                "the run has no hierarchy with rows: start `cpp-pipe serve` without --no-make"
            )
        return self.tree

    def grouping(self, name: str) -> Grouping:
        """A grouping by its name; MissingError if there is none.

        That of the decided clusters is answered once anything was decided: a page that still shows
        it may ask while somebody takes back the last decision that held.
        """
        if name == DECIDED and self.decided.length:
            return self.decided.grouping
        for grouping in self.groupings:
            if grouping.name == name:
                return grouping
        names = ", ".join(grouping.name for grouping in self.groupings)
        raise MissingError(f"grouping must be one of {names}, got {name[:40]!r}")

    def partition(self, name: str) -> Partition:
        """The clusters of every row in a grouping."""
        grouping = self.grouping(name)
        if name == DECIDED:
            return self.decided.partition
        is_first = grouping is self._own_groupings[0]
        suffix = "" if is_first else f"_{grouping.asked}"
        return self._cached(name, lambda: self._read(self._assignments, suffix, grouping.k))

    def level(self, level: int) -> Partition:
        """The clusters of every row at one of the kept levels of the hierarchy."""
        levels = self._levels
        assert levels is not None, "the hierarchy has rows"
        suffix = "" if level == self.need_tree().finest else f"_{level}"
        return self._cached(f"level-{level}", lambda: self._read(levels, suffix, level))

    def _cached(self, name: str, read: Callable[[], Partition]) -> Partition:
        partition = self._partitions.get(name)
        if partition is None:
            with self._lock:
                partition = self._partitions.get(name)
                if partition is None:
                    partition = self._partitions[name] = self._map(name, read())
        return partition

    def _map(self, name: str, partition: Partition) -> Partition:
        with self._folder.writing() as folder:
            return partition if folder is None else partition.mapped(folder / name)

    def _read(self, source: Artifact, suffix: str, k: int) -> Partition:
        with reading(source):
            cluster, confidence = read_columns(source, [f"cluster{suffix}", f"confidence{suffix}"])
        return Partition.of(cluster, confidence, k)

    @cached_property
    def novelty(self) -> np.ndarray:
        """(n,) float32."""
        with reading(self._assignments):
            return read_column(self._assignments, "novelty")

    @cached_property
    def names(self) -> Mapping[int, Sequence[Name]]:
        """Captions of the clusters of the first grouping, best first."""
        if self._captions is None:
            return {}
        with reading(self._captions):
            by_cluster = read_captions(self._captions)
        return {cluster: _names(captions) for cluster, captions in by_cluster.items()}

    @cached_property
    def _node_names(self) -> Mapping[int, Sequence[Name]]:
        """Captions of nodes; empty unless the run's clusters are a level of the hierarchy."""
        tree = self.tree
        if self._captions is None or tree is None:
            return {}
        own = self._assignments.manifest.inputs.get("hierarchy")
        if own is None or self._hierarchy is None or own.version != self._hierarchy.version:
            return {}
        with reading(self._captions):
            by_level = read_level_captions(self._captions)
        names = {}
        for level in sorted({level for level, _ in by_level}, reverse=True):
            # A coarser level replaces the captions of a finer one.
            for number, node in enumerate(tree.at(level)):
                if (level, number) in by_level:
                    names[node.number] = _names(by_level[level, number])
        return names

    def cards(self, name: str) -> list[Card]:
        """A card for each cluster of a grouping."""
        with self._lock:
            if name not in self._cards:
                self._cards[name] = self._make_cards(name)
            return self._cards[name]

    def _make_cards(self, name: str) -> list[Card]:
        partition = self.partition(name)
        shared = None if name == self.groupings[0].name else self._count_shared(partition)
        far = partition.sums(self.novelty > FAR)
        sums = partition.sums(partition.confidence)
        cards = [
            Card(**self._card_fields(partition, [cluster], cluster, far, sums, shared))
            for cluster in range(partition.k)
        ]
        return [self.decided.complete(card) for card in cards] if name == DECIDED else cards

    @cached_property
    def node_cards(self) -> list[NodeCard]:
        """A card for each node of the hierarchy, by its number."""
        with self._lock:
            tree, cards = self.need_tree(), {}
            for level in tree.kept_levels:
                nodes = [node for node in tree.nodes if self._pieces[node.number][0] == level]
                partition = self.level(level)
                shared = self._count_shared(partition)
                far = partition.sums(self.novelty > FAR)
                sums = partition.sums(partition.confidence)
                for node in nodes:
                    _, pieces = self._pieces[node.number]
                    card = self._card_fields(partition, pieces, node.number, far, sums, shared)
                    if node.number in self._node_names:
                        card["names"] = list(self._node_names[node.number])[:NAMES]
                    cards[node.number] = _node_card(node, card)
            return [cards[number] for number in range(len(tree.nodes))]

    def groups_at(self, level: int) -> Groups:
        """The nodes of a level of the hierarchy; MissingError if there is no such level."""
        tree = self.need_tree()
        if level > tree.finest:
            raise MissingError(f"level must be from 1 to {tree.finest}, got {level}")
        # Before the lock, which whoever makes them takes: a cached property has a lock of its own,
        # and two threads that took both in different orders would wait for each other.
        cards = self.node_cards
        with self._lock:
            if self._groups is None or self._groups[0] != level:
                self._groups = level, self._make_groups(tree, level, cards)
            return self._groups[1]

    def _make_groups(self, tree: Tree, level: int, cards: Sequence[NodeCard]) -> Groups:
        nodes = tree.at(level)
        kept = min(each for each in tree.kept_levels if each >= level)
        partition, place_of = self.level(kept), np.zeros(kept, np.int32)
        for place, node in enumerate(nodes):
            place_of[tree.pieces(node, kept)] = place
        joined = Partition.of(place_of[partition.cluster], partition.confidence, len(nodes))
        numbers = np.array([node.number for node in nodes])
        return Groups(numbers=numbers, partition=joined, cards=[cards[n] for n in numbers])

    def node_rows(self, number: int) -> tuple[np.ndarray, Partition]:
        """A node's rows, the most confident first, and the partition with their confidences."""
        self.node(number)
        level, pieces = self._pieces[number]
        partition = self.level(level)
        if len(pieces) == 1:
            return partition.rows(pieces), partition
        with self._lock:
            cached = self._node_rows.pop(number, None)
        rows = partition.rows(pieces) if cached is None else cached
        with self._lock:
            self._node_rows[number] = rows
            while sum(kept.nbytes for kept in self._node_rows.values()) > _CACHE_BYTES:
                self._node_rows.popitem(last=False)
        return rows, partition

    @cached_property
    def _pieces(self) -> list[tuple[int, list[int]]]:
        """For each node its kept level, and the clusters of that level that make it up."""
        tree = self.need_tree()
        levels = [tree.kept_level_of(node) for node in tree.nodes]
        return [
            (level, tree.pieces(node, level))
            for node, level in zip(tree.nodes, levels, strict=True)
        ]

    def node(self, number: int) -> Node:
        """A node by its number; MissingError if there is none."""
        nodes = self.need_tree().nodes
        if not 0 <= number < len(nodes):
            raise MissingError(f"node must be from 0 to {len(nodes) - 1}, got {number}")
        return nodes[number]

    def _count_shared(self, partition: Partition) -> "np.ndarray | csr_array":
        """(k, own k) rows that each cluster shares with each cluster of the first grouping."""
        own = self.partition(self.groupings[0].name)
        return count_overlaps(partition.cluster, own.cluster, partition.k, own.k)

    def _card_fields(
        self,
        partition: Partition,
        pieces: Sequence[int],
        number: int,
        far: np.ndarray,
        sums: np.ndarray,
        shared: "np.ndarray | csr_array | None",
    ) -> dict[str, Any]:
        """The fields of a card for some clusters of a partition together."""
        pieces = list(pieces)
        size = int(partition.sizes[pieces].sum())
        sure, doubtful = partition.ends(pieces, MEMBERS)
        if shared is None or not size:  # the name of a cluster whose images are all excluded stays
            names = list(self.names.get(number, ()))
        else:
            names = self._weigh_names(shared[pieces].sum(0), size)
        return {
            "id": number,
            "size": size,
            "confidence": float(sums[pieces].sum()) / size if size else None,
            "far": int(far[pieces].sum()),
            "names": names[:NAMES],
            "typical": _members(sure, partition),
            "doubtful": _members(doubtful, partition),
        }

    def _weigh_names(self, shared: np.ndarray, size: int) -> list[Name]:
        """Captions of rows from several captioned clusters, each weighted by its share of them.

        Where no caption leads at least half of the rows, the first says that they are mixed.
        """
        scores: dict[str, float] = {}
        leading: dict[str, float] = {}
        for cluster in shared.nonzero()[0].tolist():
            share = float(shared[cluster]) / size
            for rank, name in enumerate(self.names.get(cluster, ())):
                scores[name.caption] = scores.get(name.caption, 0.0) + share * name.score
                if rank == 0:
                    leading[name.caption] = leading.get(name.caption, 0.0) + share
        names = [Name(caption=caption, score=score) for caption, score in _best(scores)]
        if leading and max(leading.values()) < COMMON:
            first = [caption for caption, _ in _best(leading)[:_MIXED]]
            share = sum(leading[caption] for caption in first)
            names = [Name(caption=f"mixed: {', '.join(first)}", score=share), *names]
        return names[:NAMES]


def _best(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """The highest first, of equal ones by caption."""
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def _names(captions: Sequence[Caption]) -> list[Name]:
    return [Name(caption=words, score=score) for words, score in captions]


def _members(rows: np.ndarray, partition: Partition) -> list[Member]:
    confidences = partition.confidence[rows].tolist()
    return [
        Member(row=row, confidence=round(confidence, 4))
        for row, confidence in zip(rows.tolist(), confidences, strict=True)
    ]


def _node_card(node: Node, card: dict[str, Any]) -> NodeCard:
    return NodeCard(
        **card,
        left=node.left,
        right=node.right,
        parent=node.parent,
        finest=node.finest,
        coarsest=node.coarsest,
    )
