"""The page of a run: HTML that stands alone, and asks nothing of any network."""

from .contents import Contents
from .image_sections import neighbours, what_is_in_them
from .markup import Child, Html, join, tag
from .refinement import what_refining_did
from .sections import against_labels, how_many, how_sure, section, the_clusters
from .style import CSS
from .tables import day, versions_table

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser may load for the page: nothing but what stands in it."""


def write_page(contents: Contents) -> str:
    """The page as HTML. The same contents give the same text."""
    title = f"{contents.run}: {contents.k:,} clusters of {contents.tally.rows:,} pictures"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="generator", content=f"cpp-pipe {contents.cpp_pipe}"),
        tag("title", title),
        # CSS is no text to be escaped, and nobody's but ours.
        tag("style", Html(CSS)),
    )
    main = tag(
        "main",
        _header(contents),
        how_many(contents),
        what_is_in_them(contents),
        what_refining_did(contents),
        neighbours(contents),
        how_sure(contents),
        against_labels(contents),
        the_clusters(contents),
        _origin(contents),
        _footer(contents),
    )
    return join(Html("<!DOCTYPE html>\n"), tag("html", head, tag("body", main), lang="en")) + "\n"


def _header(contents: Contents) -> Html:
    tally, found = contents.tally, contents.evaluation
    facts: list[tuple[str, str, str]] = [
        ("largest cluster", f"{tally.sizes.max() / tally.rows:.1%}", "of all pictures"),
        ("median confidence", f"{tally.median_confidence:.2f}", "of 1"),
        ("far from everything", f"{int(tally.far.sum()):,}", f"of {tally.rows:,}"),
    ]
    if found is not None:
        beside = f"k-means {found.kmeans.acc:.1%}, chance {found.chance.acc:.1%}"
        facts.append(("accuracy", f"{found.clusters.acc:.1%}", beside))
    return tag(
        "header",
        tag("p", "cpp-pipe, run ", contents.run, class_="kicker"),
        tag("h1", f"{tally.rows:,} pictures in {contents.k:,} clusters"),
        tag("p", *_summary(contents), class_="summary"),
        tag("dl", *(_fact(*fact) for fact in facts), class_="facts"),
        tag("p", *_slots(contents), class_="slots"),
    )


def _fact(name: str, value: str, beside: str) -> Html:
    told = tag("dd", value, " ", tag("small", beside))
    return tag("div", tag("dt", name), told)


def _summary(contents: Contents) -> list[Child]:
    lost = contents.seen - contents.embedded
    counts = (
        f"Of {contents.seen:,} that were seen, {contents.embedded:,} were embedded with "
        f"{contents.model} and {lost:,} skipped."
    )
    if not contents.made_at:
        return [counts]
    when = tag("span", day(contents.made_at), class_="whole")
    return [counts, " The newest part is of ", when, "."]


def _slots(contents: Contents) -> list[Html]:
    """Which version of each kind the page is of."""
    return [
        tag("span", row.slot, " ", tag("code", row.version), class_="whole")
        for row in contents.versions
    ]


def _origin(contents: Contents) -> Html:
    lost = contents.seen - contents.embedded
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in contents.skipped.items())
    lead = (
        f"Seen {contents.seen:,} = embedded {contents.embedded:,} + skipped {lost:,}"
        + (f" ({reasons})" if reasons else "")
        + ". Each version is the hash of all that decided its numbers."
    )
    return section("Where it comes from", lead, versions_table(contents.versions))


def _footer(contents: Contents) -> Html:
    return tag(
        "footer",
        f"Written by cpp-pipe {contents.cpp_pipe}. All of it is in this one file.",
    )
