"""A hierarchy as a tree of nodes: each is a cluster at some levels, and splits at the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

LEVELS = "assignments/levels"
"""The slot of the assignments that put rows into the kept levels of the hierarchy."""

LEVELS_A_DOUBLING = 2
"""Levels whose confidences are kept, for each doubling of their number."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A cluster of the hierarchy."""

    number: int
    left: int | None
    """The nodes that it splits into; None for a leaf."""
    right: int | None
    parent: int | None
    """What it becomes a part of; None for the one at the top."""
    finest: int
    """The level of the most clusters at which it is one."""
    coarsest: int
    """The level of the fewest."""
    leaves: tuple[int, ...]
    """Ascending."""


class Tree:
    """The nodes of a hierarchy. Leaves are 0, 1, …; merging number i makes node leaves + i."""

    def __init__(self, left: Sequence[int], right: Sequence[int]) -> None:
        self.finest = len(left) + 1
        """How many leaves there are, and clusters at the finest level."""
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
                finest=self._level_with(number),
                # The merging that makes the parent leaves one cluster fewer.
                coarsest=self._level_with(parents[number]) + 1 if number in parents else 1,
                leaves=under,
            )
            for number, under in enumerate(leaves)
        )

    def _level_with(self, number: int) -> int:
        """The finest level that holds a node."""
        return self.finest - max(0, number - self.finest + 1)

    def at(self, level: int) -> list[Node]:
        """The clusters of a level, in the order in which `assign` numbers them."""
        if level not in self._at:
            self._at[level] = self._find(level)
        return self._at[level]

    def _find(self, level: int) -> list[Node]:
        found = [one for one in self.nodes if one.coarsest <= level <= one.finest]
        return sorted(found, key=lambda one: one.leaves[0])

    @cached_property
    def kept_levels(self) -> tuple[int, ...]:
        """Levels at which confidences are worked out: the finest, and ever fewer down to 2."""
        levels = {self.finest}
        step = 0
        while (level := round(self.finest / 2 ** (step / LEVELS_A_DOUBLING))) >= 2:
            levels.add(level)
            step += 1
        return tuple(sorted(levels, reverse=True))

    def level_of(self, node: Node) -> int:
        """The kept level whose confidences stand for a node's: its own, or the next finer one.

        There a node is one cluster, or several: then a row's confidence is that of its piece.
        """
        return min(level for level in self.kept_levels if level >= node.coarsest)

    def pieces(self, node: Node, level: int) -> list[int]:
        """The clusters of a level, as `assign` numbers them, that make up a node."""
        wanted = set(node.leaves)
        return [
            number for number, one in enumerate(self.at(level)) if not wanted.isdisjoint(one.leaves)
        ]
