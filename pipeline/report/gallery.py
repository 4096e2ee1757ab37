"""What the page shows in pictures: which rows, read where they lie, and drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...stages.contract import Progress
from ...store import Artifact
from ..run import Run
from .contents import Missing, Mosaic, Neighbourhood, Sample, Tally
from .counts import surest_and_doubtful
from .mosaics import TILE, Tiles, draw_mosaic, draw_strip
from .neighbours import nearest

if TYPE_CHECKING:
    import numpy as np

MOST_CLUSTERS = 100
"""Clusters that are shown in pictures, the largest ones."""

_SUREST, _DOUBTFUL = 12, 8
_NEIGHBOURHOODS, _NEIGHBOURS = 8, 6


def gather_mosaics(
    run: Run, tally: Tally, missing: dict[str, Missing], progress: Progress
) -> list[Mosaic]:
    """A mosaic of each of the largest clusters; notes in `missing` what cannot be read."""
    assignments = run.artifact("assignments")
    largest = [one for one in tally.largest_first if tally.sizes[one]][:MOST_CLUSTERS]
    parts = (
        tuple(
            assignments.table(part.name, columns=[one]).column(0).to_numpy()
            for one in ("cluster", "confidence")
        )
        for part in assignments.parts
    )
    members = surest_and_doubtful(parts, largest, _SUREST, _DOUBTFUL)
    rows = [surest + doubtful for surest, doubtful in members.values()]
    tiles, mosaics, gone = Tiles(run), [], 0
    progress.start("report: pictures", sum(map(len, rows)), "pictures")
    for (cluster, (surest, doubtful)), read in zip(
        members.items(), tiles.read_many(rows, TILE), strict=True
    ):
        gone += read.count(None)
        progress.advance(len(read))
        drawn = draw_mosaic(read[: len(surest)], read[len(surest) :])
        mosaics.append(
            Mosaic(cluster=cluster, drawn=drawn, surest=len(surest), doubtful=len(doubtful))
        )
    asked = sum(map(len, rows))
    if gone:
        missing["pictures"] = Missing(
            what=f"{gone:,} of {asked:,} pictures cannot be read where they were embedded from",
            command="cpp-pipe embed",
            adds="them, with where they lie now",
        )
        progress.tell(f"report: {gone:,} of {asked:,} pictures cannot be read: {tiles.trouble}")
    progress.tell(f"report: drew {asked - gone:,} pictures of {len(mosaics):,} clusters")
    return mosaics if gone < asked else []


def gather_neighbourhoods(run: Run, sample: Sample) -> list[Neighbourhood]:
    """A row of each of the largest clusters, and its nearest rows in either space."""
    import numpy as np

    embeddings, features = run.artifact("embeddings"), run.artifact("features")
    first = [int(rows[0]) for rows in sample.of_cluster.values()][:_NEIGHBOURHOODS]
    if embeddings.rows < 2:
        return []
    before, after = (nearest(one, np.array(first), _NEIGHBOURS) for one in (embeddings, features))
    told = _look_up(run.artifact("assignments"), [*first, *before.ravel(), *after.ravel()])
    tiles, found = Tiles(run), []
    for row, *near in zip(first, before.tolist(), after.tolist(), strict=True):
        key, cluster = told[row]
        (picture,) = tiles.read([row], TILE)
        if picture is None:
            continue
        strips, same = [], []
        for rows in near:
            is_other = [told[one][1] != cluster for one in rows]
            strips.append(draw_strip(tiles.read(rows, TILE), is_other))
            same.append(is_other.count(False))
        found.append(
            Neighbourhood(
                key=key,
                cluster=cluster,
                picture=draw_strip([picture]),
                before=strips[0],
                after=strips[1],
                of=before.shape[1],
                same_before=same[0],
                same_after=same[1],
            )
        )
    return found


def _look_up(assignments: Artifact, rows: "Sequence[np.integer | int]") -> dict[int, tuple]:
    """Key and cluster of rows."""
    import numpy as np

    wanted, told = np.unique(np.array(rows)), {}
    for part in assignments.parts:
        start = assignments.starts[part.name]
        inside = wanted[(wanted >= start) & (wanted < start + part.rows)]
        if len(inside):
            table = assignments.table(part.name, columns=["key", "cluster"]).take(inside - start)
            pairs = zip(*table.to_pydict().values(), strict=True)
            told.update(zip(inside.tolist(), pairs, strict=True))
    return told
