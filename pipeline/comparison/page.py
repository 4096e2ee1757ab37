"""A comparison as HTML: a page of its own, or the part that a notebook shows."""

from collections.abc import Sequence

from ..report.markup import Html, join, tag
from ..report.style import CSS
from ..report.svg import draw_svg
from ..report.tables import number, table, table_head
from ..wording import counted
from .cells import (
    AGREEMENT,
    Cell,
    agreement_cells,
    cells_of,
    columns_of,
    describe,
    repetitions,
)
from .comparison import Comparison
from .plots import draw_agreement, draw_scores

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""A browser may load only what the page itself holds."""


def write_page(comparison: Comparison) -> str:
    """The comparison as one HTML file that needs no network."""
    count = len(comparison.groups)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", f"{count} compared"),
        tag("style", Html(CSS)),  # CSS must not be escaped
    )
    main = tag(
        "main",
        tag("header", tag("p", "cpp-pipe", class_="kicker"), tag("h1", "Runs compared")),
        tag("p", describe(comparison), ".", class_="summary"),
        tag("section", tag("h2", "Scores"), scores_table(comparison), _notes(comparison)),
        _plots(comparison),
        _settings(comparison),
        _agreement(comparison),
    )
    return join(Html("<!DOCTYPE html>\n"), tag("html", head, tag("body", main), lang="en")) + "\n"


def scores_table(comparison: Comparison) -> Html:
    """A row for each group."""
    columns = columns_of(comparison)
    cells = [cells_of(comparison, column) for column in columns]
    titles = [table_head(title, is_number=True) for title in ("runs", *(c.title for c in columns))]
    rows = [
        [tag("th", label, scope="row"), number(runs), *map(_cell, row)]
        for label, runs, row in zip(
            _numbered(comparison), repetitions(comparison), zip(*cells, strict=True), strict=True
        )
    ]
    return table("Scores", [table_head(""), *titles], rows)


def _cell(cell: Cell | None) -> Html:
    if cell is None:
        return number("-", "number quiet")
    spread = tag("span", f" ±\N{NO-BREAK SPACE}{cell.spread}", class_="quiet")
    mean = tag("span", cell.mean, class_="best") if cell.is_best else cell.mean
    return number(join(mean, spread if cell.spread else None))


def _notes(comparison: Comparison) -> Html:
    return join(*(tag("p", f"{note}.", class_="note") for note in comparison.notes))


def _plots(comparison: Comparison) -> Html | None:
    figures = []
    if comparison.is_scored:
        groups = counted(len(comparison.groups), "group")
        alt = f"Dot plot of ACC, NMI and ARI of {groups}, as in the table."
        figures.append(_figure("Scores", draw_svg("scores", alt, draw_scores, comparison),
                               "Bars are the standard deviation over seeds."))  # fmt: skip
    if len(comparison.groups) > 1:
        alt = "Heat map of the agreement of each two groups, as in the table below."
        figures.append(_figure("Agreement", draw_svg("agreement", alt, draw_agreement, comparison),
                               "ARI: 1 is the same clusters, 0 is chance."))  # fmt: skip
    return tag("section", tag("div", *figures, class_="pair")) if figures else None


def _figure(title: str, drawn: Html, caption: str) -> Html:
    return tag("figure", tag("h3", title), drawn, tag("figcaption", caption))


def _settings(comparison: Comparison) -> Html | None:
    if not comparison.settings:
        return None
    runs = [place for place, group in enumerate(comparison.groups) if not group.is_rival]
    rows = [
        [tag("th", name, scope="row"), *(number(values[place]) for place in runs)]
        for name, values in comparison.settings.items()
    ]
    head = [table_head(""), *(_labels(comparison)[place] for place in runs)]
    return tag("section", tag("h2", "Settings that differ"), table("Settings", head, rows))


def _agreement(comparison: Comparison) -> Html | None:
    if len(comparison.groups) < 2:
        return None
    rows = [
        [tag("th", label, scope="row"), *map(number, agreement_cells(row))]
        for label, row in zip(_numbered(comparison), comparison.agreement, strict=True)
    ]
    numbers = range(1, len(rows) + 1)
    head = [table_head(""), *(table_head(str(place), is_number=True) for place in numbers)]
    return tag("section", tag("h2", AGREEMENT), table("Agreement", head, rows))


def _numbered(comparison: Comparison) -> list[str]:
    """The labels after the numbers that the plots show."""
    return [f"{number} {group.label}" for number, group in enumerate(comparison.groups, 1)]


def _labels(comparison: Comparison) -> Sequence[Html]:
    return [table_head(group.label, is_number=True) for group in comparison.groups]
