"""Numbers for new clusters, such that most rows keep the number of their old cluster."""

from dataclasses import fields

import numpy as np

from ...stages.assign import Assign, AssignInOrder
from ...stages.contract import Inputs
from ...stages.rows.landmarks import find_partition
from ...store import Artifact, Store
from ...store.kinds import EMBEDDINGS


def keep_numbers(stage: Assign, inputs: Inputs, previous: Artifact, store: Store) -> Assign:
    """The stage with numbers for its clusters, such that most rows keep their `previous` number.

    Returns the stage itself if its clusters have these numbers anyway, and for levels of a
    hierarchy, whose numbers the hierarchy gives. The numbers become settings of the stage, so equal
    settings and inputs give equal bytes, whatever the run held before.
    """
    if stage.method == "hierarchy":
        return stage
    order = _find_order(stage, inputs, previous)
    if order is None:
        spectrum = inputs["spectrum"]
        used = spectrum.manifest.inputs.get("embeddings")
        fitted = None if used is None else store.find(EMBEDDINGS, used.version)
        if fitted is None:
            return stage
        k = stage.numbers[0] if stage.numbers else int(inputs["k_curve"].facts["chosen"])
        from ...stages.algorithms.clustering.cluster_numbers import count_overlaps, match_numbers

        partition = find_partition(spectrum.folder, k)
        rows = spectrum.tensors(spectrum.only_part, "tensors")["landmark_rows"]
        new = partition.group[partition.pieces]
        old = _previous_labels(previous, _column_for(previous, k), fitted, rows)
        overlaps = count_overlaps(new, old, partition.k)
        order = tuple(match_numbers(overlaps).tolist())
    if order in ((), tuple(range(len(order)))):
        return stage
    settings = {field.name: getattr(stage, field.name) for field in fields(Assign)}
    return AssignInOrder(**settings, order=order)


def _find_order(stage: Assign, inputs: Inputs, previous: Artifact) -> tuple[int, ...] | None:
    """The order of the previous clusters, if the stage makes the same clusters again; else None."""
    manifest = previous.manifest
    config = dict(manifest.config)
    order = tuple(config.pop("order", ()))
    is_same = (manifest.stage, manifest.revision, config) == (
        stage.name,
        stage.revision,
        stage.config(),
    )
    fitted = [need for need in stage.needs if need in ("spectrum", "k_curve")]
    is_same = is_same and all(
        need in manifest.inputs and manifest.inputs[need].content == inputs[need].content
        for need in fitted
    )
    return order if is_same else None


def _column_for(previous: Artifact, k: int) -> str:
    """The column of clusters to compare k clusters with: that of the same k, if there is one."""
    requested = previous.manifest.config["k"]
    is_additional = isinstance(requested, list) and k in requested[1:]
    return f"cluster_{k}" if is_additional else "cluster"


def _previous_labels(
    previous: Artifact, column: str, embeddings: Artifact, rows: np.ndarray
) -> np.ndarray:
    """The previous cluster of these rows of the embeddings; −1 for rows that had none."""
    used = previous.manifest.inputs.get("embeddings")
    if used is not None and used.content == embeddings.content:
        return np.array(_take(previous, column, rows), np.int64)
    return np.array(_look_up(previous, column, _take(embeddings, "key", rows)), np.int64)


def _take(artifact: Artifact, column: str, rows: np.ndarray) -> list:
    """Values of a column at some rows, in their order; reads only parts that have such rows."""
    values: dict[int, object] = {}
    for part in artifact.parts:
        start = artifact.starts[part.name]
        inside = rows[(rows >= start) & (rows < start + part.rows)]
        if len(inside):
            taken = artifact.table(part.name, columns=[column]).column(0).take(inside - start)
            values |= zip(inside.tolist(), taken.to_pylist(), strict=True)
    return [values[row] for row in rows.tolist()]


def _look_up(assignments: Artifact, column: str, keys: list) -> list[int]:
    """The cluster of the first row with each key; −1 if no row has it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    value_set, clusters = pa.array(keys, pa.string()), dict[str, int]()
    for part in assignments.parts:
        table = assignments.table(part.name, columns=["key", column])
        table = table.filter(pc.is_in(table.column("key"), value_set=value_set))
        columns = (table.column(name).to_pylist() for name in ("key", column))
        for key, cluster in zip(*columns, strict=True):
            clusters.setdefault(key, cluster)
    return [clusters.get(key, -1) for key in keys]
