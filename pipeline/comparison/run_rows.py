"""A comparison as a table for other programs, with a row for each run."""

from typing import TYPE_CHECKING

from .comparison import MEASURES, Comparison, measure_of

if TYPE_CHECKING:
    import pyarrow as pa


def to_arrow(comparison: Comparison) -> "pa.Table":
    """A row for each run and each fit of a rival; values that it lacks are null.

    Columns: `group`, `run`, `is_rival`, `seed`, `images`, the measures, and each setting that
    differs by its TABLE.KEY, as text.
    """
    import pyarrow as pa

    pairs = [
        (number, group, partition)
        for number, group in enumerate(comparison.groups)
        for partition in group.partitions
    ]
    columns: dict[str, pa.Array] = {
        "group": pa.array([group.label for _, group, _ in pairs], pa.string()),
        "run": pa.array([partition.name for *_, partition in pairs], pa.string()),
        "is_rival": pa.array([partition.is_rival for *_, partition in pairs], pa.bool_()),
        "seed": pa.array([seed for group in comparison.groups for seed in group.seeds], pa.int64()),
        "images": pa.array([len(partition.images) for *_, partition in pairs], pa.int64()),
    }
    for measure in MEASURES:
        kind = pa.int64() if measure == "k" else pa.float64()
        values = [measure_of(partition, measure) for *_, partition in pairs]
        columns[measure] = pa.array(values, kind)
    for name, values in comparison.settings.items():
        own = [None if group.is_rival else values[number] for number, group, _ in pairs]
        columns[name] = pa.array(own, pa.string())
    return pa.table(columns)
