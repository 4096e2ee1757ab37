"""Tables of the page: clusters, scores, and what the run is made of."""

import json
from collections.abc import Mapping, Sequence

from ..view.evaluation import Evaluation, Scores
from .contents import Contents, VersionRow
from .markup import Child, Html, breakable, join, tag

MOST_CLUSTERS = 1000
"""Rows of the table of clusters; the smallest are left out."""

_MOST_CAPTIONS = 3
_MOST_MISTAKES = 12


def table(name: str, head: Sequence[Html], rows: Sequence[Sequence[Html]]) -> Html:
    """A table that scrolls inside itself, by touch and by keyboard."""
    top = tag("thead", tag("tr", *head))
    body = tag("tbody", *(tag("tr", *row) for row in rows))
    made = tag("table", top, body)
    return tag("div", made, class_="scroll", tabindex=0, role="region", aria_label=name)


def _head(text: str, *, is_number: bool = False) -> Html:
    return tag("th", text, scope="col", class_="number" if is_number else None)


def _number(text: Child, class_: str = "number") -> Html:
    return tag("td", text, class_=class_)


def clusters_table(contents: Contents) -> Html:
    """A row a cluster, largest first."""
    tally = contents.tally
    shown = tally.largest_first[:MOST_CLUSTERS]
    most = max(1, int(tally.sizes.max()))
    has_captions, purities = bool(contents.captions), _purities(contents)
    head = [
        _head("cluster", is_number=True),
        *([_head("captions, by share")] if has_captions else []),
        _head("pictures", is_number=True),
        _head(""),
        *([_head("largest class"), _head("its share", is_number=True)] if purities else []),
        _head("confidence", is_number=True),
        _head("far", is_number=True),
        _head("surest picture"),
    ]
    rows = []
    for cluster in shown:
        size = int(tally.sizes[cluster])
        bar = tag("span", style=f"width: {100 * size / most:.1f}%") if size else None
        majority, purity = purities.get(cluster, (None, None))
        rows.append(
            [
                tag("th", cluster, scope="row", class_="number"),
                *([_captions_cell(contents, cluster)] if has_captions else []),
                _number(f"{size:,}"),
                tag("td", bar, class_="bar"),
                *(
                    [
                        tag("td", breakable(majority or "–"), class_="key"),
                        _number("–" if purity is None else f"{purity:.0%}"),
                    ]
                    if purities
                    else []
                ),
                _number(f"{tally.confidence[cluster]:.2f}" if size else "–"),
                _number(f"{int(tally.far[cluster]):,}" if tally.far[cluster] else "–"),
                tag("td", tag("code", breakable(tally.surest[cluster] or "–")), class_="key"),
            ]
        )
    return table("The clusters", head, rows)


def _captions_cell(contents: Contents, cluster: int) -> Html:
    told = [f"{words} {share:.0%}" for words, share in contents.captions.get(cluster, ())]
    if not told:
        return tag("td", "–", class_="words")
    first, others = tag("strong", told[0]), ", ".join(told[1:_MOST_CAPTIONS])
    return tag("td", first, tag("br"), tag("span", others, class_="quiet"), class_="words")


def _purities(contents: Contents) -> Mapping[int, tuple[str, float]]:
    found = contents.evaluation
    rows = () if found is None else found.per_cluster
    return {row.cluster: (row.majority, row.purity) for row in rows}


def scores_table(contents: Contents) -> Html:
    """Three rows of scores: the clusters, k-means, and chance."""
    found = contents.evaluation
    assert found is not None
    named = [
        ("these clusters", found.clusters),
        ("k-means on the embeddings", found.kmeans),
        ("chance, with the same sizes", found.chance),
    ]
    head = [
        _head(""),
        *(_head(name, is_number=True) for name in ("accuracy", "NMI", "ARI")),
    ]
    best = [max(_three(scores)[column] for _, scores in named) for column in range(3)]
    rows = [
        [
            tag("th", name, scope="row"),
            *(
                _number(_signed(one), "number best" if one == top else "number quiet")
                for one, top in zip(_three(scores), best, strict=True)
            ),
        ]
        for name, scores in named
    ]
    return table("Scores against labels", head, rows)


def mistakes_table(found: Evaluation) -> Html:
    """The classes that went, in the largest numbers, into a cluster of another class."""
    head = [
        _head("class"),
        _head("went into", is_number=True),
        _head("matched with"),
        _head("pictures", is_number=True),
    ]
    rows = [
        [
            tag("th", breakable(one.label), scope="row", class_="key"),
            _number(one.cluster),
            tag("td", breakable(one.matched or "no class"), class_="key"),
            _number(join(f"{one.rows:,} ", tag("span", f"{one.share:.0%}", class_="quiet"))),
        ]
        for one in found.mistakes[:_MOST_MISTAKES]
    ]
    return table("The largest mistakes", head, rows)


def _signed(score: float) -> str:
    """Three places, without a zero that has a sign."""
    return f"{round(score, 3) + 0.0:.3f}".replace("-", "−")


def _three(scores: Scores) -> tuple[float, float, float]:
    return scores.acc, scores.nmi, scores.ari


def versions_table(versions: Sequence[VersionRow]) -> Html:
    """What the run holds, in the order of data flow, and what each was made from."""
    head = [
        _head("slot"),
        _head("version"),
        _head("rows", is_number=True),
        _head("stage"),
        _head("made from"),
        _head("made"),
    ]
    return table("Versions of this run", head, [_version_cells(row) for row in versions])


def _version_cells(row: VersionRow) -> list[Html]:
    settings = json.dumps(row.settings, indent=1, sort_keys=True, ensure_ascii=False)
    opened = tag("details", tag("summary", row.stage), tag("pre", tag("code", settings)))
    sources = [piece for one in row.made_from for piece in (tag("code", one), tag("br"))]
    seconds = "" if row.seconds is None else f"{row.seconds:,.1f} s on {row.device}"
    return [
        tag("th", row.slot, scope="row"),
        tag("td", tag("code", row.version), class_="whole"),
        _number(f"{row.rows:,}"),
        tag("td", opened if row.settings else row.stage),
        tag("td", join(*sources[:-1]) if sources else "files of the user", class_="whole"),
        tag("td", day(row.date), tag("br"), tag("span", seconds, class_="quiet"), class_="whole"),
    ]


def day(date: str) -> str:
    """A moment as people read it; what is no moment stays as it is."""
    return date[:16].replace("T", " ") + (" UTC" if date.endswith("+00:00") else "")
