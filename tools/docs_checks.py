"""What the built site must not do: load anything from another host."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_ELSEWHERE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
_IN_CSS = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)
_LOADING_RELS = {"stylesheet", "preconnect", "preload", "prefetch", "dns-prefetch", "icon"}
_LOADING_RELS |= {"modulepreload", "manifest", "apple-touch-icon"}
_ATTRIBUTES = ("src", "data", "poster", "srcset")


class _Loads(HTMLParser):
    """Collects the addresses that a browser loads without being asked."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Reads the attributes that make a browser load something."""
        values = {name: value or "" for name, value in attrs}
        addresses = [values[name] for name in _ATTRIBUTES if name in values]
        if tag == "link" and _LOADING_RELS.intersection(values.get("rel", "").lower().split()):
            addresses.append(values.get("href", ""))
        if tag in ("use", "image"):
            addresses += [values.get("href", ""), values.get("xlink:href", "")]
        self.addresses += [address.strip() for address in addresses if _ELSEWHERE.match(address)]
        self.addresses += _IN_CSS.findall(values.get("style", ""))


def foreign_loads(page: str) -> list[str]:
    """Addresses at other hosts that a page loads when it is opened; links do not count."""
    parser = _Loads()
    parser.feed(page)
    styles = re.findall(r"<style\b[^>]*>(.*?)</style>", page, re.DOTALL | re.IGNORECASE)
    return [*parser.addresses, *(address for style in styles for address in _IN_CSS.findall(style))]


def loads_of_site(folder: Path) -> Iterator[str]:
    """A line for each thing that a page or a style sheet of a site loads from another host."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".html", ".svg"):
            addresses = foreign_loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".css":
            addresses = _IN_CSS.findall(path.read_text(encoding="utf-8"))
        else:
            continue
        yield from (f"{path.relative_to(folder)} loads {address}" for address in addresses)
