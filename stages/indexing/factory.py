"""FAISS factory strings: which are supported, and which one suits so many rows."""

import math
import re
from dataclasses import dataclass
from typing import Literal, Self

from ...store import ConfigError

EXACT_ROWS = 10_000
"""Up to so many rows each is compared: 128 wide, a query takes half a millisecond on one core."""

GRAPH_ROWS = 50_000
"""Up to so many rows the index is a graph: linked by one thread, 128 wide, in half a minute."""

MOST_CODE_BYTES = 1 << 34
"""Codes that would take more are made smaller: 16 GiB stay in the page cache of a usual server."""

HELD_OUT_SHARE = 10
"""One row of so many at most is kept from the fit, to measure recall with."""

_COARSE_GRAPH_LISTS = 16_384
"""From so many lists on, a row's list is found by a graph of their centroids."""

_MOST_LISTS = 1 << 20
_CODES = r"Flat|SQfp16|SQ8|SQ4|PQ(?P<{0}>\d+)(?:x8)?"
_PATTERN = re.compile(
    rf"Flat|HNSW(?P<links>\d+),(?P<held>Flat|SQfp16|SQ8)"
    rf"|IVF(?P<lists>\d+)(?:_HNSW(?P<coarse>\d+))?,(?P<code>{_CODES.format('subspaces')})"
)

FAMILIES = (
    "Flat (exact), HNSW{links},Flat|SQfp16|SQ8 (a graph), "
    "IVF{lists},Flat|SQfp16|SQ8|SQ4|PQ{bytes} and IVF{lists}_HNSW{links},... (inverted lists)"
)

_CANDIDATES = {"Flat": 1, "SQfp16": 1, "SQ8": 2, "SQ4": 4, "PQ": 20}
"""Rows that are compared again by what the store holds, for each that is wanted: the coarser the
codes, the more. `SQfp16` keeps the store's float16 numbers as they are."""


@dataclass(frozen=True, kw_only=True)
class Factory:
    """An index that can be built, taken apart."""

    text: str
    shape: Literal["exact", "graph", "lists"]
    code: str = "Flat"
    """Flat, SQfp16, SQ8, SQ4 or PQ."""
    lists: int = 0
    links: int = 0
    """Of a row in a graph, or of a list's centroid in the graph of centroids; 0 is no graph."""
    subspaces: int = 0
    """Of product codes: a byte each."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The parts of a factory string; ConfigError lists the families that are supported."""
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise ConfigError(f"index.factory = {text!r} is not allowed: auto is, or {FAMILIES}")
        links = int(found["links"] or found["coarse"] or 0)
        if (found["links"] or found["coarse"]) and not 4 <= links <= 128:
            raise ConfigError(f"index.factory = {text!r}: links from 4 to 128 are allowed")
        if text == "Flat":
            return cls(text=text, shape="exact")
        if found["links"]:
            return cls(text=text, shape="graph", code=found["held"], links=links)
        lists = int(found["lists"])
        if not 1 <= lists <= _MOST_LISTS:
            raise ConfigError(
                f"index.factory = {text!r}: {lists} lists are not allowed, 1 to {_MOST_LISTS} are"
            )
        return cls(
            text=text,
            shape="lists",
            code="PQ" if found["subspaces"] else found["code"],
            lists=lists,
            links=links,
            subspaces=int(found["subspaces"] or 0),
        )

    def check(self, rows: int, width: int) -> None:
        """ConfigError where so many rows of this width cannot be indexed so."""
        if self.lists > rows - rows // HELD_OUT_SHARE:
            raise ConfigError(
                f"index.factory = {self.text!r} has too many lists for {rows:,} rows: "
                f"{choose_factory(rows, width)} suits them"
            )
        if self.code == "PQ" and (not self.subspaces or width % self.subspaces):
            allowed = ", ".join(f"PQ{n}" for n in range(1, width + 1) if width % n == 0)
            raise ConfigError(
                f"index.factory = {self.text!r} cuts rows of {width} numbers into "
                f"{self.subspaces} pieces: of {allowed} is one allowed"
            )
        if self.code == "PQ" and rows < CODE_WORDS:
            raise ConfigError(
                f"index.factory = {self.text!r} learns {CODE_WORDS} words a piece, and there are "
                f"{rows:,} rows: {choose_factory(rows, width)} suits them"
            )

    def code_bytes(self, width: int) -> int:
        """Bytes of a row's code."""
        sizes = {"Flat": 4 * width, "SQfp16": 2 * width, "SQ8": width, "SQ4": -(-width // 2)}
        return sizes.get(self.code, self.subspaces)

    @property
    def candidates(self) -> int:
        """Rows whose true similarity is looked at, for each that is wanted."""
        return _CANDIDATES[self.code]

    @property
    def is_lossless(self) -> bool:
        """Whether similarities come out of the index as the store's rows have them."""
        return self.candidates == 1


CODE_WORDS = 256
"""Words of a piece of a product code: what a byte can name."""


def choose_factory(rows: int, width: int) -> str:
    """The factory string for so many rows of this width; no machine's memory enters it."""
    if rows <= EXACT_ROWS:
        return "Flat"
    if rows <= GRAPH_ROWS:
        return "HNSW32,SQfp16"
    lists = min(_MOST_LISTS, 1 << round(math.log2(4 * rows**0.5)))
    return lists_factory(rows, width, lists)


def lists_factory(rows: int, width: int, lists: int) -> str:
    """The factory string of so many inverted lists, codes as fine as `MOST_CODE_BYTES` lets."""
    pieces = next(n for n in range(max(1, width // 4), 0, -1) if width % n == 0)
    sizes = {"SQfp16": 2 * width, "SQ8": width, f"PQ{pieces}": 0}
    code = next(code for code, size in sizes.items() if rows * size <= MOST_CODE_BYTES)
    graph = "_HNSW32" if lists >= _COARSE_GRAPH_LISTS else ""
    return f"IVF{lists}{graph},{code}"


def still_suits(kept: str, rows: int, width: int) -> bool:
    """Whether an index that was chosen for other rows would do for these: lists within 4 times."""
    now, before = Factory.parse(choose_factory(rows, width)), Factory.parse(kept)
    if now.shape != "lists" or before.shape != "lists" or now.code != before.code:
        return kept == now.text
    return now.lists <= 4 * before.lists and before.lists <= 4 * now.lists
