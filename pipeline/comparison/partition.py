"""The clusters of one run or one rival, with their scores and the settings that made them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...store import Artifact
from ...store.kinds import ASSIGNMENTS, HEADS, HIERARCHY, K_CURVE, KINDS, SPECTRUM, VIEWS
from ..view.columns import read_column
from ..view.evaluation import Scores, score_clusters
from ..view.facts import name_model
from ..view.opened_run import OpenedRun
from .image_set import ImageSet

_TABLES: Mapping[str, str] = {
    VIEWS.name: "views",
    HEADS.name: "train",
    SPECTRUM.name: "spectrum",
    K_CURVE.name: "select_k",
    HIERARCHY.name: "merge",
    ASSIGNMENTS.name: "assign",
}
"""The table of settings that each kind is made by."""

_DERIVED = ("assign.order",)
"""Settings that only number clusters."""

SEED = "seed"
"""Runs that differ in settings of this name only are repetitions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Partition:
    """A cluster for each image of a set."""

    name: str
    """Of the run, or of the rival."""
    images: ImageSet
    clusters: np.ndarray
    """(n,) the number of each image's cluster; -1 is noise."""
    k: int
    scores: Scores | None = None
    """Against labels; None where there are none."""
    confidence: float | None = None
    """The mean over all images; rivals have none."""
    seconds: float | None = None
    """What making everything after the embeddings took when it was made."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """TABLE.KEY and value of everything that the clusters were made by."""
    seed: int | None = None
    is_rival: bool = False


def partition_of(run: OpenedRun, images: ImageSet) -> Partition:
    """The first clusters of a run's assignments, scored where images have labels."""
    assignments = run.require_current("assignments")
    used = list(_ancestors(run, assignments))
    settings: dict[str, Any] = {"embed.model": name_model(images.embeddings)}
    for artifact in (assignments, *used):
        table = _TABLES.get(artifact.kind.name)
        if table is not None:
            config = artifact.manifest.config
            settings |= {f"{table}.{key}": value for key, value in config.items()}
    for derived in _DERIVED:
        settings.pop(derived, None)
    clusters = read_column(assignments, "cluster").astype(np.int64)
    seconds = [
        float(artifact.manifest.made_by.get("seconds") or 0)
        for artifact in (assignments, *used)
        if artifact.version != images.embeddings.version
    ]
    return Partition(
        name=run.record.name,
        images=images,
        clusters=clusters,
        k=len(np.unique(clusters)),
        scores=score(images, clusters),
        confidence=float(read_column(assignments, "confidence").mean(dtype=np.float64)),
        seconds=sum(seconds),
        settings=settings,
        seed=settings.get(f"train.{SEED}"),
    )


def score(images: ImageSet, clusters: np.ndarray) -> Scores | None:
    """The scores of clusters over the images with a label; None where none has one."""
    is_labelled = images.is_labelled
    if not is_labelled.any():
        return None
    _, y = np.unique(images.labels[is_labelled].astype(str), return_inverse=True)
    return score_clusters(y, clusters[is_labelled])


def _ancestors(run: OpenedRun, artifact: Artifact) -> Iterator[Artifact]:
    """Everything that clusters were made from, each slot once; what is lost is left out.

    What the run holds comes first: where two settings gave the same bytes, the clusters may have
    been made for another run, but these are the settings of this one.
    """
    seen: set[str] = set()
    waiting = list(artifact.manifest.inputs.items())
    while waiting:
        slot, used = waiting.pop()
        if slot in seen:
            continue
        seen.add(slot)
        found = run.held.current(slot) or run.store.find(KINDS[used.kind], used.version)
        if found is not None:
            yield found
            waiting += found.manifest.inputs.items()
