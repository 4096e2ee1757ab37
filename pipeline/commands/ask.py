"""Commands that answer: search and eval."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...store import ConfigError, QueryError
from ..plan import Plan
from ..run import Run
from . import options
from .app import subcommands
from .options import (
    DEFAULT_RUN,
    DEFAULT_STORE,
    ConfigFlag,
    DeviceFlag,
    JsonFlag,
    ModelConfigFlag,
    PretrainedFlag,
    RunFlag,
    StoreFlag,
    open_plan,
    say,
)

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..labels import Scope
    from ..search import Hit

app = subcommands()

RecallFlag = Annotated[
    float | None,
    typer.Option(
        "--target-recall",
        min=0,
        max=1,
        help="The share of true neighbours to find, as 0.95: more takes longer.",
    ),
]

_WORST = 5
"""Clusters and mistakes that are printed."""


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
    from ..asking import search_run
    from ..query import Example, Question, picture_example, unlike_example

    like = (
        *map(picture_example, query or []),
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
    from ..search import has_faiss

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
    from ..contact_sheet import draw_sheet
    from ..query import read_picture

    name = "a picture" if isinstance(query, bytes) else str(query)
    first = (read_picture(query) if query is not None else None, ["query", words or name])
    tiles = [
        (
            run.picture(hit.row),
            [
                f"{hit.rank}.  {hit.similarity:.3f}",
                hit.key,
                "" if hit.cluster is None else f"{hit.cluster}: {hit.caption or '-'}",
            ],
        )
        for hit in hits
    ]
    try:
        draw_sheet([first, *tiles]).save(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--sheet {path} cannot be written: {error}") from error
    say(f"drew {path}")


@app.command(name="eval")
def evaluate(
    label: Annotated[
        str | None, typer.Option("--label", help="cls, or the name of a JSON field.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="A .csv or .parquet of key and label.")
    ] = None,
    part: Annotated[
        str,
        typer.Option("--part", help="all, fitted (rows that were fitted on), or held-out."),
    ] = "all",
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="FIELD=VALUE", help="Rows with this JSON field alone."),
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", min=1, help="One of several numbers of clusters.")
    ] = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Score the clusters against labels, beside chance and k-means.

    Held out are rows of shards that were added after `train` and `spectrum`. A part is scored
    beside k-means that was fitted on the same rows as the clusters were.

    \b
      cpp-pipe eval
      cpp-pipe eval --label category --json
      cpp-pipe eval --labels labels.csv
      cpp-pipe eval --part held-out
      cpp-pipe eval --where split=test
      cpp-pipe eval --k 20       # after assign has made columns for several k
    """
    from ..labels import Scope

    scope = Scope(part=part, where=where)
    plan = open_plan(store, run, config, data={"label": label})
    found = score(plan, labels, scope, k)
    typer.echo(json.dumps(found.to_json()) if as_json else evaluation_report(found))


def score(
    plan: Plan, labels: Path | None = None, scope: "Scope | None" = None, k: int | None = None
) -> "Evaluation":
    """Scores the clusters of a run, which are made where they are missing."""
    from ..evaluate import evaluate as evaluate_run
    from ..labels import Scope, fitted_parts

    assignments = plan.make("assignments", asked_by="eval")
    embeddings = plan.make("embeddings", asked_by="eval")
    scope = scope or Scope()
    fitted = None if scope.is_everything else fitted_parts(plan.store, assignments)
    label = plan.settings.data.label
    return evaluate_run(embeddings, assignments, label, labels, k=k, scope=scope, fitted=fitted)


def evaluation_report(found: "Evaluation") -> str:
    """The scores as a table, and where the clusters fail."""
    accuracies = " ".join(f"{one.accuracy:.2f}" for one in found.deciles)
    lines = [evaluation_table(found), f"accuracy by confidence, lowest tenth first: {accuracies}"]
    mixed = [one for one in found.per_cluster if one.purity < 1]
    mixed.sort(key=lambda one: one.size * (one.purity - 1))
    lines += ["clusters with the most rows outside their majority class:"] if mixed else []
    for one in mixed[:_WORST]:
        size = f"{one.size:,} rows"
        lines.append(f"  {one.cluster}: {size}, purity {one.purity:.2f}, mostly {one.majority}")
    lines += ["largest mistakes:"] if found.mistakes else []
    for one in found.mistakes[:_WORST]:
        matched = "left over" if one.matched is None else f"matched to {one.matched}"
        lines.append(
            f"  {one.label} -> cluster {one.cluster} ({matched}), {one.rows:,} rows, "
            f"{one.share:.0%} of {one.label}"
        )
    return "\n".join([*lines, "--json has all"])


def evaluation_table(found: "Evaluation") -> str:
    """The scores as a table of three rows."""
    rows = [
        ("clusters", found.clusters),
        ("k-means on the embeddings", found.kmeans),
        ("chance (same sizes, dealt blindly)", found.chance),
    ]
    head = f"n {found.n:,}   k {found.k}   classes {found.classes}"
    head += "" if found.part == "all" else f"   part {found.part}"
    head += "" if found.where is None else f"   where {found.where}"
    if found.unlabelled:
        head += f"   unlabelled, left out {found.unlabelled:,}"
    lines = [head, f"{'':<36}{'ACC':>7}{'NMI':>7}{'ARI':>7}"]
    lines += [f"{name:<36}{one.acc:>7.3f}{one.nmi:>7.3f}{one.ari:>7.3f}" for name, one in rows]
    return "\n".join(lines)
