"""Small artifacts of real kinds, made without any stage, and values for damaged small files."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from cpp_pipe.store import Draft, Product, Recipe, Scratch, Store
from cpp_pipe.store.kinds import ASSIGNMENTS, FEATURES
from cpp_pipe.store.paths import StorePath

PARTS = ("a-00", "b-01", "c-02")


def model_of(size: int, **others: Any) -> dict[str, Any]:
    """The model that embeddings of a size record."""
    return {"model": "ViT-B-32", "pretrained": "openai", "embedding_size": size, **others}


MODEL = model_of(2)
CONFIGS: Mapping[str, Mapping[str, Any]] = {"assignments": {"k": 3, "method": "spectral"}}
"""Settings that readers of a kind expect."""


def json_values(*, are_finite: bool = False) -> st.SearchStrategy[Any]:
    """Any JSON value, nested a few levels deep; numbers may be infinite, but never NaN."""
    floats = st.floats(allow_nan=False, allow_infinity=not are_finite)
    return st.recursive(
        st.none() | st.booleans() | st.integers() | floats | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )


def rewrite(path: StorePath, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a small file and removes its digest, as people do who edit it by hand."""
    value = json.loads(path.read_text())
    value.pop("digest", None)
    change(value)
    path.write_text(json.dumps(value))


def recipe(
    *, kind: str = "features", config: Mapping[str, Any] | None = None, parts=PARTS
) -> Recipe:
    """A recipe whose parts are each made from a source of their own."""
    return Recipe(
        kind=kind,
        format=1,
        stage="test",
        revision=1,
        config={**CONFIGS.get(kind, {}), **(config or {"gamma": 1.0})},
        parts={name: {"shard": f"digest of {name}"} for name in parts},
    )


def write_features(scratch: Scratch, rows: int = 3, *, z_rows: int | None = None) -> Product:
    """Writes a part of features as a stage would."""
    np.save(scratch.path("z"), np.ones((z_rows or rows, 2), np.float16))
    np.save(scratch.path("c"), np.zeros((rows, 2), np.float16))
    return Product(rows=rows, shared={"feature_size": 2, "model": MODEL})


def write_full(scratch: Scratch, number: float) -> Product:
    """Writes a part of features whose files hold only one number."""
    for role in ("z", "c"):
        np.save(scratch.path(role), np.full((3, 2), number, np.float16))
    return Product(rows=3, shared={"feature_size": 2, "model": MODEL})


def write_assignments(scratch: Scratch, table: pa.Table) -> Product:
    """Writes a part of assignments with any table."""
    pq.write_table(table, scratch.path("rows"))
    k = max(1, table.num_rows)
    return Product(rows=table.num_rows, shared={"k": k, "clusters": {"3": k}})


def assignments_table(rows: int = 3) -> pa.Table:
    """A table with the declared schema."""
    columns = {
        "key": [f"k{i}" for i in range(rows)],
        "cluster": list(range(rows)),
        "confidence": [0.5] * rows,
        "novelty": [0.25] * rows,
    }
    return ASSIGNMENTS.table().to_arrow(columns)


def publish(store: Store, made: Recipe | None = None, rows: int = 3):
    """A published artifact of features."""
    made = made or recipe()
    draft = store.draft(made)
    for name in made.parts:
        draft.make_part(name, lambda scratch: write_features(scratch, rows))
    return draft.publish({}, {"date": "2026-01-01"})


def parts_folder(store: Store, draft: Draft):
    """Where a draft's parts lie."""
    return store.folder(FEATURES, draft.recipe.version) / "parts"
