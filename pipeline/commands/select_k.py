"""The command that finds how many clusters there are: select-k."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from ...store import Artifact
from ..view.curve import CurvePoint, read_curve
from ..wording import agreeing, counted
from .app import subcommands
from .options import MAKING, Common, open_plan, parse_numbers, takes
from .output import print_line, print_next, print_text

_BAR = 36
"""Characters of the longest bar of a curve, which make a line of 80 with what stands around it."""

_HARDLY = 0.02
"""Where the best code saves less than this, it sees hardly any clusters."""

app = subcommands()


@app.command(name="select-k")
@takes(*MAKING)
def select_k(
    common: Common,
    grid: Annotated[
        str | None, typer.Option("--grid", help="Values of k to try, such as 5,10,20.")
    ] = None,
    resamples: Annotated[
        int | None, typer.Option("--resamples", min=0, help="Curves that make the band.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", help="What decides: auto, code or bic.")
    ] = None,
) -> None:
    """Find how many clusters there are.

    For each number of clusters k, the command measures how short a code describes all rows, in nats
    (1.44 bits); nothing is trained. The k with the shortest code wins. The curve comes with a band
    of curves from other random draws, and shows which other k would do as well. Where clusters
    hardly shorten the code, the BIC of k-means decides; --rule makes either one decide in any case.
    There the number of Leiden communities is a second opinion, if igraph is installed (the extra
    leiden).

    \b
      cpp-pipe select-k
      cpp-pipe select-k --grid 5,10,20,40
      cpp-pipe select-k --rule bic
    """
    flags = {"grid": parse_numbers("--grid", grid), "resamples": resamples, "rule": rule}
    curve = open_plan(common, select_k=flags).make("k_curve")
    points = read_curve(curve).points
    _print_bars(points)
    for line in curve_lines(curve, points):
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
        mark += " <- chosen" if point.is_chosen and not point.is_shortest else ""
        vote = f" {point.votes:.0%}" if point.votes else ""
        print_line(f"{point.k:>6}  {length:>16,.1f}  {''.join(bar)}{vote}{mark}".rstrip())


def curve_lines(curve: Artifact, points: Sequence[CurvePoint]) -> list[str]:
    """What a curve says, in sentences."""
    facts, best = curve.facts, int(curve.facts["shortest"])
    by_k = {point.k: point for point in points}
    shortest = by_k[best].nats
    one_cluster = facts["one_cluster_nats"]
    saved = 1 - shortest / one_cluster if one_cluster else 0.0  # equal rows take no nats
    side = "shorter" if saved >= 0 else "longer"
    lines = [
        f"{counted(best, 'cluster')} {agreeing(best, 'makes', 'make')} the shortest code, "
        f"{abs(saved):.1%} {side} than none at all"
    ]
    good = [point.k for point in points if point.is_as_good]
    if facts["resamples"]:
        votes = round((by_k[best].votes or 0) * facts["resamples"])
        lines.append(
            f"{votes} of {facts['resamples']} resampled curves are the lowest there"
            + (
                f"; the curve is flat between {good[0]} and {good[-1]}: their codes differ by less "
                "than the resampled curves vary"
                if len(good) > 1
                else "; no other k of the grid is as good"
            )
        )
    if facts["runners_up"] and shortest:
        longer = {k: by_k[k].nats / shortest - 1 for k in facts["runners_up"]}
        others = [f"{k} ({share:+.2%})" for k, share in longer.items()]
        lines.append(f"runners-up: {', '.join(others)}")
    if facts["loose"]:
        lines.append(
            f"{facts['loose']} of the {best} hold rows that differ more than all rows do: "
            "outliers, not groups"
        )
    if facts["rows_measured"] < facts["rows_in_all"]:
        lines.append(
            f"measured on {facts['rows_measured']:,} of {counted(facts['rows_in_all'], 'row')}, "
            "drawn evenly"
        )
    if best == facts["k_max"]:
        lines.append(f"the code is still getting shorter at k = {best}: raise spectrum.k_max")
    if facts["decided_by"] == "bic":
        clear = curve.manifest.config["clear"]
        why = f"that is less than {clear:.0%} shorter, so the code is no guide: " * (saved < clear)
        lines.append(
            f"{why}{counted(facts['chosen'], 'cluster')} "
            f"{agreeing(facts['chosen'], 'has', 'have')} the highest BIC of k-means, and "
            f"{agreeing(facts['chosen'], 'is', 'are')} chosen; "
            "if you know a better number, give it, e.g. `cpp-pipe assign --k 20`"
        )
    elif saved < _HARDLY:
        lines.append(
            "so the code sees no clear number in these rows: give one, e.g. "
            "`cpp-pipe assign --k 20`"
        )
    return [*lines, *_second_opinion(facts)]


def _second_opinion(facts: Mapping[str, Any]) -> list[str]:
    """One sentence on the number of communities, where it was counted."""
    k, communities = facts["chosen"], facts.get("communities")
    if communities is None:
        return []
    first = "BIC of k-means" if facts["decided_by"] == "bic" else "the shortest code"
    if communities == k:
        return [f"{first} says {k}, and so does a second opinion (Leiden communities)"]
    return [
        f"{first} says {k}; a second opinion (Leiden communities) says {communities}; the "
        f"two span {facts['span_low']} to {facts['span_high']}"
    ]
