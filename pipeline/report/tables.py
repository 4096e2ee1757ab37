"""Tables of the report: clusters, scores, and versions."""

import json
from collections.abc import Mapping, Sequence

from ..view.evaluation import Evaluation, Scores
from ..view.facts import Version
from .contents import Contents, Decisions
from .markup import Child, Html, breakable, join, tag

MOST_CLUSTERS = 1000
"""Clusters in the table; the smallest are left out."""

_MOST_CAPTIONS = 3
_MOST_MISTAKES = 12


def table(name: str, head: Sequence[Html], rows: Sequence[Sequence[Html]]) -> Html:
    """A table that scrolls inside itself, by touch and by keyboard."""
    top = tag("thead", tag("tr", *head))
    body = tag("tbody", *(tag("tr", *row) for row in rows))
    element = tag("table", top, body)
    return tag("div", element, class_="scroll", tabindex=0, role="region", aria_label=name)


def table_head(text: str, *, is_number: bool = False) -> Html:
    """A heading of a column."""
    return tag("th", text, scope="col", class_="number" if is_number else None)


def number(text: Child, class_: str = "number") -> Html:
    """A cell of a number."""
    return tag("td", text, class_=class_)


def clusters_table(contents: Contents) -> Html:
    """A row a cluster, largest first."""
    tally = contents.tally
    shown = tally.largest_first[:MOST_CLUSTERS]
    most = max(1, int(tally.sizes.max()))
    decided, purities = contents.decisions, _purities(contents.evaluation)
    has_names = bool(contents.captions) or bool(decided and decided.names)
    head = [
        table_head("cluster", is_number=True),
        *([table_head(_names_head(contents))] if has_names else []),
        table_head("images", is_number=True),
        table_head(""),
        *([table_head("excluded", is_number=True), table_head("tags")] if decided else []),
        *(
            [table_head("largest class"), table_head("its share", is_number=True)]
            if purities
            else []
        ),
        table_head("confidence", is_number=True),
        table_head("far", is_number=True),
        table_head("surest image"),
    ]
    rows = []
    for cluster in shown:
        size = int(tally.sizes[cluster])
        bar = tag("span", style=f"width: {100 * size / most:.1f}%") if size else None
        majority, purity = purities.get(cluster, (None, None))
        rows.append(
            [
                tag("th", cluster, scope="row", class_="number"),
                *([_names_cell(contents, cluster)] if has_names else []),
                number(f"{size:,}"),
                tag("td", bar, class_="bar"),
                *(_decided_cells(decided, cluster) if decided else []),
                *(
                    [
                        tag("td", breakable(majority or "–"), class_="key"),
                        number("–" if purity is None else f"{purity:.0%}"),
                    ]
                    if purities
                    else []
                ),
                number(f"{tally.confidence[cluster]:.2f}" if size else "–"),
                number(f"{int(tally.far[cluster]):,}" if tally.far[cluster] else "–"),
                tag("td", tag("code", breakable(tally.surest[cluster] or "–")), class_="key"),
            ]
        )
    return table("Clusters", head, rows)


def _names_head(contents: Contents) -> str:
    if contents.decisions is None or not contents.decisions.names:
        return "captions, by share"
    return "name; captions, by share" if contents.captions else "name"


def _decided_cells(decided: Decisions, cluster: int) -> list[Html]:
    """The number of excluded images of a cluster, and the number with each tag."""
    excluded = int(decided.excluded[cluster])
    tags = sorted(decided.tags_of.get(cluster, {}).items(), key=lambda item: (-item[1], item[0]))
    words = ", ".join(f"{name} {count:,}" for name, count in tags)
    return [number(f"{excluded:,}" if excluded else "–"), tag("td", words or "–", class_="words")]


def _names_cell(contents: Contents, cluster: int) -> Html:
    """The given name or the first caption, and below it other captions."""
    captions = [f"{words} {score:.0%}" for words, score in contents.captions.get(cluster, ())]
    name = contents.given_name(cluster)
    captions = captions if name is None else [name, *captions]
    if not captions:
        return tag("td", "–", class_="words")
    first, others = tag("strong", captions[0]), ", ".join(captions[1:_MOST_CAPTIONS])
    return tag("td", first, tag("br"), tag("span", others, class_="quiet"), class_="words")


def _purities(evaluation: Evaluation | None) -> Mapping[int, tuple[str, float]]:
    rows = () if evaluation is None else evaluation.per_cluster
    return {row.cluster: (row.majority, row.purity) for row in rows}


def scores_table(evaluation: Evaluation) -> Html:
    """Three rows of scores: the clusters, k-means, and chance."""
    rows_of_scores = [
        ("these clusters", evaluation.clusters),
        (f"{evaluation.kmeans_method} on the embeddings", evaluation.kmeans),
        ("chance, with the same sizes", evaluation.chance),
    ]
    head = [
        table_head(""),
        *(table_head(name, is_number=True) for name in ("accuracy", "NMI", "ARI")),
    ]
    best = [max(_three(scores)[column] for _, scores in rows_of_scores) for column in range(3)]
    rows = [
        [
            tag("th", name, scope="row"),
            *(
                number(_signed(score), "number best" if score == top else "number quiet")
                for score, top in zip(_three(scores), best, strict=True)
            ),
        ]
        for name, scores in rows_of_scores
    ]
    return table("Scores against labels", head, rows)


def mistakes_table(evaluation: Evaluation) -> Html:
    """The classes of which most images went into a cluster of another class."""
    head = [
        table_head("class"),
        table_head("went into", is_number=True),
        table_head("matched with"),
        table_head("images", is_number=True),
    ]
    rows = [
        [
            tag("th", breakable(mistake.label), scope="row", class_="key"),
            number(mistake.cluster),
            tag("td", breakable(mistake.matched or "no class"), class_="key"),
            number(join(f"{mistake.rows:,} ", tag("span", f"{mistake.share:.0%}", class_="quiet"))),
        ]
        for mistake in evaluation.mistakes[:_MOST_MISTAKES]
    ]
    return table("The largest mistakes", head, rows)


def _signed(score: float) -> str:
    """Three decimals; zero has no sign."""
    return f"{round(score, 3) + 0.0:.3f}".replace("-", "−")


def _three(scores: Scores) -> tuple[float, float, float]:
    return scores.acc, scores.nmi, scores.ari


def versions_table(versions: Sequence[Version]) -> Html:
    """The artifacts of the run, in the order in which data flows, and what each was made from."""
    head = [
        table_head("slot"),
        table_head("version"),
        table_head("rows", is_number=True),
        table_head("stage"),
        table_head("made from"),
        table_head("made"),
    ]
    return table("Versions of this run", head, [_version_cells(version) for version in versions])


def _version_cells(version: Version) -> list[Html]:
    settings = json.dumps(version.settings, indent=1, sort_keys=True, ensure_ascii=False)
    details = tag("details", tag("summary", version.stage), tag("pre", tag("code", settings)))
    inputs = [piece for name in version.inputs for piece in (tag("code", name), tag("br"))]
    seconds = "" if version.seconds is None else f"{version.seconds:,.1f} s on {version.device}"
    return [
        tag("th", version.slot, scope="row"),
        tag("td", tag("code", version.version), class_="whole"),
        number(f"{version.rows:,}"),
        tag("td", details if version.settings else version.stage),
        tag("td", join(*inputs[:-1]) if inputs else "your files", class_="whole"),
        tag(
            "td",
            format_date(version.date),
            tag("br"),
            tag("span", seconds, class_="quiet"),
            class_="whole",
        ),
    ]


def format_date(date: str) -> str:
    """An ISO date to the minute; any other text as it is."""
    return date[:16].replace("T", " ") + (" UTC" if date.endswith("+00:00") else "")
