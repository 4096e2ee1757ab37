"""The section of what people decided: names, tags and exclusions."""

from ..wording import agreeing, counted
from .contents import Contents, Decisions
from .markup import Html, breakable, tag
from .sections import section
from .tables import number, table, table_head


def decisions_section(contents: Contents) -> Html | None:
    """Numbers of excluded and moved images, and a table of tags; None without decisions."""
    decided = contents.decisions
    if decided is None:
        return None
    lead = " ".join(_sentences(decided))
    if not decided.tags:
        return section("Decisions", lead)
    head = [table_head("tag"), table_head("images", is_number=True)]
    rows = [
        [tag("th", breakable(name), scope="row", class_="key"), number(f"{count:,}")]
        for name, count in sorted(decided.tags.items(), key=lambda item: (-item[1], item[0]))
    ]
    return section("Decisions", lead, table("Tags", head, rows))


def _sentences(decided: Decisions) -> list[str]:
    excluded, moved, names = int(decided.excluded.sum()), decided.moved, len(decided.names)
    return [
        f"This report shows the clusters as decided (--edits {decided.name}).",
        f"{counted(excluded, 'image')} {agreeing(excluded, 'is', 'are')} excluded, and shown and "
        "counted nowhere else.",
        f"{counted(moved, 'image')} {agreeing(moved, 'is', 'are')} in another cluster than was "
        f"assigned, and {counted(names, 'cluster')} {agreeing(names, 'has', 'have')} a given name.",
    ]
