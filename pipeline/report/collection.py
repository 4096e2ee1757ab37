"""A run, read into what its page says: counts over every row, figures over a sample of them."""

import importlib.metadata
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...stages.artifact_rows import EMBEDDING
from ...stages.contract import Progress
from ...store import Artifact
from ...store.kinds import KINDS
from ..run import Run
from ..view.evaluation import evaluate
from .contents import Contents, Curve, Missing, Sample, Tally, VersionRow
from .counting import count, draw_sample, sample_clusters, sample_overall
from .pictured import gather_mosaics, gather_neighbourhoods
from .rows import measure

if TYPE_CHECKING:
    import numpy as np

SAMPLED_ROWS = 200_000
"""Rows, of all clusters alike, over which singular values are taken."""

SAMPLED_CLUSTERS = 10
SAMPLED_OF_CLUSTER = 2_000
"""Rows of each: more than any d in use, so that the sample cuts no singular value off."""

PICTURED_ROWS = 400
"""Rows that stand in the picture of cosines: a pixel or so for each."""

_SEED = 0


MOST_SCORED = 2_000_000
"""Rows that are scored without being asked for: scoring holds every embedding in memory."""


def gather_contents(
    run: Run,
    label: str = "cls",
    table: Path | None = None,
    *,
    must_score: bool = False,
    progress: Progress | None = None,
) -> Contents:
    """What the page of a run with assignments says; what it lacks, and which command adds that.

    `label` and `table` say where labels are. MissingError when no row has one and they must score.
    Pictures are read and drawn where there is a `progress` to tell of it.
    """
    embeddings, assignments = run.artifact("embeddings"), run.artifact("assignments")
    features = run.artifact("features")
    tally = count(_parts(assignments), int(assignments.facts["k"]))
    sample = _sample(assignments, tally)
    missing: dict[str, Missing] = {}
    skipped: Counter[str] = Counter()
    for part in embeddings.parts:
        skipped.update(part.facts["skipped"])
    return Contents(
        run=run.record.name,
        cpp_pipe=importlib.metadata.version("cpp-pipe"),
        model=_name_model(embeddings.facts["model"]),
        seen=sum(part.facts["seen"] for part in embeddings.parts),
        embedded=embeddings.rows,
        skipped=dict(skipped.most_common()),
        tally=tally,
        sample=sample,
        raw=measure(embeddings, EMBEDDING, sample),
        refined=measure(features, "z", sample),
        curve=_curve(run, missing),
        captions=_captions(run, missing),
        evaluation=(
            evaluate(embeddings, assignments, label, table)
            if must_score or _can_score(run, label, missing)
            else None
        ),
        missing=missing,
        versions=_versions(run),
        mosaics=gather_mosaics(run, tally, missing, progress) if progress else (),
        neighbourhoods=gather_neighbourhoods(run, sample) if progress else (),
    )


def _parts(
    assignments: Artifact,
) -> "Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Callable[[int], str]]]":
    for part in assignments.parts:
        table = assignments.table(
            part.name, columns=["key", "cluster", "confidence", "novelty"]
        ).combine_chunks()
        keys = table.column("key")
        numbers = (table.column(one).to_numpy() for one in ("cluster", "confidence", "novelty"))
        yield (*numbers, lambda row, keys=keys: keys[row].as_py())


def _sample(assignments: Artifact, tally: Tally) -> Sample:
    largest = [one for one in tally.largest_first if tally.sizes[one]][:SAMPLED_CLUSTERS]
    clusters = (
        assignments.table(part.name, columns=["cluster"]).column(0).to_numpy()
        for part in assignments.parts
    )
    return draw_sample(
        sample_overall(assignments.rows, SAMPLED_ROWS, _SEED),
        sample_clusters(clusters, largest, SAMPLED_OF_CLUSTER, _SEED),
        PICTURED_ROWS,
    )


def _name_model(model: Mapping[str, object]) -> str:
    return f"{model['model']} ({model['pretrained']})"


def _command(run: Run, words: str) -> str:
    """A command for this run, as a person types it."""
    return f"cpp-pipe {words}" + (f" --run {run.record.name}" * (run.record.name != "default"))


def _curve(run: Run, missing: dict[str, Missing]) -> Curve | None:
    """The curve that was read off the same eigenvectors as the clusters."""
    found, spectrum = run.find("k_curve"), run.artifact("assignments").manifest.inputs["spectrum"]
    if found is None or found.manifest.inputs["spectrum"] != spectrum:
        what = "there is no curve of coding lengths yet"
        what = what if found is None else "the curve of coding lengths is of earlier features"
        missing["k_curve"] = Missing(what=what, command=_command(run, "select-k"), adds="it")
        return None
    rows = found.table(found.parts[0].name).sort_by("k").to_pydict()
    return Curve(
        k=rows["k"],
        nats=rows["coding_length_nats"],
        low=rows["low_nats"],
        high=rows["high_nats"],
        votes=rows["votes"],
        as_good=rows["as_good"],
        shortest=rows["k"][rows["shortest"].index(True)],
        is_guide=found.facts["decided_by"] == "code",
    )


def _captions(run: Run, missing: dict[str, Missing]) -> dict[int, Sequence[tuple[str, float]]]:
    found = run.current("captions")
    words: dict[int, list[tuple[str, float]]] = {}
    if found is not None:
        for row in found.table(found.parts[0].name).sort_by("rank").to_pylist():
            words.setdefault(row["cluster"], []).append((row["caption"], row["score"]))
        return dict(words)
    is_old = run.find("captions") is not None
    what = "captions are of earlier clusters" if is_old else "there are no captions yet"
    missing["captions"] = Missing(what=what, command=_command(run, "caption"), adds="them")
    return {}


def _can_score(run: Run, label: str, missing: dict[str, Missing]) -> bool:
    """Whether rows have labels, and are few enough; notes in `missing` where not."""
    embeddings = run.artifact("embeddings")
    if embeddings.rows > MOST_SCORED:
        what, flag = f"more than {MOST_SCORED:,} pictures are scored on demand", f"--label {label}"
    elif not any(_has_label(embeddings, part.name, label) for part in embeddings.parts):
        what = "no picture has a label" if label == "cls" else f"no picture has the field {label}"
        flag = "--labels FILE.csv"
    else:
        return True
    command = _command(run, f"report {flag}")
    missing["labels"] = Missing(what=what, command=command, adds="scores")
    return False


def _has_label(embeddings: Artifact, part: str, label: str) -> bool:
    if label == "cls":
        column = embeddings.table(part, columns=["label"]).column(0)
        return column.null_count < len(column)
    extras = embeddings.table(part, columns=["extra"]).column(0).to_pylist()
    return any(json.loads(extra).get(label) is not None for extra in extras)


def _versions(run: Run) -> list[VersionRow]:
    """The run's artifacts in the order of data flow."""
    order = {kind: number for number, kind in enumerate(KINDS)}
    slots = sorted(run.record.versions, key=lambda slot: (order[slot.partition("/")[0]], slot))
    rows = []
    for slot in slots:
        found = run.find(slot)
        if found is None:
            continue
        manifest = found.manifest
        inputs = [f"{one.kind} {one.version}" for one in manifest.inputs.values()]
        rows.append(
            VersionRow(
                slot=slot,
                version=found.version,
                stage=f"{manifest.stage}, revision {manifest.revision}",
                rows=found.rows,
                made_from=inputs,
                date=str(manifest.made_by.get("date", "")),
                seconds=manifest.made_by.get("seconds"),
                device=str(manifest.made_by.get("device", "")),
                settings=manifest.config,
            )
        )
    return rows
