"""The section that compares embeddings with features: before and after refining."""

from math import isnan
from typing import NamedTuple

from ..wording import counted
from .contents import Contents, Sample, Space
from .figures import FLOOR, draw_cosines, draw_singular_values
from .markup import Html, tag
from .sections import captioned, section
from .svg import draw_svg

_TENTH = 0.1
"""Share of the largest singular value; directions above it count as used."""


class _Side(NamedTuple):
    """The words for one of the two spaces."""

    name: str
    title: str
    cosines_caption: str
    values_caption: str


_BEFORE = _Side(
    "before",
    "Before: {} of the embeddings",
    "Each dot compares two images, in the order of their clusters. As in the paper, embeddings are "
    "not centred: they share a direction, so that all of them are alike.",
    "The first direction is what all embeddings share, because they are not centred. A line that "
    "drops at once means that few directions are used.",
)
_AFTER = _Side(
    "after",
    "After: {} of the features",
    "The same images in the same order and colours. Bright squares along the diagonal on a "
    "dark background are clusters that have nothing in common with each other.",
    "A thick line that stays high, above thin lines that drop early, means that all clusters "
    "together fill the space, and each of them fills little of it.",
)


def refinement_section(contents: Contents) -> Html:
    """Cosines and singular values, before and after."""
    sides = ((_BEFORE, contents.raw), (_AFTER, contents.refined))
    lead = (
        "Refining pulls the images of one cluster into a small space of their own, and the spaces "
        "of different clusters apart."
    )
    return section(
        "Before and after refining",
        lead,
        tag("div", *(_cosines(*side, contents.sample) for side in sides), class_="pair"),
        tag("div", *(_values(*side) for side in sides), class_="pair"),
        tag("p", _describe_sample(contents), class_="note"),
    )


def _cosines(side: _Side, space: Space, sample: Sample) -> Html:
    means = [
        f"{mean:.2f} {where}"
        for mean, where in (
            (space.within, "within a cluster"),
            (space.between, "between clusters"),
        )
        if not isnan(mean)
    ]
    contrast = f"Mean |cosine| is {' and '.join(means)}. " if means else ""
    rows = sample.heat_map_rows
    alt = (
        f"Heat map of |cosine| between {counted(sum(rows.values()), 'image')} of the clusters "
        f"{', '.join(map(str, rows))}. {contrast}"
    ).strip()
    drawn = draw_svg(f"{side.name}-c", alt, draw_cosines, space.cosines, rows)
    return captioned(side.title.format("|cosines|"), drawn, contrast + side.cosines_caption)


def _values(side: _Side, space: Space) -> Html:
    used = int((space.overall > _TENTH).sum())
    share = (
        f"{used} of {counted(space.size, 'direction')} carry more than a tenth of the strongest one"
    )
    alt = (
        f"Line chart of singular values over the largest, logarithmic, down to {FLOOR:g}. "
        f"Over all images, {share}."
    )
    drawn = draw_svg(f"{side.name}-v", alt, draw_singular_values, space)
    caption = f"Over all images, {share}. {side.values_caption}"
    return captioned(side.title.format("singular values"), drawn, caption)


def _describe_sample(contents: Contents) -> str:
    """A note on the rows that the figures show."""
    sample, tally = contents.sample, contents.tally
    drawn = len(sample.overall)
    overall = f"all {counted(tally.rows, 'image')}"
    if drawn < tally.rows:
        overall = f"a random sample of {drawn:,} of {counted(tally.rows, 'image')}"
    most = max(map(len, sample.of_cluster.values()))
    is_cut = any(len(rows) < tally.sizes[cluster] for cluster, rows in sample.of_cluster.items())
    of_each = f"up to {counted(most, 'random image')}" if is_cut else "all images"
    count = len(sample.of_cluster)
    largest = "the largest cluster" if count == 1 else f"each of the {count} largest clusters"
    heat_map_rows = max(sample.heat_map_rows.values())
    return (
        f"Singular values are those of {overall}, and of {of_each} of {largest}. The heat maps "
        f"show up to {heat_map_rows} random images of {largest}."
    )
