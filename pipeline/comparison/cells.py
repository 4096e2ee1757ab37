"""The cells of a comparison's tables, as text that every format can mark up."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..wording import counted
from .comparison import Comparison, Value


@dataclass(frozen=True)
class Column:
    """A measure, and how tables show it."""

    measure: str
    title: str
    digits: int
    is_best_high: bool | None = None
    """Whether the highest value is the best; None if no value is better than another."""


_SCORES = (
    Column("acc", "ACC", 3, True),
    Column("nmi", "NMI", 3, True),
    Column("ari", "ARI", 3, True),
)
_K = Column("k", "k", 0)
_OTHERS = (Column("confidence", "conf.", 2), Column("seconds", "s", 1))


@dataclass(frozen=True)
class Cell:
    """A value as text."""

    mean: str
    spread: str
    """Empty for a single run."""
    is_best: bool


def columns_of(comparison: Comparison) -> list[Column]:
    """The columns of a comparison; scores only if there are labels."""
    return [_K, *(_SCORES if comparison.is_scored else ()), *_OTHERS]


def cells_of(comparison: Comparison, column: Column) -> list[Cell | None]:
    """The cell of each group; None without a value. All values that round to the best are best."""
    values = [group.value(column.measure) for group in comparison.groups]
    means = [None if value is None else _number(value.mean, column) for value in values]
    known = [float(mean) for mean in means if mean is not None]
    best = max(known) if column.is_best_high and len(known) > 1 else None
    return [
        None
        if value is None or mean is None
        else Cell(mean, _spread(value, column), best is not None and float(mean) == best)
        for value, mean in zip(values, means, strict=True)
    ]


def _number(value: float, column: Column) -> str:
    digits = 0 if value >= 100 and column.measure == "seconds" else column.digits
    if column.measure == "k" and value != round(value):
        digits = 1
    return unsigned(value, digits)


def unsigned(value: float, digits: int) -> str:
    """A number as text, whose zero has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _spread(value: Value, column: Column) -> str:
    if value.spread is None or (column.measure == "k" and value.spread == 0):
        return ""
    # Seconds vary with the load of the machine; confidence hardly varies with the seed.
    return "" if column.measure in ("seconds", "confidence") else _number(value.spread, column)


def repetitions(comparison: Comparison) -> list[str]:
    """The number of runs of each group."""
    return [str(len(group.partitions)) for group in comparison.groups]


def agreement_cells(row: Sequence[float | None]) -> list[str]:
    """The cells of a line of the matrix of agreement."""
    return ["-" if value is None else unsigned(value, 2) for value in row]


AGREEMENT = "Agreement (ARI of the clusters; on the diagonal, of two seeds)"


def describe(comparison: Comparison) -> str:
    """A sentence on what the tables show, with the meaning of short titles."""
    spread = (
        "mean, and ± the standard deviation over the seeds"
        if any(len(group.partitions) > 1 for group in comparison.groups)
        else "one run each"
    )
    classes = f", {counted(comparison.classes, 'class')}" if comparison.classes else ""
    titles = "conf.: mean confidence; s: seconds of all steps after the embeddings"
    return f"{counted(comparison.images, 'image')}{classes}; {spread}; {titles}"
