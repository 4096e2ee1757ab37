"""FAISS factory strings: which are supported, and which one suits a number of rows."""

import math
import re
from dataclasses import dataclass
from typing import Literal, Self

from ...store import ConfigError
from ...store.counting import counted

EXACT_ROWS = 10_000
"""Up to this many rows, a query compares all: half a millisecond on one core at 128 dimensions."""

GRAPH_ROWS = 50_000
"""Up to this many rows the index is a graph: one thread links it in half a minute at 128
dimensions."""

MAX_CODE_BYTES = 1 << 34
"""Codes that would take more are made coarser: 16 GiB fit in the page cache of a usual server."""

HELD_OUT_SHARE = 10
"""At most one row in this many is held out of the fit, to measure recall."""

_COARSE_GRAPH_LISTS = 65_536
"""From this many lists on, a graph of their centroids finds a row's list. A graph never reaches
some centroids of clustered rows: with 16,384 lists of ten million synthetic rows a query found 0.89
of its neighbours, however many lists it visited."""

_MAX_LISTS = 1 << 20
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
"""Rows per requested row that are compared again by the store's vectors: more for coarser codes.
`SQfp16` keeps the store's float16 numbers unchanged."""


@dataclass(frozen=True, kw_only=True)
class Factory:
    """A supported factory string, parsed."""

    text: str
    shape: Literal["exact", "graph", "lists"]
    code: str = "Flat"
    """Flat, SQfp16, SQ8, SQ4 or PQ."""
    lists: int = 0
    links: int = 0
    """Links of a row in a graph, or of a centroid in the graph of centroids; 0 without a graph."""
    subspaces: int = 0
    """Subspaces of a product code, of one byte each."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses a factory string; ConfigError names the supported families."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ConfigError(f"index.factory must be auto or one of {FAMILIES}, got {text!r}")
        links = int(match["links"] or match["coarse"] or 0)
        if (match["links"] or match["coarse"]) and not 4 <= links <= 128:
            raise ConfigError(f"index.factory: links must be from 4 to 128, got {text!r}")
        if text == "Flat":
            return cls(text=text, shape="exact")
        if match["links"]:
            return cls(text=text, shape="graph", code=match["held"], links=links)
        lists = int(match["lists"])
        if not 1 <= lists <= _MAX_LISTS:
            raise ConfigError(f"index.factory: lists must be from 1 to {_MAX_LISTS}, got {text!r}")
        return cls(
            text=text,
            shape="lists",
            code="PQ" if match["subspaces"] else match["code"],
            lists=lists,
            links=links,
            subspaces=int(match["subspaces"] or 0),
        )

    def check(self, rows: int, width: int) -> None:
        """ConfigError if `rows` rows of `width` dimensions cannot be indexed like this."""
        fitted = rows - rows // HELD_OUT_SHARE
        if self.lists > fitted:
            raise ConfigError(
                f"index.factory = {self.text!r} has too many lists for "
                f"{counted(rows, 'row')}: use "
                f"{choose_factory(rows, width)}"
            )
        if self.code == "PQ" and (not self.subspaces or width % self.subspaces):
            allowed = ", ".join(f"PQ{n}" for n in range(1, width + 1) if width % n == 0)
            raise ConfigError(
                f"index.factory = {self.text!r} cannot cut rows of {width} numbers into "
                f"{self.subspaces} equal pieces: use one of {allowed}"
            )
        if self.code == "PQ" and fitted < CODE_WORDS:
            raise ConfigError(
                f"index.factory = {self.text!r} learns its codes from at least {CODE_WORDS} rows, "
                f"got {fitted:,} beside those that measure recall: use "
                f"{choose_factory(rows, width)}"
            )

    def code_bytes(self, width: int) -> int:
        """Bytes of a row's code."""
        sizes = {"Flat": 4 * width, "SQfp16": 2 * width, "SQ8": width, "SQ4": -(-width // 2)}
        return sizes.get(self.code, self.subspaces)

    @property
    def candidates(self) -> int:
        """Rows per requested row whose exact similarity is computed."""
        return _CANDIDATES[self.code]

    @property
    def is_lossless(self) -> bool:
        """Whether the index returns the similarities of the store's rows."""
        return self.candidates == 1


CODE_WORDS = 256
"""Code words of a subspace: as many as one byte can number."""


def choose_factory(rows: int, width: int) -> str:
    """The default factory string for `rows` rows; it does not depend on the machine's memory."""
    if rows <= EXACT_ROWS:
        return "Flat"
    if rows <= GRAPH_ROWS:
        return "HNSW32,SQfp16"
    lists = min(_MAX_LISTS, 1 << round(math.log2(4 * rows**0.5)))
    return lists_factory(rows, width, lists)


def lists_factory(rows: int, width: int, lists: int) -> str:
    """A factory string with inverted lists, its codes as fine as `MAX_CODE_BYTES` allows."""
    pieces = next(n for n in range(max(1, width // 4), 0, -1) if width % n == 0)
    sizes = {"SQfp16": 2 * width, "SQ8": width, f"PQ{pieces}": 0}
    code = next(code for code, size in sizes.items() if rows * size <= MAX_CODE_BYTES)
    graph = "_HNSW32" if lists >= _COARSE_GRAPH_LISTS else ""
    return f"IVF{lists}{graph},{code}"


def still_suits(kept: str, rows: int, width: int) -> bool:
    """Whether a factory chosen for other rows suits these: its lists differ at most fourfold."""
    default, old = Factory.parse(choose_factory(rows, width)), Factory.parse(kept)
    if default.shape != "lists" or old.shape != "lists" or default.code != old.code:
        return kept == default.text
    return default.lists <= 4 * old.lists and old.lists <= 4 * default.lists
