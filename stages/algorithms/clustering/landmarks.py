"""Rows that stand for all: their eigenvectors, their clusters, and those of any other row."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Shaped
from numpy import ndarray

from ....store.errors import ConfigError
from ..coding_length import coding_length
from ..heads import centred_unit_rows
from .confidence import confidence, fit_sharpness
from .consensus import Consensus, cell_counts, cluster_points
from .kmeans import nearest
from .memberships import Memberships
from .pieces import join_pieces
from .sampling import choose_rows
from .spectral import NO_EIGENVALUE, cluster_rows, spectral_rows

Affinity = Consensus | Memberships
AffinityName = Literal["auto", "consensus", "membership"]

RESTARTS = 10
"""Starts of k-means among the leading eigenvectors, of which the best is kept."""
LEAST = 30
"""Eigenvectors are kept for so many clusters, even where there are few rows."""
ROWS_A_CLUSTER = 20
"""Landmarks that each of k_max clusters would hold on average; half of them where k_max is less
than `FEW`."""
FEW = 100
EPS_SQ = 0.1
"""ε² at which the trial measures its codes: the paper's."""
TRIAL_ROWS = 2000
"""Landmarks on which the two affinities are compared."""
TRIAL_CLUSTERS = (2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 100)
SHORTER = 0.95
"""The membership is taken where it makes the shortest code shorter than the consensus does, by this
factor. On three sets of real photographs it was 0.97 to 1.03 and told nothing; on unions of
subspaces, which k-means cannot see, 0.67 to 0.91."""


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    """Landmarks, an affinity among them, and its leading eigenpairs."""

    affinity: Affinity
    points: Float32[ndarray, "m q"]
    """Unit rows that they are clustered by: features, or features and cluster features."""
    z: Float32[ndarray, "m p"]
    """Their features."""
    x: Float32[ndarray, "m d"]
    """Their embeddings."""
    values: Float[ndarray, " k_max"]
    vectors: Float[ndarray, "m k_max"]
    seed: int

    def cluster(
        self, k: int, restarts: int = RESTARTS, first: int = 0
    ) -> tuple[Int[ndarray, " m"], Float[ndarray, "k2 k"]]:
        """Labels of the landmarks in k clusters, and the centroids among unit rows.

        Of k-means' starts number `first` and those that follow. ConfigError when k is more than the
        eigenvectors serve.
        """
        if k > len(self.values):
            raise ConfigError(
                f"k = {k} is more than the {len(self.values)} eigenvectors that the spectrum "
                f"holds: raise spectrum.k_max, up to its {len(self.z)} landmarks"
            )
        # No other row has a place along a vector without an eigenvalue.
        vectors = self.vectors * (np.abs(self.values) > NO_EIGENVALUE)
        return cluster_rows(spectral_rows(vectors, k), k, self.seed + first, restarts)

    def points_of(
        self, z: Shaped[ndarray, "n p"], c: Shaped[ndarray, "n p"]
    ) -> Float32[ndarray, "n q"]:
        """What rows are clustered by: features alone where both kinds are the same."""
        if self.points.shape[1] == z.shape[1]:
            return z.astype(np.float32)
        return clustering_rows(z, c)

    def partition(self, k: int) -> "Partition":
        """k clusters. Where rows are linked by a consensus, pieces of one group are joined."""
        if isinstance(self.affinity, Memberships):
            labels, centroids = self.cluster(k)
            return Partition(labels, centroids, np.arange(len(centroids)))
        centroids = cluster_points(self.points, k, self.seed)
        group = np.arange(len(centroids))
        if k > 1:
            labels, x = nearest(self.points, centroids), centred_unit_rows(self.x)
            joined = join_pieces(x, self.points, labels, k, self.seed)
            centroids, group = joined or (centroids, group)
        sharpness = fit_sharpness(self.points, centroids, group, self.seed)
        return Partition(nearest(self.points, centroids), centroids, group, sharpness)

    def place(self, points: Float32[ndarray, "n q"], k: int) -> Float32[ndarray, "n k"]:
        """Places of rows among the k leading eigenvectors, but for the length of each row."""
        table = self.affinity.placing(self.values[:k], self.vectors[:, :k])
        blocks = [self.affinity.average(links, table) for _, links in self._links(points)]
        return np.concatenate([np.empty((0, k), np.float32), *blocks])

    def resample(self, rows: Int[ndarray, " s"], seed: int) -> "Landmarks":
        """Some of the landmarks alone, with eigenpairs of their own."""
        affinity = self.affinity.subset(rows)
        values, vectors = affinity.eigenpairs(min(len(self.values), len(rows)), seed)
        return Landmarks(
            affinity=affinity,
            points=self.points[rows],
            z=self.z[rows],
            x=self.x[rows],
            values=values,
            vectors=vectors,
            seed=seed,
        )

    def _links(self, points: ndarray) -> Iterator[tuple[slice, Any]]:
        step = self.affinity.block_rows
        for start in range(0, len(points), step):
            block = slice(start, min(start + step, len(points)))
            yield block, self.affinity.links(points[block])


class Partition(NamedTuple):
    """Clusters of the landmarks, made of pieces; often every piece is a cluster of its own."""

    pieces: Int[ndarray, " m"]
    """The piece of each landmark."""
    centroids: Float[ndarray, "q e"]
    """Of each piece: among unit rows of e leading eigenvectors, or among points."""
    group: Int[ndarray, " q"]
    """The cluster of each piece."""
    sharpness: float | None = None
    """Of the confidence, where centroids lie among points; None where among eigenvectors."""

    @property
    def k(self) -> int:
        """How many clusters there are."""
        return int(self.group.max()) + 1

    @property
    def is_by_points(self) -> bool:
        """Whether centroids lie among points."""
        return self.sharpness is not None

    def nearest(self, places: Float32[ndarray, "n e2"]) -> Int[ndarray, " n"]:
        """The cluster of rows by their places among e or more eigenvectors, or by their points."""
        rows = places if self.is_by_points else spectral_rows(places, self.centroids.shape[1])
        # Centroids are shorter than unit rows, so the nearest one needs its own length too.
        return self.group[nearest(rows, self.centroids)]


class Assigner:
    """Puts rows into the clusters of one partition, or of several that share the landmarks."""

    def __init__(self, landmarks: Landmarks, partitions: Sequence[Partition]) -> None:
        self._landmarks = landmarks
        self._partitions = partitions
        affinity = landmarks.affinity
        spectral = [one for one in partitions if not one.is_by_points]
        kept = max((one.centroids.shape[1] for one in spectral), default=0)
        self._placing = affinity.placing(landmarks.values[:kept], landmarks.vectors[:, :kept])
        self._sharing = [
            None if one.is_by_points else affinity.sharing(one.group[one.pieces], one.k)
            for one in partitions
        ]

    def assign(
        self, points: Float32[ndarray, "n q"]
    ) -> list[tuple[Int[ndarray, " n"], Float32[ndarray, " n"]]]:
        """For each partition the cluster of each row, and a confidence from 0 to 1.

        Every row gets a cluster; a row that nothing is linked to has confidence 0.
        """
        made = [
            self._by_points(points, one)
            if one.is_by_points
            else (np.empty(len(points), np.int32), np.empty(len(points), np.float32))
            for one in self._partitions
        ]
        if all(one.is_by_points for one in self._partitions):
            return made
        affinity = self._landmarks.affinity
        for block, links in self._landmarks._links(points):
            places = affinity.average(links, self._placing)
            for one, sharing, (clusters, confidences) in zip(
                self._partitions, self._sharing, made, strict=True
            ):
                if sharing is not None:
                    clusters[block] = found = one.nearest(places)
                    confidences[block] = affinity.confidence(links, sharing, found)
        return made

    def points_of(
        self, z: Shaped[ndarray, "n p"], c: Shaped[ndarray, "n p"]
    ) -> Float32[ndarray, "n q"]:
        """What rows with these features are clustered by."""
        return self._landmarks.points_of(z, c)

    def _by_points(self, points: ndarray, partition: Partition) -> tuple[ndarray, ndarray]:
        assert partition.sharpness is not None
        sure = confidence(points, partition.centroids, partition.group, partition.sharpness)
        return partition.nearest(points).astype(np.int32), sure


def clustering_rows(
    z: Shaped[ndarray, "n p"], c: Shaped[ndarray, "n p"]
) -> Float32[ndarray, "n q"]:
    """What rows are clustered by: features and cluster features side by side, of unit length.

    Features alone keep what training did not separate, cluster features alone can collapse. Where
    both are the same, as before a training, features alone give the same distances.
    """
    if z is c or (len(z) and np.array_equal(z, c)):
        return z.astype(np.float32)
    return np.hstack([z, c]).astype(np.float32) / np.sqrt(np.float32(2))


def usual_k_max(rows: int, landmarks: int) -> int:
    """How many eigenvectors are kept for so many rows, of which `landmarks` at most stand for all.

    It serves twice √rows clusters, where each has some landmarks then.
    """
    most = min(rows, landmarks)
    usual = min(2 * math.isqrt(rows), max(FEW, most // ROWS_A_CLUSTER), 2 * most // ROWS_A_CLUSTER)
    return min(max(LEAST, usual), most)


def fit_landmarks(
    points: Float32[ndarray, "m q"],
    z: Float32[ndarray, "m p"],
    x: Float32[ndarray, "m d"],
    *,
    affinity: AffinityName,
    k_max: int,
    clusterings: int,
    eta: float,
    seed: int,
    device: str = "cpu",
    has_k: bool = False,
) -> Landmarks:
    """Landmarks by their points (unit rows), features z and embeddings x, and k_max eigenpairs.

    `auto` takes the affinity that lets the landmarks' features be told by the shorter code. A
    consensus into a k that is known (`has_k`) needs no eigenpairs: then there are none.
    """
    if affinity == "auto":
        affinity = _choose(points, z, x, eta, seed, device)
    if affinity == "membership":
        linked: Affinity = Memberships.fit(points, eta=eta, device=device)
    else:
        counts = [1] if has_k else cell_counts(len(points), k_max, clusterings)
        linked = Consensus.fit(points, counts, seed)
    if has_k and affinity == "consensus":
        values, vectors = np.zeros(0), np.zeros((len(points), 0))
    else:
        values, vectors = linked.eigenpairs(k_max, seed)
    return Landmarks(
        affinity=linked, points=points, z=z, x=x, values=values, vectors=vectors, seed=seed
    )


def _choose(
    points: ndarray, z: ndarray, x: ndarray, eta: float, seed: int, device: str
) -> AffinityName:
    rows = choose_rows(len(points), TRIAL_ROWS, seed)
    k_max = min(TRIAL_CLUSTERS[-1], max(2, len(rows) // 10))
    shortest = {}
    for kind in ("consensus", "membership"):
        tried = fit_landmarks(
            points[rows],
            z[rows],
            x[rows],
            affinity=kind,
            k_max=k_max,
            clusterings=12,
            eta=eta,
            seed=seed,
            device=device,
        )
        counts = [k for k in TRIAL_CLUSTERS if k <= len(tried.values)]
        shortest[kind] = min(_code(tried, k) for k in counts)
    return "membership" if shortest["membership"] < SHORTER * shortest["consensus"] else "consensus"


def _code(landmarks: Landmarks, k: int) -> float:
    labels, centroids = landmarks.cluster(k, 1)
    z, found = torch.from_numpy(landmarks.z), torch.from_numpy(labels)
    return float(coding_length(z, found, len(centroids), eps_sq=EPS_SQ).total)
