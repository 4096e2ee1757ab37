"""The command that finds how many clusters there are: select-k."""

from collections.abc import Sequence
from typing import Annotated

import typer

from ...store import Artifact
from ..view.curve import CurvePoint, read_curve
from ..view.verdict import KVerdict, read_verdict
from ..wording import counted
from .app import subcommands
from .flag_values import parse_numbers
from .options import CLUSTER, MAKING, Common, open_plan, takes
from .output import command_line, print_line, print_next, print_text

_BAR = 26
"""Characters of the longest bar of a curve, so that a line has at most 80."""

app = subcommands()


@app.command(name="select-k")
@takes(*CLUSTER, *MAKING)
def select_k(
    common: Common,
    grid: Annotated[
        str | None, typer.Option("--grid", help="Numbers of clusters to try, such as 5,10,20.")
    ] = None,
    resamples: Annotated[
        int | None,
        typer.Option("--resamples", min=0, help="Number of resampled curves, for the band."),
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", help="How to choose k: auto, code or bic.")
    ] = None,
) -> None:
    """Find how many clusters there are.

    For each number of clusters k, the command measures the length of a code of all rows, in nats (1
    nat is 1.44 bits); nothing is trained. The k with the shortest code wins. The band (dots) shows
    the curves of other random draws, and so which other k are as good. If clusters hardly shorten
    the code, the BIC of k-means decides instead, and the number of Leiden communities is reported
    as a second opinion if igraph is installed (the extra leiden). --rule forces code or BIC.

    \b
      cpp-pipe select-k
      cpp-pipe select-k --grid 5,10,20,40
      cpp-pipe select-k --rule bic
    """
    flags = {"grid": parse_numbers("--grid", grid), "resamples": resamples, "rule": rule}
    curve = open_plan(common, select_k=flags).make("k_curve")
    points = read_curve(curve).points
    _print_bars(points)
    for line in [*verdict_lines(common, read_verdict(curve)), *_details(curve, points)]:
        print_text(line)
    print_next(common, ["assign"], result=curve.path(curve.only_part, "picture"))


def _print_bars(points: Sequence[CurvePoint]) -> None:
    """A bar for each k; dots behind it show the band."""
    ends = [point.high or point.nats for point in points]
    starts = [point.low or point.nats for point in points]
    lengths = [point.nats for point in points]
    low, high = min(*starts, *lengths), max(*ends, *lengths)

    def place(nats: float) -> int:
        return round((_BAR - 1) * (nats - low) / (high - low)) if high > low else 0

    print_line(f"{'k':>6}  {'nats':>16}")
    for point in points:
        length = point.nats
        bar = ["#"] * (place(length) + 1) + [" "] * (_BAR - 1 - place(length))
        if point.low is not None and point.high is not None:
            for at in range(place(point.low), place(point.high) + 1):
                bar[at] = "." if bar[at] == " " else bar[at]
        mark = " <- shortest" if point.is_shortest else " as good" if point.is_as_good else ""
        mark += " <- chosen" if point.is_chosen else ""
        vote = f" {point.votes:.0%}" if point.votes else ""
        print_line(f"{point.k:>6}  {length:>16,.1f}  {''.join(bar)}{vote}{mark}".rstrip())


def verdict_lines(common: Common, verdict: KVerdict) -> list[str]:
    """The verdict on the number of clusters, and what to do about it."""
    advice = f"{verdict.advice}, e.g. `{command_line(common, 'assign', '--k', '20')}`"
    return [verdict.sentence, *([advice] if verdict.advice else [])]


def _details(curve: Artifact, points: Sequence[CurvePoint]) -> list[str]:
    """Further facts of a curve, as sentences."""
    facts, best = curve.facts, int(curve.facts["shortest"])
    by_k = {point.k: point for point in points}
    shortest, lines = by_k[best].nats, []
    if facts["runners_up"] and shortest:
        longer = {k: by_k[k].nats / shortest - 1 for k in facts["runners_up"]}
        others = [f"{k} ({share:+.2%})" for k, share in longer.items()]
        lines.append(f"next to the shortest code: {', '.join(others)}")
    if facts["loose"]:
        lines.append(
            f"{facts['loose']} of {counted(best, 'cluster')} of the shortest code hold rows that "
            "differ more than all rows do: outliers, not groups"
        )
    if facts["rows_measured"] < facts["rows_in_all"]:
        lines.append(
            f"measured on {facts['rows_measured']:,} of {counted(facts['rows_in_all'], 'row')}, "
            "drawn evenly"
        )
    if best == facts["k_max"]:
        lines.append(f"the code is still getting shorter at k = {best}: raise spectrum.k_max")
    return lines
