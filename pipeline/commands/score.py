"""The command that scores images: score."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...store import Artifact
from ..destinations import new_folder
from ..wording import agreeing, counted
from .app import subcommands
from .options import LONG, READING, Common, open_plan, takes
from .output import Column, print_json, print_next, print_table, print_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..curation.scores import ScoreSummary

app = subcommands()


@app.command()
@takes("as_json", "device", *LONG, *READING)
def score(
    common: Common,
    text: Annotated[
        str | None, typer.Option("--text", help="Score how similar images are to this text.")
    ] = None,
    unlike: Annotated[
        str | None,
        typer.Option("--not", help="Compare with this text instead of with random words."),
    ] = None,
    head: Annotated[
        Path | None,
        typer.Option(
            "--head", metavar="FILE.safetensors", help="Score embeddings by this linear head."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the score: small letters, digits and _.")
    ] = None,
) -> None:
    """Score images: sharpness, likeness to a text, a linear head.

    Every image gets a number, for filters such as --where 'sharpness > 2'. Without flags, the
    images are read once and measured:

    \b
      sharpness      log10(1 + variance of the Laplacian), 256 pixels a side
      brightness     mean, 0 to 1
      contrast       standard deviation of the brightness, 0 to 0.5
      colourfulness  0 is grey, 33 moderate, 109 extreme
      megapixels     size
      aspect         width / height

    A text scores 0 where an image is no more similar to it than to random words, or, with --not,
    equally similar to both texts; 1 is one standard deviation of random words. A head is a file
    with `weight` and perhaps `bias`. The table shows quantiles of each score.

    \b
      cpp-pipe score
      cpp-pipe score --name screenshot --text 'a screenshot' --not 'a photograph'
      cpp-pipe score --name aesthetic --head aesthetic.safetensors
      cpp-pipe curate --where 'sharpness > 2' --where 'screenshot < 1' --out shards/
    """
    from ..curation.scores import make_scores, summarise

    plan = open_plan(common)
    scores = make_scores(plan, name=name, text=text, unlike=unlike, head=head)
    embeddings = plan.make("embeddings", asked_by="score")
    summaries = summarise(scores, embeddings)
    if common.as_json:
        print_json({"scores": [summary.to_json() for summary in summaries]})
    else:
        _print_summaries(summaries, embeddings)
    quantiles = summaries[0].quantiles
    if quantiles:
        condition = f"{summaries[0].name} > {quantiles[0.25]:.3g}"
        step = ["curate", "--where", condition, "--out", new_folder("shards")]
    else:
        step = ["status"]
    print_next(common, step, result=scores.folder)


def _print_summaries(summaries: "Sequence[ScoreSummary]", embeddings: Artifact) -> None:
    from ..view.keys import shortest_names

    scored = [summary for summary in summaries if summary.quantiles]
    if scored:
        print_table(
            [
                Column("score", is_cut=True),
                *(Column(f"{share:.0%}", is_right=True) for share in scored[0].quantiles),
            ],
            [
                (summary.name, *(f"{value:.3g}" for value in summary.quantiles.values()))
                for summary in scored
            ],
        )
    ends = [row["row"] for one in scored for row in (*one.lowest, *one.highest)]
    names = dict(zip(ends, shortest_names(embeddings, ends), strict=True))  # one search for all
    for summary in scored:
        least, most = summary.lowest[0]["score"], summary.highest[0]["score"]
        if least == most:
            print_text(f"{summary.name}: {least:.3g} for every image")
            continue
        low, high = (
            ", ".join(names[row["row"]] for row in rows)
            for rows in (summary.lowest, summary.highest)
        )
        print_text(f"{summary.name}: lowest {low}; highest {high}")
    missing = max((summary.missing for summary in summaries), default=0)
    if missing:
        print_text(
            f"{counted(missing, 'image')} cannot be read and {agreeing(missing, 'has', 'have')} "
            "no scores"
        )
