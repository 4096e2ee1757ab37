"""The command that ranks images far from every cluster: outliers."""

from typing import Annotated

import typer

from ..destinations import write_table
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
from .search import open_run
from .sheets import Sheet

app = subcommands()


@app.command()
@takes("as_json", "device", *LONG, *READING)
def outliers(
    common: Common,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of images to list.")] = 20,
    out: OutFlag = None,
    sheet: SheetFlag = None,
) -> None:
    """Rank the images that are far from every cluster.

    The distance is 1 minus the cosine between an image's embedding and the mean of the nearest
    cluster, without the image itself. All images are ranked, the farthest first; where outliers
    end is for you to decide. --out writes the whole ranking.

    \b
      cpp-pipe outliers
      cpp-pipe outliers -n 60 --sheet outliers.png
      cpp-pipe outliers --out outliers.parquet
    """
    from ..curation.outliers import outlier_table, rank_outliers
    from ..view.keys import shortest_names

    check_destinations(out, sheet)
    plan = open_plan(common)
    check_inputs(plan, out, sheet)
    assignments = plan.make("assignments", asked_by="outliers")
    embeddings = plan.make("embeddings", asked_by="outliers")
    run = open_run(plan)
    captions = run.show("captions")
    ranking = rank_outliers(embeddings, assignments)
    if out is not None:
        write_table(outlier_table(ranking, embeddings, assignments, captions), out)
        say(f"wrote {out}")
    rows = outlier_table(ranking, embeddings, assignments, captions, n).to_pylist()
    quantiles = {f"{share:g}": ranking.quantile(share) for share in (0.5, 0.99)}
    if common.as_json:
        print_json({"quantiles": quantiles, "outliers": rows})
    else:
        names = shortest_names(embeddings, [row["row"] for row in rows])
        print_table(
            [
                Column("rank", is_right=True),
                Column("distance", is_right=True),
                Column("key", is_name=True),
                Column("cluster", is_right=True),
                Column("confidence", is_right=True),
                Column("caption", is_cut=True),
            ],
            [
                (
                    str(row["rank"]),
                    f"{row['distance']:.4f}",
                    name,
                    str(row["cluster"]),
                    f"{row['confidence']:.3f}",
                    row.get("cluster_caption") or "-",
                )
                for row, name in zip(rows, names, strict=True)
            ],
        )
        print_text(
            f"half of {counted(embeddings.rows, 'image')} is no farther than "
            f"{quantiles['0.5']:.4f}, "
            f"99% no farther than {quantiles['0.99']:.4f}"
        )
    if sheet is not None:
        contact_sheet = Sheet(run, sheet)
        for row in rows:
            cluster = f"{row['cluster']}: {row.get('cluster_caption') or '-'}"
            lines = [f"{row['rank']}.  {row['distance']:.3f}", row["key"], cluster]
            contact_sheet.add_row(row["row"], lines)
        contact_sheet.write()
    if sheet is None:
        print_next(common, ["outliers", "-n", str(n), "--sheet", "outliers.png"])
    else:
        print_next(common, ["clusters"])
