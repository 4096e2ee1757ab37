"""Landmarks, rows that represent all: their eigenvectors and clusters, and those of other rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Shaped
from numpy import ndarray

from ....store.errors import ConfigError
from ..coding_length import coding_length
from ..heads import centred_unit_rows
from .confidence import assign_points, fit_sharpness
from .consensus import Consensus, cell_counts, cluster_points
from .kmeans import nearest
from .memberships import Memberships
from .pieces import join_pieces
from .sampling import choose_rows
from .spectral import NO_EIGENVALUE, cluster_rows, spectral_rows

Affinity = Consensus | Memberships
AffinityName = Literal["auto", "consensus", "membership"]

RESTARTS = 10
"""Starts of k-means on the leading eigenvectors, of which the best is kept."""
BLOCK_ROWS = 8192
"""Rows whose links are found at once: bounds the memory."""
EPS_SQ = 0.1
"""ε² of the codes that choose the affinity: the paper's."""
TRIAL_ROWS = 2000
"""Landmarks on which the two affinities are compared, at most."""
TRIAL_CLUSTERS = (2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 100)
SHORTER = 0.95
"""The membership is taken where its shortest code is shorter than the consensus' by this factor. On
three sets of real photographs the factor was 0.97 to 1.03, which says nothing; on unions of
subspaces, which k-means cannot see, 0.67 to 0.91."""


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    """Landmarks, their affinity, and its leading eigenpairs."""

    affinity: Affinity
    points: Float32[ndarray, "m q"]
    """Unit rows by which they are clustered: features, or features and cluster features."""
    z: Float32[ndarray, "m p"]
    """Features."""
    x: Float32[ndarray, "m d"]
    """Embeddings."""
    values: Float[ndarray, " k_max"]
    vectors: Float[ndarray, "m k_max"]
    seed: int

    def cluster(
        self, k: int, restarts: int = RESTARTS, first: int = 0
    ) -> tuple[Int[ndarray, " m"], Float[ndarray, "k2 k"]]:
        """Labels of the landmarks in k clusters, and the centroids among unit rows.

        Takes the best of k-means' starts `first`, `first` + 1, … ConfigError where k exceeds the
        number of eigenvectors.
        """
        if k > len(self.values):
            raise ConfigError(
                f"k must be at most {len(self.values)}, the number of eigenvectors in the "
                f"spectrum, got {k}: raise spectrum.k_max, up to its {len(self.z)} landmarks"
            )
        # Other rows have no coordinate along a vector whose eigenvalue is zero.
        vectors = self.vectors * (np.abs(self.values) > NO_EIGENVALUE)
        return cluster_rows(spectral_rows(vectors, k), k, self.seed + first, restarts)

    def points_of(
        self, z: Shaped[ndarray, "n p"], c: Shaped[ndarray, "n p"]
    ) -> Float32[ndarray, "n q"]:
        """Points by which rows are clustered: only the features where both kinds are the same."""
        return z.astype(np.float32) if self.points.shape[1] == z.shape[1] else _both(z, c)

    def partition(self, k: int) -> "Partition":
        """k clusters; fewer if there are fewer distinct points.

        With a consensus, pieces of one group are joined. A membership takes opposite points for
        one: where it finds fewer than k clusters, and points tell more apart, these decide.
        """
        if isinstance(self.affinity, Memberships):
            labels, places = self.cluster(k)
            if len(places) == k:
                return Partition(labels, places, np.arange(k))
            centroids = cluster_points(self.points, k, self.seed)
            if len(centroids) <= len(places):
                return Partition(labels, places, np.arange(len(places)))
            return self._by_points(centroids, np.arange(len(centroids)))
        centroids = cluster_points(self.points, k, self.seed)
        group = np.arange(len(centroids))
        if k > 1:
            labels, x = nearest(self.points, centroids), centred_unit_rows(self.x)
            joined = join_pieces(x, self.points, labels, k, self.seed)
            centroids, group = joined or (centroids, group)
        return self._by_points(centroids, group)

    def _by_points(self, centroids: ndarray, group: ndarray) -> "Partition":
        sharpness = fit_sharpness(self.points, centroids, group, self.seed)
        return Partition(nearest(self.points, centroids), centroids, group, sharpness)

    def place(self, points: Float32[ndarray, "n q"], k: int) -> Float32[ndarray, "n k"]:
        """Coordinates of rows along the k leading eigenvectors, up to the length of each row."""
        return self.place_reached(self.reach(points), k)

    def reach(self, points: Float32[ndarray, "n q"]) -> Shaped[ndarray, "n _"]:
        """What `place_reached` needs of rows; the same for all that `resample` gives."""
        reached = [self.affinity.reach(points[rows]) for rows in _blocks(points)]
        return np.concatenate(reached or [self.affinity.reach(points)])

    def place_reached(self, reached: Shaped[ndarray, "n _"], k: int) -> Float32[ndarray, "n k"]:
        """Coordinates of rows that were reached before: see `place`."""
        table = self.affinity.placing(self.values[:k], self.vectors[:, :k])
        links = (self.affinity.links(reached[rows], [table]) for rows in _blocks(reached))
        return np.concatenate([np.empty((0, k), np.float32), *(each.average(0) for each in links)])

    def resample(self, rows: Int[ndarray, " s"], seed: int) -> "Landmarks":
        """Some of the landmarks, with their own eigenpairs."""
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


class Partition(NamedTuple):
    """Clusters of the landmarks, made of pieces; usually every piece is a cluster."""

    pieces: Int[ndarray, " m"]
    """The piece of each landmark."""
    centroids: Float[ndarray, "q e"]
    """Centroid of each piece, among unit rows of e leading eigenvectors, or among points."""
    group: Int[ndarray, " q"]
    """The cluster of each piece."""
    sharpness: float | None = None
    """Sharpness of the confidence where centroids lie among points; else None."""

    @property
    def k(self) -> int:
        """Number of clusters."""
        return int(self.group.max()) + 1

    @property
    def is_by_points(self) -> bool:
        """Whether centroids lie among points, not among eigenvectors."""
        return self.sharpness is not None

    def nearest(self, places: Float32[ndarray, "n e2"]) -> Int[ndarray, " n"]:
        """The clusters of rows, by e or more spectral coordinates, or by their points."""
        rows = places if self.is_by_points else spectral_rows(places, self.centroids.shape[1])
        # Centroids are shorter than unit rows, so cosines alone would not give the nearest.
        return self.group[nearest(rows, self.centroids)]


class Assigner:
    """Assigns rows to the clusters of one or more partitions that share the landmarks."""

    def __init__(self, landmarks: Landmarks, partitions: Sequence[Partition]) -> None:
        self._landmarks = landmarks
        self._partitions = partitions
        affinity = landmarks.affinity
        spectral = [partition for partition in partitions if not partition.is_by_points]
        e = max((partition.centroids.shape[1] for partition in spectral), default=0)
        self._tables = [
            affinity.sharing(partition.group[partition.pieces], partition.k)
            for partition in spectral
        ]
        """Places, and the share of each cluster, of the partitions that are not by points."""
        if spectral:
            places = affinity.placing(landmarks.values[:e], landmarks.vectors[:, :e])
            self._tables.insert(0, places)

    def assign(
        self, points: Float32[ndarray, "n q"]
    ) -> list[tuple[Int[ndarray, " n"], Float32[ndarray, " n"]]]:
        """For each partition the cluster of each row, and its confidence from 0 to 1.

        Every row gets a cluster; a row without links has confidence 0.
        """
        assigned = []
        spectral = []
        for partition in self._partitions:
            if partition.sharpness is None:
                clusters = np.empty(len(points), np.int32), np.empty(len(points), np.float32)
                spectral.append((partition, *clusters))
            else:
                centroids, group = partition.centroids, partition.group
                labels, sure = assign_points(points, centroids, group, partition.sharpness)
                clusters = labels.astype(np.int32), sure
            assigned.append(clusters)
        for rows in _blocks(points) if spectral else ():
            affinity = self._landmarks.affinity
            links = affinity.links(affinity.reach(points[rows]), self._tables)
            places = links.average(0)
            for number, (partition, clusters, confidences) in enumerate(spectral, 1):
                clusters[rows] = labels = partition.nearest(places)
                confidences[rows] = links.confidence(number, labels)
        return assigned

    def points_of(
        self, z: Shaped[ndarray, "n p"], c: Shaped[ndarray, "n p"]
    ) -> Float32[ndarray, "n q"]:
        """Points by which rows with these features are clustered."""
        return self._landmarks.points_of(z, c)


def _blocks(points: ndarray) -> Iterator[slice]:
    """Rows whose links are found at once."""
    for start in range(0, len(points), BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, len(points)))


def clustering_rows(
    z: Shaped[ndarray, "n p"], c: Shaped[ndarray, "n p"]
) -> Float32[ndarray, "n q"]:
    """Points by which rows are clustered: features and cluster features, concatenated, unit length.

    Features alone miss what training separates, and cluster features alone can collapse. Where both
    are the same, as without training, features alone give the same distances.
    """
    same = z is c or (len(z) and np.array_equal(z, c))
    return z.astype(np.float32) if same else _both(z, c)


def _both(z: Shaped[ndarray, "n p"], c: Shaped[ndarray, "n p"]) -> Float32[ndarray, "n q"]:
    return np.hstack([z, c]).astype(np.float32) / np.sqrt(np.float32(2))


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
    needs_spectrum: bool = True,
) -> Landmarks:
    """Landmarks from their points (unit rows), features z and embeddings x, with k_max eigenpairs.

    `auto` takes the affinity that gives the landmarks' features the shorter code. With a consensus,
    `Landmarks.partition` only uses the points: without `needs_spectrum` the consensus is left
    empty, and has no eigenpairs.
    """
    if affinity == "auto":
        affinity = _choose(points, z, x, eta, seed, device)
    fitted: Affinity
    values, vectors = np.zeros(0), np.zeros((len(points), 0))
    if affinity == "membership":
        fitted = Memberships.fit(points, eta=eta, device=device)
        values, vectors = fitted.eigenpairs(k_max, seed)
    elif needs_spectrum:
        fitted = Consensus.fit(points, cell_counts(len(points), k_max, clusterings), seed)
        values, vectors = fitted.eigenpairs(k_max, seed)
    else:
        fitted = Consensus.empty(len(points))
    return Landmarks(
        affinity=fitted, points=points, z=z, x=x, values=values, vectors=vectors, seed=seed
    )


def _choose(
    points: ndarray, z: ndarray, x: ndarray, eta: float, seed: int, device: str
) -> AffinityName:
    rows = choose_rows(len(points), TRIAL_ROWS, seed)
    k_max = min(TRIAL_CLUSTERS[-1], max(2, len(rows) // 10))
    shortest = {}
    for name in ("consensus", "membership"):
        landmarks = fit_landmarks(
            points[rows],
            z[rows],
            x[rows],
            affinity=name,
            k_max=k_max,
            clusterings=12,
            eta=eta,
            seed=seed,
            device=device,
        )
        counts = [k for k in TRIAL_CLUSTERS if k <= len(landmarks.values)]
        shortest[name] = min(_code(landmarks, k) for k in counts)
    return "membership" if shortest["membership"] < SHORTER * shortest["consensus"] else "consensus"


def _code(landmarks: Landmarks, k: int) -> float:
    """Coding length of the landmarks' features in k clusters, in nats."""
    labels, centroids = landmarks.cluster(k, 1)
    z, k = torch.from_numpy(landmarks.z), len(centroids)
    return float(coding_length(z, torch.from_numpy(labels), k, eps_sq=EPS_SQ).total)
