"""Reads the merges of a hierarchy."""

import numpy as np

from ...store import Artifact, StoreError
from ...store.counting import counted


def read_merges(hierarchy: Artifact) -> tuple[np.ndarray, np.ndarray]:
    """The two nodes of each merge, in order: merge i makes node `finest` + i.

    StoreError if they are no tree, e.g. if a node is merged twice or before it exists.
    """
    merged = hierarchy.table(hierarchy.only_part, columns=["left", "right", "parent"]).slice(1)
    # A missing number becomes -1, which is no node.
    left, right, parent = (
        column.fill_null(-1).to_numpy().astype(np.int64) for column in merged.columns
    )
    finest = int(hierarchy.facts["finest"])
    nodes = np.sort(np.concatenate([left, right]))
    is_tree = (
        len(left) == finest - 1
        and np.array_equal(parent, np.arange(finest, 2 * finest - 1))
        and np.array_equal(nodes, np.arange(2 * finest - 2))
        and bool((np.maximum(left, right) < parent).all())
    )
    if not is_tree:
        raise StoreError(
            f"{hierarchy.folder}: the merges are no tree of {counted(finest, 'cluster')}: restore "
            "it, or remove it and run `cpp-pipe hierarchy`, which makes it again"
        )
    return left, right
