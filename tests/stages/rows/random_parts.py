"""Artifacts of random embeddings and of given features, in parts."""

import numpy as np
import pyarrow.parquet as pq

from cpp_pipe.stages.encoding.part_tables import EmbeddingRows
from cpp_pipe.store import Product, Recipe, Store
from cpp_pipe.store.kinds import EMBEDDINGS, FEATURES, Kind

from ...store.stores import model_of


def draft_of(folder, kind: Kind, names):
    """A draft with one part per name."""
    recipe = Recipe(
        kind=kind.name,
        format=kind.format,
        stage="test",
        revision=1,
        config={},
        parts={name: {"shard": name} for name in names},
    )
    return Store(folder).draft(recipe)


def make_embeddings(folder, sizes, width=8, *, rewrite=None):
    """Embeddings in parts of these sizes, and their rows; `rewrite` has other write options."""
    draft = draft_of(folder, EMBEDDINGS, [f"part-{i}" for i in range(len(sizes))])
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((size, width)).astype(np.float16) for size in sizes]
    for name, x in zip(draft.recipe.parts, parts, strict=True):
        rows = EmbeddingRows(shard=name, size=width)
        rows.rows = [{"key": f"{name}-{i}", "extra": "{}"} for i in range(len(x))]
        rows.embeddings = [x]

        def write(scratch, rows=rows):
            product = rows.write(scratch, {}, model_of(width))
            if rewrite is not None:
                path = scratch.path("rows")
                pq.write_table(pq.read_table(path, partitioning=None), path, **rewrite)
            return product

        draft.make_part(name, write)
    return draft.publish({}, {}), np.concatenate([np.empty((0, width), np.float16), *parts])


def make_features(folder, parts):
    """Features whose z are these arrays."""
    draft = draft_of(folder, FEATURES, [f"part-{i}" for i in range(len(parts))])
    for name, z in zip(draft.recipe.parts, parts, strict=True):

        def write(scratch, z=z):
            np.save(scratch.path("z"), z)
            np.save(scratch.path("c"), z)
            return Product(rows=len(z), shared={"feature_size": 2, "model": model_of(2)})

        draft.make_part(name, write)
    return draft.publish({}, {})
