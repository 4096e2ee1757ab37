"""The command that puts every image in a cluster: assign."""

from collections import Counter
from typing import Annotated

import typer

from ...store import Artifact, ConfigError
from ..text_models import find_caption_command
from ..wording import agreeing, counted
from .app import subcommands
from .flag_values import parse_numbers
from .options import MAKING, WORKERS, Common, end_if_left_to_others, open_plan, takes
from .output import print_next, print_text

app = subcommands()


@app.command()
@takes(*WORKERS, *MAKING)
def assign(
    common: Common,
    k: Annotated[
        str | None, typer.Option("--k", help="Number of clusters, several as 20,50, or auto.")
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            "--level", help="Cut the hierarchy into this many clusters: 20, or 20,50, or auto."
        ),
    ] = None,
) -> None:
    """Put every image in a cluster, with a confidence.

    Images that were added after the clusters were found join the same clusters; the command says
    how many of them are far from everything that was fitted. With several numbers, the table has a
    column for each; captions and search use the first.

    \b
      cpp-pipe assign               # as many clusters as select-k finds
      cpp-pipe assign --k 100
      cpp-pipe assign --k 20,50,100
      cpp-pipe assign --level 20    # nested in every finer level
    """
    if k is not None and level is not None:
        raise ConfigError(
            "--k and --level exclude each other: --level cuts a hierarchy, so leave one out"
        )
    flags = {}
    if k is not None:
        flags = {"k": _count("--k", k), "method": "spectral"}
    elif level is not None:
        flags = {"k": _count("--level", level), "method": "hierarchy"}
    plan = open_plan(common, assign=flags)
    with end_if_left_to_others():
        assignments = plan.make("assignments")
    _print_sizes(assignments)
    caption = find_caption_command(plan.store, plan.store.runs.read(plan.run))
    print_next(common, *filter(None, [caption]), ["clusters"], result=assignments.folder)


def _count(flag: str, text: str) -> int | tuple[int, ...] | str:
    if text == "auto":
        return text
    numbers = parse_numbers(flag, text)
    assert numbers is not None, "a text has numbers"
    return numbers[0] if len(numbers) == 1 else numbers


def _print_sizes(assignments: Artifact) -> None:
    wanted = assignments.manifest.config["k"]
    numbers = wanted if isinstance(wanted, list) else [wanted]
    for k in numbers:
        column = "cluster" if k == numbers[0] else f"cluster_{k}"
        sizes = sorted(Counter(assignments.column(column)).values(), reverse=True)
        print_text(
            f"{counted(assignments.rows, 'row')} in {counted(len(sizes), 'cluster')}, the "
            f"largest {sizes[0]:,}, the smallest {sizes[-1]:,}"
            + ("" if column == "cluster" else f" (column {column})")
        )
        if k != "auto" and len(sizes) < k:
            print_text(
                f"found {counted(len(sizes), 'cluster')} instead of {k}: the rows have no more "
                "distinct groups"
            )
    far = sum(novelty > 1 for novelty in assignments.column("novelty"))
    if far:
        print_text(
            f"{counted(far, 'row')} {agreeing(far, 'is', 'are')} far from all rows that were "
            f"fitted (novelty above 1), so {agreeing(far, 'its cluster', 'their clusters')} may be "
            "meaningless"
        )
