"""Reads a run into what its report shows: counts over all rows, figures over a sample of them."""

import importlib.metadata
from dataclasses import replace
from pathlib import Path

from ...stages.contract import Progress
from ...stages.rows.artifact_rows import EMBEDDING
from ...store import Artifact
from ..view.applied_edits import open_edited
from ..view.captions import read_captions
from ..view.curve import read_curve
from ..view.evaluation import evaluate
from ..view.extra_fields import parse_extra
from ..view.facts import (
    Absence,
    count_samples,
    find_absences,
    find_readable,
    list_versions,
    name_model,
)
from ..view.labels import has_folders, label_of
from ..view.opened_run import OpenedRun
from ..view.verdict import read_verdict
from .contents import Contents, Sample, Tally
from .counts import count, draw_sample, sample_clusters, sample_overall
from .gallery import read_mosaics, read_neighbourhoods
from .members import Members
from .spaces import measure_space

SAMPLED_ROWS = 200_000
"""Rows of all clusters over which singular values are taken."""

SAMPLED_CLUSTERS = 10
SAMPLED_OF_CLUSTER = 2_000
"""Rows of each of them: more than any d in use, so that no singular value is cut off."""

HEAT_MAP_ROWS = 400
"""Rows in the heat map of cosines: about a pixel each."""

MOST_SCORED = 2_000_000
"""Rows that are scored without being asked to: scoring holds every embedding in memory."""

_SEED = 0


def read_contents(
    run: OpenedRun,
    label: str = "cls",
    table: Path | None = None,
    *,
    must_score: bool = False,
    progress: Progress | None = None,
    edits: str | None = None,
) -> Contents:
    """The contents of the report of a run with assignments, and what is absent.

    `edits` names decisions, `open` or sealed ones: clusters are those that were decided, and
    excluded images are left out. ConfigError if all of them are.

    `label` and `table` say where labels are. MissingError if no row has one and `must_score`.
    Images are read and drawn only with a `progress` to report it to.
    """
    embeddings, assignments = run.artifact("embeddings"), run.artifact("assignments")
    features = run.artifact("features")
    edited = None if edits is None else open_edited(run, edits)
    members = Members(assignments=assignments, edited=edited)
    tally = count(members.counted_parts(), members.k)
    tally = replace(tally, are_empty_hidden=edited is not None)
    sample = sample_rows(members, tally)
    absences = find_absences(run)
    obstacle = None if must_score else _find_obstacle(run, label, members)
    evaluation = None
    if obstacle is not None:
        absences["labels"] = obstacle
    else:
        evaluation = evaluate(embeddings, assignments, label, table, edited=edited)
    mosaics = []
    if progress is not None:
        mosaics, unreadable = read_mosaics(run, members, tally, progress)
        if unreadable is not None:
            absences["images"] = unreadable
    curve = find_readable(run, "k_curve", is_current=True)
    captions = None if "captions" in absences else run.current("captions")
    return Contents(
        run=run.record.name,
        cpp_pipe=importlib.metadata.version("cpp-pipe"),
        model=name_model(embeddings),
        counts=count_samples(embeddings),
        tally=tally,
        sample=sample,
        raw=measure_space(embeddings, EMBEDDING, sample),
        refined=measure_space(features, "z", sample),
        curve=None if curve is None else read_curve(curve),
        verdict="" if curve is None else read_verdict(curve).sentence,
        captions={} if captions is None else read_captions(captions),
        evaluation=evaluation,
        absences=absences,
        versions=list_versions(run),
        mosaics=mosaics,
        neighbourhoods=read_neighbourhoods(run, members, sample) if progress else (),
        decisions=members.describe(edits or ""),
    )


def sample_rows(members: Members, tally: Tally) -> Sample:
    """The rows that figures are drawn from: of all clusters, and of the largest ones."""
    filled = [cluster for cluster in tally.largest_first if tally.sizes[cluster]]
    clusters = (column for column, _ in members.parts())
    overall = sample_overall(tally.rows, SAMPLED_ROWS, _SEED)
    return draw_sample(
        overall if members.kept is None else members.kept.nonzero()[0][overall],
        sample_clusters(clusters, filled[:SAMPLED_CLUSTERS], SAMPLED_OF_CLUSTER, _SEED),
        HEAT_MAP_ROWS,
    )


def _find_obstacle(run: OpenedRun, label: str, members: Members) -> Absence | None:
    """The reason not to score: too many rows, or none has a label; None if there is none."""
    embeddings = run.artifact("embeddings")
    if embeddings.rows > MOST_SCORED:
        reason = f"More than {MOST_SCORED:,} images are scored only on demand"
        flags = ("--label", label)
    elif not any(_has_label(embeddings, part.name, label, members) for part in embeddings.parts):
        reason = "No image has " + ("a label" if label == "cls" else f"the field {label}")
        is_in_folders = label == "cls" and has_folders(embeddings)
        flags = ("--label", "folder") if is_in_folders else ("--labels", "FILE.csv")
    else:
        return None
    return Absence(what="scores", reason=reason, command=run.public_command("report", *flags))


def _has_label(embeddings: Artifact, part: str, label: str, members: Members) -> bool:
    """Whether an image of a part has a label and is not excluded."""
    column = embeddings.table(part, columns=["label" if label == "cls" else "extra"]).column(0)
    if members.kept is not None:
        start = embeddings.starts[part]
        column = column.take(members.kept[start : start + len(column)].nonzero()[0])
    if label == "cls":
        return column.null_count < len(column)
    return any(label_of(parse_extra(extra).get(label)) is not None for extra in column.to_pylist())
