"""Clusters and images of a run with decisions applied: those of its open log, or sealed ones."""

import json
import reprlib
import shlex
from collections.abc import Sequence

import numpy as np

from ...stages.edits.edit import Edit
from ...stages.edits.replay import Edited, Heir, carry_over, replay
from ...stages.rows.image_names import image_names, rows_of_images
from ...stages.seal import named_images
from ...store import Artifact, ConfigError, MissingError, RunRecord, Store, StoreError
from ...store.kinds import ASSIGNMENTS, KINDS
from ..wording import agreeing, counted
from .columns import read_column
from .opened_run import OpenedRun

OPEN = "open"
"""The name of the decisions in the log, which are not sealed."""

SLOT = "edits/"
"""The prefix of the slots of sealed decisions; their name follows."""

KEPT = "assignments/"
"""The prefix of the slots of earlier assignments with decisions; their version follows."""


def read_edits(run: OpenedRun) -> list[Edit]:
    """The decisions in the log of a run, in order."""
    return [Edit.from_json(entry) for entry in run.edit_log.read()]


def current_assignments(run: OpenedRun) -> Artifact:
    """The clusters that decisions are made on; MissingError if there are none."""
    assignments = run.current("assignments")
    if assignments is None:
        raise MissingError(
            f"run {run.record.name!r} has no current clusters to decide about: run "
            "`cpp-pipe assign`"
        )
    return assignments


def open_edited(run: OpenedRun, name: str = OPEN, *, warns: bool = True) -> Edited:
    """The decisions of the log applied to the current clusters, or sealed ones by their name.

    Unless `warns` is off, the run reports how many decisions are not applied, or only in part.
    ConfigError for what is no name; MissingError if none are sealed under that name, or if the
    sealed ones are of other images or clusters than the run has now.
    """
    if not isinstance(name, str):
        raise ConfigError(
            f"edits must be {OPEN} or the name of sealed decisions, got {reprlib.repr(name)}"
        )
    if name != OPEN:
        return _read_sealed(run, name)
    assignments, embeddings = current_assignments(run), run.artifact("embeddings")
    edits = read_edits(run)
    edited = replay(
        edits,
        read_column(assignments, "cluster").astype(np.int32),
        k=int(assignments.facts["k"]),
        version=assignments.version,
        rows_of=rows_of_images(embeddings, named_images(edits)),
        carried=find_carried(run.store, edits, assignments),
    )
    if warns:
        _warn(run, len(edited.open))
    return edited


def _warn(run: OpenedRun, count: int) -> None:
    """Reports how many decisions are not applied, or only in part."""
    if count:
        run.report_once(
            f"{counted(count, 'decision')} {agreeing(count, 'needs', 'need')} a look: "
            f"`{run.command('edit', 'log')}` says why"
        )


def require_sealed(run: RunRecord, name: str) -> None:
    """MissingError where a run has no decisions of this name; it always has those of its log."""
    sealed = [slot.removeprefix(SLOT) for slot in run.versions if slot.startswith(SLOT)]
    if name not in (OPEN, *sealed):
        allowed = f" or one of {', '.join(sealed)}" if sealed else ""
        raise MissingError(
            f"--edits must be {OPEN} (all decisions that were made){allowed}, got {name!r}: "
            f"`cpp-pipe edit seal {shlex.quote(name)}` seals them under this name"
        )


def _read_sealed(run: OpenedRun, name: str) -> Edited:
    require_sealed(run.record, name)
    slot = f"{SLOT}{name}"
    artifact = run.artifact(slot)
    if run.current(slot) is None:
        raise MissingError(
            f"the decisions {name!r} were sealed on other images or clusters than the run has now: "
            f"`cpp-pipe edit seal --replace {name}` applies them again"
        )
    _warn(run, artifact.facts["needs_a_look"])
    part = artifact.only_part
    rows, clusters = artifact.table(part), artifact.table(part, "clusters").to_pylist()
    edited = Edited(
        cluster=rows.column("cluster").to_numpy(),
        excluded=rows.column("excluded").to_numpy(zero_copy_only=False),
    )
    for row, tags in enumerate(rows.column("tags").to_pylist()):
        for tag in parse_tags(tags, artifact) if tags != "[]" else ():
            edited.tags.setdefault(tag, np.zeros(len(rows), bool))[row] = True
    notes = rows.column("note").to_pylist()
    edited.row_notes = {row: note for row, note in enumerate(notes) if note is not None}
    edited.names = {row["cluster"]: row["name"] for row in clusters if row["name"] is not None}
    edited.notes = {row["cluster"]: row["note"] for row in clusters if row["note"] is not None}
    return edited


def parse_tags(text: str, edits: Artifact) -> list[str]:
    """The tags of an image in sealed decisions; StoreError if they are no list of texts."""
    try:
        tags = json.loads(text)
    except (ValueError, RecursionError):
        tags = None
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise StoreError(
            f"{edits.folder} holds tags that are no JSON array of texts: remove it and run "
            "`cpp-pipe edit seal`, which makes it again"
        )
    return tags


def find_carried(store: Store, edits: Sequence[Edit], now: Artifact) -> dict[tuple[str, int], Heir]:
    """For each cluster of earlier assignments, the one that took over at least half of its images.

    Clusters of assignments that are gone from the store have none.
    """
    carried = {}
    for version in sorted({edit.assignments for edit in edits} - {now.version}):
        before = store.find(ASSIGNMENTS, version)
        if before is None:
            continue
        old, new = _same_images(store, before, now)
        heirs = carry_over(old, new, int(before.facts["k"]))
        carried |= {(version, number): heir for number, heir in heirs.items()}
    return carried


def _same_images(store: Store, before: Artifact, now: Artifact) -> tuple[np.ndarray, np.ndarray]:
    """The clusters of the images that both have, in the same order."""
    old, new = (read_column(artifact, "cluster") for artifact in (before, now))
    old_source, new_source = (_embeddings_of(store, artifact) for artifact in (before, now))
    if old_source.content == new_source.content:
        return old, new
    row_of = {name: row for row, name in enumerate(image_names(new_source))}
    pairs = [
        (row, row_of[name]) for row, name in enumerate(image_names(old_source)) if name in row_of
    ]
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return old[rows[:, 0]], new[rows[:, 1]]


def _embeddings_of(store: Store, artifact: Artifact) -> Artifact:
    """The embeddings that an artifact was made from, directly or through other artifacts."""
    artifacts = [artifact]
    while artifacts:
        for used in artifacts.pop().manifest.inputs.values():
            source = store.open(KINDS[used.kind], used.version)
            if used.kind == "embeddings":
                return source
            artifacts.append(source)
    raise MissingError(f"{artifact.folder} was made from no embeddings")
