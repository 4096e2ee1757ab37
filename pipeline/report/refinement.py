"""The section on what refining did: how rows lay before, and how they lie after."""

from math import isnan
from typing import NamedTuple

from .contents import Contents, Sample, Space
from .figures import FLOOR, draw_cosines, draw_singular_values
from .markup import Html, tag
from .sections import captioned, section
from .svg import inline

_TENTH = 0.1
"""Of the largest singular value: from there on a direction counts."""


class _Side(NamedTuple):
    """What is said of one of the two spaces."""

    name: str
    title: str
    of_cosines: str
    of_values: str


_BEFORE = _Side(
    "before",
    "Before: {} of the embeddings",
    "Each dot compares two pictures, which stand cluster by cluster. As in the paper, nothing is "
    "subtracted from the embeddings: they share a direction, so that all of them are alike.",
    "The first is what all embeddings share; nothing is subtracted. A line that falls at once "
    "means that few directions are in use.",
)
_AFTER = _Side(
    "after",
    "After: {} of the features",
    "The same pictures in the same order and the same colours. Bright squares along the diagonal "
    "on a dark ground are clusters that have nothing in common with one another.",
    "A thick line that stays high, over thin lines that drop early: all clusters together fill "
    "the space, and each of them little of it.",
)


def what_refining_did(contents: Contents) -> Html:
    """Cosines and singular values, before and after."""
    sides = ((_BEFORE, contents.raw), (_AFTER, contents.refined))
    lead = (
        "Refining pulls the pictures of one cluster into a small space of their own, and the "
        "spaces of different clusters apart."
    )
    return section(
        "What refining did",
        lead,
        tag("div", *(_cosines(*side, contents.sample) for side in sides), class_="pair"),
        tag("div", *(_values(*side) for side in sides), class_="pair"),
        tag("p", _of_the_sample(contents), class_="note"),
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
    alt = (
        f"Heat map of |cosine| between {sum(sample.pictured.values())} pictures of the clusters "
        f"{', '.join(map(str, sample.pictured))}. {contrast}"
    ).strip()
    drawn = inline(f"{side.name}-c", alt, draw_cosines, space.cosines, sample.pictured)
    return captioned(side.title.format("|cosines|"), drawn, contrast + side.of_cosines)


def _values(side: _Side, space: Space) -> Html:
    wide = int((space.overall > _TENTH).sum())
    told = f"{wide} of {space.size} directions carry more than a tenth of the strongest one"
    alt = (
        "Line chart of singular values over the largest, on a scale of ratios down to "
        f"{FLOOR:g}. Over all pictures, {told}."
    )
    drawn = inline(f"{side.name}-v", alt, draw_singular_values, space)
    caption = f"{told} over all pictures. {side.of_values}"
    return captioned(side.title.format("singular values"), drawn, caption)


def _of_the_sample(contents: Contents) -> str:
    """Which rows were drawn."""
    sample, tally = contents.sample, contents.tally
    drawn = len(sample.overall)
    overall = f"all {tally.rows:,} pictures"
    if drawn < tally.rows:
        overall = f"a random sample of {drawn:,} of {tally.rows:,} pictures"
    most = max(map(len, sample.of_cluster.values()))
    is_cut = any(len(rows) < tally.sizes[one] for one, rows in sample.of_cluster.items())
    of_each = f"up to {most:,} random pictures" if is_cut else "all pictures"
    count = len(sample.of_cluster)
    largest = "the largest cluster" if count == 1 else f"each of the {count} largest clusters"
    pictured = max(sample.pictured.values())
    return (
        f"Singular values are those of {overall}, and of {of_each} of {largest}. The heat maps "
        f"show up to {pictured} random pictures of {largest}."
    )
