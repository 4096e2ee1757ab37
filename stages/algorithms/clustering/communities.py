"""A second opinion on the number of clusters: communities of the graph of nearest neighbours.

It makes no assumption about the shape of groups, and depends less on the number of rows than BIC.
It is no closer to the number of classes, and mostly errs in the same direction:
`benchmarks.how_many`.
"""

import random

import numpy as np
from jaxtyping import Float32, Int
from numpy import ndarray

from ..neighbours import nearest_rows
from .sampling import choose_rows

ROWS = 20_000
"""Rows that become vertices, at most."""
NEIGHBOURS = 10
"""Nearest rows that a row is linked to; a link in one direction is enough."""
RESOLUTION = 2.0
"""γ of modularity; `benchmarks.how_many` only measured this value."""
FEWEST = 3
"""Least rows of a community that counts."""


def count_communities(z: Float32[ndarray, "n p"], seed: int) -> int | None:
    """Number of communities that Leiden (Traag, Waltman and van Eck, 2019) finds among unit rows.

    The graph is unweighted and symmetric, and the objective is modularity with `RESOLUTION`. More
    than `ROWS` rows are represented by a uniform sample. Communities of fewer than `FEWEST` rows
    are outliers and do not count. In a set of some twenty rows there are no others, because joining
    any two vertices lowers the modularity of so small a graph: the result is then None. It is also
    None if igraph (the extra `leiden`) is not installed.
    """
    try:
        import igraph
    except ImportError:
        return None
    rows = z[choose_rows(len(z), ROWS, seed)]
    graph = igraph.Graph(len(rows), neighbour_pairs(rows))
    igraph.set_random_number_generator(random.Random(seed))
    try:
        partition = graph.community_leiden("modularity", resolution=RESOLUTION, n_iterations=-1)
    finally:
        # Restores igraph's default.
        igraph.set_random_number_generator(random)
    return sum(size >= FEWEST for size in partition.sizes()) or None


def neighbour_pairs(z: Float32[ndarray, "n p"]) -> Int[ndarray, "pairs 2"]:
    """The sorted, distinct pairs of rows of which at least one is among the other's nearest."""
    nearest = nearest_rows(z, NEIGHBOURS)
    pairs = np.stack([np.repeat(np.arange(len(z)), nearest.shape[1]), nearest.reshape(-1)], axis=1)
    return np.unique(np.sort(pairs, axis=1), axis=0)
