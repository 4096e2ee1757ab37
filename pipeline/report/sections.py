"""Sections of the page: each a heading, its figures, and a sentence on how to read each."""

from ..view.evaluation import Evaluation
from .contents import Contents, Curve, Missing
from .counts import FAR
from .figures import (
    draw_confidence,
    draw_curve,
    draw_deciles,
    draw_novelty,
    draw_sizes,
    runs_of,
)
from .markup import Child, Html, join, tag
from .svg import inline
from .tables import MOST_CLUSTERS, clusters_table, mistakes_table, scores_table


def section(title: str, lead: Child, *children: Child) -> Html:
    """A part of the page under its heading."""
    return tag("section", tag("h2", title), tag("p", lead, class_="lead"), *children)


def captioned(title: str, drawn: Html, caption: Child) -> Html:
    """A figure between its title and a sentence on how to read it."""
    return tag("figure", tag("h3", title), drawn, tag("figcaption", caption))


def _absent(title: str, missing: Missing) -> Html:
    """What stands in place of a figure."""
    told = tag("p", f"Nothing to show: {missing.what}. ", _adds(missing))
    return tag("div", tag("h3", title), told, class_="card absent")


def _adds(missing: Missing) -> Html:
    return join(tag("code", missing.command), f" adds {missing.adds}.")


def how_many(contents: Contents) -> Html:
    """The curve of coding lengths and the sizes."""
    title = "Coding length by number of clusters"
    curve = contents.curve
    left = _absent(title, contents.missing["k_curve"]) if curve is None else _curve(curve, contents)
    lead = (
        "The best number of clusters is the one with which the pictures' features take the "
        "fewest nats to write down."
    )
    return section("How many", lead, tag("div", left, _sizes(contents), class_="pair"))


def _curve(curve: Curve, contents: Contents) -> Html:
    flat = ", ".join(
        f"{curve.k[first]}" if first == last else f"{curve.k[first]} to {curve.k[last]}"
        for first, last in runs_of(curve.as_good)
    )
    good = (
        f"shaded are those that are as good, given how much the curve varies ({flat})"
        if sum(curve.as_good) > 1
        else "given how much the curve varies, no other is as good"
    )
    alt = (
        f"Line chart of the coding length for k from {min(curve.k)} to {max(curve.k)}: the "
        f"shortest is at {_name(curve.shortest)}, {good}."
    )
    has_band = any(low is not None for low in curve.low)
    band = " The band holds the curves of all resamples." if has_band else ""
    has_votes = any(vote is not None for vote in curve.votes)
    votes = " Below: the share of resamples in which each k is the shortest." if has_votes else ""
    used = f" This run has {contents.k} clusters." if contents.k != curve.shortest else ""
    doubt = "" if curve.is_guide else " It is too little shorter than without clusters to decide."
    caption = (
        f"Lower is better. The dot is the shortest, {_name(curve.shortest)}; {good}.{doubt}{band}"
        f"{votes}{used}"
    )
    drawn = inline("curve", alt, draw_curve, curve, contents.k)
    return captioned("Coding length by number of clusters", drawn, caption)


def _name(k: int) -> str:
    """k = 5 in one piece."""
    return f"k\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{k}"


def _sizes(contents: Contents) -> Html:
    tally = contents.tally
    order = tally.largest_first
    sizes = tally.sizes[order]
    alt = (
        f"Sizes of {contents.k} clusters, largest first: from {sizes[0]:,} down to {sizes[-1]:,} "
        "pictures."
    )
    caption = (
        f"Pictures in each cluster, from {sizes[0]:,} down to {sizes[-1]:,}. The steeper the "
        "slope, the less equal the shares; the dashed line is what equal shares would be."
    )
    return captioned("Sizes", inline("sizes", alt, draw_sizes, sizes, order), caption)


def how_sure(contents: Contents) -> Html:
    """Confidence, and what is far from everything."""
    tally = contents.tally
    far = int(tally.far.sum())
    alt = (
        f"Histogram of the confidence of {tally.rows:,} pictures: half of them are above "
        f"{tally.median_confidence:.2f}."
    )
    caption = (
        "A picture's confidence is the share of its links that lead to landmarks of its own "
        f"cluster. Half of all pictures are above {tally.median_confidence:.2f}; the further "
        "right the bars, the clearer the clusters."
    )
    drawn = captioned("Confidence", inline("sure", alt, draw_confidence, tally.bins), caption)
    far_alt = (
        f"Histogram of the novelty of {tally.rows:,} pictures: {far:,} of them are above {FAR:g}."
    )
    far_caption = (
        f"{far:,} of {tally.rows:,} pictures (right of the line) have a novelty above {FAR:g}: "
        "they lie farther from every known embedding than nearly all that were fitted. They are "
        "in the nearest cluster, but need not belong to any. Pictures that are known themselves "
        "stand at 0; heights from 10 up are on a scale of ratios."
    )
    told = captioned(
        "Far from everything",
        inline("far", far_alt, draw_novelty, tally.novelty_bins, FAR),
        far_caption,
    )
    return section(
        "How sure",
        "How clearly each picture belongs to the cluster that it was put into.",
        tag("div", drawn, told, class_="pair"),
    )


def against_labels(contents: Contents) -> Html:
    """Scores, where there are labels."""
    title, found = "Against labels", contents.evaluation
    if found is None:
        return tag("section", tag("h2", title), _absent("Scores", contents.missing["labels"]))
    left = f"; {found.unlabelled:,} without a label are left out" if found.unlabelled else ""
    lead = (
        f"Over {found.n:,} pictures of {found.classes:,} classes in {found.k:,} clusters{left}. "
        "Labels took no part in training or clustering."
    )
    note = (
        "Accuracy matches each cluster to one class, so with more clusters than classes some "
        "pictures must count as wrong. NMI is mutual information, ARI agreement on pairs above "
        "chance; 1 is best for all three."
    )
    return section(
        title,
        lead,
        scores_table(contents),
        tag("p", note, class_="note"),
        tag("div", _deciles(found), _mistakes(found), class_="pair"),
    )


def _deciles(found: Evaluation) -> Html:
    first, last = found.deciles[0], found.deciles[-1]
    alt = (
        f"Accuracy by confidence: {first.accuracy:.2f} in the tenth with the least, "
        f"{last.accuracy:.2f} in the tenth with the most."
    )
    caption = (
        "Each point is a tenth of the pictures. Where the lines rise, confidence can be trusted "
        "to tell which pictures to look at first. Purity counts a picture right when it is of the "
        "most frequent class of its cluster."
    )
    drawn = inline("deciles", alt, draw_deciles, found.deciles)
    return captioned("Right, by confidence", drawn, caption)


def _mistakes(found: Evaluation) -> Html:
    title = tag("h3", "The largest mistakes")
    if not found.mistakes:
        none = tag("p", "None: clusters and classes are the same.")
        return tag("div", title, none, class_="card")
    return tag("div", title, mistakes_table(found), class_="card")


def the_clusters(contents: Contents) -> Html:
    """The table of clusters."""
    lead = "Largest first. Far counts pictures that are far from everything that was fitted."
    if contents.k > MOST_CLUSTERS:
        lead += f" The {MOST_CLUSTERS:,} largest of {contents.k:,} are shown."
    note = None
    if not contents.captions:
        missing = contents.missing["captions"]
        told = join(f"The clusters have no names here: {missing.what}. ", _adds(missing))
        note = tag("p", told, class_="note")
    return section("The clusters", lead, note, clusters_table(contents))
