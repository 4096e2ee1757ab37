"""Spectral clustering on an affinity of landmarks.

As in arXiv 2306.05272: leading eigenvectors of the normalised affinity, unit rows, k-means. The
reference does so on the dense membership of one batch, and labels no other rows.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from sklearn.cluster import KMeans

from ....store.errors import NumericError
from .convergence import ignoring_convergence
from .kmeans import PRODUCT_ROWS, first_rows

AffinityMatrix = ndarray | sparse.csr_array

DENSE_ORDER = 1500
"""Up to this order a dense solver takes at most a second; beyond it Lanczos is faster."""
NO_EDGE = 1e-12
"""Entries below this share of the largest do not connect rows to a component."""
NO_EIGENVALUE = 1e-4
"""Below this, extending an eigenvector would mostly divide rounding errors by the eigenvalue."""
SAME_ROW = 6
"""Decimals to which two unit rows must agree to be the same one."""


def degrees(affinity: AffinityMatrix) -> Float[ndarray, " m"]:
    """Row sums."""
    return np.asarray(affinity.sum(1), dtype=np.float64).ravel()


def leading_eigenpairs(
    affinity: AffinityMatrix, k_max: int, seed: int
) -> tuple[Float[ndarray, " k"], Float[ndarray, "m k"]]:
    """Largest eigenvalues of D^-½ A D^-½, in falling order, and their unit eigenvectors.

    A is symmetric and non-negative. k is min(k_max, m). Each connected component is solved by
    itself, so the eigenvalue 1, which every component has once, is found with its multiplicity;
    of equal eigenvalues, that of the larger component comes first. A sample without edges has
    eigenvalue 0. The entry of largest size of each vector is positive. Raises NumericError where
    the iteration does not converge.
    """
    m = affinity.shape[0]
    pairs: list[tuple[float, ndarray, ndarray]] = []
    for members in _components(affinity):
        block = affinity if len(members) == m else affinity[members][:, members]
        values, vectors = _eigenpairs(block, min(k_max, len(members)), seed)
        pairs += [(float(v), members, vector) for v, vector in zip(values, vectors.T, strict=True)]
    pairs.sort(key=lambda pair: (-round(pair[0], 10), -len(pair[1]), pair[1][0]))
    pairs = pairs[:k_max]
    out = np.zeros((m, len(pairs)))
    for column, (_, members, vector) in enumerate(pairs):
        sign = np.sign(vector[np.argmax(np.round(np.abs(vector), 8))])
        out[members, column] = vector * (sign or 1.0)
    return np.array([value for value, _, _ in pairs]), out


def spectral_rows(vectors: Float[ndarray, "m k_max"], k: int) -> Float[ndarray, "m k"]:
    """Unit rows of the first `k` eigenvectors; a zero row stays zero."""
    rows = vectors[:, :k]
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def inverse_of_eigenvalues(values: Float[ndarray, " k"]) -> Float[ndarray, " k"]:
    """1/λ; 0 where |λ| is at most `NO_EIGENVALUE`."""
    is_used = np.abs(values) > NO_EIGENVALUE
    return np.divide(1.0, values, out=np.zeros(len(values)), where=is_used)


def cluster_rows(
    rows: Float[ndarray, "m d"], k: int, seed: int, restarts: int
) -> tuple[Int[ndarray, " m"], Float[ndarray, "k2 d"]]:
    """Labels and centroids of k-means, the best of `restarts`.

    There are `k` clusters, none empty; with at most `k` distinct rows, each distinct row is a
    cluster.
    """
    distinct, inverse = few_distinct(rows, k)
    if distinct is not None and inverse is not None:
        return inverse, distinct
    seed %= 2**32  # later starts have higher seeds than the user's, which may be the highest
    # In float32, scikit-learn would convert all rows again for each centroid of a start.
    wide = rows.astype(np.float64, copy=False)
    if restarts == 1 and len(rows) <= PRODUCT_ROWS:
        model = KMeans(k, n_init=1, init=wide[first_rows(rows, k, seed)])
    else:
        model = KMeans(k, n_init=restarts, random_state=seed)
    with ignoring_convergence():
        # k-means cannot separate distinct rows that are too close; `_fill` does.
        labels = model.fit_predict(wide)
    centroids = model.cluster_centers_.astype(rows.dtype, copy=False)
    return _fill(rows, labels.astype(np.int64), centroids)


def _components(affinity: AffinityMatrix) -> list[Int[ndarray, " members"]]:
    """The samples of each connected component."""
    edges = sparse.csr_array(affinity)
    largest = edges.data.max(initial=0.0)
    if not np.isfinite(edges.data).all():
        raise NumericError(
            f"the affinity of {edges.shape[0]} samples holds a non-finite number: check the "
            "features that it comes from"
        )
    edges = sparse.csr_array(
        (edges.data > NO_EDGE * largest, edges.indices, edges.indptr),
        shape=edges.shape,
        copy=True,  # else the next line would change the caller's matrix
    )
    edges.eliminate_zeros()
    count, component = connected_components(edges, directed=False)
    order = np.argsort(component, kind="stable")
    sizes = np.bincount(component, minlength=count)
    return np.split(order, np.cumsum(sizes)[:-1]) if count else []


def _eigenpairs(affinity: AffinityMatrix, k: int, seed: int) -> tuple[ndarray, ndarray]:
    """The `k` leading pairs of one connected component."""
    m = affinity.shape[0]
    root = _inverse_root(degrees(affinity))
    if m <= DENSE_ORDER or 3 * k > m:
        dense = affinity if isinstance(affinity, ndarray) else affinity.toarray()
        normal = root[:, None] * dense * root
        values, vectors = linalg.eigh(normal, subset_by_index=[m - k, m - 1])
    else:
        scale = sparse.diags_array(root)
        normal = scale @ affinity @ scale
        start = np.random.default_rng(seed).standard_normal(m)
        try:
            values, vectors = eigsh(normal, k=k, which="LA", v0=start)
        except ArpackNoConvergence as error:
            raise NumericError(
                f"only {len(error.eigenvalues)} of {k} eigenvalues of {m} samples converged: "
                "lower k_max"
            ) from error
    order = np.argsort(-values, kind="stable")
    return values[order], vectors[:, order]


def _inverse_root(degrees: ndarray) -> Float[ndarray, " m"]:
    """d^-½, and 0 for a sample without edges."""
    return np.divide(1.0, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0)


def few_distinct(rows: ndarray, k: int) -> tuple[ndarray, ndarray] | tuple[None, None]:
    """The distinct rows, and which of them each row is, if there are at most `k`."""
    rounded = np.round(rows, SAME_ROW) + 0.0  # turns -0 into 0
    number_of: dict[bytes, int] = {}
    inverse = np.empty(len(rows), dtype=np.int64)
    for i, row in enumerate(rounded):
        inverse[i] = number_of.setdefault(row.tobytes(), len(number_of))
        if len(number_of) > k:
            return None, None
    first = np.unique(inverse, return_index=True)[1]
    return rows[first], inverse


def _fill(rows: ndarray, labels: ndarray, centroids: ndarray) -> tuple[ndarray, ndarray]:
    """Gives each empty cluster the row that is farthest from its own centroid."""
    counts = np.bincount(labels, minlength=len(centroids))
    if counts.all():
        return labels, centroids
    far = np.linalg.norm(rows - centroids[labels], axis=1)
    for empty in np.flatnonzero(counts == 0):
        i = int(np.argmax(np.where(counts[labels] > 1, far, -1)))
        counts[labels[i]] -= 1
        labels[i], far[i], counts[empty] = empty, -1, 1
    return labels, np.stack([rows[labels == c].mean(0) for c in range(len(centroids))])
