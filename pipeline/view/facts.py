"""Facts about a run: counts, versions, and the commands that make what it lacks."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...store import Artifact, MissingError, StoreError
from ...store.slots import sorted_slots
from ..slot_commands import command_to_renew
from ..text_models import find_caption_command
from .opened_run import OpenedRun
from .skipped import count_skipped

log = logging.getLogger(__name__)

FAR = 1.0
"""A row with a novelty above it is far from everything that was fitted."""

_SHOWN = (
    ("captions", "captions", "caption", ("captions",)),
    ("k_curve", "the curve of coding lengths", "select-k", ("k_curve",)),
    ("hierarchy", "the hierarchy, to move along", "serve", ("hierarchy", "assignments/levels")),
    ("projection", "the map", "map", ("projection",)),
)
"""Things to show apart from clusters: name, noun, command, and the slots that each needs."""


@dataclass(frozen=True, kw_only=True)
class SampleCounts:
    """Numbers of samples: all that were seen, the embedded ones, and the skipped ones."""

    seen: int
    embedded: int
    skipped: Mapping[str, int]
    """Samples by reason, the most frequent reason first."""
    partial: Sequence[str]
    """Shards that were cut short."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """An artifact of the run, and what it was made from and by."""

    slot: str
    version: str
    stage: str
    rows: int
    inputs: Sequence[str]
    """Kind and version of each input."""
    date: str
    seconds: float | None
    device: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Absence:
    """Something that could be shown and is not, and the command that makes it."""

    what: str
    reason: str
    """The beginning of a sentence, without a full stop."""
    command: str


def count_samples(embeddings: Artifact) -> SampleCounts:
    """Counts the samples behind some embeddings; imported rows count as seen."""
    return SampleCounts(
        seen=sum(part.facts.get("seen", part.rows) for part in embeddings.parts),
        embedded=embeddings.rows,
        skipped=dict(count_skipped(embeddings).most_common()),
        partial=[
            str(part.facts.get("shard", part.name))
            for part in embeddings.parts
            if part.facts.get("is_partial")
        ],
    )


def name_model(embeddings: Artifact) -> str:
    """The model that made some embeddings, e.g. "ViT-B-32 (openai)"."""
    model = embeddings.facts["model"]
    return f"{model['model']} ({model['pretrained']})"


def list_versions(run: OpenedRun) -> list[Version]:
    """The artifacts of a run in the order in which data flows."""
    artifacts = ((slot, find_readable(run, slot)) for slot in sorted_slots(run.record.versions))
    return [_version(slot, artifact) for slot, artifact in artifacts if artifact is not None]


def _version(slot: str, artifact: Artifact) -> Version:
    manifest = artifact.manifest
    return Version(
        slot=slot,
        version=artifact.version,
        stage=f"{manifest.stage}, revision {manifest.revision}",
        rows=artifact.rows,
        inputs=[f"{used.kind} {used.version}" for used in manifest.inputs.values()],
        date=manifest.date,
        seconds=manifest.made_by.get("seconds"),
        device=str(manifest.made_by.get("device", "")),
        settings=dict(manifest.config),
    )


def find_readable(run: OpenedRun, slot: str, *, is_current: bool = False) -> Artifact | None:
    """The artifact in a slot; None if there is none, or this version of cpp-pipe cannot read it.

    For artifacts that a report or a page can do without.
    """
    try:
        artifact = run.show(slot) if is_current else run.find(slot)
        # The manifest is only read here, and raises if this version does not know its format.
        return artifact if artifact is not None and artifact.version else None
    except (StoreError, MissingError) as error:
        log.warning("%s is left out: %s", slot, error)
        return None


def find_absences(run: OpenedRun) -> dict[str, Absence]:
    """The things that a report or a page could show but the run lacks, by name.

    The names are `captions`, `k_curve`, `hierarchy` and `projection`.
    """
    absences = {}
    for name, what, command, slots in _SHOWN:
        if all(find_readable(run, slot, is_current=True) for slot in slots):
            continue
        artifact = find_readable(run, slots[-1])
        is_old = all(slot in run.record.versions for slot in slots)
        reason = f"{'Out of date' if is_old else 'Not made yet'}: {what}"
        if is_old and artifact is not None:
            words = command_to_renew(slots[-1], artifact)
        elif name == "captions":
            # Where no run of the store has the words, the reader may know one.
            words = find_caption_command(run.store, run.record) or ["caption", "--beside", "RUN"]
        else:
            words = [command]
        absences[name] = Absence(what=what, reason=reason, command=run.public_command(*words))
    return absences
