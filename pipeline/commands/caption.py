"""The command that names clusters: caption."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer

from ...store import Artifact
from ..making.named_inputs import vocabulary_setting
from ..making.plan import Plan
from ..wording import counted
from .app import subcommands
from .options import MAKING, Common, embed_table, open_plan, takes
from .output import Column, print_next, print_table, print_text

_SHOWN = 3
"""Captions of a cluster that are printed."""

_ROOM = 62
"""Characters for captions: a line of 80 without the other columns."""

VocabularyFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--vocabulary",
        help="Words: imagenet, coco, wordnet, a text file, .parquet or .npz; repeatable.",
    ),
]

app = subcommands()


@app.command()
@takes("pretrained", "model_config", *MAKING)
def caption(
    common: Common,
    vocabulary: VocabularyFlag = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            "--template",
            help="Prompts: a text with {} for the word, or imagenet-7, or imagenet-80.",
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option("--rule", help="How words are ranked: contrast, or vote (the paper's)."),
    ] = None,
    beside: Annotated[
        str | None,
        typer.Option(
            "--beside",
            metavar="RUN",
            help="Compare words with the embeddings of this run, which has the same images.",
        ),
    ] = None,
) -> None:
    """Name every cluster in words.

    A cluster gets the words that fit it better than they fit other clusters. Words are embedded
    once and kept, so that other clusters can be named without the model. Clusters that share their
    first word get a second word, or a number where no other word fits: "airplane (2)". Where a
    hierarchy was cut, all coarser levels are named too. A model that embeds only images cannot
    embed words: --beside names a run of the same images with a model that can.

    \b
      cpp-pipe caption
      cpp-pipe caption --vocabulary coco --vocabulary words.txt
      cpp-pipe caption --run dinov2 --beside clip
      cpp-pipe caption --vocabulary words.txt --template 'a photo of a {}.' --rule vote
    """
    plan = open_plan(
        common,
        embed=embed_table(common),
        caption={
            "vocabulary": vocabulary_setting(vocabulary),
            "templates": tuple(template) if template else None,
            "rule": rule,
            "beside": beside,
        },
    )
    captions = print_captions(plan)
    print_next(common, ["report"], ["serve"], result=captions.folder)


def _first_that_fit(captions: Sequence[str]) -> str:
    """The first captions that fit a line, at least one."""
    line = captions[0]
    for caption in captions[1:]:
        if len(f"{line}; {caption}") > _ROOM:
            break
        line = f"{line}; {caption}"
    return line


def print_captions(plan: Plan) -> Artifact:
    """Prints a line for each cluster, its size and its best captions; makes missing captions."""
    captions = plan.make("captions")
    assignments = plan.find("assignments")
    assert assignments is not None
    sizes = Counter(assignments.column("cluster"))
    words: dict[int, list[str]] = {}
    for row in captions.table(captions.only_part).to_pylist():
        words.setdefault(row["cluster"], []).append(f"{row['caption']} {row['score']:.0%}")
    print_table(
        [
            Column("cluster", is_right=True),
            Column("size", is_right=True),
            Column(f"captions (share by {captions.facts['rule']})", is_cut=True),
        ],
        [
            (str(cluster), f"{sizes[cluster]:,}", _first_that_fit(best[:_SHOWN]))
            for cluster, best in sorted(words.items())
        ],
    )
    if plan.settings.assign.method == "hierarchy":
        name = captions.only_part
        levels = captions.table(name, "levels", ["level"]).column(0).to_pylist()
        print_text(
            f"captions of all levels, from {counted(max(levels), 'cluster')} to {min(levels)}: "
            f"{captions.path(name, 'levels')}"
        )
    return captions
