"""The command that makes a hierarchy of clusters: hierarchy."""

from typing import Annotated

import typer

from .app import subcommands
from .options import CLUSTER, MAKING, Common, open_plan, takes
from .output import Column, print_next, print_table

app = subcommands()


@app.command()
@takes(*CLUSTER, *MAKING)
def hierarchy(
    common: Common,
    finest: Annotated[
        int | None, typer.Option("--finest", min=1, help="Start from at most this many clusters.")
    ] = None,
) -> None:
    """Make a hierarchy: merge clusters step by step, down to one.

    Each step merges the two clusters whose merging adds least to the rate: the nats (1 nat is 1.44
    bits) that rows take within their clusters. Every level is nested in the next coarser one.
    `cpp-pipe assign --level 12` cuts the hierarchy into 12 clusters. The table shows the length of
    the whole code at each level, which also counts the cost of the clusters.

    \b
      cpp-pipe hierarchy
      cpp-pipe hierarchy --finest 500
    """
    plan = open_plan(common, merge={"finest": finest})
    artifact = plan.make("hierarchy")
    rows = artifact.table(artifact.only_part).to_pylist()
    lengths = {row["level"]: row["coding_length_nats"] for row in rows}
    shortest = int(artifact.facts["shortest"])
    shown = {level for level in lengths if level <= 10 or level % 10 == 0}
    print_table(
        [Column("level", is_right=True), Column("nats", is_right=True), Column("")],
        [
            (str(level), f"{lengths[level]:,.1f}", "<- shortest" * (level == shortest))
            for level in sorted({*shown, shortest, artifact.facts["finest"]})
        ],
    )
    level = max(shortest, min(2, int(artifact.facts["finest"])))  # one cluster is of no use
    print_next(common, ["assign", "--level", str(level)], result=artifact.folder)
