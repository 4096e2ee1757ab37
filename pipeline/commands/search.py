"""The command that finds images: search."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...store import QueryError
from ..making.plan import Plan
from ..run import Run
from . import options
from .app import subcommands
from .options import (
    DEFAULT_RUN,
    DEFAULT_STORE,
    DeviceFlag,
    JsonFlag,
    ModelConfigFlag,
    PretrainedFlag,
    RunFlag,
    StoreFlag,
    open_plan,
    say,
)
from .output import draw_tiles

if TYPE_CHECKING:
    from ..view.searcher import Hit

RecallFlag = Annotated[
    float | None,
    typer.Option(
        "--target-recall",
        min=0,
        max=1,
        help="The share of true neighbours to find, as 0.95: more takes longer.",
    ),
]

app = subcommands()


@app.command()
def search(
    query: Annotated[
        list[str] | None,
        typer.Option("--query", help="A picture: its path, its file:// URL, or - (from a pipe)."),
    ] = None,
    text: Annotated[list[str] | None, typer.Option("--text", help="Words.")] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="KEY or SHARD:KEY of a row.")
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option("--not", help="What hits shall be unlike: a picture, words, or key:KEY."),
    ] = None,
    cluster: Annotated[
        list[int] | None, typer.Option("--cluster", help="Rows of this cluster alone.")
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option("--min-confidence", min=0, max=1, help="Rows that are so sure of theirs."),
    ] = None,
    space: Annotated[
        str | None, typer.Option("--space", help="features (default) or embeddings (for texts).")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 10,
    target_recall: RecallFlag = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Draw query and hits into this picture.")
    ] = None,
    as_json: JsonFlag = False,
    pretrained: PretrainedFlag = None,
    model_config: ModelConfigFlag = None,
    device: DeviceFlag = "auto",
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Find the images that are nearest to pictures, to words, or to keys.

    Pictures are compared by refined features, words by the raw embeddings. Several examples are
    looked for at once, and what is given with --not is kept away from; words there, too, make it a
    search among the raw embeddings. Filters say which rows may be found, before any are chosen.

    \b
      cpp-pipe search --query img.jpg
      cpp-pipe search --text 'a red car' -n 20 --sheet hits.png
      cpp-pipe search --key 000123 --json
      cpp-pipe search --query a.jpg --query b.jpg --not 'a drawing' --not key:000124
      cpp-pipe search --text 'a red car' --cluster 3 --min-confidence 0.5
      curl -s https://example.com/a.jpg | cpp-pipe search --query -
    """
    from ..view.answer import search_run
    from ..view.query import Example, Question, image_example, unlike_example

    like = (
        *map(image_example, query or []),
        *(Example(kind="text", value=one) for one in text or []),
        *(Example(kind="key", value=one) for one in key or []),
    )
    if not like:
        raise QueryError("nothing is looked for: give --query FILE, --text WORDS or --key KEY")
    question = Question(
        like=like,
        unlike=tuple(map(unlike_example, unlike or [])),
        space=space,
        n=n,
        clusters=tuple(cluster or ()),
        min_confidence=min_confidence,
        target_recall=target_recall,
    )
    for one in question.unlike:
        say(f"kept away from: {one.kind} {one.name or repr(one.value)}")
    plan = open_plan(
        store,
        run,
        device=device,
        embed=options.embed_table(None, pretrained, model_config),
    )
    prepare_search(plan, question.where)
    opened = open_run(plan)
    hits = search_run(opened, question)
    if sheet is not None:
        shown = next((one for one in like if one.kind == "image"), like[0])
        picture = shown.value if shown.kind == "image" else None
        draw_hits(opened, picture, shown.name or str(shown.value), hits, sheet)
    if as_json:
        typer.echo(json.dumps([hit.to_json() for hit in hits], indent=1))
    else:
        print_hits(hits)


def open_run(plan: Plan) -> Run:
    record = plan.store.runs.read(plan.run)
    return Run(plan.store, replace(record, settings=plan.settings.tables()), plan.runtime.device)


def prepare_search(plan: Plan, space: str) -> None:
    """Makes what searching a space needs; without FAISS that is the space itself."""
    from ..view.searcher import has_faiss

    if not has_faiss():
        plan.make(space, asked_by="search")
        say("no FAISS is installed: every row is compared (pip install 'cpp-pipe[cpu]')")
    else:
        plan.make(f"index/{space}", asked_by="search")


def print_hits(hits: "Sequence[Hit]") -> None:
    """Prints one line a hit."""
    width = max([3, *(len(hit.key) for hit in hits)])
    typer.echo(f"rank  similarity  {'key':<{width}}  cluster  caption")
    for hit in hits:
        cluster = "-" if hit.cluster is None else str(hit.cluster)
        typer.echo(
            f"{hit.rank:>4}  {hit.similarity:>10.4f}  {hit.key:<{width}}  {cluster:>7}  "
            f"{hit.caption or '-'}"
        )


def draw_hits(
    run: Run,
    query: "str | Path | bytes | None",
    words: str,
    hits: "Sequence[Hit]",
    path: Path,
) -> None:
    """Draws the query and its hits as a contact sheet, pictures read out of their shards."""
    from ..view.query import read_image

    name = "a picture" if isinstance(query, bytes) else str(query)
    first = (read_image(query) if query is not None else None, ["query", words or name])
    tiles = [
        (
            run.image(hit.row),
            [
                f"{hit.rank}.  {hit.similarity:.3f}",
                hit.key,
                "" if hit.cluster is None else f"{hit.cluster}: {hit.caption or '-'}",
            ],
        )
        for hit in hits
    ]
    draw_tiles([first, *tiles], path)
