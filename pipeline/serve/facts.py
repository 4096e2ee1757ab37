"""What a run says of itself: counts, curve, hierarchy, versions, and what it lacks."""

import importlib.metadata
from collections import Counter
from collections.abc import Sequence

from ...store.kinds import KINDS
from ..view.skipped import count_skipped, read_skipped
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
from .opened import Opened, find_readable


def describe_run(opened: Opened) -> RunFacts:
    """All that the page says of a run as a whole."""
    embeddings = opened.embeddings
    counts: Counter[str] = Counter()
    for part in embeddings.parts:
        counts.update(part.facts.get("skipped", {}))
    model = embeddings.facts["model"]
    curve, tree = _curve(opened), _tree(opened)
    return RunFacts(
        name=opened.run.record.name,
        generation=opened.generation,
        cpp_pipe=importlib.metadata.version("cpp-pipe"),
        model=f"{model['model']} ({model['pretrained']})",
        rows=embeddings.rows,
        seen=sum(part.facts.get("seen", part.rows) for part in embeddings.parts),
        embedded=embeddings.rows,
        skipped=[Skipped(reason=reason, rows=rows) for reason, rows in counts.most_common()],
        partial=[
            str(part.facts.get("shard", part.name))
            for part in embeddings.parts
            if part.facts.get("is_partial")
        ],
        groupings=opened.clusters.groupings,
        tree=tree,
        curve=curve,
        has_captions=opened.captions is not None,
        has_map=opened.projection is not None,
        spaces=opened.finder.spaces,
        absent=_absent(opened, bool(curve)),
        made=_made(opened),
    )


def _curve(opened: Opened) -> list[CurvePoint]:
    """The curve that was read off the same eigenvectors as the clusters."""
    found = opened.curve
    spectrum = opened.assignments.manifest.inputs.get("spectrum")
    if found is None or found.manifest.inputs.get("spectrum") != spectrum:
        return []
    with reading(found):
        rows = found.table(found.parts[0].name).sort_by("k").to_pylist()
    return [
        CurvePoint(
            k=row["k"],
            nats=row["coding_length_nats"],
            low=row["low_nats"],
            high=row["high_nats"],
            votes=row["votes"],
            as_good=row["as_good"],
            chosen=row["chosen"],
        )
        for row in rows
    ]


def _tree(opened: Opened) -> TreeFacts | None:
    found = opened.hierarchy
    if found is None:
        return None
    with reading(found):
        table = found.table(found.parts[0].name).sort_by("level")
    return TreeFacts(
        finest=int(found.facts["finest"]),
        shortest=int(found.facts["shortest"]),
        nats=table.column("coding_length_nats").to_pylist(),
        has_rows=opened.clusters.tree is not None,
    )


def _absent(opened: Opened, has_curve: bool) -> list[Absent]:
    name = opened.run.record.name
    flag = "" if name == "default" else f" --run {name}"
    wanted = [
        (opened.captions is not None, "captions", "caption"),
        (has_curve, "the curve of coding lengths", "select-k"),
        (opened.clusters.tree is not None, "the hierarchy, to move along", "serve"),
        (opened.projection is not None, "the map", "map"),
    ]
    return [
        Absent(what=what, command=f"cpp-pipe {command}{flag}")
        for is_there, what, command in wanted
        if not is_there
    ]


def _made(opened: Opened) -> list[Made]:
    """The run's artifacts in the order of data flow."""
    order = {kind: number for number, kind in enumerate(KINDS)}
    slots: Sequence[str] = sorted(
        opened.run.record.versions, key=lambda slot: (order[slot.partition("/")[0]], slot)
    )
    rows = []
    for slot in slots:
        found = find_readable(opened.run, slot)
        if found is None:
            continue
        manifest = found.manifest
        rows.append(
            Made(
                slot=slot,
                version=found.version,
                stage=f"{manifest.stage}, revision {manifest.revision}",
                rows=found.rows,
                inputs=[f"{one.kind} {one.version}" for one in manifest.inputs.values()],
                date=str(manifest.made_by.get("date", "")),
                seconds=manifest.made_by.get("seconds"),
                device=str(manifest.made_by.get("device", "")),
                settings=dict(manifest.config),
            )
        )
    return rows


def list_skipped(opened: Opened, reason: str | None, offset: int, limit: int) -> SkippedRows:
    """Samples that were not embedded, in the order of the shards."""
    counts = count_skipped(opened.embeddings)
    total = counts.total() if reason is None else counts[reason]
    with reading(opened.embeddings):
        rows = list(read_skipped(opened.embeddings, reason, offset, limit))
    items = [
        SkippedRow(**{name: row[name] for name in ("key", "shard", "reason", "detail")})
        for row in rows
    ]
    return SkippedRows(total=total, offset=offset, items=items)
