"""The command that finds images: search."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...stages.encoding.models.deferred_packages import defer_packages
from ...stages.encoding.models.loaded_model import require_texts
from ...store import QueryError
from ..destinations import new_folder
from ..making.plan import Plan
from ..run import Run
from .app import subcommands
from .options import LONG, READING, Common, embed_table, open_plan, say, takes
from .output import (
    Column,
    check_destinations,
    check_inputs,
    narrowing,
    print_json,
    print_next,
    print_table,
)
from .sheets import Sheet

if TYPE_CHECKING:
    from ..serve.server_model import ServerModel
    from ..view.query import Example
    from ..view.searcher import Hit

RecallFlag = Annotated[
    float | None,
    typer.Option(
        "--target-recall",
        min=0,
        max=1,
        help="Share of the true neighbours to find, such as 0.95; higher takes longer.",
    ),
]

app = subcommands()


@app.command()
@takes("as_json", "pretrained", "model_config", "device", "edits", "where", *LONG, *READING)
def search(
    common: Common,
    query: Annotated[
        list[str] | None,
        typer.Option(
            "--query", help="Search for images like this one: a path, a file:// URL, or - (a pipe)."
        ),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="Search for these words.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="Search for images like this row: KEY or SHARD:KEY."),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option("--not", help="Avoid images like this: an image, words, text:WORDS, key:KEY."),
    ] = None,
    cluster: Annotated[
        list[int] | None, typer.Option("--cluster", help="Only rows of this cluster; repeatable.")
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option("--min-confidence", min=0, max=1, help="Only rows at least this confident."),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            "--space", help="Compare features (default for images) or embeddings (for texts)."
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of images to find.")] = 10,
    target_recall: RecallFlag = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", help="Draw the query and the hits into this image file."),
    ] = None,
    server: Annotated[
        bool,
        typer.Option(
            "--server/--no-server",
            help="Use the model of your own `serve` if it runs on this run.",
        ),
    ] = True,
) -> None:
    """Find the images nearest to images, words or keys.

    Image queries compare features (refined embeddings); queries with a text, also in --not, compare
    raw embeddings. Several examples are combined into one query. Filters apply before the nearest
    images are chosen. While your own `cpp-pipe serve` runs on the same run, search uses its model,
    which is already loaded.

    \b
      cpp-pipe search --query img.jpg
      cpp-pipe search --text 'a red car' -n 20 --sheet hits.png
      cpp-pipe search --key 000123 --json
      cpp-pipe search --query a.jpg --query b.jpg --not 'a drawing' --not key:000124
      cpp-pipe search --text 'a red car' --cluster 3 --min-confidence 0.5
      cpp-pipe search --text 'a red car' --where 'sharpness > 2'
      curl -s https://example.com/a.jpg | cpp-pipe search --query -
    """
    defer_packages()
    from ..view.answer import search_run
    from ..view.query import Example, Question, describe_cuts, image_example, unlike_example

    like = (
        *(image_example(name, "--query") for name in query or []),
        *(Example(kind="text", value=words) for words in text or []),
        *(Example(kind="key", value=name, flag=f"--key {name!r}") for name in key or []),
    )
    if not like:
        raise QueryError("nothing to search for: give --query FILE, --text WORDS or --key KEY")
    question = Question(
        like=like,
        unlike=tuple(map(unlike_example, unlike or [])),
        space=space,
        n=n,
        clusters=tuple(cluster or ()),
        min_confidence=min_confidence,
        target_recall=target_recall,
        edits=common.edits,
        conditions=tuple(common.where or ()),
    )
    check_destinations(None, sheet)
    for example in question.unlike:
        say(f"avoiding: {example.kind} {example.name or repr(example.value)}")
    plan = open_plan(common, embed=embed_table(common))
    check_inputs(plan, None, sheet, [*(query or []), *(unlike or [])])
    if question.has_text:
        require_texts(plan.settings.embed.model)
    if plan.find(f"index/{question.where}") is None:
        _require_keys(plan, [*like, *question.unlike])
    prepare_search(plan, question.where)
    run = open_run(plan)
    needs_model = any(example.kind in ("image", "text") for example in like + question.unlike)
    model = find_model(plan, run, question.where) if server and needs_model else None
    hits = search_run(run, question, embed=None if model is None else model.embed)
    if model is not None and model.is_working:
        notes = model.notes
    else:
        notes = describe_cuts(run.encoder, question) if question.has_text else []
    for line in notes:
        say(line)
    if common.as_json:
        print_json([hit.to_json() for hit in hits])
    else:
        print_hits(hits)
    if sheet is not None:
        shown = next((example for example in like if example.kind == "image"), like[0])
        image = shown.value if shown.kind == "image" else None
        draw_hits(run, image, shown.name or str(shown.value), hits, sheet)
    if not hits:
        return
    if sheet is None:
        first = ["--key", _name_of(run, hits[0]), *narrowing(common)]
        print_next(common, ["search", *first, "--sheet", "hits.png"])
    elif hits[0].cluster is None:
        print_next(common, ["clusters", *narrowing(common)])
    else:
        first = ["--cluster", str(hits[0].cluster), *narrowing(common)]
        print_next(common, ["curate", *first, "--out", new_folder("shards")])


def _require_keys(plan: Plan, examples: "Sequence[Example]") -> None:
    """QueryError if a key is not in the run: before an index is made that may take minutes."""
    from ..view.keys import row_of_key

    embeddings = plan.find("embeddings")
    for example in examples:
        if embeddings is not None and example.kind == "key":
            row_of_key(embeddings, str(example.value), example.flag)


def _name_of(run: Run, hit: "Hit") -> str:
    """A hit as --key takes it: PART:KEY where two parts hold its SHARD:KEY."""
    from ..view.keys import find_rows

    embeddings = run.artifact("embeddings")
    # Two folders of one name are two parts of one shard; keys are looked up only then.
    same = [part for part in embeddings.parts if part.facts.get("shard") == hit.shard]
    if len(same) > 1 and len(find_rows(embeddings, hit.key, hit.shard)) > 1:
        return f"{embeddings.locate(hit.row)[0]}:{hit.key}"
    return hit.key if ":" in hit.key else f"{hit.shard}:{hit.key}"


def open_run(plan: Plan) -> Run:
    """The run of a plan, with the plan's settings; it reports artifacts that are out of date."""
    record = plan.store.runs.read(plan.run)
    run = Run(plan.store, replace(record, settings=plan.settings.tables()), plan.runtime.device)
    run.report = plan.say
    return run


def find_model(plan: Plan, run: Run, space: str) -> "ServerModel | None":
    """The model of a server of this run, if it gives the same vectors as this command's model."""
    from ..config import settings_of
    from ..serve.server_model import find_server_model

    recorded = settings_of(plan.store, plan.store.runs.read(plan.run))
    if plan.runtime.device != "auto" or plan.settings.embed != recorded.embed:
        return None
    return find_server_model(run, space)


def prepare_search(plan: Plan, space: str) -> None:
    """Makes what a search in a space needs: its index, or without FAISS its vectors."""
    from ..view.searcher import has_faiss

    if not has_faiss():
        plan.make(space, asked_by="search")
        say("no FAISS is installed: every row is compared (pip install 'cpp-pipe[cpu]')")
    else:
        plan.make(f"index/{space}", asked_by="search")


def print_hits(hits: "Sequence[Hit]") -> None:
    """Prints a line for each hit."""
    print_table(
        [
            Column("rank", is_right=True),
            Column("similarity", is_right=True),
            Column("key", is_name=True),
            Column("cluster", is_right=True),
            Column("caption", is_cut=True),
        ],
        [
            (
                str(hit.rank),
                f"{hit.similarity:.4f}",
                hit.key,
                "-" if hit.cluster is None else str(hit.cluster),
                hit.caption or "-",
            )
            for hit in hits
        ],
    )


def draw_hits(
    run: Run,
    query: "str | Path | bytes | None",
    words: str,
    hits: "Sequence[Hit]",
    path: Path,
) -> None:
    """Draws the query and its hits as a contact sheet; reads the images from their sources."""
    from ..view.query import read_image

    name = "an image" if isinstance(query, bytes) else str(query)
    sheet = Sheet(run, path)
    sheet.add(
        read_image(query, upright=True) if query is not None else None,
        ["query", words or name],
    )
    for hit in hits:
        cluster = "" if hit.cluster is None else f"{hit.cluster}: {hit.caption or '-'}"
        sheet.add_row(hit.row, [f"{hit.rank}.  {hit.similarity:.3f}", hit.key, cluster])
    sheet.write()
