"""The clusters of a run or a rival, with their scores and the settings that made them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...store import Artifact
from ...store.kinds import EMBEDDINGS, KINDS, WORDS
from ..config import settings_of
from ..view.columns import read_column
from ..view.evaluation import Scores, score_clusters
from ..view.facts import name_model
from ..view.opened_run import OpenedRun
from .image_set import ImageSet

_NOT_CLUSTERING = ("data", "embed", "caption", "index")
"""Tables that clusters do not depend on, or that the embeddings' model and content stand for."""

SEED = "seed"
"""The name of the setting in which repetitions of a run may differ."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Partition:
    """A cluster for each image of a set."""

    name: str
    """The name of the run, or of the rival."""
    images: ImageSet
    clusters: np.ndarray
    """(n,) the number of each image's cluster; -1 is noise."""
    k: int
    scores: Scores | None = None
    """Scores against labels; None without labels."""
    confidence: float | None = None
    """The mean over all images; rivals have none."""
    seconds: float | None = None
    """Seconds that everything after the embeddings took when it was made."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """TABLE.KEY and value of the settings of the run, apart from those of its images."""
    given: tuple[str, ...] = ()
    """The contents of other inputs of the clusters: words, embeddings of other runs."""
    seed: int | None = None
    """The seed of the first step that draws at random."""
    is_rival: bool = False

    @property
    def seeds(self) -> Mapping[str, Any]:
        """The seed of each step by TABLE.seed; for a rival its only seed."""
        seeds = {
            name: value for name, value in self.settings.items() if name.rpartition(".")[2] == SEED
        }
        return seeds or {SEED: self.seed}


def partition_of(run: OpenedRun, images: ImageSet) -> Partition:
    """The first clusters of a run's assignments, scored if images have labels."""
    assignments = run.require_current("assignments")
    ancestors = list(_ancestors(run, assignments))
    settings: dict[str, Any] = {"embed.model": name_model(images.embeddings)}
    for table, values in settings_of(run.store, run.record).tables().items():
        if table not in _NOT_CLUSTERING:
            settings |= {f"{table}.{key}": value for key, value in values.items()}
    others = [
        artifact for artifact in ancestors if artifact.kind.name in (EMBEDDINGS.name, WORDS.name)
    ]
    clusters = read_column(assignments, "cluster").astype(np.int64)
    seconds = [
        float(artifact.manifest.made_by.get("seconds") or 0)
        for artifact in (assignments, *ancestors)
        if artifact.kind.name != EMBEDDINGS.name
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
        given=tuple(sorted({artifact.content for artifact in others})),
        seed=settings.get(f"train.{SEED}"),
    )


def score(images: ImageSet, clusters: np.ndarray) -> Scores | None:
    """The scores of clusters over the images with a label; None if no image has one."""
    is_labelled = images.is_labelled
    if not is_labelled.any():
        return None
    return score_clusters(images.classes, clusters[is_labelled])


def _ancestors(run: OpenedRun, artifact: Artifact) -> Iterator[Artifact]:
    """All artifacts that clusters were made from, one of each slot, without lost ones.

    Prefers the artifacts that the run holds: if two settings give the same bytes, the clusters may
    have been made for another run.
    """
    seen: set[str] = set()
    inputs = list(artifact.manifest.inputs.items())
    while inputs:
        slot, used = inputs.pop()
        if slot in seen:
            continue
        seen.add(slot)
        ancestor = run.slots.current(slot) or run.store.find(KINDS[used.kind], used.version)
        if ancestor is not None:
            yield ancestor
            inputs += ancestor.manifest.inputs.items()
