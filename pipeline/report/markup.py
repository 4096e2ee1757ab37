"""HTML from Python values. Text is escaped here and nowhere else."""

import re
from html import escape

_VOID = {"br", "img", "meta", "wbr"}
_LINES = {"body", "dl", "figure", "head", "header", "main", "section", "style", "table", "tr"}
"""Elements after which a line ends."""

_BREAKS = re.compile("(?<=[_/.:-])")


class Html(str):
    """Text that is markup; any other text is escaped when it is put into markup."""

    __slots__ = ()


Child = str | int | Html | None


def tag(name: str, /, *children: Child, **attributes: Child) -> Html:
    """An element, without children and attributes that are None.

    `class_` means class, and `aria_label` means aria-label.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    end = "\n" if name in _LINES else ""
    return Html(f"<{name}{written}>{join(*children)}</{name}>{end}")


def breakable(text: str) -> Html:
    """A long name that may break after a separator."""
    return Html("<wbr>".join(map(escape, _BREAKS.split(text))))


def join(*children: Child) -> Html:
    """Children one after another, escaped unless they are markup."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape(str(child))
            for child in children
            if child is not None
        )
    )
