"""Sections of the report: a heading, figures, and a sentence on how to read each figure."""

from ...stages.drawing.curve_figure import draw_curve
from ..view.curve import KCurve
from ..view.evaluation import Evaluation
from ..view.facts import FAR, Absence
from ..wording import agreeing, counted
from .contents import Contents
from .figures import (
    draw_confidence,
    draw_deciles,
    draw_novelty,
    draw_sizes,
)
from .markup import Child, Html, join, tag
from .svg import draw_svg
from .tables import MOST_CLUSTERS, clusters_table, mistakes_table, scores_table

_CURVE_TITLE = "Coding length by number of clusters"


def section(title: str, lead: Child, *children: Child) -> Html:
    """A part of the report under its heading."""
    return tag("section", tag("h2", title), tag("p", lead, class_="lead"), *children)


def captioned(title: str, drawn: Html, caption: Child) -> Html:
    """A figure between its title and a sentence on how to read it."""
    return tag("figure", tag("h3", title), drawn, tag("figcaption", caption))


def explain(absence: Absence) -> Html:
    """A sentence on why something is not shown, and what to do."""
    return join(f"{absence.reason}. Run ", tag("code", absence.command), ".")


def _absent(title: str, absence: Absence) -> Html:
    """A card in place of a figure."""
    return tag("div", tag("h3", title), tag("p", explain(absence)), class_="card absent")


def count_section(contents: Contents) -> Html:
    """The curve of coding lengths and the sizes of clusters."""
    curve = contents.curve
    left = (
        _absent(_CURVE_TITLE, contents.absences["k_curve"])
        if curve is None
        else _curve(curve, contents)
    )
    lead = (
        "The code of a number of clusters is as long as the nats (1 nat is 1.44 bits) that it "
        "takes to write down the features of all images, cluster by cluster."
    )
    return section("How many clusters", lead, tag("div", left, _sizes(contents), class_="pair"))


def _curve(curve: KCurve, contents: Contents) -> Html:
    points, chosen = curve.points, curve.chosen.k
    is_as_good = [point.is_as_good for point in points]
    alt = (
        f"Line chart of the coding length for k from {points[0].k} to {points[-1].k}: "
        f"{_name(chosen)} is chosen."
    )
    shade = " Shaded: as short as the shortest, given how much the curve varies."
    has_band = any(point.low is not None for point in points)
    has_votes = any(point.votes is not None for point in points)
    used = f" This run has {counted(contents.k, 'cluster')}." if contents.k != chosen else ""
    caption = "".join(
        [
            f"{contents.verdict}. " if contents.verdict else "",
            f"Lower is better. The dot is the chosen number, {_name(chosen)}.",
            shade if sum(is_as_good) > 1 else "",
            " The band holds the curves of all resamples." if has_band else "",
            " Below: the share of resamples in which each k is the shortest." if has_votes else "",
            used,
        ]
    )
    return captioned(_CURVE_TITLE, draw_svg("curve", alt, draw_curve, curve, contents.k), caption)


def _name(k: int) -> str:
    """k = 5 in one piece."""
    return f"k\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{k}"


def _sizes(contents: Contents) -> Html:
    tally = contents.tally
    order = tally.largest_first
    sizes = tally.sizes[order]
    alt = (
        f"Sizes of {counted(contents.k, 'cluster')}, largest first: from {sizes[0]:,} down to "
        f"{counted(int(sizes[-1]), 'image')}."
    )
    caption = (
        f"Images in each cluster, from {sizes[0]:,} down to {sizes[-1]:,}. The steeper the slope, "
        "the less equal the clusters; the dashed line is their mean size."
    )
    return captioned("Sizes", draw_svg("sizes", alt, draw_sizes, sizes, order), caption)


def confidence_section(contents: Contents) -> Html:
    """Histograms of confidence and of novelty."""
    tally = contents.tally
    far = int(tally.far.sum())
    alt = (
        f"Histogram of the confidence of {counted(tally.rows, 'image')}, whose median is "
        f"{tally.median_confidence:.2f}."
    )
    caption = (
        "Confidence is high if only one cluster is near. It is scaled so that its mean is about "
        "the share of images that keep their cluster when clusters are found again on half of "
        f"them. The median is {tally.median_confidence:.2f}. The further right the bars, the "
        "clearer the clusters."
    )
    confidence = captioned(
        "Confidence", draw_svg("confidence", alt, draw_confidence, tally.bins), caption
    )
    far_alt = (
        f"Histogram of the novelty of {counted(tally.rows, 'image')}: {far:,} of them above "
        f"{FAR:g}."
    )
    far_caption = (
        f"{far:,} of {counted(tally.rows, 'image')} (right of the line) "
        f"{agreeing(far, 'has', 'have')} a novelty above {FAR:g}, which means "
        "farther from every known embedding than nearly all that clusters were fitted on. Such "
        "images are in the nearest cluster, but may belong to none. Images that are known "
        "themselves are at 0; the vertical scale is logarithmic from 10 up."
    )
    novelty = captioned(
        "Novelty",
        draw_svg("novelty", far_alt, draw_novelty, tally.novelty_bins, FAR),
        far_caption,
    )
    return section(
        "Confidence and novelty",
        "How clearly each image belongs to its cluster.",
        tag("div", confidence, novelty, class_="pair"),
    )


def scores_section(contents: Contents) -> Html:
    """Scores against labels, if there are labels."""
    title, evaluation = "Scores against labels", contents.evaluation
    if evaluation is None:
        return tag("section", tag("h2", title), _absent("Scores", contents.absences["labels"]))
    unlabelled = (
        f"; {evaluation.unlabelled:,} without a label are left out" if evaluation.unlabelled else ""
    )
    lead = (
        f"Over {counted(evaluation.n, 'image')} of {counted(evaluation.classes, 'class')} in "
        f"{counted(evaluation.k, 'cluster')}{unlabelled}. Neither training nor clustering saw "
        "labels."
    )
    note = (
        "Accuracy matches each cluster with one class, so with more clusters than classes some "
        "images must count as wrong. NMI is normalised mutual information. ARI is agreement on "
        "pairs above chance. 1 is best for all three."
    )
    return section(
        title,
        lead,
        scores_table(evaluation),
        tag("p", note, class_="note"),
        tag("div", _deciles(evaluation), _mistakes(evaluation), class_="pair"),
    )


def _deciles(evaluation: Evaluation) -> Html:
    first, last = evaluation.deciles[0], evaluation.deciles[-1]
    alt = (
        f"Accuracy by confidence: {first.accuracy:.2f} in the least confident tenth, "
        f"{last.accuracy:.2f} in the most confident tenth."
    )
    caption = (
        "Each point is a tenth of the images. Where the lines rise, low confidence finds the "
        "images to check first. Purity is the share of images in the most frequent class of their "
        "cluster."
    )
    drawn = draw_svg("deciles", alt, draw_deciles, evaluation.deciles)
    return captioned("Accuracy by confidence", drawn, caption)


def _mistakes(evaluation: Evaluation) -> Html:
    title = tag("h3", "The largest mistakes")
    if not evaluation.mistakes:
        none = tag("p", "None: clusters and classes are the same.")
        return tag("div", title, none, class_="card")
    return tag("div", title, mistakes_table(evaluation), class_="card")


def clusters_section(contents: Contents) -> Html:
    """The table of clusters."""
    lead = "Largest first. “Far” counts images that are far from everything that was fitted."
    if contents.k > MOST_CLUSTERS:
        lead += f" The {MOST_CLUSTERS:,} largest of {contents.k:,} are shown."
    note = None
    if not contents.captions:
        note = tag("p", explain(contents.absences["captions"]), class_="note")
    return section("Clusters", lead, note, clusters_table(contents))
