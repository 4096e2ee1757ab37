"""Commands that choose among pictures: duplicates, outliers and curate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...store import Artifact, ConfigError
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
    say,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from ..curation.select import Chosen, Wanted
    from ..plan import Plan

app = subcommands()

OutFlag = Annotated[
    Path | None, typer.Option("--out", metavar="FILE.parquet", help="Write the whole table.")
]
SheetFlag = Annotated[
    Path | None, typer.Option("--sheet", help="Draw what is listed into this picture.")
]

_ACROSS = 6
"""Pictures of a group on a sheet: as many as stand side by side."""


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
    from ..curation.near import make_duplicates

    plan = open_plan(store, run, device=device, progress=progress)
    found = make_duplicates(plan, above)
    table = found.table(found.parts[0].name)
    groups = _largest_groups(table, n)
    if out is not None:
        _write_table(table, out)
    if sheet is not None:
        tiles = [
            tile for group in groups for tile in _group_tiles(Run.open(plan.store, run), group)
        ]
        _draw(tiles, sheet)
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
    typer.echo(f"all of them: {found.path(found.parts[0].name, 'rows')}")
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
            run.picture(row["row"]),
            [
                "kept" if row["kept"] else f"{row['similarity']:.4f}",
                row["key"],
                "" if row["width"] is None else f"{row['width']} x {row['height']}",
            ],
        )
        for row in group[:_ACROSS]
    ]
    return [*tiles, *[(None, [])] * (_ACROSS - len(tiles))]


@app.command()
def outliers(
    n: Annotated[int, typer.Option("-n", min=1, help="How many to list.")] = 20,
    out: OutFlag = None,
    sheet: SheetFlag = None,
    as_json: JsonFlag = False,
    device: DeviceFlag = "auto",
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Rank pictures that are far from every cluster, the farthest first.

    The distance is 1 − the cosine of a picture's embedding with the mean of the nearest cluster,
    from which the picture itself is left out. It ranks; it draws no line between outliers and
    others. A sheet shows what is listed, --out writes the whole ranking.

    \b
      cpp-pipe outliers
      cpp-pipe outliers -n 60 --sheet outliers.png
      cpp-pipe outliers --out outliers.parquet
    """
    from ..curation.outliers import outlier_table, rank_outliers

    plan = open_plan(store, run, device=device)
    assignments = plan.make("assignments", asked_by="outliers")
    embeddings = plan.make("embeddings", asked_by="outliers")
    opened = Run.open(plan.store, run)
    captions = opened.current("captions")
    ranking = rank_outliers(embeddings, assignments)
    if out is not None:
        _write_table(outlier_table(ranking, embeddings, assignments, captions), out)
    rows = outlier_table(ranking, embeddings, assignments, captions, n).to_pylist()
    if sheet is not None:
        tiles = [
            (
                opened.picture(row["row"]),
                [
                    f"{row['rank']}.  {row['distance']:.3f}",
                    row["key"],
                    f"{row['cluster']}: {row.get('cluster_caption') or '-'}",
                ],
            )
            for row in rows
        ]
        _draw(tiles, sheet)
    usual = {f"{share:g}": ranking.quantile(share) for share in (0.5, 0.99)}
    if as_json:
        typer.echo(json.dumps({"quantiles": usual, "outliers": rows}, indent=1))
        return
    width = max(3, *(len(row["key"]) for row in rows))
    typer.echo(f"rank  distance  {'key':<{width}}  cluster  confidence  caption")
    for row in rows:
        typer.echo(
            f"{row['rank']:>4}  {row['distance']:>8.4f}  {row['key']:<{width}}  "
            f"{row['cluster']:>7}  {row['confidence']:>10.3f}  {row.get('cluster_caption') or '-'}"
        )
    typer.echo(
        f"half of the {embeddings.rows:,} pictures are no farther than {usual['0.5']:.4f}, 99% no "
        f"farther than {usual['0.99']:.4f}"
    )


@app.command()
def curate(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A new folder for the shards.")
    ] = None,
    cluster: Annotated[
        list[str] | None, typer.Option("--cluster", help="Clusters, as 3,17; may be repeated.")
    ] = None,
    caption: Annotated[
        list[str] | None,
        typer.Option("--caption", help="Clusters of this caption, as 'red *'; may be repeated."),
    ] = None,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", help="Least confidence of a cluster, 0 to 1.")
    ] = 0.0,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="A file of a KEY or SHARD:KEY a line.")
    ] = None,
    not_keys: Annotated[
        Path | None, typer.Option("--not-keys", help="The same, of what is left out.")
    ] = None,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Keep one of each group of near-duplicates.")
    ] = False,
    above: Annotated[
        float | None, typer.Option("--above", help="Least cosine of duplicates, as in duplicates.")
    ] = None,
    samples_per_shard: Annotated[int, typer.Option("--samples-per-shard", min=1)] = 1000,
    prefix: Annotated[
        str, typer.Option("--prefix", help="What the names of shards begin with.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and write nothing.")] = False,
    device: DeviceFlag = "auto",
    progress: ProgressFlag = DEFAULT_PROGRESS,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Copy chosen samples into new tar shards, byte for byte as they were.

    A sample must meet every condition that is given; several clusters and captions are one
    condition. The shards appear when all of them are whole, with manifest.parquet, which says what
    went where. Pictures of folders and tables become samples as `pack` makes them.

    \b
      cpp-pipe curate --drop-duplicates --out shards/
      cpp-pipe curate --cluster 3,17 --min-confidence 0.5 --out shards/
      cpp-pipe curate --caption '*dog*' --drop-duplicates --above 0.98 --out dogs/
      cpp-pipe curate --not-keys outliers.txt --dry-run
    """
    from ..curation.select import Wanted

    if out is None and not dry_run:
        raise ConfigError("--out names a new folder for the shards; --dry-run only counts")
    if above is not None and not drop_duplicates:
        raise ConfigError("--above says what duplicates are: it needs --drop-duplicates")
    wanted = Wanted(
        clusters=_numbers(cluster or []),
        captions=tuple(caption or []),
        min_confidence=min_confidence,
        keys=keys,
        not_keys=not_keys,
        is_deduplicated=drop_duplicates,
    )
    plan = open_plan(store, run, device=device, progress=progress)
    chosen, embeddings = _choose(plan, wanted, above)
    typer.echo(chosen.describe())
    if out is not None and not dry_run:
        _copy(plan, chosen, embeddings, out, samples_per_shard, prefix)


def _choose(plan: "Plan", wanted: "Wanted", above: float | None) -> "tuple[Chosen, Artifact]":
    from ..curation.near import make_duplicates
    from ..curation.select import choose

    def make(slot: str, is_needed: bool) -> Artifact | None:
        return plan.make(slot, asked_by="curate") if is_needed else None

    embeddings = plan.make("embeddings", asked_by="curate")
    assignments = make("assignments", wanted.asks_for_clusters)
    captions = make("captions", bool(wanted.captions))
    near = make_duplicates(plan, above, asked_by="curate") if wanted.is_deduplicated else None
    return choose(wanted, embeddings, assignments, captions, near), embeddings


def _copy(
    plan: "Plan",
    chosen: "Chosen",
    embeddings: Artifact,
    out: Path,
    samples_per_shard: int,
    prefix: str,
) -> None:
    from ..curation.write import MANIFEST, write_shards

    progress = plan.runtime.progress
    progress.start("curate", len(chosen.rows), "samples")
    made = write_shards(
        chosen.rows,
        embeddings,
        plan.store.runs.read(plan.run).sources,
        out,
        samples_per_shard=samples_per_shard,
        prefix=prefix,
        tell=progress.advance,
    )
    if made.links:
        say(f"{made.links:,} members are links, and were not copied")
    typer.echo(
        f"copied {made.samples:,} samples into {len(made.shards):,} shard(s) of {out}, "
        f"{made.bytes / 2**20:,.1f} MiB; {out / MANIFEST} says what went where"
    )
    typer.echo(f"next: cpp-pipe embed --shards {str(out)!r}")


def _numbers(texts: "Sequence[str]") -> tuple[int, ...]:
    try:
        return tuple(int(one) for text in texts for one in text.split(",") if one.strip())
    except ValueError as error:
        raise ConfigError(
            f"--cluster {' '.join(texts)!r} is not allowed: numbers with commas, as 3,17, are"
        ) from error


def _write_table(table: "pa.Table", path: Path) -> None:
    import pyarrow.parquet as pq

    from ..curation.files import whole

    with whole(path) as temporary:
        pq.write_table(table, temporary)
    say(f"wrote {path}")


def _draw(tiles: "Sequence[Any]", path: Path) -> None:
    from ..contact_sheet import draw_sheet

    if not tiles:
        say(f"nothing to draw: {path} is not written")
        return
    try:
        draw_sheet(tiles).save(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--sheet {path} cannot be written: {error}") from error
    say(f"drew {path}")
