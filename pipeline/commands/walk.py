"""Commands that walk the whole path: run and demo."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from ..plan import Plan
from . import options
from .app import subcommands
from .ask import draw_hits, evaluation_table, open_run, prepare_search, print_hits, score
from .cluster import curve_lines
from .make import print_captions, print_counts
from .options import (
    DEFAULT_STORE,
    BatchFlag,
    DeviceFlag,
    PartialFlag,
    SetFlag,
    SkippedFlag,
    StoreFlag,
    WorkersFlag,
    open_plan,
)

app = subcommands()


@app.command(name="run")
def run_(
    config: Annotated[str, typer.Argument(help="A TOML file, or the name of a shipped config.")],
    shards: Annotated[list[str] | None, typer.Option("--shards", help="As in embed.")] = None,
    max_skipped: SkippedFlag = 0.1,
    allow_partial: PartialFlag = False,
    batch_size: BatchFlag = 64,
    workers: WorkersFlag = 1,
    device: DeviceFlag = "auto",
    sets: SetFlag = None,
    run: Annotated[str | None, typer.Option("--run", help="The config's name if absent.")] = None,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Walk the whole path for a config, from shards to captions and search.

    \b
      cpp-pipe run digits
      cpp-pipe run cifar10 --shards 'cifar10/{00..49}.tar'
      cpp-pipe run my.toml
    """
    plan = open_plan(
        store,
        run or Path(config).stem,
        config,
        sets,
        device=device,
        workers=workers,
        batch_size=batch_size,
        max_skipped=max_skipped,
        allow_partial=allow_partial,
        begins=True,
        data={"shards": options.anchored(shards) if shards else None},
    )
    walk(plan)
    if _has_labels(plan):
        typer.echo("\n" + evaluation_table(score(plan)))


def walk(plan: Plan) -> None:
    """Makes everything that a run can hold, and prints what was found."""
    print_counts(plan.make("embeddings"))
    for slot in ("heads", "features", "spectrum"):
        plan.make(slot)
    if "k_curve" in plan.settings.assign.needs:
        curve = plan.make("k_curve")
        rows = curve.table(curve.parts[0].name).to_pylist()
        for line in curve_lines(curve, rows):
            typer.echo(line)
    plan.make("assignments")
    print_captions(plan)
    prepare_search(plan, "features")
    prepare_search(plan, "embeddings")


def _has_labels(plan: Plan) -> bool:
    from ...store import MissingError

    embeddings = plan.make("embeddings", asked_by="eval")
    label = plan.settings.data.label
    try:
        return label != "cls" or any(one is not None for one in embeddings.column("label"))
    except MissingError:
        return False


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
    _show_query(plan, store)
    seconds = time.monotonic() - began
    typer.echo(
        "\nNow with your own images (tar shards, in the WebDataset format):\n"
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


def _show_query(plan: Plan, store: Path) -> None:
    run = open_run(plan)
    folder = store / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "query.png"
    run.picture(0).save(picture)
    for what, query, words in (("picture", picture, None), ("text", None, "the number seven")):
        hits = run.search(image=query, text=words, n=5)
        flag = f"--query {query}" if query else f"--text '{words}'"
        typer.echo(f"\nA {what}: cpp-pipe search {flag} --run digits")
        print_hits(hits)
        draw_hits(run, query, words or "", hits, folder / f"{what}-sheet.png")
