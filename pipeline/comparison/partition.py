"""The clusters of one run or one rival, with their scores and the settings that made them."""

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
"""Tables that no cluster depends on, or whose settings the embeddings' model and content show."""

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
    """TABLE.KEY and value of the settings of the run, apart from those of its images."""
    given: tuple[str, ...] = ()
    """The content of everything else that the clusters were made from: words, other embeddings."""
    seed: int | None = None
    """That of the first step that draws at random."""
    is_rival: bool = False

    @property
    def seeds(self) -> Mapping[str, Any]:
        """The seed of each step by TABLE.seed; of a rival its only one."""
        named = {
            name: value for name, value in self.settings.items() if name.rpartition(".")[2] == SEED
        }
        return named or {SEED: self.seed}


def partition_of(run: OpenedRun, images: ImageSet) -> Partition:
    """The first clusters of a run's assignments, scored where images have labels."""
    assignments = run.require_current("assignments")
    used = list(_ancestors(run, assignments))
    settings: dict[str, Any] = {"embed.model": name_model(images.embeddings)}
    for table, values in settings_of(run.store, run.record).tables().items():
        if table not in _NOT_CLUSTERING:
            settings |= {f"{table}.{key}": value for key, value in values.items()}
    others = [artifact for artifact in used if artifact.kind.name in (EMBEDDINGS.name, WORDS.name)]
    clusters = read_column(assignments, "cluster").astype(np.int64)
    seconds = [
        float(artifact.manifest.made_by.get("seconds") or 0)
        for artifact in (assignments, *used)
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
    """The scores of clusters over the images with a label; None where none has one."""
    is_labelled = images.is_labelled
    if not is_labelled.any():
        return None
    _, y = np.unique(images.labels[is_labelled].astype(str), return_inverse=True)
    return score_clusters(y, clusters[is_labelled])


def _ancestors(run: OpenedRun, artifact: Artifact) -> Iterator[Artifact]:
    """Everything that clusters were made from, each slot once; what is lost is left out.

    What the run holds comes first: where two settings gave the same bytes, the clusters may have
    been made for another run.
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
