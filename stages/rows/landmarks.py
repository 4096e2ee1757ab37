"""The landmarks of a spectrum as tensors and back, and rows of the artifacts they come from."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ...store import Artifact, ConfigError, StoreError
from ...store.paths import StorePath
from ..contract import DrawRows
from .artifact_rows import EMBEDDING
from .merges import read_merges
from .sampled_rows import gather_rows

if TYPE_CHECKING:
    from ..algorithms.clustering.landmarks import Landmarks, Partition


def to_tensors(landmarks: "Landmarks", rows: np.ndarray) -> dict[str, np.ndarray]:
    """The tensors that a spectrum stores; `rows` are the landmarks' row numbers over all parts."""
    from ..algorithms.clustering.consensus import Consensus

    affinity = landmarks.affinity
    tensors = {
        "landmark_rows": rows,
        "landmark_points": np.ascontiguousarray(landmarks.points, np.float32),
        "landmark_z": landmarks.z.astype(np.float16),
        "landmark_x": landmarks.x.astype(np.float16),
        "eigenvalues": landmarks.values.astype(np.float32),
        "eigenvectors": np.ascontiguousarray(landmarks.vectors, np.float32),
    }
    if isinstance(affinity, Consensus):
        return {
            **tensors,
            "landmark_cells": affinity.landmark_cells.astype(np.int32),
            "centroids": affinity.cells.centroids,
            "starts": affinity.cells.starts.astype(np.int32),
        }
    return {
        **tensors,
        "potentials": affinity.potentials,
        "eta": np.array([affinity.eta]),
    }


def open_landmarks(spectrum: Artifact, device: str = "cpu") -> "Landmarks":
    """The landmarks of a spectrum, in float32."""
    from ..algorithms.clustering.consensus import Cells, Consensus
    from ..algorithms.clustering.landmarks import Affinity, Landmarks
    from ..algorithms.clustering.memberships import Memberships

    tensors = spectrum.tensors(spectrum.only_part, "tensors")
    affinity: Affinity
    if "potentials" in tensors:
        affinity = Memberships(
            points=tensors["landmark_points"],
            potentials=tensors["potentials"],
            eta=float(tensors["eta"][0]),
            device=device,
        )
    else:
        cells = Cells(tensors["centroids"], tensors["starts"])
        affinity = Consensus(cells=cells, landmark_cells=tensors["landmark_cells"])
    return Landmarks(
        affinity=affinity,
        points=tensors["landmark_points"],
        z=tensors["landmark_z"].astype(np.float32),
        x=tensors["landmark_x"].astype(np.float32),
        values=tensors["eigenvalues"],
        vectors=tensors["eigenvectors"],
        seed=int(spectrum.manifest.config["seed"]),
    )


@lru_cache(maxsize=8)
def find_partition(spectrum: StorePath, k: int) -> "Partition":
    """k clusters of the landmarks of the spectrum in a folder, found once in a process."""
    return open_landmarks(Artifact(spectrum)).partition(k)


def gather_features(
    features: Artifact,
    rows: np.ndarray,
    landmarks: "Landmarks | None" = None,
    *,
    draw: DrawRows | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, p) of some rows in float32, and the points by which these are clustered.

    With `landmarks`, the points are made as theirs were.
    """
    from ..algorithms.clustering.landmarks import clustering_rows

    z, c = ((draw or gather_rows)(features, role, rows) for role in ("z", "c"))
    points = clustering_rows(z, c) if landmarks is None else landmarks.points_of(z, c)
    return z.astype(np.float32), points


def gather_embeddings(
    embeddings: Artifact, rows: np.ndarray, *, draw: DrawRows | None = None
) -> np.ndarray:
    """Embeddings (n, d) of some rows in float32."""
    return (draw or gather_rows)(embeddings, EMBEDDING, rows).astype(np.float32)


def cut_hierarchy(hierarchy: Artifact, level: int) -> "Partition":
    """The clusters of the landmarks at a level; ConfigError for a level that does not exist."""
    from ..algorithms.clustering.hierarchy import cut
    from ..algorithms.clustering.landmarks import Partition

    finest, name = int(hierarchy.facts["finest"]), hierarchy.only_part
    if not 1 <= level <= finest:
        raise ConfigError(
            f"level must be from 1 to {finest}, the finest level of the hierarchy (merge.finest), "
            f"got {level}"
        )
    left, right = read_merges(hierarchy)
    tensors = hierarchy.tensors(name, "leaves")
    pieces, centroids = tensors["pieces"], tensors["centroids"]
    is_right = pieces.ndim == 1 and centroids.ndim == 2 and len(centroids) == finest
    if not is_right or (pieces.size and not 0 <= pieces.min() <= pieces.max() < finest):
        raise StoreError(
            f"{hierarchy.folder} is damaged: its leaves are not from 0 to {finest - 1}; remove the "
            "folder and run `cpp-pipe hierarchy`, which makes it again"
        )
    return Partition(pieces, centroids, cut(left, right, level))
