"""Synthetic vectors in parts, and indexes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cpp_pipe.pipeline.making.jobs import Job, find_or_make
from cpp_pipe.stages.contract import Runtime, Stage
from cpp_pipe.stages.fit_quantizer import FitQuantizer
from cpp_pipe.stages.index import Index
from cpp_pipe.stages.indexing.factory import Factory
from cpp_pipe.stages.quantize import Quantize
from cpp_pipe.stages.rows.part_rows import join_features
from cpp_pipe.store import Artifact, Product, Recipe, Scratch, Store

from ..store.stores import model_of

SIZE = 16
MODEL = model_of(SIZE)


def made_rows(count: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    """Unit rows around a hundred directions, float16."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(100, size))
    z = centres[rng.integers(100, size=count)] + 0.4 * rng.normal(size=(count, size))
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float16)
    # Rounded as the store's features are, so that they equal these rows exactly.
    return join_features(*halves(z))


def halves(z: np.ndarray) -> list[np.ndarray]:
    """The features and cluster features that join to these rows."""
    return [
        (np.float32(2**0.5) * half.astype(np.float32)).astype(np.float16)
        for half in np.split(z, 2, axis=1)
    ]


def make_features(
    store: Store, parts: Mapping[str, np.ndarray], model: Mapping[str, Any] = MODEL
) -> Artifact:
    """An artifact of features with these rows, as z and c joined, in parts."""
    halved = {name: halves(z) for name, z in parts.items()}
    return _publish_features(store, halved, model)


def features_of_one_head(
    store: Store, parts: Mapping[str, np.ndarray], model: Mapping[str, Any] = MODEL
) -> Artifact:
    """An artifact of features whose z and c are both these rows, in parts."""
    return _publish_features(store, {name: [z, z] for name, z in parts.items()}, model)


def _publish_features(
    store: Store, parts: Mapping[str, list[np.ndarray]], model: Mapping[str, Any]
) -> Artifact:
    recipe = Recipe(
        kind="features",
        format=1,
        stage="project",
        revision=1,
        config={"model": dict(model)},
        parts={
            name: {"embeddings": f"{name}, {np.hstack(both).tobytes().hex()}"}
            for name, both in parts.items()
        },
    )
    draft = store.draft(recipe)

    def writer(both: list[np.ndarray]):
        def write(scratch: Scratch) -> Product:
            for role, half in zip(("z", "c"), both, strict=True):
                np.save(scratch.path(role), half)
            shared = {"feature_size": both[0].shape[1], "model": dict(model)}
            return Product(rows=len(both[0]), shared=shared)

        return write

    for name, both in parts.items():
        draft.make_part(name, writer(both))
    return draft.publish({}, {})


def split(z: np.ndarray, parts: int) -> dict[str, np.ndarray]:
    """Rows in parts, named in order."""
    return {f"part-{number}": rows for number, rows in enumerate(np.array_split(z, parts))}


def make(stage: Stage, store: Store, inputs: Mapping[str, Artifact], **how) -> Artifact:
    """The artifact that a stage makes of its inputs."""
    slot = f"{stage.kind.name}/features"
    job = Job(slot=slot, stage=stage, inputs=inputs, runtime=Runtime(**how))
    return find_or_make(job, store, "test", {}, lambda line: None)


def fit(store: Store, features: Artifact, factory: str) -> Artifact:
    """A quantizer fitted to features."""
    stage = FitQuantizer(space="features", factory=factory)
    return make(stage, store, {"features": features})


def index_of(
    store: Store, features: Artifact, factory: str, quantizer: Artifact | None = None
) -> Artifact:
    """An index; its lists are those of `quantizer`, or of one fitted now."""
    inputs = {"features": features}
    if Factory.parse(factory).shape == "lists":
        quantizer = quantizer or fit(store, features, factory)
        inputs["quantizer/features"] = quantizer
        inputs["lists/features"] = make(Quantize(space="features"), store, inputs)
    return make(Index(space="features", factory=factory), store, inputs)


def neighbours(z: np.ndarray, query: np.ndarray, n: int) -> list[int]:
    """The n nearest rows by comparing all, best first."""
    similarities = z.astype(np.float32) @ query.astype(np.float32)
    return np.argsort(-similarities, kind="stable")[:n].tolist()


def share(found: Sequence[int], wanted: Sequence[int]) -> float:
    """The share of `wanted` that was found."""
    return len(set(found) & set(wanted)) / len(wanted)
