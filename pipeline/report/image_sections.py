"""Sections that show pictures: what is in each cluster, and neighbours before and after."""

import base64
from collections.abc import Sequence

from .contents import Contents, Drawn, Mosaic, Neighbourhood
from .markup import Html, breakable, join, tag
from .sections import section

MOST_BYTES = 12_000_000
"""Of pictures on a page, in base64: with all else it stays below 20 MB, which mail carries."""


def what_is_in_them(contents: Contents) -> Html:
    """Mosaics of clusters under their captions (the paper's figure 5), the largest first."""
    shown = _within(MOST_BYTES, [one.drawn for one in contents.mosaics])
    title = "What is in them"
    if not shown:
        return _absent(title, contents)
    lead = "The surest pictures of a cluster, and below them, smaller, those it is least sure of."
    if shown < contents.k:
        lead += f" The {shown:,} largest of {contents.k:,} clusters are shown."
    cards = [_card(one, contents) for one in contents.mosaics[:shown]]
    return section(title, lead, tag("div", *cards, class_="mosaics"), _unreadable(contents))


def neighbours(contents: Contents) -> Html | None:
    """The nearest pictures of a few, before and after refining (the paper's figure 2)."""
    if not contents.neighbourhoods:
        return None
    lead = (
        f"What is nearest to a picture, by cosine among all. One picture of each of the "
        f"{len(contents.neighbourhoods)} largest clusters was drawn at random. Framed pictures are "
        "in another cluster than the first."
    )
    rows = [_neighbourhood(one, contents) for one in contents.neighbourhoods]
    return section("Neighbours, before and after", lead, *rows)


def _within(most: int, drawn: Sequence[Drawn]) -> int:
    """How many of the first pictures have no more bytes together, in base64."""
    spent = 0
    for count, one in enumerate(drawn):
        spent += -(-len(one.jpeg) // 3) * 4
        if spent > most:
            return count
    return len(drawn)


def _card(mosaic: Mosaic, contents: Contents) -> Html:
    cluster, tally = mosaic.cluster, contents.tally
    captions = contents.captions.get(cluster, ())
    name = captions[0][0] if captions else f"Cluster {cluster}"
    others = " · ".join(words for words, _ in captions[1:4])
    number = f"cluster {cluster} · " if captions else ""
    size = int(tally.sizes[cluster])
    facts = f"{number}{size:,} pictures · confidence {tally.confidence[cluster]:.2f}"
    alt = f"{name}: its {mosaic.surest} surest pictures"
    alt += f", and {mosaic.doubtful} doubtful ones." if mosaic.doubtful else "."
    told = tag(
        "figcaption",
        tag("strong", name),
        tag("span", others) if others else None,
        tag("span", facts),
    )
    return tag("figure", _picture(mosaic.drawn, alt), told)


def _neighbourhood(one: Neighbourhood, contents: Contents) -> Html:
    captions = contents.captions.get(one.cluster, ())
    name = captions[0][0] if captions else f"cluster {one.cluster}"
    title = tag("h3", breakable(one.key), tag("span", f", {name}", class_="quiet"))
    first = tag("div", _picture(one.picture, one.key), class_="first")
    sides = []
    for when, strip, same in (
        ("Before: embeddings", one.before, one.same_before),
        ("After: features", one.after, one.same_after),
    ):
        told = f"{same} of {one.of} are in the same cluster"
        alt = f"The {one.of} pictures nearest to {one.key}; {told}."
        sides.append(tag("div", tag("h4", f"{when}, {told}"), _picture(strip, alt)))
    return tag("div", title, first, *sides, class_="card neighbours")


def _picture(drawn: Drawn, alt: str) -> Html:
    data = base64.b64encode(drawn.jpeg).decode()
    return tag(
        "img",
        src=f"data:image/jpeg;base64,{data}",
        width=drawn.width,
        height=drawn.height,
        alt=alt,
    )


def _absent(title: str, contents: Contents) -> Html:
    missing = contents.missing.get("pictures")
    told = missing.what if missing else "the page was asked for without pictures"
    return section(title, join(f"No pictures: {told}."))


def _unreadable(contents: Contents) -> Html | None:
    missing = contents.missing.get("pictures")
    return None if missing is None else tag("p", missing.what, ".", class_="note")
