"""The command that lists clusters: clusters."""

from typing import Annotated

import typer

from ...store import ConfigError
from ..destinations import new_folder
from ..text_models import find_caption_command
from ..view.applied_edits import open_edited
from ..view.cluster_list import ClusterRow, list_clusters
from ..view.conditions import match_where
from ..wording import counted
from .app import subcommands
from .options import LONG, READING, Common, open_plan, takes
from .output import Column, narrowing, print_json, print_next, print_table, print_text
from .search import open_run

_ORDERS = {
    "size": lambda row: (-row.size, row.cluster),
    "id": lambda row: row.cluster,
    "confidence": lambda row: (row.confidence, row.cluster),
}
"""The values of --sort, and the keys that sort rows by them."""

app = subcommands()


@app.command()
@takes("as_json", "device", "edits", "where", *LONG, *READING)
def clusters(
    common: Common,
    sort: Annotated[
        str,
        typer.Option(
            "--sort", help="Sort by size (largest first), id, or confidence (lowest first)."
        ),
    ] = "size",
    n: Annotated[
        int | None, typer.Option("-n", min=1, help="Number of clusters to list; all if absent.")
    ] = None,
) -> None:
    """List the clusters: size, confidence and caption.

    The confidence of a cluster is the mean of its images, from 0 to 1.

    \b
      cpp-pipe clusters
      cpp-pipe clusters --sort confidence -n 10
      cpp-pipe clusters --where 'sharpness > 2' --json
    """
    if sort not in _ORDERS:
        raise ConfigError(f"--sort must be {', '.join(_ORDERS)}, got {sort!r}")
    plan = open_plan(common)
    assignments = plan.make("assignments", asked_by="clusters")
    run = open_run(plan)
    captions = run.show("captions")
    edited = None if common.edits is None else open_edited(run, common.edits)
    allowed = match_where(run, common.where) if common.where else None
    if allowed is not None and not allowed.any():
        raise ConfigError(f"no image meets --where {' and '.join(common.where or ())}")
    rows = sorted(list_clusters(assignments, captions, edited, allowed), key=_ORDERS[sort])
    if common.as_json:
        print_json([row.to_json() for row in rows[:n]])
    else:
        _print_rows(rows[:n])
        images = sum(row.size for row in rows)
        others = assignments.rows - images
        left = f"; {others:,} {'excluded' if allowed is None else 'left out'}" if others else ""
        print_text(f"{counted(images, 'image')} in {counted(len(rows), 'cluster')}{left}")
    caption = find_caption_command(run.store, run.record) if captions is None else None
    if not rows:  # decisions exclude every image that --where leaves
        print_next(common, ["edit", "log"])
    elif caption is not None:
        print_next(common, caption)
    else:
        first = ["--cluster", str(rows[0].cluster), *narrowing(common)]
        print_next(common, ["curate", *first, "--out", new_folder("shards")])


def _print_rows(rows: list[ClusterRow]) -> None:
    print_table(
        [
            Column("cluster", is_right=True),
            Column("size", is_right=True),
            Column("confidence", is_right=True),
            Column("caption", is_cut=True),
        ],
        [
            (str(row.cluster), f"{row.size:,}", f"{row.confidence:.3f}", row.caption or "-")
            for row in rows
        ],
    )
