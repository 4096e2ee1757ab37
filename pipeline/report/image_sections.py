"""Sections that show images: the members of each cluster, and neighbours before and after."""

import base64
from collections.abc import Sequence

from ..wording import agreeing, counted
from .contents import Contents, Jpeg, Mosaic, Neighbourhood
from .markup import Html, breakable, tag
from .sections import section

MOST_BYTES = 12_000_000
"""Bytes of all images, in base64: the report stays below the 20 MB that mail carries."""


def images_section(contents: Contents) -> Html:
    """Mosaics of clusters under their captions (the paper's figure 5), largest cluster first."""
    shown = _count_within(MOST_BYTES, [mosaic.image for mosaic in contents.mosaics])
    title, absence = "Images of each cluster", contents.absences.get("images")
    if not shown:
        if absence is None:
            return section(title, "None, because --no-pictures was given.")
        return section(title, f"None: {absence.reason}.")
    lead = "The surest images of each cluster; below them, smaller, those it is least sure of."
    if shown < contents.k:
        which = f"{shown:,} largest of {counted(contents.k, 'cluster')}"
        lead += f" The {which} {agreeing(shown, 'is', 'are')} shown."
    cards = [_card(mosaic, contents) for mosaic in contents.mosaics[:shown]]
    note = None if absence is None else tag("p", absence.reason, ".", class_="note")
    return section(title, lead, tag("div", *cards, class_="mosaics"), note)


def neighbours_section(contents: Contents) -> Html | None:
    """The images nearest to a few, before and after refining (the paper's figure 2)."""
    if not contents.neighbourhoods:
        return None
    count = len(contents.neighbourhoods)
    clusters = f"each of {count} of the largest clusters" if count > 1 else "one cluster"
    lead = (
        f"One image of {clusters}, drawn at random, and the images nearest to it by cosine. Framed "
        "images are in another cluster than the first."
    )
    rows = [_neighbourhood(neighbourhood, contents) for neighbourhood in contents.neighbourhoods]
    return section("Nearest images, before and after refining", lead, *rows)


def _count_within(most: int, images: Sequence[Jpeg]) -> int:
    """The number of first images that together have at most `most` bytes, in base64."""
    total = 0
    for count, image in enumerate(images):
        total += -(-len(image.data) // 3) * 4
        if total > most:
            return count
    return len(images)


def _card(mosaic: Mosaic, contents: Contents) -> Html:
    cluster, tally = mosaic.cluster, contents.tally
    own_name = contents.name_of(cluster)
    name = own_name or f"Cluster {cluster}"
    captions = [caption.words for caption in contents.captions.get(cluster, ())]
    others = " · ".join([words for words in captions if words != name][:3])
    number = f"cluster {cluster} · " if own_name else ""
    size = int(tally.sizes[cluster])
    facts = f"{number}{counted(size, 'image')} · confidence {tally.confidence[cluster]:.2f}"
    alt = f"{name}: its {counted(mosaic.surest, 'surest image')}"
    alt += f", and {mosaic.doubtful} doubtful ones." if mosaic.doubtful else "."
    caption = tag(
        "figcaption",
        tag("strong", name),
        tag("span", others) if others else None,
        tag("span", facts),
    )
    return tag("figure", _image(mosaic.image, alt), caption)


def _neighbourhood(neighbourhood: Neighbourhood, contents: Contents) -> Html:
    key, count = neighbourhood.key, neighbourhood.count
    name = contents.name_of(neighbourhood.cluster) or f"cluster {neighbourhood.cluster}"
    title = tag("h3", breakable(key), tag("span", f", {name}", class_="quiet"))
    first = tag("div", _image(neighbourhood.image, key), class_="first")
    sides = []
    for when, strip, same in (
        ("Before: embeddings", neighbourhood.before, neighbourhood.same_before),
        ("After: features", neighbourhood.after, neighbourhood.same_after),
    ):
        share = f"{same} of {count} {agreeing(count, 'is', 'are')} in the same cluster"
        alt = f"The {counted(count, 'image')} nearest to {key}; {share}."
        sides.append(tag("div", tag("h4", f"{when}, {share}"), _image(strip, alt)))
    return tag("div", title, first, *sides, class_="card neighbours")


def _image(image: Jpeg, alt: str) -> Html:
    data = base64.b64encode(image.data).decode()
    return tag(
        "img",
        src=f"data:image/jpeg;base64,{data}",
        width=image.width,
        height=image.height,
        alt=alt,
    )
