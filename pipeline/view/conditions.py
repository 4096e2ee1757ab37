"""Conditions such as `sharpness > 0.2`: what a user typed, and the rows that meet it.

The left side names a column of the embeddings (`width`, `label`), a score, or a field of the JSON
that came with an image; `extra:NAME` is always the field.
"""

import json
import math
import operator
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ...stages.rows.score_columns import MEASURED
from ...store import Artifact, ConfigError
from .columns import SAMPLE_COLUMNS, read_column
from .extra_fields import parse_extra
from .opened_run import OpenedRun
from .scores import read_score, slots_of_scores

if TYPE_CHECKING:
    import numpy as np

FIELD = "extra:"
"""The prefix of the names of JSON fields."""

_FORM = re.compile(r"\s*([^<>=!]*[^<>=!\s])\s*(<=|>=|!=|=|<|>)(.*)", re.DOTALL)
_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "=": operator.eq, "!=": operator.ne,
}  # fmt: skip

_NUMBERS = ("width", "height", "offset", "size")
"""Columns of numbers; the other columns of samples hold text."""

_COLUMNS = tuple(name for name in SAMPLE_COLUMNS if name != "extra")

_MOST_NAMES = 20
"""Fields that an error lists."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A name, an operator and a value."""

    name: str
    op: str
    value: str
    text: str
    """The condition as the user typed it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The condition in a text; ConfigError if there is none."""
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        value = match[3].strip() if match else ""
        if match is None or not value or value[0] in "<>=":
            raise ConfigError(
                f"--where must be NAME OPERATOR VALUE with one of {' '.join(_COMPARE)}, such as "
                f"'sharpness > 2', got {reprlib.repr(text)}"
            )
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        return cls(name=match[1], op=match[2], value=value, text=text.strip())

    @property
    def field(self) -> str:
        """The JSON field that it names, if it names no column and no score."""
        return self.name.removeprefix(FIELD)

    @property
    def number(self) -> float | None:
        """Its value as a finite number, or None."""
        return finite_number(self.value)

    def meet_numbers(self, values: "np.ndarray") -> "np.ndarray":
        """Whether each number meets it; NaN never does."""
        import numpy as np

        bound = self.number
        if bound is None:
            raise ConfigError(
                f"--where {self.text!r}: {self.name} is a number, so compare it with one, got "
                f"{reprlib.repr(self.value)}"
            )
        if values.dtype == np.float32:  # round it as the values are rounded
            with np.errstate(over="ignore"):
                bound = np.float32(bound)
        return _COMPARE[self.op](values, bound) & ~np.isnan(values)

    def require_equality(self, what: str) -> None:
        """ConfigError if texts would be compared by their order."""
        if self.op not in ("=", "!="):
            raise ConfigError(
                f"--where {reprlib.repr(self.text)}: {self.name} is {what}, which only = and != "
                "compare"
            )

    def is_met(self, value: Any) -> bool:
        """Whether a JSON value meets it: as a number if both are numbers, else as text."""
        if value is None:
            return False
        number, bound = finite_number(value), self.number
        if number is not None and bound is not None:
            return bool(_COMPARE[self.op](number, bound))
        if self.op not in ("=", "!="):
            return False
        written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return bool(_COMPARE[self.op](written, self.value))


def match_where(run: OpenedRun, where: Sequence[str]) -> "np.ndarray":
    """Whether each row of the embeddings meets all conditions, bool (n,).

    A row without the value meets no condition on it. ConfigError for what is no condition, names
    nothing or compares text by order; MissingError for scores that are not made or out of date.
    """
    import numpy as np

    allowed = np.ones(run.artifact("embeddings").rows, bool)
    for matches in match_each(run, where).values():
        allowed &= matches
    return allowed


def match_each(run: OpenedRun, where: Sequence[str]) -> "dict[str, np.ndarray]":
    """Whether each row meets each condition, bool (n,), by the text of the condition."""
    conditions = [Condition.parse(text) for text in where]
    embeddings, slots = run.artifact("embeddings"), slots_of_scores(run)
    met: dict[str, Any] = {}
    field_conditions: list[Condition] = []
    for condition in conditions:
        name = condition.name
        if name in _NUMBERS:
            met[condition.text] = condition.meet_numbers(read_column(embeddings, name))
        elif name in _COLUMNS:
            condition.require_equality("text")
            met[condition.text] = _match_text(embeddings, condition)
        elif name in slots or name in MEASURED:
            met[condition.text] = condition.meet_numbers(read_score(run, name))
        else:
            if condition.number is None:
                condition.require_equality("compared with text")
            met[condition.text] = None  # keeps the order of the conditions; filled below
            field_conditions.append(condition)
    if field_conditions:
        met |= _match_fields(
            embeddings, field_conditions, [*MEASURED, *sorted(set(slots) - {*MEASURED})]
        )
    return met


def _match_text(embeddings: Artifact, condition: Condition) -> "np.ndarray":
    import numpy as np
    import pyarrow.compute as pc

    compare = pc.equal if condition.op == "=" else pc.not_equal
    pieces = []
    for part in embeddings.parts:
        column = embeddings.table(part.name, columns=[condition.name]).column(0)
        met = compare(column, condition.value).fill_null(False)
        pieces.append(met.to_numpy(zero_copy_only=False).astype(bool))
    return np.concatenate(pieces) if pieces else np.empty(0, bool)


def _match_fields(
    embeddings: Artifact, conditions: Sequence[Condition], scores: Sequence[str]
) -> "dict[str, np.ndarray]":
    """`match_each` for conditions on JSON fields; ConfigError for a field that no row has."""
    import numpy as np

    met = {condition.text: np.zeros(embeddings.rows, bool) for condition in conditions}
    present: set[str] = set()
    names: dict[str, None] = {}
    row = 0
    for part in embeddings.parts:
        for text in embeddings.table(part.name, columns=["extra"]).column(0).to_pylist():
            fields = parse_extra(text)
            if len(names) < _MOST_NAMES:
                names |= dict.fromkeys(fields)
            for condition in conditions:
                if condition.field in fields:
                    present.add(condition.field)
                met[condition.text][row] = condition.is_met(fields.get(condition.field))
            row += 1
    for condition in conditions:
        if condition.field not in present and embeddings.rows:
            known = [*_COLUMNS, *scores, *list(names)[:_MOST_NAMES]]
            raise ConfigError(
                f"--where {reprlib.repr(condition.text)}: there is no "
                f"{reprlib.repr(condition.name)}, known are {', '.join(known)}"
            )
    return met


def finite_number(value: Any) -> float | None:
    """A finite number, or a text that is one; None for anything else, truth values included."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and "_" in value:  # Python reads 12_3 and 1_23 as 123
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
