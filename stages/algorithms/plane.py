"""Rows as points in the plane, similar rows close together: some are fitted, others follow.

Short distances in the plane show which rows are similar; long distances mean little.
"""

import importlib
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int
from numpy import ndarray

Method = Literal["pca", "tsne", "umap"]

NEIGHBOURS = 5
"""Fitted rows that decide the place of another row."""
SHARPNESS = 30.0
"""Factor of the cosine in a neighbour's weight exp(30 cos): a cosine smaller by 0.023 halves it.
With flatter weights, rows would be placed between two groups, where no row of either lies."""
PERPLEXITY = 30.0
"""Perplexity of t-SNE: its effective number of neighbours; less for small sets."""
AT_ONCE = 512
"""Rows whose cosines with the fitted rows are held at once."""
GROUP = 64
"""Fitted rows of a group, whose largest cosine is found first."""
KEPT = 50
"""Principal directions that t-SNE uses: with all of them it takes longer and shows the same."""


def fit_plane(z: Float32[ndarray, "m p"], method: Method, seed: int) -> Float32[ndarray, "m 2"]:
    """Places of unit rows, with coordinates from −1 to 1; equal for equal rows and seeds.

    `pca` uses the two leading principal directions, `tsne` is t-SNE (van der Maaten and Hinton,
    JMLR 2008), `umap` is UMAP (McInnes et al., arXiv 1802.03426). All three start from principal
    directions. Fewer than four rows, or rows that are all equal, have no neighbourhoods: they get
    `pca`.
    """
    if not len(z):
        return np.zeros((0, 2), np.float32)
    if len(z) < 4 or np.ptp(z, axis=0).max() == 0 or method == "pca":
        return centred(_principal(z, 2))
    return centred(_tsne(z, seed) if method == "tsne" else _umap(z, seed))


def _principal(z: Float32[ndarray, "m p"], kept: int) -> ndarray:
    """Coordinates (m, kept) along the leading principal directions; zeros if there are fewer.

    The sign of a direction makes its largest entry positive, so that equal rows give equal places.
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
    # scikit-learn scales its own principal directions like this.
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(narrow)


def _umap(z: Float32[ndarray, "m p"], seed: int) -> ndarray:
    # An optional extra, because it brings a compiler along.
    umap = importlib.import_module("umap")
    return umap.UMAP(
        n_neighbors=min(15, len(z) - 1),
        min_dist=0.1,
        init="pca",
        random_state=seed,
        n_jobs=1,
    ).fit_transform(z)


def centred(xy: ndarray) -> Float32[ndarray, "m 2"]:
    """Points moved and scaled so that their bounding box is centred and reaches −1 or 1."""
    moved = xy - (xy.max(0) + xy.min(0)) / 2
    most = float(np.abs(moved).max())
    return (moved / most if most > 0 else moved).astype(np.float32)


def extend_plane(
    fitted: Float32[ndarray, "m p"], xy: Float32[ndarray, "m 2"], z: Float32[ndarray, "n p"]
) -> Float32[ndarray, "n 2"]:
    """Places of unit rows: the mean place of their nearest fitted rows, weighted by exp(30 cos).

    openTSNE (Poličar et al., Machine Learning 2023) initialises new rows similarly; here the
    weights let the nearest fitted row dominate.
    """
    m = min(NEIGHBOURS, len(fitted))
    places = np.empty((len(z), 2), np.float32)
    for start in range(0, len(z), AT_ONCE):
        cosines = z[start : start + AT_ONCE] @ fitted.T
        near = _largest(cosines, m)
        best = np.take_along_axis(cosines, near, axis=1)
        top = best.max(1, keepdims=True)
        weights = np.exp(SHARPNESS * (best - top))
        weights /= weights.sum(1, keepdims=True)
        places[start : start + AT_ONCE] = (weights[:, :, None] * xy[near]).sum(1)
    return places


def _largest(values: Float32[ndarray, "n m"], count: int) -> Int[ndarray, "n count"]:
    """Columns of the largest values of each row, unsorted.

    They are in the groups of columns with the largest maxima, or among the last columns: finding
    these first takes a tenth of the time.
    """
    n, m = values.shape
    groups = m // GROUP
    if groups <= 2 * count:
        return np.argpartition(-values, count - 1, axis=1)[:, :count]
    maxima = values[:, : groups * GROUP].reshape(n, groups, GROUP).max(2)
    best = np.argpartition(-maxima, count - 1, axis=1)[:, :count]
    inside = (best[:, :, None] * GROUP + np.arange(GROUP)).reshape(n, -1)
    last = np.broadcast_to(np.arange(groups * GROUP, m), (n, m - groups * GROUP))
    columns = np.concatenate([inside, last], axis=1)
    candidates = np.take_along_axis(values, columns, axis=1)
    chosen = np.argpartition(-candidates, count - 1, axis=1)[:, :count]
    return np.take_along_axis(columns, chosen, axis=1)
