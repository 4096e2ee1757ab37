"""Rows as points of a plane, so that what is alike lies together: fitted on some, then all others.

Distances in the plane say which rows are near one another, and little about how far others are.
"""

import importlib
from typing import Literal

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

Method = Literal["pca", "tsne", "umap"]

NEIGHBOURS = 5
"""Fitted rows by which another row finds its place."""
SHARPNESS = 30.0
"""How much faster than its cosine a neighbour's weight falls: halved by 0.023. A place between two
groups, where no row of either lies, would mislead."""
PERPLEXITY = 30.0
"""Neighbours that a row holds on to, in t-SNE; fewer where there are hardly more rows."""
AT_ONCE = 512
"""Rows whose cosines to the fitted ones are held together."""
KEPT = 50
"""Principal directions that t-SNE looks at: with all of them it takes longer and shows the same."""


def fit_plane(z: Float32[ndarray, "m p"], method: Method, seed: int) -> Float32[ndarray, "m 2"]:
    """Places of unit rows, around 0 and at most 1 from it; equal for equal rows and seeds.

    `pca` takes the two leading principal directions, `tsne` the neighbourhoods of van der Maaten
    and Hinton (JMLR 2008), `umap` those of McInnes and others (arXiv 1802.03426). All three begin
    at principal directions. Fewer than four rows have no neighbourhoods, nor have rows that are all
    the same: they get `pca`.
    """
    if not len(z):
        return np.zeros((0, 2), np.float32)
    if len(z) < 4 or np.ptp(z, axis=0).max() == 0 or method == "pca":
        return centred(_principal(z, 2))
    return centred(_tsne(z, seed) if method == "tsne" else _umap(z, seed))


def _principal(z: Float32[ndarray, "m p"], kept: int) -> ndarray:
    """Places of rows along their leading principal directions, (m, kept); 0 where there are fewer.

    Each direction points to where its largest part is positive, so that equal rows give equal
    places.
    """
    x = z - z.mean(0, dtype=np.float64)
    _, directions = np.linalg.eigh(x.T @ x)
    directions = directions[:, ::-1][:, :kept]
    largest = np.abs(directions).argmax(0)
    directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
    places = x @ directions
    return np.pad(places, ((0, 0), (0, kept - places.shape[1])))


def _tsne(z: Float32[ndarray, "m p"], seed: int) -> ndarray:
    from sklearn.manifold import TSNE

    narrow = _principal(z, min(KEPT, z.shape[1])).astype(np.float32)
    perplexity = min(PERPLEXITY, (len(z) - 1) / 3)
    start = narrow[:, :2] if narrow.shape[1] > 1 else np.pad(narrow, ((0, 0), (0, 1)))
    # As scikit-learn scales principal directions that it finds itself.
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(narrow)


def _umap(z: Float32[ndarray, "m p"], seed: int) -> ndarray:
    # An extra of its own: it brings a compiler along.
    umap = importlib.import_module("umap")
    return umap.UMAP(
        n_neighbors=min(15, len(z) - 1),
        min_dist=0.1,
        init="pca",
        random_state=seed,
        n_jobs=1,
    ).fit_transform(z)


def centred(xy: ndarray) -> Float32[ndarray, "m 2"]:
    """Points around their middle, the farthest at 1."""
    moved = xy - (xy.max(0) + xy.min(0)) / 2
    most = float(np.abs(moved).max())
    return (moved / most if most > 0 else moved).astype(np.float32)


def extend_plane(
    fitted: Float32[ndarray, "m p"], xy: Float32[ndarray, "m 2"], z: Float32[ndarray, "n p"]
) -> Float32[ndarray, "n 2"]:
    """Places of unit rows, each among its nearest fitted rows.

    The mean of their places, weighted by exp(30 cos): as openTSNE places new rows at first
    (Poličar and others, Machine Learning 2023), but with a weight that lets the nearest one win.
    """
    m = min(NEIGHBOURS, len(fitted))
    places = np.empty((len(z), 2), np.float32)
    for start in range(0, len(z), AT_ONCE):
        cosines = z[start : start + AT_ONCE] @ fitted.T
        near = np.argpartition(-cosines, m - 1, axis=1)[:, :m]
        best = np.take_along_axis(cosines, near, axis=1)
        top = best.max(1, keepdims=True)
        weights = np.exp(SHARPNESS * (best - top))
        weights /= weights.sum(1, keepdims=True)
        places[start : start + AT_ONCE] = (weights[:, :, None] * xy[near]).sum(1)
    return places
