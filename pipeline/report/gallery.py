"""The images of the report: their rows are chosen, read from their sources, and drawn."""

import numpy as np

from ...stages.contract import Progress
from ...store import MissingError
from ..view.columns import read_rows
from ..view.facts import Absence
from ..view.images import came_with_images
from ..view.opened_run import OpenedRun
from ..wording import counted
from .contents import Mosaic, Neighbourhood, Sample, Tally
from .counts import surest_and_doubtful
from .members import Members
from .mosaics import TILE, Tiles, draw_mosaic, draw_strip
from .neighbours import find_nearest

MOST_CLUSTERS = 100
"""Clusters whose images are shown, the largest ones."""

_SUREST, _DOUBTFUL = 12, 8
_NEIGHBOURHOODS, _NEIGHBOURS = 8, 6


def read_mosaics(
    run: OpenedRun, members: Members, tally: Tally, progress: Progress
) -> tuple[list[Mosaic], Absence | None]:
    """A mosaic of each of the largest clusters, and what cannot be read, if anything.

    MissingError if there were images, and none can be read any more.
    """
    filled = [cluster for cluster in tally.largest_first if tally.sizes[cluster]]
    chosen = surest_and_doubtful(members.parts(), filled[:MOST_CLUSTERS], _SUREST, _DOUBTFUL)
    rows = [surest + doubtful for surest, doubtful in chosen.values()]
    total, missing = sum(map(len, rows)), 0
    tiles, mosaics = Tiles(run), []
    progress.start("report: images", total, "images")
    for (cluster, (surest, doubtful)), images in zip(
        chosen.items(), tiles.read_many(rows, TILE), strict=True
    ):
        missing += images.count(None)
        progress.advance(len(images))
        mosaics.append(
            Mosaic(
                cluster=cluster,
                image=draw_mosaic(images[: len(surest)], images[len(surest) :]),
                surest=len(surest),
                doubtful=len(doubtful),
            )
        )
    absence = None
    if missing and missing == total and not came_with_images(run.artifact("embeddings")):
        reason = "the embeddings were imported, without images"
        progress.report(f"report: shows no images: {reason}")
        return [], Absence(what="images", reason=reason, command=run.public_command("embed"))
    if missing and missing == total:
        raise MissingError(
            f"no image could be read: {tiles.trouble}; or write the page without images, with "
            "--no-pictures"
        )
    if missing:
        reason = (
            f"{missing:,} of {counted(total, 'image')} cannot be read where they were embedded from"
        )
        absence = Absence(what="images", reason=reason, command=run.public_command("embed"))
        progress.report(f"report: {reason}: {tiles.trouble}")
    drawn = counted(total - missing, "image")
    progress.report(f"report: drew {drawn} of {counted(len(mosaics), 'cluster')}")
    return (mosaics if missing < total else []), absence


def read_neighbourhoods(run: OpenedRun, members: Members, sample: Sample) -> list[Neighbourhood]:
    """A row of each of the largest clusters, and its nearest rows in either space."""
    embeddings, features = run.artifact("embeddings"), run.artifact("features")
    kept = members.kept
    if embeddings.rows < 2 or (kept is not None and kept.sum() < 2):
        return []
    first = np.array([rows[0] for rows in sample.of_cluster.values()][:_NEIGHBOURHOODS])
    before, after = (
        find_nearest(space, first, _NEIGHBOURS, kept) for space in (embeddings, features)
    )
    shown = np.unique(np.concatenate([first, before.ravel(), after.ravel()]))
    columns = read_rows(run.artifact("assignments"), shown, ("key", "cluster"))
    by_row = {
        row: {**fields, "cluster": members.cluster_of(row, fields["cluster"])}
        for row, fields in zip(shown.tolist(), columns, strict=True)
    }
    tiles, neighbourhoods = Tiles(run), []
    for row, *nearest in zip(first.tolist(), before.tolist(), after.tolist(), strict=True):
        key, cluster = by_row[row]["key"], by_row[row]["cluster"]
        (image,) = tiles.read([row], TILE)
        if image is None:
            continue
        strips, same = [], []
        for rows in nearest:
            is_other = [by_row[near]["cluster"] != cluster for near in rows]
            strips.append(draw_strip(tiles.read(rows, TILE), is_other))
            same.append(is_other.count(False))
        neighbourhoods.append(
            Neighbourhood(
                key=key,
                cluster=cluster,
                image=draw_strip([image]),
                before=strips[0],
                after=strips[1],
                count=before.shape[1],
                same_before=same[0],
                same_after=same[1],
            )
        )
    return neighbourhoods
