"""The command that finds near-duplicates: duplicates."""

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ...store import Artifact
from ..destinations import new_folder, write_table
from ..run import Run
from ..wording import counted
from .app import subcommands
from .messages import say
from .options import LONG, READING, Common, open_plan, takes
from .output import (
    Column,
    OutFlag,
    SheetFlag,
    check_destinations,
    check_inputs,
    print_json,
    print_next,
    print_table,
    print_text,
)
from .sheets import Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

TierFlag = Annotated[
    str,
    typer.Option(
        "--tier", help="What to find: identical (bytes), same (one image), alike (embeddings)."
    ),
]

_ACROSS = 6
"""Images of a group on a sheet: as many as fit in a line."""

app = subcommands()


@app.command()
@takes("as_json", "device", *LONG, *READING)
def duplicates(
    common: Common,
    above: Annotated[
        float | None,
        typer.Option(
            "--above", help="Minimum similarity; the default depends on the tier and the model."
        ),
    ] = None,
    tier: TierFlag = "alike",
    n: Annotated[
        int, typer.Option("-n", min=1, help="Number of groups to list, the largest first.")
    ] = 10,
    out: OutFlag = None,
    sheet: SheetFlag = None,
) -> None:
    """Find near-duplicates, and the one to keep of each group.

    \b
      identical  files of equal bytes
      same       one image: encoded again, resized, mirrored, turned, or edges cut off
      alike      images whose embeddings are alike

    `identical` and `same` read all images once. The image to keep is the largest of its group, of
    equally large ones the first by key; all others are at least as similar to it as --above says.
    Nothing is removed: `cpp-pipe curate --drop-duplicates` copies the images to keep.

    \b
      cpp-pipe duplicates
      cpp-pipe duplicates --tier same
      cpp-pipe duplicates --above 0.98 --sheet groups.png
      cpp-pipe duplicates --out duplicates.parquet
    """
    from ..curation.near_duplicates import make_tier
    from ..view.keys import shortest_names, with_parts

    check_destinations(out, sheet)
    plan = open_plan(common)
    check_inputs(plan, out, sheet)
    artifact = make_tier(plan, tier, above)
    part = artifact.only_part
    embeddings = plan.make("embeddings", asked_by="duplicates")
    table = with_parts(embeddings, artifact.table(part))
    groups = _largest_groups(table, n)
    if out is not None:
        write_table(table, out)
        say(f"wrote {out}")
    names = ("threshold", "groups", "dropped", "largest", "recall", "recall_pairs")
    facts = {name: artifact.facts[name] for name in names if name in artifact.facts}
    if common.as_json:
        print_json({**facts, "rows": artifact.facts["rows_in_all"], "largest_groups": groups})
    else:
        kept = [group[0]["row"] for group in groups]
        _print_groups(artifact, groups, shortest_names(embeddings, kept))
    if sheet is not None:
        contact_sheet = Sheet(Run.open(plan.store, plan.run), sheet)
        for group in groups:
            _add_group(contact_sheet, group)
        contact_sheet.write()
    if groups:
        flags = ["--tier", tier] if tier != "alike" else []
        flags += [] if tier == "identical" else ["--above", f"{facts['threshold']:g}"]
        step = ("curate", "--drop-duplicates", *flags, "--out", new_folder("shards"))
        print_next(common, step, result=artifact.path(part, "rows"))


_NAMES = {
    "identical": "identical files",
    "same": "copies of one image",
    "alike": "near-duplicates",
}
_MEASURES = {
    "identical": "equal bytes",
    "same": "correlation {:g} or more",
    "alike": "cosine {:g} or more",
}


def _largest_groups(table: "pa.Table", n: int) -> "list[list[dict[str, Any]]]":
    """The rows of the n largest groups, the kept one of each first."""
    sizes = np.bincount(table.column("group").to_numpy())
    starts = np.concatenate([[0], np.cumsum(sizes)])
    largest = np.argsort(-sizes, kind="stable")[:n]
    return [table.slice(int(starts[group]), int(sizes[group])).to_pylist() for group in largest]


def _print_groups(
    artifact: Artifact, groups: "Sequence[Sequence[dict[str, Any]]]", names: "Sequence[str]"
) -> None:
    facts = artifact.facts
    tier = facts.get("tier", "alike")
    print_text(
        f"{counted(facts['groups'], 'group')} of {_NAMES[tier]} "
        f"({_MEASURES[tier].format(facts['threshold'])}) "
        f"among {counted(facts['rows_in_all'], 'image')}: {facts['dropped']:,} could be dropped"
    )
    recall = facts.get("recall", 1)
    if recall < 1:
        print_text(
            f"There are too many images to compare all pairs: about {recall:.2%} of the near pairs "
            f"were compared, measured on {counted(facts['recall_pairs'], 'pair')} of a sample."
        )
    if not groups:
        return
    print_table(
        [
            Column("group", is_right=True),
            Column("images", is_right=True),
            Column("least similar", is_right=True),
            Column("kept", is_name=True),
            Column("pixels"),
        ],
        [
            (
                str(group[0]["group"]),
                f"{len(group):,}",
                f"{group[-1]['similarity']:.4f}",
                name,
                _size(group[0]) or "-",
            )
            for group, name in zip(groups, names, strict=True)
        ],
    )


def _size(row: "dict[str, Any]") -> str:
    return "" if row["width"] is None else f"{row['width']} x {row['height']}"


def _add_group(sheet: Sheet, group: "Sequence[dict[str, Any]]") -> None:
    """Adds a line to a sheet: the images of a group."""
    for row in group[:_ACROSS]:
        first = "kept" if row["kept"] else f"{row['similarity']:.4f}"
        sheet.add_row(row["row"], [first, row["key"], _size(row)])
    for _ in range(_ACROSS - len(group)):
        sheet.add(None, [])
