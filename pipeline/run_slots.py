"""Finds the artifacts of a run, and decides whether they are current. Nothing else decides this.

An artifact is current if it was made from the artifacts that the run has now in the slots it needs,
and these are current, too. Contents are compared, not versions, because there may be two ways to
make the same bytes. An artifact that was fitted to rows stays in use when rows are added; its kind
says which share of the rows that it was fitted to must still exist.
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
"""`behind`: the artifact lacks rows that were added. Like `out of date`, it is not current."""

_ROW_KINDS = (EMBEDDINGS.name, VIEWS.name, FEATURES.name)
"""Kinds with a row for each image that depends on this image and on what was fitted only; each kind
is made from kinds before it."""

_SAME_IMAGE = 0.999
"""The least cosine of two embeddings of one image: rounding depends on the batch."""


class RunSlots:
    """The artifacts in a run's slots, and their states; each is read once."""

    def __init__(self, store: Store, record: RunRecord) -> None:
        self._store = store
        self.record = record
        self._versions = record.versions
        self._artifacts: dict[str, Artifact | None] = {}
        self._states: dict[str, State] = {}

    @property
    def names(self) -> list[str]:
        """The run's slots, in the order of data flow."""
        return sorted_slots(slot for slot in self._versions if not _is_for_decisions(slot))

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
        """The state of the artifact in a slot, which must not be empty.

        StoreError if it, or what it was made from, cannot be read.
        """
        if slot not in self._states:
            # Set first, or artifacts of a damaged store that need each other would recurse forever.
            self._states[slot] = "out of date"
            try:
                self._states[slot] = self._find_state(slot)
            except StoreError:
                del self._states[slot]
                raise
        return self._states[slot]

    def stale(self) -> list[str]:
        """The slots whose artifacts are not current, in the order of data flow."""
        filled = [slot for slot in self.names if self.find(slot) is not None]
        return [slot for slot in filled if self.state(slot) != "current"]

    def last_stale(self) -> list[str]:
        """The stale slots that no other stale slot needs: making these again renews the others."""
        stale = self.stale()
        needed = {
            used
            for slot in stale
            if (artifact := self.find(slot)) is not None
            for used in artifact.manifest.inputs
        }
        return [slot for slot in stale if slot not in needed]

    def _find_state(self, slot: str) -> State:
        artifact = self.find(slot)
        assert artifact is not None, f"{slot} is empty"
        states = {
            self._compare_input(artifact, used, needed)
            for needed, used in artifact.manifest.inputs.items()
        }
        if "out of date" in states:
            return "out of date"
        return "behind" if "behind" in states and not artifact.kind.is_fitted else "current"

    def _compare_input(self, artifact: Artifact, used: Input, slot: str) -> State:
        """The state of an artifact as far as one input decides it; `slot` has that input now."""
        if artifact.kind is WORDS and used.kind == EMBEDDINGS.name:
            return "current" if self._has_text_tower_of(used) else "out of date"
        latest = self.find(slot)
        if latest is None:
            return "out of date"
        if self._versions[slot] == used.version or latest.content == used.content:
            if slot == used.kind:  # the run's own rows, not those of another run
                _require_same_rows(artifact, latest)
            return self.state(slot)
        old = self._store.find(KINDS[used.kind], used.version)
        least = artifact.kind.least_kept or 1.0
        if old is None or share_kept(self._store, old, latest) < least:
            return "out of date"
        return "behind" if self.state(slot) != "out of date" else "out of date"

    def _has_text_tower_of(self, used: Input) -> bool:
        """Whether a model of the run embeds texts like the model of these embeddings.

        Words depend on no image, so runs with different embeddings share them.
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
    """StoreError if an artifact has not the rows of the artifact that it was made from."""
    declared = KIND_FACTS[artifact.kind.name]
    kind, fault = source.kind.name, ""
    if kind in declared.rows_of and artifact.rows != source.rows:
        rows = counted(artifact.rows, "row")
        fault = f"{rows}, and the {kind} that it was made from {source.rows:,}"
    elif kind in declared.parts_of and _part_sizes(artifact) != _part_sizes(source):
        fault = f"other parts than the {kind} that it was made from"
    elif artifact.facts.get("rows_in_all", source.rows) > source.rows and kind == EMBEDDINGS.name:
        fault = f"groups of more rows than the {kind} that it was made from"
    if fault:
        raise StoreError(
            f"{artifact.folder} is damaged: it has {fault}; remove the folder and run the same "
            "command again, which makes this version again"
        )


def _part_sizes(artifact: Artifact) -> list[tuple[str, int]]:
    return [(part.name, part.rows) for part in artifact.parts]


def _is_for_decisions(slot: str) -> bool:
    """Whether a slot keeps old assignments that decisions refer to; they are never current."""
    kind, version = split_slot(slot)
    return kind == ASSIGNMENTS.name and is_version(version)


def _text_tower(embeddings: Artifact) -> list[Any]:
    """What identifies the text tower of the model."""
    model = embeddings.facts["model"]
    return [model.get(name) for name in OF_TEXT]


def share_kept(store: Store, old: Artifact, new: Artifact) -> float:
    """The share of the old artifact's rows that the new one still has, from 0 to 1.

    An image that moved to another part is kept: a folder's parts change with its images.
    """
    new_contents = {part.content for part in new.parts}
    changed = [part.name for part in old.parts if part.content not in new_contents and part.rows]
    if not changed:
        return 1.0
    if old.kind is EMBEDDINGS:
        lost = _count_lost_images(old, changed, new)
    else:
        share = _share_of_inputs_kept(store, old, new)
        if share is not None:
            return share
        lost = sum(old.part_names[name].rows for name in changed)
    return 1 - lost / old.rows


def _share_of_inputs_kept(store: Store, old: Artifact, new: Artifact) -> float | None:
    """The share of the inputs' rows that still exist; None if rows do not correspond to them."""
    before, after = old.manifest, new.manifest
    is_same_stage = all(
        getattr(before, name) == getattr(after, name) for name in ("stage", "revision", "config")
    ) and set(before.inputs) == set(after.inputs)
    if old.kind.name not in _ROW_KINDS or not is_same_stage or not before.inputs:
        return None
    earlier_kinds = _ROW_KINDS[: _ROW_KINDS.index(old.kind.name)]
    share = 1.0
    for slot, old_input in before.inputs.items():
        new_input = after.inputs[slot]
        if old_input.content == new_input.content:
            continue
        source, target = (
            store.find(KINDS[used.kind], used.version) for used in (old_input, new_input)
        )
        if old_input.kind not in earlier_kinds or source is None or target is None:
            return None
        share = min(share, share_kept(store, source, target))
    return share


def _count_lost_images(old: Artifact, changed: list[str], new: Artifact) -> int:
    """The number of images in these parts of the old embeddings that the new ones lack."""
    if old.facts.get("model") != new.facts.get("model"):
        return sum(old.part_names[name].rows for name in changed)
    old_contents = {part.content for part in old.parts}
    places: dict[tuple[str, str], tuple[str, int]] = {}
    for part in new.parts:
        if part.content not in old_contents:
            for row, name in enumerate(_names(new, part.name)):
                places[name] = part.name, row
    return sum(
        _count_changed_rows(old, part, [places.get(name) for name in _names(old, part)], new)
        for part in changed
    )


def _names(embeddings: Artifact, part: str) -> Iterator[tuple[str, str]]:
    """Shard and key of each row of a part."""
    table = embeddings.table(part, columns=["shard", "key"])
    shards, keys = (table.column(name).to_pylist() for name in table.column_names)
    return zip(shards, keys, strict=True)


def _count_changed_rows(
    old: Artifact, part: str, places: list[tuple[str, int] | None], new: Artifact
) -> int:
    """The number of rows of a part that have no place in the new embeddings, or changed there.

    A place is a part's name and a row in it.
    """
    import numpy as np

    old_rows = old.embeddings(part)
    changed = sum(place is None for place in places)
    pairs_by_part: dict[str, list[tuple[int, int]]] = {}
    for old_row, place in enumerate(places):
        if place is not None:
            new_part, new_row = place
            pairs_by_part.setdefault(new_part, []).append((old_row, new_row))
    for new_part, pairs in pairs_by_part.items():
        old_indices, new_indices = np.array(pairs).T
        new_rows = new.embeddings(new_part)
        cosines = _cosines(old_rows[old_indices], new_rows[new_indices])
        changed += int((cosines < _SAME_IMAGE).sum())
    return changed


def _cosines(a: "np.ndarray", b: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.einsum("nd,nd->n", a.astype(np.float32), b.astype(np.float32))
