"""The command that makes a run for each combination of settings: sweep."""

from dataclasses import replace
from typing import Annotated

import typer

from ...store import ConfigError
from ..wording import counted
from .app import subcommands
from .compare import OutsFlag, RivalsFlag, check_outs, compare_and_show
from .flag_values import parse_numbers
from .options import LONG, READING, Common, LabelFlag, LabelsFlag, open_plan, takes
from .output import print_json, print_next, print_text

app = subcommands()


@app.command()
@takes("as_json", "device", *LONG, "config", *READING)
def sweep(
    common: Common,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.KEY=VALUE,VALUE",
            help="Vary a setting over these values; repeatable, for all combinations.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=1, help="Repeat each combination with this many seeds, from 0."
        ),
    ] = None,
    k: Annotated[
        str | None, typer.Option("--k", help="Vary the number of clusters: 20,50, or auto.")
    ] = None,
    rivals: RivalsFlag = False,
    label: LabelFlag = None,
    labels: LabelsFlag = None,
    outs: OutsFlag = None,
    lists: Annotated[bool, typer.Option("--list", help="Only list the runs; make none.")] = False,
) -> None:
    """Make a run for each combination of settings, and compare them.

    Each run uses the embeddings of --run, and is named after it and its own values. Equal steps are
    made once, so an interrupted sweep continues where it stopped. All commands take these runs,
    such as `cpp-pipe search --run NAME`.

    \b
      cpp-pipe sweep --set spectrum.clusterings=12,24 --seeds 3 --k 37
      cpp-pipe sweep --set train.epochs=12 --set train.eta=0.1,0.175 --k 37
      cpp-pipe sweep --run pets --k 20,37,60,auto --rivals --out table.tex
    """
    from ..comparison.sweep import check_sweep, make_sweep, plan_sweep, read_axes

    check_outs(outs, labels)
    if not (sets or k or seeds):
        raise ConfigError(
            "nothing to vary: name settings with --set TABLE.KEY=VALUE,VALUE, numbers of clusters "
            "with --k 20,50, or seeds with --seeds 5"
        )
    plan = open_plan(common)
    axes = read_axes(plan.settings, sets or ())
    runs = plan_sweep(plan.run, plan.settings, axes, seeds, _numbers(k))
    if lists:
        if common.as_json:
            print_json({"runs": [run.name for run in runs]})
            return
        print_text(f"{counted(len(runs), 'run')}:")
        for run in runs:
            print_text(f"  {run.name}")
        return
    check_sweep(plan.store, plan.run, runs, label=label, labels=labels, rivals=rivals)
    names = make_sweep(plan.store, plan.run, runs, plan.runtime, plan.say)
    compare_and_show(common, names, rivals=rivals, k=None, label=label, labels=labels, outs=outs)
    first = replace(common, run=names[0])
    print_next(
        first, ["eval"], ["figures"], result=f"{counted(len(names), 'run')}, the first {names[0]}"
    )


def _numbers(text: str | None) -> list[int | str]:
    """The values of --k, in the order given."""
    if text is None:
        return []
    values: list[int | str] = []
    for word in [word.strip() for word in text.split(",") if word.strip()] or [text]:
        values += ["auto"] if word == "auto" else parse_numbers("--k", word) or ()
    return values
