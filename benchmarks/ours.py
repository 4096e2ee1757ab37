"""Our clusters as the stages make them, without a store; and the sets that score them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy import ndarray

from cpp_pipe.stages.algorithms.clustering.code_lengths import Ruler
from cpp_pipe.stages.algorithms.clustering.consensus import Consensus
from cpp_pipe.stages.algorithms.clustering.hierarchy import (
    Criterion,
    Hierarchy,
    build_hierarchy,
    cut,
    shortest_level,
)
from cpp_pipe.stages.algorithms.clustering.k_choice import KChoice, Rule, choose_k
from cpp_pipe.stages.algorithms.clustering.landmarks import (
    Assigner,
    Landmarks,
    Partition,
    clustering_rows,
    fit_landmarks,
)
from cpp_pipe.stages.algorithms.clustering.sampling import (
    CANDIDATES,
    choose_landmarks,
    choose_rows,
)
from cpp_pipe.stages.algorithms.coding_length import second_moments
from cpp_pipe.stages.algorithms.early_stopping import train as train_heads
from cpp_pipe.stages.algorithms.heads import unit_rows
from cpp_pipe.stages.algorithms.training import Trainer, project
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.algorithms.whitening import neighbour_directions
from cpp_pipe.stages.merge import Merge
from cpp_pipe.stages.select_k import SelectK
from cpp_pipe.stages.spectrum import Spectrum

from .planted import planted

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "clip_vitb32"
SETS = tuple(SHARED / f"{name}.npz" for name in ("caltech101", "oxford_pets", "ucf101"))
TINY = Path("tiny")
"""A small set that `load` makes, for `--tiny`; no file."""
_TINY_CLASSES, _TINY_ROWS, _TINY_WIDTH = 12, 360, 32
_ROWS = 1024
"""Rows in a batch through the heads."""


def load(path: Path) -> tuple[ndarray, ndarray]:
    """Embeddings in float32 and labels from 0 on, from an .npz file of x and y."""
    if path == TINY:
        return planted(_TINY_CLASSES, _TINY_ROWS, p=_TINY_WIDTH, ratio=2.0)
    with np.load(path, allow_pickle=False) as file:
        return file["x"].astype(np.float32), np.unique(file["y"], return_inverse=True)[1]


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """Settings by name, from `name=value`; a value is JSON, or a plain word."""
    settings = {}
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        try:
            settings[name] = json.loads(text)
        except json.JSONDecodeError:
            settings[name] = text
    return settings


class Features(NamedTuple):
    """Embeddings, and the features that rows are clustered by."""

    x: ndarray
    """Embeddings (n, d), float32."""
    z: ndarray
    """Features (n, p), float32."""
    c: ndarray
    """Cluster features (n, p), float32."""
    kept: str = ""
    """The heads that made z and c."""


def train(x: ndarray, recipe: TrainingConfig) -> Features:
    """Features of the heads that training by a recipe keeps."""
    trainer, stopping = train_heads(torch.from_numpy(x), recipe, "cpu")
    return features_of(x, trainer, f"step {stopping.kept_step}")


def start(x: ndarray, seed: int) -> Features:
    """Features along the principal directions, neither whitened nor trained."""
    return features_of(
        x,
        Trainer(torch.from_numpy(x), TrainingConfig(seed=seed, start="principal"), "cpu"),
        "principal directions",
    )


def whitened(x: ndarray, seed: int) -> ndarray:
    """Unit rows along the directions of neighbour whitening: z of heads that are not trained."""
    rows = torch.from_numpy(x)
    mean, directions = neighbour_directions(rows, TrainingConfig.features, seed=seed)
    return unit_rows((rows - mean) @ directions.mT).numpy()


def features_of(x: ndarray, trainer: Trainer, kept: str) -> Features:
    """Features of a trainer's heads as they are."""
    z, c = project(trainer.finish(), trainer.x, _ROWS)
    return Features(x, z.float().numpy(), c.float().numpy(), kept)


class Levels(NamedTuple):
    """A hierarchy over the finest clusters of the landmarks."""

    leaves: Partition
    hierarchy: Hierarchy

    @property
    def shortest(self) -> int:
        """The level with the shortest code."""
        return shortest_level(self.hierarchy)

    def cut(self, level: int) -> Partition:
        """The clusters at a level."""
        pairs = np.array([(merging.left, merging.right) for merging in self.hierarchy.merges])
        left, right = pairs.reshape(-1, 2).T
        return self.leaves._replace(group=cut(left, right, level))


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Landmarks of a set, and what the stages after `spectrum` derive from them."""

    features: Features
    points: ndarray
    landmarks: Landmarks
    seed: int

    @classmethod
    def of(cls, features: Features, stage: Spectrum, k: int = 0) -> "Fitted":
        """Fits like `spectrum`; keeps enough eigenvectors for k clusters, like a plan."""
        n = len(features.x)
        if k > stage.eigenvectors(n):
            stage = replace(stage, k_max=min(k + k // 2, n, stage.landmarks))
        points = clustering_rows(features.z, features.c)
        candidates = choose_rows(n, CANDIDATES * stage.landmarks, stage.seed)
        rows = candidates[choose_landmarks(points[candidates], stage.landmarks, stage.seed)]
        landmarks = fit_landmarks(
            points[rows],
            features.z[rows],
            features.x[rows],
            affinity=stage.affinity,
            k_max=stage.eigenvectors(n),
            clusterings=stage.clusterings,
            eta=stage.eta,
            seed=stage.seed,
        )
        return cls(features=features, points=points, landmarks=landmarks, seed=stage.seed)

    @property
    def affinity(self) -> str:
        """The affinity that links the landmarks."""
        return "consensus" if isinstance(self.landmarks.affinity, Consensus) else "membership"

    def assign(self, partition: Partition) -> tuple[ndarray, ndarray]:
        """Cluster and confidence of every row, as in `assign`."""
        return Assigner(self.landmarks, [partition]).assign(self.points)[0]

    def labels(self, k: int) -> ndarray:
        """The cluster of every row, for k clusters."""
        return self.assign(self.landmarks.partition(k))[0]

    def ruler(self) -> Ruler:
        """Measures coding lengths, as in `select-k`."""
        stage, n = SelectK(seed=self.seed), len(self.points)
        sample = choose_rows(n, stage.rows, stage.seed)
        z, points = self.features.z[sample], self.points[sample]
        return Ruler.of(self.landmarks, z, points, total=n, eps_sq=stage.eps_sq)

    def choice(self, resamples: int, rule: Rule = "auto") -> KChoice:
        """The choice of `select-k` over its default grid."""
        ruler = self.ruler()
        sample = choose_rows(len(self.points), len(ruler.z), self.seed)
        return choose_k(
            ruler, self.features.x[sample], resamples=resamples, seed=self.seed, rule=rule
        )

    def levels(self, criterion: Criterion | None = None) -> Levels:
        """The hierarchy of `merge`, by its default criterion or another."""
        stage, n = Merge(seed=self.seed), len(self.points)
        pieces, centroids = self.landmarks.cluster(min(stage.finest, len(self.landmarks.values)))
        leaves = Partition(pieces, centroids, np.arange(len(centroids)))
        rows = choose_rows(n, stage.rows, stage.seed)
        labels = leaves.nearest(self.landmarks.place(self.points[rows], centroids.shape[1]))
        z = torch.from_numpy(self.features.z[rows])
        moments = second_moments(z, torch.from_numpy(labels), leaves.k)
        hierarchy = build_hierarchy(
            moments, eps_sq=stage.eps_sq, total=n, criterion=criterion or stage.criterion
        )
        return Levels(leaves, hierarchy)
