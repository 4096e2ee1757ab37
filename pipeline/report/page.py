"""The report of a run as one self-contained HTML file that needs no network."""

from ..wording import agreeing, counted
from .contents import Contents
from .decisions import decisions_section
from .image_sections import images_section, neighbours_section
from .markup import Child, Html, join, tag
from .refinement import refinement_section
from .sections import (
    clusters_section,
    confidence_section,
    count_section,
    scores_section,
    section,
)
from .style import CSS
from .tables import format_date, versions_table

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""A browser may load only what the report itself holds."""


def write_page(contents: Contents) -> str:
    """The report as HTML. The same contents give the same text."""
    title = (
        f"{contents.run}: {counted(contents.k, 'cluster')} of "
        f"{counted(contents.tally.rows, 'image')}"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="generator", content=f"cpp-pipe {contents.cpp_pipe}"),
        tag("title", title),
        # CSS must not be escaped. It is our own, so it is safe.
        tag("style", Html(CSS)),
    )
    main = tag(
        "main",
        _header(contents),
        decisions_section(contents),
        count_section(contents),
        images_section(contents),
        refinement_section(contents),
        neighbours_section(contents),
        confidence_section(contents),
        scores_section(contents),
        clusters_section(contents),
        _versions(contents),
        _footer(contents),
    )
    return join(Html("<!DOCTYPE html>\n"), tag("html", head, tag("body", main), lang="en")) + "\n"


def _header(contents: Contents) -> Html:
    tally, evaluation = contents.tally, contents.evaluation
    facts: list[tuple[str, str, str]] = [
        ("largest cluster", f"{tally.sizes.max() / tally.rows:.1%}", "of all images"),
        ("median confidence", f"{tally.median_confidence:.2f}", "of 1"),
        ("far from everything", f"{int(tally.far.sum()):,}", f"of {tally.rows:,}"),
    ]
    if contents.decisions is not None:
        excluded = int(contents.decisions.excluded.sum())
        facts.append(("excluded", f"{excluded:,}", f"of {tally.rows + excluded:,}"))
    if evaluation is not None:
        kmeans = f"{evaluation.kmeans_method} {evaluation.kmeans.acc:.1%}"
        others = f"{kmeans}, chance {evaluation.chance.acc:.1%}"
        facts.append(("accuracy", f"{evaluation.clusters.acc:.1%}", others))
    return tag(
        "header",
        tag("p", "cpp-pipe, run ", contents.run, class_="kicker"),
        tag("h1", f"{counted(tally.rows, 'image')} in {counted(contents.k, 'cluster')}"),
        tag("p", *_summary(contents), class_="summary"),
        tag("dl", *(_fact(*fact) for fact in facts), class_="facts"),
        tag("p", *_slots(contents), class_="slots"),
    )


def _fact(name: str, value: str, note: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", value, " ", tag("small", note)))


def _summary(contents: Contents) -> list[Child]:
    counts = contents.counts
    text = (
        f"Of {counted(counts.seen, 'image')} seen, {counts.embedded:,} "
        f"{agreeing(counts.embedded, 'was', 'were')} embedded with "
        f"{contents.model} and {counts.seen - counts.embedded:,} skipped."
    )
    if not contents.made_at:
        return [text]
    date = tag("span", format_date(contents.made_at), class_="whole")
    return [text, " The newest artifact is of ", date, "."]


def _slots(contents: Contents) -> list[Html]:
    """The version that each slot holds."""
    return [
        tag("span", version.slot, " ", tag("code", version.version), class_="whole")
        for version in contents.versions
    ]


def _versions(contents: Contents) -> Html:
    counts = contents.counts
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.skipped.items())
    lead = (
        f"Seen {counts.seen:,} = embedded {counts.embedded:,} + skipped "
        f"{counts.seen - counts.embedded:,}"
        + (f" ({reasons})" if reasons else "")
        + ". A version is the hash of everything that decides its numbers."
    )
    return section("Versions", lead, versions_table(contents.versions))


def _footer(contents: Contents) -> Html:
    return tag(
        "footer",
        f"Written by cpp-pipe {contents.cpp_pipe}. This one file holds the whole report.",
    )
