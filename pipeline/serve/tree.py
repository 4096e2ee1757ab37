"""A hierarchy as a tree of nodes: each is a cluster at some levels and splits at the next finer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

LEVELS = "assignments/levels"
"""The slot of the assignments of all rows to the kept levels of the hierarchy."""

LEVELS_PER_DOUBLING = 2
"""Levels whose confidences are kept, per doubling of the number of clusters."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A cluster of the hierarchy."""

    number: int
    left: int | None
    """The first of the two nodes that it splits into; None for a leaf."""
    right: int | None
    parent: int | None
    """The node that it is merged into; None for the root."""
    finest: int
    """The level with the most clusters that holds it."""
    coarsest: int
    """The level with the fewest clusters that holds it."""
    leaves: tuple[int, ...]
    """The numbers of its leaves, ascending."""


class Tree:
    """The nodes of a hierarchy. Leaves are 0, 1, …; merge number i makes node leaves + i."""

    def __init__(self, left: Sequence[int], right: Sequence[int]) -> None:
        self.finest = len(left) + 1
        """The number of leaves, which is the number of clusters at the finest level."""
        self._at: dict[int, list[Node]] = {}
        parents: dict[int, int] = {}
        leaves: list[tuple[int, ...]] = [(leaf,) for leaf in range(self.finest)]
        for number, pair in enumerate(zip(left, right, strict=True), start=self.finest):
            leaves.append(tuple(sorted(leaves[pair[0]] + leaves[pair[1]])))
            parents.update(dict.fromkeys(pair, number))
        self.nodes = tuple(
            Node(
                number=number,
                left=left[number - self.finest] if number >= self.finest else None,
                right=right[number - self.finest] if number >= self.finest else None,
                parent=parents.get(number),
                finest=self._finest_level(number),
                # At the next coarser level its parent takes its place.
                coarsest=self._finest_level(parents[number]) + 1 if number in parents else 1,
                leaves=leaves_below,
            )
            for number, leaves_below in enumerate(leaves)
        )

    def _finest_level(self, number: int) -> int:
        """The finest level that holds a node."""
        return self.finest - max(0, number - self.finest + 1)

    def at(self, level: int) -> list[Node]:
        """The clusters of a level, in the order in which `assign` numbers them."""
        if level not in self._at:
            nodes = [node for node in self.nodes if node.coarsest <= level <= node.finest]
            self._at[level] = sorted(nodes, key=lambda node: node.leaves[0])
        return self._at[level]

    @cached_property
    def kept_levels(self) -> tuple[int, ...]:
        """Levels with confidences: the finest, then coarser ones by a constant factor."""
        levels = {self.finest}
        step = 0
        while (level := round(self.finest / 2 ** (step / LEVELS_PER_DOUBLING))) >= 2:
            levels.add(level)
            step += 1
        return tuple(sorted(levels, reverse=True))

    def kept_level_of(self, node: Node) -> int:
        """The kept level that gives a node's confidences: one that holds it, or the next finer.

        At that level the node is one cluster or several. If several, the confidence of a row is
        that in its own piece.
        """
        return min(level for level in self.kept_levels if level >= node.coarsest)

    def pieces(self, node: Node, level: int) -> list[int]:
        """The clusters of a level, as `assign` numbers them, that make up a node."""
        own_leaves = set(node.leaves)
        return [
            number
            for number, cluster in enumerate(self.at(level))
            if not own_leaves.isdisjoint(cluster.leaves)
        ]
