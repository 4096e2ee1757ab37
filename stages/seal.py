"""Decisions and clusters in, edited clusters, tags and notes out: one immutable part."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..store import Product, Scratch
from ..store.digest import digest_json
from ..store.kinds import EDITS, Kind
from .contract import Inputs, Part, Runtime, Stage
from .edits.edit import Edit
from .edits.replay import Edited, Heir, replay
from .rows.image_names import rows_of_images


@dataclass(frozen=True, kw_only=True)
class Seal(Stage):
    """Applies people's decisions to the clusters, and stores the result."""

    name: ClassVar[str] = "seal"
    kind: ClassVar[Kind] = EDITS
    revision: ClassVar[int] = 2

    edits: Sequence[Edit] = ()
    """The log. It enters the version as a digest, not the config."""
    carried: Mapping[tuple[str, int], Heir] = field(default_factory=dict)
    """Clusters that took over those of earlier assignments; see `replay`."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The images by key, and their clusters."""
        return ("embeddings", "assignments")

    def config(self) -> dict[str, Any]:
        """Nothing: the decisions are a source of the part."""
        return {}

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One, made from the log and the inputs."""
        carried = [[*place, heir.cluster] for place, heir in sorted(self.carried.items())]
        log = digest_json([[edit.to_json() for edit in self.edits], carried])
        contents = {slot: inputs[slot].content for slot in self.needs}
        return (Part(name="edits", sources={"log": log, **contents}),)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Applies the decisions and writes the rows, the clusters and the log."""
        embeddings, assignments = inputs["embeddings"], inputs["assignments"]
        keys, shards = embeddings.column("key"), embeddings.column("shard")
        edited = replay(
            self.edits,
            np.array(assignments.column("cluster"), np.int32),
            k=int(assignments.facts["k"]),
            version=assignments.version,
            rows_of=rows_of_images(embeddings, named_images(self.edits)),
            carried=self.carried,
        )
        _write(edited, keys, shards, scratch)
        facts = {
            "decisions": len(self.edits),
            "needs_a_look": len(edited.open),
            "excluded": int(edited.excluded.sum()),
            "tags": sorted(edited.tags),
        }
        return Product(rows=len(keys), shared=facts)


def named_images(edits: Sequence[Edit]) -> set[str]:
    """The names of the images that decisions are about."""
    return {image for edit in edits for image in edit.images}


def _write(edited: Edited, keys: Sequence[str], shards: Sequence[str], scratch: Scratch) -> None:
    tags: dict[int, list[str]] = {}
    for tag in sorted(edited.tags):
        for row in edited.tags[tag].nonzero()[0].tolist():
            tags.setdefault(row, []).append(tag)
    scratch.write_table(
        "rows",
        {
            "key": list(keys),
            "shard": list(shards),
            "cluster": edited.cluster,
            "excluded": edited.excluded,
            "tags": [json.dumps(tags.get(row, []), ensure_ascii=False) for row in range(len(keys))],
            "note": [edited.row_notes.get(row) for row in range(len(keys))],
        },
    )
    numbers = sorted({*np.unique(edited.cluster).tolist(), *edited.names, *edited.notes})
    scratch.write_table(
        "clusters",
        {
            "cluster": numbers,
            "name": [edited.names.get(number) for number in numbers],
            "note": [edited.notes.get(number) for number in numbers],
        },
    )
    scratch.write_table(
        "log",
        {
            "number": [outcome.edit.number for outcome in edited.outcomes],
            "by": [outcome.edit.by for outcome in edited.outcomes],
            "at": [outcome.edit.at for outcome in edited.outcomes],
            "op": [outcome.edit.op for outcome in edited.outcomes],
            "what": [outcome.edit.describe() for outcome in edited.outcomes],
            "status": [outcome.status for outcome in edited.outcomes],
            "why": [outcome.why for outcome in edited.outcomes],
        },
    )
