"""What a run holds, and whether it is current: the one place that decides it.

An artifact is current if it was made from what the run's other slots hold now, and these are
current themselves. Contents count, and not versions: the same bytes may have been made in two ways.
What was fitted to rows serves rows that were added later, too: its kind says how many of the rows
that it was fitted to must still be there.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from ..store import Artifact, RunRecord, Store, StoreError
from ..store.counting import counted
from ..store.kind_facts import KIND_FACTS
from ..store.kinds import ASSIGNMENTS, EMBEDDINGS, FEATURES, KINDS, OF_TEXT, VIEWS, WORDS
from ..store.manifest import Input
from ..store.parsing import is_version
from ..store.slots import kind_of, sorted_slots, split_slot

if TYPE_CHECKING:
    import numpy as np

State = Literal["current", "behind", "out of date"]
"""`behind`: rows were added that it lacks. Like `out of date` it must not be read as current."""

_BY_ROW = (EMBEDDINGS.name, VIEWS.name, FEATURES.name)
"""Kinds with a row for each image, made from that image alone and from what was fitted; each may be
made from those before it."""

_SAME = 0.999
"""Cosine from which two embeddings are of one image: other batches round them otherwise."""


class RunSlots:
    """The artifacts of a run's slots; a slot's artifact and state are read once."""

    def __init__(self, store: Store, record: RunRecord) -> None:
        self._store = store
        self.record = record
        self._versions = record.versions
        self._artifacts: dict[str, Artifact | None] = {}
        self._states: dict[str, State] = {}

    @property
    def names(self) -> list[str]:
        """Its slots, in the order of data flow."""
        return sorted_slots(slot for slot in self._versions if not _is_kept_for_decisions(slot))

    def find(self, slot: str) -> Artifact | None:
        """The artifact in a slot (a kind, or e.g. `index/features`), or None."""
        kind, version = kind_of(slot), self._versions.get(slot)
        artifact = self._artifacts.get(slot)
        if artifact is None and version:
            artifact = self._artifacts[slot] = self._store.find(kind, version)
        return artifact

    def current(self, slot: str) -> Artifact | None:
        """The artifact in a slot if it is current, else None."""
        artifact = self.find(slot)
        return artifact if artifact is not None and self.state(slot) == "current" else None

    def state(self, slot: str) -> State:
        """The state of the artifact in a slot, which must hold one."""
        if slot not in self._states:
            # Until it is known, so that a store whose artifacts need each other ends.
            self._states[slot] = "out of date"
            self._states[slot] = self._judge(slot)
        return self._states[slot]

    def stale(self) -> list[str]:
        """The slots whose artifacts are not current, in the order of data flow."""
        there = [slot for slot in self.names if self.find(slot) is not None]
        return [slot for slot in there if self.state(slot) != "current"]

    def last_stale(self) -> list[str]:
        """The slots that are not current, and that nothing else that is not current needs."""
        stale = self.stale()
        needed = {
            used
            for slot in stale
            if (artifact := self.find(slot)) is not None
            for used in artifact.manifest.inputs
        }
        return [slot for slot in stale if slot not in needed]

    def _judge(self, slot: str) -> State:
        artifact = self.find(slot)
        assert artifact is not None, f"{slot} is empty"
        states = {
            self._judge_input(artifact, used, needed)
            for needed, used in artifact.manifest.inputs.items()
        }
        if "out of date" in states:
            return "out of date"
        return "behind" if "behind" in states and not artifact.kind.is_fitted else "current"

    def _judge_input(self, artifact: Artifact, used: Input, slot: str) -> State:
        if artifact.kind is WORDS and used.kind == EMBEDDINGS.name:
            return "current" if self._embeds_texts_as(used) else "out of date"
        latest = self.find(slot)
        if latest is None:
            return "out of date"
        if self._versions[slot] == used.version or latest.content == used.content:
            if slot == used.kind:  # the run's own rows, not those that are beside them
                _require_same_rows(artifact, latest)
            return self.state(slot)
        old = self._store.find(KINDS[used.kind], used.version)
        least = artifact.kind.least_kept or 1.0
        if old is None or share_kept(self._store, old, latest) < least:
            return "out of date"
        return "behind" if self.state(slot) != "out of date" else "out of date"

    def _embeds_texts_as(self, used: Input) -> bool:
        """Whether any embeddings of the run are those, or of a model that embeds texts as theirs.

        Words depend on no image, so that runs share them, each with its own embeddings.
        """
        old = self._store.find(EMBEDDINGS, used.version)
        for slot in self._versions:
            if split_slot(slot)[0] != EMBEDDINGS.name:
                continue
            latest = self.find(slot)
            if latest is None or self.state(slot) == "out of date":
                continue
            if latest.content == used.content:
                return True
            if old is not None and _text_tower(old) == _text_tower(latest):
                return True
        return False


def _require_same_rows(artifact: Artifact, source: Artifact) -> None:
    """StoreError where an artifact lacks rows of what it says it was made from, or has others."""
    declared = KIND_FACTS[artifact.kind.name]
    kind, wrong = source.kind.name, ""
    if kind in declared.rows_of and artifact.rows != source.rows:
        rows = counted(artifact.rows, "row")
        wrong = f"{rows}, and the {kind} that it was made from {source.rows:,}"
    elif kind in declared.parts_of and _sizes(artifact) != _sizes(source):
        wrong = f"other parts than the {kind} that it was made from"
    elif artifact.facts.get("rows_in_all", source.rows) > source.rows and kind == EMBEDDINGS.name:
        wrong = f"groups of more rows than the {kind} that it was made from"
    if wrong:
        raise StoreError(
            f"{artifact.folder} is damaged: it has {wrong}; remove the folder and run the same "
            "command again, which makes this version again"
        )


def _sizes(artifact: Artifact) -> list[tuple[str, int]]:
    return [(part.name, part.rows) for part in artifact.parts]


def _is_kept_for_decisions(slot: str) -> bool:
    """Whether a slot keeps earlier assignments, which decisions refer to: it is never current."""
    kind, version = split_slot(slot)
    return kind == ASSIGNMENTS.name and is_version(version)


def _text_tower(embeddings: Artifact) -> list[Any]:
    """What words take from embeddings: the model, and no image."""
    model = embeddings.facts["model"]
    return [model.get(name) for name in OF_TEXT]


def share_kept(store: Store, old: Artifact, now: Artifact) -> float:
    """The share of the rows of an artifact that another of its kind still has, from 0 to 1.

    An image that is in another part now is still there: a folder's parts change with its images.
    """
    there = {part.content for part in now.parts}
    changed = [part.name for part in old.parts if part.content not in there and part.rows]
    if not changed:
        return 1.0
    if old.kind is EMBEDDINGS:
        gone = _count_gone(old, changed, now)
    else:
        followed = _share_of_inputs(store, old, now)
        if followed is not None:
            return followed
        gone = sum(old.part_names[name].rows for name in changed)
    return 1 - gone / old.rows


def _share_of_inputs(store: Store, old: Artifact, now: Artifact) -> float | None:
    """For rows made from other rows: how many of those are still there; None for anything else."""
    before, after = old.manifest, now.manifest
    is_alike = all(
        getattr(before, name) == getattr(after, name) for name in ("stage", "revision", "config")
    ) and set(before.inputs) == set(after.inputs)
    if old.kind.name not in _BY_ROW or not is_alike or not before.inputs:
        return None
    share = 1.0
    for slot, used in before.inputs.items():
        other = after.inputs[slot]
        if used.content == other.content:
            continue
        source, target = (store.find(KINDS[each.kind], each.version) for each in (used, other))
        if used.kind not in _BY_ROW[: _BY_ROW.index(old.kind.name)] or None in (source, target):
            return None
        assert source is not None and target is not None
        share = min(share, share_kept(store, source, target))
    return share


def _count_gone(old: Artifact, changed: list[str], now: Artifact) -> int:
    """How many images of some parts of old embeddings the new ones lack."""
    if old.facts.get("model") != now.facts.get("model"):
        return sum(old.part_names[name].rows for name in changed)
    there = {part.content for part in old.parts}
    places: dict[tuple[str, str], tuple[str, int]] = {}
    for part in now.parts:
        if part.content not in there:
            for row, name in enumerate(_names(now, part.name)):
                places[name] = part.name, row
    return sum(
        _count_unlike(old, part, [places.get(name) for name in _names(old, part)], now)
        for part in changed
    )


def _names(embeddings: Artifact, part: str) -> Iterator[tuple[str, str]]:
    """Shard and key of each row of a part."""
    table = embeddings.table(part, columns=["shard", "key"])
    shards, keys = (table.column(name).to_pylist() for name in table.column_names)
    return zip(shards, keys, strict=True)


def _count_unlike(
    old: Artifact, part: str, places: list[tuple[str, int] | None], now: Artifact
) -> int:
    """How many rows of a part have no place in the new embeddings, or another embedding there."""
    import numpy as np

    before = old.embeddings(part)
    unlike = sum(place is None for place in places)
    rows: dict[str, list[tuple[int, int]]] = {}
    for row, place in enumerate(places):
        if place is not None:
            rows.setdefault(place[0], []).append((row, place[1]))
    for name, pairs in rows.items():
        here, there = np.array(pairs).T
        after = now.embeddings(name)
        unlike += int((_cosines(before[here], after[there]) < _SAME).sum())
    return unlike


def _cosines(a: "np.ndarray", b: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.einsum("nd,nd->n", a.astype(np.float32), b.astype(np.float32))
