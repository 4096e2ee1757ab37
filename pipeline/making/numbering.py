"""Numbers of new clusters that follow those of the clusters that a run holds."""

from dataclasses import fields

import numpy as np

from ...stages.assign import Assign, AssignInOrder
from ...stages.contract import Inputs
from ...stages.rows.landmarks import find_partition
from ...store import Artifact, Store
from ...store.kinds import EMBEDDINGS


def follow_numbers(stage: Assign, inputs: Inputs, before: Artifact, store: Store) -> Assign:
    """The stage with numbers for which the most rows keep the number that they have `before`.

    It is the stage itself where clusters keep their numbers without it, and for levels of a
    hierarchy, whose numbers the hierarchy gives. The numbers are settings of the stage that is
    returned, so equal settings and inputs give equal bytes, whatever a run held.
    """
    if stage.method == "hierarchy":
        return stage
    order = _order_before(stage, inputs, before)
    if order is None:
        spectrum = inputs["spectrum"]
        used = spectrum.manifest.inputs.get("embeddings")
        fitted = None if used is None else store.find(EMBEDDINGS, used.version)
        if fitted is None:
            return stage
        k = stage.numbers[0] if stage.numbers else int(inputs["k_curve"].facts["chosen"])
        from ...stages.algorithms.clustering.numbering import count_overlaps, follow

        partition = find_partition(spectrum.folder, k)
        rows = spectrum.tensors(spectrum.only_part, "tensors")["landmark_rows"]
        new = partition.group[partition.pieces]
        labels = _labels_before(before, _column(before, k), fitted, rows)
        overlaps = count_overlaps(new, labels, partition.k)
        order = tuple(follow(overlaps).tolist())
    if order in ((), tuple(range(len(order)))):
        return stage
    own = {field.name: getattr(stage, field.name) for field in fields(Assign)}
    return AssignInOrder(**own, order=order)


def _order_before(stage: Assign, inputs: Inputs, before: Artifact) -> tuple[int, ...] | None:
    """The order that numbers the same clusters already; None for other clusters."""
    manifest = before.manifest
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


def _column(before: Artifact, k: int) -> str:
    """The column whose numbers k clusters follow: that of the same k, if there is one."""
    requested = before.manifest.config["k"]
    is_other = isinstance(requested, list) and k in requested[1:]
    return f"cluster_{k}" if is_other else "cluster"


def _labels_before(
    before: Artifact, column: str, embeddings: Artifact, rows: np.ndarray
) -> np.ndarray:
    """The clusters that rows of some embeddings were in, −1 for rows that were in none."""
    used = before.manifest.inputs.get("embeddings")
    if used is not None and used.content == embeddings.content:
        return np.array(_take(before, column, rows), np.int64)
    return np.array(_look_up(before, column, _take(embeddings, "key", rows)), np.int64)


def _take(artifact: Artifact, column: str, rows: np.ndarray) -> list:
    """Values of a column at some rows, in their order; reads only the parts that hold any."""
    values: dict[int, object] = {}
    for part in artifact.parts:
        start = artifact.starts[part.name]
        inside = rows[(rows >= start) & (rows < start + part.rows)]
        if len(inside):
            taken = artifact.table(part.name, columns=[column]).column(0).take(inside - start)
            values |= zip(inside.tolist(), taken.to_pylist(), strict=True)
    return [values[row] for row in rows.tolist()]


def _look_up(before: Artifact, column: str, keys: list) -> list[int]:
    """The cluster of the first row with each key, −1 where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted, clusters = pa.array(keys, pa.string()), dict[str, int]()
    for part in before.parts:
        table = before.table(part.name, columns=["key", column])
        table = table.filter(pc.is_in(table.column("key"), value_set=wanted))
        columns = (table.column(name).to_pylist() for name in ("key", column))
        for key, cluster in zip(*columns, strict=True):
            clusters.setdefault(key, cluster)
    return [clusters.get(key, -1) for key in keys]
