"""The demonstration: demo."""

import json
import time

import typer

from ..making.plan import Plan
from .app import subcommands
from .evaluate import evaluation_table, score
from .options import (
    DEFAULT_STORE,
    DeviceFlag,
    StoreFlag,
    open_plan,
)
from .run import walk
from .search import draw_hits, open_run, print_hits

app = subcommands()


@app.command()
def demo(
    device: DeviceFlag = "auto",
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Walk the whole path on handwritten digits that come along.

    The digits are real scans; the small model that embeds them was trained on their other half.

    \b
      cpp-pipe demo
    """
    began = time.monotonic()
    plan = open_plan(store, "digits", "digits", device=device, begins=True)
    walk(plan)
    found = score(plan)
    typer.echo("\n" + evaluation_table(found))
    _show_query(plan)
    seconds = time.monotonic() - began
    typer.echo(
        "\nNow with your own images, all of it or step by step:\n"
        "  cpp-pipe run --images FOLDER\n"
        "  cpp-pipe embed --shards 'FOLDER/{000..999}.tar' --model ViT-B-32 --pretrained openai\n"
        "  cpp-pipe train\n"
        "  cpp-pipe search --query img.jpg --sheet hits.png\n"
        "  cpp-pipe select-k; cpp-pipe assign; cpp-pipe caption; cpp-pipe eval\n"
    )
    figures = {
        "n": found.n,
        "k": found.k,
        "acc": round(found.clusters.acc, 4),
        "nmi": round(found.clusters.nmi, 4),
        "ari": round(found.clusters.ari, 4),
        "chance_acc": round(found.chance.acc, 4),
        "kmeans_acc": round(found.kmeans.acc, 4),
        "seconds": round(seconds, 1),
    }
    typer.echo(json.dumps(figures))


def _show_query(plan: Plan) -> None:
    run = open_run(plan)
    folder = plan.store.local_folder / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "query.png"
    run.image(0).save(picture)
    for what, query, words in (("picture", picture, None), ("text", None, "the number seven")):
        hits = run.search(image=query, text=words, n=5)
        flag = f"--query {query}" if query else f"--text '{words}'"
        typer.echo(f"\nA {what}: cpp-pipe search {flag} --run digits")
        print_hits(hits)
        draw_hits(run, query, words or "", hits, folder / f"{what}-sheet.png")
