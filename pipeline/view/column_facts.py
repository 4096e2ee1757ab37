"""The columns that a condition may name: numbers with their range, texts with their values."""

import json
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from ...stages.rows.artifact_rows import pick_evenly
from ...stages.rows.score_columns import MEASURED
from ...store import Artifact
from .columns import SAMPLE_COLUMNS, read_column
from .conditions import FIELD, finite_number
from .extra_fields import parse_extra
from .opened_run import OpenedRun
from .scores import read_score, slots_of_scores

if TYPE_CHECKING:
    import pyarrow as pa

MAX_VALUES = 50
"""Values of a text that are listed, the most frequent ones."""

_NUMBERS = ("width", "height")
_TEXTS = ("label", "shard", "caption", "url")
MOST_READ = 200_000
"""Rows whose texts and JSON fields are read; of more rows, those at even distances."""

_MOST_FIELDS = 100


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """A column in brief."""

    name: str
    """The name that conditions use."""
    rows: int
    """Rows with a value, of those that were read."""
    smallest: float | None = None
    largest: float | None = None
    """The smallest and the largest number; None for texts."""
    values: list[tuple[str, int]] | None = None
    """The most frequent texts with their numbers of rows; None for numbers."""


def describe_columns(run: OpenedRun) -> list[ColumnFacts]:
    """Scores, columns and JSON fields of the images of a run, without those of a single value."""
    embeddings = run.artifact("embeddings")
    facts: list[ColumnFacts | None] = [
        _describe_numbers(name, read_score(run, name))
        for name, slot in slots_of_scores(run).items()
        if run.current(slot) is not None
    ]
    facts += [_describe_numbers(name, read_column(embeddings, name)) for name in _NUMBERS]
    facts += [_describe_texts(name, _count_texts(embeddings, name)) for name in _TEXTS]
    facts += _describe_fields(embeddings, {*SAMPLE_COLUMNS, *MEASURED, *slots_of_scores(run)})
    return [column for column in facts if column is not None]


def _describe_numbers(name: str, values: np.ndarray) -> ColumnFacts | None:
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite) or finite.min() == finite.max():
        return None
    smallest, largest = float(finite.min()), float(finite.max())
    return ColumnFacts(name=name, rows=len(finite), smallest=smallest, largest=largest)


def _describe_texts(name: str, counts: Counter[str]) -> ColumnFacts | None:
    """None for texts that are all the same, or all different, as keys and captions are."""
    frequent = counts.most_common(MAX_VALUES)
    if len(frequent) < 2 or frequent[0][1] < 2:
        return None
    frequent.sort(key=lambda pair: (-pair[1], pair[0]))
    return ColumnFacts(name=name, rows=counts.total(), values=frequent)


def _count_texts(embeddings: Artifact, name: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for column in _columns(embeddings, name):
        counts.update(text for text in column.to_pylist() if text is not None)
    return counts


def _describe_fields(embeddings: Artifact, taken: Set[str]) -> list[ColumnFacts | None]:
    """The JSON fields that came with the images; names in `taken` get a prefix."""
    numbers: dict[str, list[float]] = {}
    texts: dict[str, Counter[str]] = {}
    columns = (column.to_pylist() for column in _columns(embeddings, "extra"))
    for fields in map(parse_extra, chain.from_iterable(columns)):
        for name, value in fields.items():
            if isinstance(value, list | dict) or value is None:
                continue
            if name not in texts and len(texts) >= _MOST_FIELDS:
                continue
            number = finite_number(value)
            if number is not None:
                numbers.setdefault(name, []).append(number)
            written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            texts.setdefault(name, Counter())[written] += 1
    facts: list[ColumnFacts | None] = []
    for name, counts in texts.items():
        shown = f"{FIELD}{name}" if name in taken or name.startswith(FIELD) else name
        values = numbers.get(name, [])
        is_number = len(values) == counts.total()
        facts.append(
            _describe_numbers(shown, np.array(values))
            if is_number
            else _describe_texts(shown, counts)
        )
    return facts


def _columns(embeddings: Artifact, name: str) -> "Iterator[pa.ChunkedArray]":
    """A column of each part: of all rows, or of `MOST_READ` at even distances."""
    share = min(1.0, MOST_READ / max(1, embeddings.rows))
    for part in embeddings.parts:
        column = embeddings.table(part.name, columns=[name]).column(0)
        if share < 1:
            column = column.take(pick_evenly(np.arange(len(column)), int(share * len(column)) + 1))
        yield column
