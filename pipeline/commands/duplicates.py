"""The command that finds near-duplicates: duplicates."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...store import Artifact
from ..run import Run
from .app import subcommands
from .options import (
    DEFAULT_PROGRESS,
    DEFAULT_RUN,
    DEFAULT_STORE,
    DeviceFlag,
    JsonFlag,
    ProgressFlag,
    RunFlag,
    StoreFlag,
    open_plan,
)
from .output import OutFlag, SheetFlag, draw_tiles, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

_ACROSS = 6
"""Images of a group on a sheet: as many as stand side by side."""

app = subcommands()


@app.command()
def duplicates(
    above: Annotated[
        float | None,
        typer.Option("--above", help="Least cosine of embeddings; that of the model if absent."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Groups to list, the largest first.")] = 10,
    out: OutFlag = None,
    sheet: SheetFlag = None,
    as_json: JsonFlag = False,
    device: DeviceFlag = "auto",
    progress: ProgressFlag = DEFAULT_PROGRESS,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Find near-duplicates, and the one to keep of each group.

    Kept is the largest picture of a group, of equals the first key; every other one is at least as
    similar to it as --above says. Nothing is removed: `cpp-pipe curate --drop-duplicates` copies
    what is left.

    \b
      cpp-pipe duplicates
      cpp-pipe duplicates --above 0.98 --sheet groups.png
      cpp-pipe duplicates --out duplicates.parquet
    """
    from ..curation.near_duplicates import make_duplicates

    plan = open_plan(store, run, device=device, progress=progress)
    found = make_duplicates(plan, above)
    table = found.table(found.only_part)
    groups = _largest_groups(table, n)
    if out is not None:
        write_table(table, out)
    if sheet is not None:
        tiles = [
            tile for group in groups for tile in _group_tiles(Run.open(plan.store, run), group)
        ]
        draw_tiles(tiles, sheet)
    if as_json:
        facts = {name: found.facts[name] for name in ("threshold", "groups", "dropped", "largest")}
        told = {**facts, "rows": found.facts["rows_in_all"], "largest_groups": groups}
        typer.echo(json.dumps(told, indent=1))
        return
    _print_groups(found, groups, _where(run, store))


def _largest_groups(table: "pa.Table", n: int) -> "list[list[dict[str, Any]]]":
    """The rows of the n groups that have most, the kept one of each first."""
    import numpy as np

    sizes = np.bincount(table.column("group").to_numpy())
    starts = np.concatenate([[0], np.cumsum(sizes)])
    largest = np.argsort(-sizes, kind="stable")[:n]
    return [table.slice(int(starts[one]), int(sizes[one])).to_pylist() for one in largest]


def _print_groups(
    found: Artifact, groups: "Sequence[Sequence[dict[str, Any]]]", where: str
) -> None:
    facts = found.facts
    typer.echo(
        f"{facts['groups']:,} groups of near-duplicates (cosine {facts['threshold']:g} or more) "
        f"among {facts['rows_in_all']:,} pictures: {facts['dropped']:,} could be dropped"
    )
    if not groups:
        return
    width = max(4, *(len(group[0]["key"]) for group in groups))
    typer.echo(f"{'group':>6}  {'pictures':>8}  {'least similar':>13}  {'kept':<{width}}  size")
    for group in groups:
        kept, last = group[0], group[-1]
        size = "-" if kept["width"] is None else f"{kept['width']} x {kept['height']}"
        typer.echo(
            f"{kept['group']:>6}  {len(group):>8,}  {last['similarity']:>13.4f}  "
            f"{kept['key']:<{width}}  {size}"
        )
    typer.echo(f"all of them: {found.path(found.only_part, 'rows')}")
    above = f" --above {facts['threshold']:g}"
    typer.echo(f"next: cpp-pipe curate --drop-duplicates{above} --out shards/{where}")


def _where(run: str, store: StoreFlag) -> str:
    """The flags that name a run which is not the default."""
    named = "" if run == DEFAULT_RUN else f" --run {run}"
    return named if store == DEFAULT_STORE else f"{named} --store {store}"


def _group_tiles(run: Run, group: "Sequence[dict[str, Any]]") -> list[Any]:
    """A row of a sheet."""
    tiles: list[Any] = [
        (
            run.image(row["row"]),
            [
                "kept" if row["kept"] else f"{row['similarity']:.4f}",
                row["key"],
                "" if row["width"] is None else f"{row['width']} x {row['height']}",
            ],
        )
        for row in group[:_ACROSS]
    ]
    return [*tiles, *[(None, [])] * (_ACROSS - len(tiles))]
