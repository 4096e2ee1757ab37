"""Facts about a run as a whole: counts, curve, hierarchy, versions, and what it lacks."""

import importlib.metadata

from ..view.curve import read_curve
from ..view.facts import count_samples, find_absences, list_versions, name_model
from ..view.skipped import count_skipped, read_skipped
from ..view.verdict import read_verdict
from .copies import kinds_looked_for
from .damage import reading
from .models import (
    Absent,
    CurvePoint,
    Made,
    RunFacts,
    Skipped,
    SkippedRow,
    SkippedRows,
    TreeFacts,
)
from .open_run import OpenRun


def describe_run(opened: OpenRun) -> RunFacts:
    """The facts that the page shows about a run as a whole."""
    embeddings = opened.embeddings
    counts = count_samples(embeddings)
    return RunFacts(
        name=opened.run.record.name,
        generation=opened.generation,
        cpp_pipe=importlib.metadata.version("cpp-pipe"),
        model=opened.places.shorten(name_model(embeddings)),
        rows=embeddings.rows,
        seen=counts.seen,
        embedded=counts.embedded,
        skipped=[Skipped(reason=reason, rows=rows) for reason, rows in counts.skipped.items()],
        partial=list(counts.partial),
        groupings=opened.clusters.groupings,
        tree=_tree(opened),
        curve=_curve(opened),
        verdict=_verdict(opened),
        has_captions=opened.captions is not None,
        has_map=opened.projection is not None,
        spaces=opened.finder.spaces,
        copies=list(kinds_looked_for(opened)),
        absent=[
            Absent(what=absence.what, reason=absence.reason, command=absence.command)
            for absence in find_absences(opened.run).values()
        ],
        made=[
            Made(**{**vars(version), "settings": opened.places.shorten_all(version.settings)})
            for version in list_versions(opened.run)
        ],
    )


def _curve(opened: OpenRun) -> list[CurvePoint]:
    if opened.curve is None:
        return []
    with reading(opened.curve):
        curve = read_curve(opened.curve)
    return [
        CurvePoint(
            k=point.k,
            nats=point.nats,
            low=point.low,
            high=point.high,
            votes=point.votes,
            as_good=point.is_as_good,
            chosen=point.is_chosen,
        )
        for point in curve.points
    ]


def _verdict(opened: OpenRun) -> str | None:
    if opened.curve is None:
        return None
    with reading(opened.curve):
        return read_verdict(opened.curve).sentence


def _tree(opened: OpenRun) -> TreeFacts | None:
    hierarchy = opened.hierarchy
    if hierarchy is None:
        return None
    with reading(hierarchy):
        table = hierarchy.table(hierarchy.only_part).sort_by("level")
    return TreeFacts(
        finest=int(hierarchy.facts["finest"]),
        shortest=int(hierarchy.facts["shortest"]),
        nats=table.column("coding_length_nats").to_pylist(),
        has_rows=opened.clusters.tree is not None,
    )


def list_skipped(opened: OpenRun, reason: str | None, offset: int, limit: int) -> SkippedRows:
    """Samples that were not embedded, in the order of the shards."""
    counts = count_skipped(opened.embeddings)
    total = counts.total() if reason is None else counts[reason]
    with reading(opened.embeddings):
        rows = list(read_skipped(opened.embeddings, reason, offset, limit))
    items = [
        SkippedRow(
            key=row["key"],
            shard=row["shard"],
            reason=row["reason"],
            detail=opened.places.shorten(row["detail"]),
        )
        for row in rows
    ]
    return SkippedRows(total=total, offset=offset, items=items)
