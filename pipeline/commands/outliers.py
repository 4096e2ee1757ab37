"""The command that ranks images far from every cluster: outliers."""

import json
from typing import Annotated

import typer

from ..run import Run
from .app import subcommands
from .options import (
    DEFAULT_RUN,
    DEFAULT_STORE,
    DeviceFlag,
    JsonFlag,
    RunFlag,
    StoreFlag,
    open_plan,
)
from .output import OutFlag, SheetFlag, draw_tiles, write_table

app = subcommands()


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
        write_table(outlier_table(ranking, embeddings, assignments, captions), out)
    rows = outlier_table(ranking, embeddings, assignments, captions, n).to_pylist()
    if sheet is not None:
        tiles = [
            (
                opened.image(row["row"]),
                [
                    f"{row['rank']}.  {row['distance']:.3f}",
                    row["key"],
                    f"{row['cluster']}: {row.get('cluster_caption') or '-'}",
                ],
            )
            for row in rows
        ]
        draw_tiles(tiles, sheet)
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
