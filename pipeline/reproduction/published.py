"""Published figures of the paper and of methods after it, with their sources."""

import functools
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("published.toml")


@dataclass(frozen=True, kw_only=True)
class Published:
    """The scores of one method on one data set, in per cent; None if not recorded."""

    method: str
    paper: str
    model: str
    differs: str
    """How it differs from what `reproduce` runs."""
    acc: float | None = None
    nmi: float | None = None
    ari: float | None = None
    source: str | None = None
    """The source of the figures; None if none is recorded."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def published(data_set: str) -> tuple[Published, ...]:
    """The figures on a data set, by each method that reports any, and by CPP in any case.

    A method that is recorded with several models has a row for those with figures; one without any
    figure on this data set has one row of empty cells.
    """
    rows: list[Published] = []
    for entry in _methods():
        figures = entry["figures"].get(data_set, {})
        others = [other for other in _methods() if other["name"] == entry["name"]]
        is_empty = not any(data_set in other["figures"] for other in others)
        if figures or (is_empty and entry is others[0]):
            fields = {key: entry[key] for key in ("paper", "model", "differs")}
            rows.append(Published(method=entry["name"], **fields, **figures))
    return tuple(rows)


@functools.cache
def _methods() -> list[dict[str, Any]]:
    with _FILE.open("rb") as file:
        return tomllib.load(file)["method"]
