"""Applies people's decisions to the clusters that they were made on, or to later ones."""

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int32, Int64
from numpy import ndarray

from .edit import Edit, active

Status = Literal["applied", "reverted", "needs a look"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a decision."""

    edit: Edit
    status: Status
    why: str = ""
    """What could not be applied; empty otherwise."""


@dataclass(frozen=True, kw_only=True)
class Heir:
    """The cluster that took over at least half of the images of an earlier one."""

    cluster: int
    share: float = 1.0
    """The share of its images that were in the earlier cluster; counts images of both versions."""


@dataclass(kw_only=True)
class Edited:
    """Clusters and images as people decided, over all rows."""

    cluster: Int32[ndarray, " n"]
    excluded: Bool[ndarray, " n"]
    tags: dict[str, Bool[ndarray, " n"]] = field(default_factory=dict)
    row_notes: dict[int, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    """Names of clusters."""
    notes: dict[int, str] = field(default_factory=dict)
    """Notes on clusters."""
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def open(self) -> list[Outcome]:
        """Decisions that need a look."""
        return [outcome for outcome in self.outcomes if outcome.status == "needs a look"]

    def tags_of(self, row: int) -> list[str]:
        """The tags of a row, sorted."""
        return sorted(tag for tag, rows in self.tags.items() if rows[row])


_LEAST_SHARE = 0.5
"""Least share of a cluster that took over another for names and notes of the other to fit it."""


class _Lost(Exception):
    """A cluster or an image that a decision names and that no longer exists."""


def replay(
    edits: Sequence[Edit],
    cluster: Int32[ndarray, " n"],
    *,
    k: int,
    version: str,
    rows_of: Mapping[str, int],
    carried: Mapping[tuple[str, int], Heir],
) -> Edited:
    """Applies decisions in order to the `k` clusters of a version of the assignments.

    `rows_of` gives the row of every image that a decision names, by SHARD:KEY, if it still exists.
    `carried` gives for clusters of other versions the cluster here that took over most of their
    images. A decision that cannot be applied in full needs a look, and so does the name of a
    cluster that is only a small part of the one that took it over.
    """
    steps = Replay(cluster, k=k, version=version, rows_of=rows_of, carried=carried)
    for edit, holds in zip(edits, active(edits), strict=True):
        steps.add(edit, holds=holds)
    return steps.edited


class Replay:
    """Decisions that are applied one after another; `replay` applies a whole log.

    A copy costs no arrays: a decision replaces those that it changes.
    """

    def __init__(
        self,
        cluster: Int32[ndarray, " n"],
        *,
        k: int,
        version: str,
        rows_of: Mapping[str, int],
        carried: Mapping[tuple[str, int], Heir],
    ) -> None:
        self.edited = Edited(
            cluster=cluster.astype(np.int32, copy=True), excluded=np.zeros(len(cluster), bool)
        )
        self.k = k
        """How many clusters there are, including those that splits made."""
        self._own_k = k
        self._version = version
        self._rows_of = rows_of
        self._carried = carried
        self._said_by: dict[tuple[str, int], tuple[str, int]] = {}
        """The version and number of the cluster that gave each cluster its name or note."""
        self._merged: dict[tuple[str, int], tuple[tuple[str, int], ...]] = {}
        """The clusters that were merged into a cluster, with itself, by version and number."""
        self._waiting: dict[tuple[str, int], tuple[int, ...]] = {}
        """Indices of decisions that need a look, by operation (name or note) and cluster."""

    def copy(self) -> "Replay":
        """The same state, to which other decisions can be added."""
        other, edited = copy.copy(self), self.edited
        other._said_by = dict(self._said_by)
        other._merged, other._waiting = dict(self._merged), dict(self._waiting)
        other.edited = replace(
            edited,
            tags=dict(edited.tags),
            row_notes=dict(edited.row_notes),
            names=dict(edited.names),
            notes=dict(edited.notes),
            outcomes=list(edited.outcomes),
        )
        return other

    def add(self, edit: Edit, *, holds: bool) -> None:
        """Applies a decision if it holds, and adds its outcome to the others."""
        why, status = "", "reverted"
        if holds:
            why = self._apply(edit)
            status = "needs a look" if why else "applied"
        self.k += edit.op == "split"
        if holds and edit.clusters and edit.op in ("name", "note"):
            self._settle(edit, needs_a_look=bool(why))
        self.edited.outcomes.append(Outcome(edit=edit, status=status, why=why))

    def _settle(self, edit: Edit, *, needs_a_look: bool) -> None:
        """Marks earlier names or notes that needed a look as settled by this one.

        Settles those of the same cluster, and, unless this one needs a look itself, those of
        clusters of other versions.
        """
        outcomes = self.edited.outcomes
        for number in self.clusters_now(edit):
            place = (edit.op, number)
            remaining: list[int] = []
            for index in self._waiting.get(place, ()):
                before = outcomes[index].edit
                is_other = before.assignments != edit.assignments
                is_same = not is_other and before.clusters[0] == edit.clusters[0]
                if is_same or (is_other and not needs_a_look):
                    outcomes[index] = replace(outcomes[index], status="applied", why="")
                else:
                    remaining.append(index)
            self._waiting[place] = (*remaining, len(outcomes)) if needs_a_look else tuple(remaining)

    def clusters_now(self, edit: Edit) -> list[int]:
        """The clusters here that took over the clusters of a decision, without lost ones."""
        numbers = []
        for number in edit.clusters:
            with contextlib.suppress(_Lost):
                numbers.append(self._here(edit, number))
        return list(dict.fromkeys(numbers))

    def _apply(self, edit: Edit) -> str:
        """Applies a decision; returns what could not be applied, or an empty text."""
        try:
            return _APPLY[edit.op](self, edit)
        except _Lost as lost:
            return str(lost)

    def _here(self, edit: Edit, number: int) -> int:
        """The number of a cluster here; `_Lost` if no cluster took over half of its images."""
        here = self._find(edit, number)
        if not 0 <= here < self.k:  # in a log that somebody else wrote
            raise _Lost(f"there never was a cluster {number}")
        return here

    def _find(self, edit: Edit, number: int) -> int:
        if number >= edit.k:
            return self._own_k + number - edit.k  # made by a split, and numbered in their order
        if edit.assignments == self._version:
            return number
        heir = self._carried.get((edit.assignments, number))
        if heir is None:
            raise _Lost(
                f"no cluster now holds half of the images of cluster {number} of "
                f"assignments {edit.assignments}"
            )
        return heir.cluster

    def _share(self, edit: Edit, number: int, here: int) -> float:
        """The share of a cluster here that was in an earlier one or in those merged into it."""
        source = (edit.assignments, number)
        if number >= edit.k or edit.assignments == self._version:
            return 1.0
        heirs = [self._carried.get(each) for each in self._merged.get(source, (source,))]
        return sum(heir.share for heir in heirs if heir is not None and heir.cluster == here)

    def _doubt(self, edit: Edit, number: int, here: int) -> str:
        """Why a name or note of a cluster may not fit the one that took it over; else empty."""
        share = self._share(edit, number, here)
        if share >= _LEAST_SHARE:
            return ""
        return (
            f"cluster {here} took it over, and most of its images ({1 - share:.0%}) were in other "
            "clusters"
        )

    def _rows(self, edit: Edit) -> tuple[Int64[ndarray, " m"], str]:
        """The rows that a decision is about, and what of it cannot be applied, in words."""
        if edit.op in ("split", "move") or edit.images:
            rows = [self._rows_of[image] for image in edit.images if image in self._rows_of]
            gone = len(edit.images) - len(rows)
            if not rows:
                raise _Lost("none of its images is there any more")
            why = f"{gone:,} of its {len(edit.images):,} images are not there any more"
            return np.array(rows, np.int64), why if gone else ""
        here = {self._here(edit, number): number for number in edit.clusters}
        doubts = {now: self._doubt(edit, number, now) for now, number in here.items()}
        numbers = [now for now, doubt in doubts.items() if not doubt]
        why = "; ".join(filter(None, doubts.values()))
        if not numbers:
            raise _Lost(why)
        self._require_images(numbers)
        return np.isin(self.edited.cluster, numbers).nonzero()[0], why

    def _require_images(self, numbers: Sequence[int]) -> None:
        """`_Lost` if a cluster has no images, e.g. since it was merged into another."""
        empty = [number for number in numbers if not (self.edited.cluster == number).any()]
        if empty:
            raise _Lost(f"cluster {empty[0]} has no images: it was merged into another")

    def _name(self, edit: Edit) -> str:
        number = self._here(edit, edit.clusters[0])
        self._require_images([number])
        return self._say(edit, number, self.edited.names)

    def _note(self, edit: Edit) -> str:
        if edit.clusters:
            return self._say(edit, self._here(edit, edit.clusters[0]), self.edited.notes)
        rows, why = self._rows(edit)
        for row in rows.tolist():
            _set(self.edited.row_notes, row, edit.value)
        return why

    def _say(self, edit: Edit, number: int, texts: dict[int, str]) -> str:
        """Gives a cluster a name or a note, unless another earlier cluster gave it one."""
        source, place = (edit.assignments, edit.clusters[0]), (edit.op, number)
        before = self._said_by.get(place)
        # Clusters of the same version are certainly two; of another version, the text may be new.
        is_another = before is not None and before != source and before[0] == source[0]
        is_another = is_another and edit.assignments != self._version
        if is_another and texts.get(number) != edit.value:
            return (
                f"cluster {number} took over two {edit.op}d clusters, and keeps the {edit.op} "
                f"{texts.get(number, '')!r}"
            )
        self._said_by[place] = source
        _set(texts, number, edit.value)
        return self._doubt(edit, edit.clusters[0], number) if edit.value.strip() else ""

    def _merge(self, edit: Edit) -> str:
        taken: dict[int, float] = {}  # clusters here, with the share that was in the merged ones
        lost = []
        for number in edit.clusters:
            try:
                here = self._here(edit, number)
            except _Lost as error:
                lost.append(str(error))
            else:
                taken[here] = taken.get(here, 0.0) + self._share(edit, number, here)
        sources = [(edit.assignments, number) for number in edit.clusters]
        merged = [each for source in sources for each in self._merged.get(source, (source,))]
        self._merged[sources[0]] = tuple(dict.fromkeys(merged))
        if len(taken) > 1:  # else they are one already
            for here in [here for here, share in taken.items() if share < _LEAST_SHARE]:
                lost.append(
                    f"cluster {here} took one of them over, and most of its images "
                    f"({1 - taken.pop(here):.0%}) were in other clusters"
                )
        if len(taken) > 1:
            first, *others = taken
            self._put(np.isin(self.edited.cluster, others), first)
        return "; ".join(lost)

    def _split(self, edit: Edit) -> str:
        rows, why = self._rows(edit)
        self._put(rows, self.k)
        return why

    def _move(self, edit: Edit) -> str:
        target = self._here(edit, edit.clusters[0])
        rows, why = self._rows(edit)
        self._put(rows, target)
        return why

    def _put(self, rows: ndarray, number: int) -> None:
        self.edited.cluster = self.edited.cluster.copy()
        self.edited.cluster[rows] = number

    def _tag(self, edit: Edit) -> str:
        rows, why = self._rows(edit)
        tag = edit.value.strip()
        before = self.edited.tags.get(tag)
        tagged = np.zeros(len(self.edited.cluster), bool) if before is None else before.copy()
        tagged[rows] = edit.op == "tag"
        if tagged.any():
            self.edited.tags[tag] = tagged
        else:
            self.edited.tags.pop(tag, None)
        return why

    def _exclude(self, edit: Edit) -> str:
        rows, why = self._rows(edit)
        self.edited.excluded = self.edited.excluded.copy()
        self.edited.excluded[rows] = edit.op == "exclude"
        return why


def _set(texts: dict[int, str], number: int, text: str) -> None:
    """Sets a text, or removes it if the new one is empty."""
    if text.strip():
        texts[number] = text.strip()
    else:
        texts.pop(number, None)


_APPLY: Mapping[str, Callable[[Replay, Edit], str]] = {
    "name": Replay._name,
    "note": Replay._note,
    "merge": Replay._merge,
    "split": Replay._split,
    "move": Replay._move,
    "tag": Replay._tag,
    "untag": Replay._tag,
    "exclude": Replay._exclude,
    "include": Replay._exclude,
    "revert": lambda state, edit: "",
}


def carry_over(
    before: Int32[ndarray, " m"], now: Int32[ndarray, " m"], k_before: int
) -> dict[int, Heir]:
    """For each earlier cluster, the one that now holds most of its images, if at least half.

    Both arrays are about the same images; of two equal halves the lower number counts.
    """
    heirs, sizes = {}, np.bincount(now)
    for number in range(k_before):
        counts = np.bincount(now[before == number])
        if counts.sum() and 2 * counts.max() >= counts.sum():
            cluster = int(counts.argmax())
            heirs[number] = Heir(cluster=cluster, share=float(counts[cluster] / sizes[cluster]))
    return heirs
