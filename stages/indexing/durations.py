"""How long building an index takes, extrapolated from a trial with some of its rows."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .centroids import ITERATIONS, comparisons, count_groups, flat_index, nearest_centroid
from .factory import CODE_WORDS, Factory
from .faiss_library import import_faiss, one_thread
from .quantizer import ROUNDS
from .recall import QUERIES
from .vectors import VectorRows

_TRIAL_ROWS = 2048
"""Rows of a trial: at most a tenth of a second of work."""

_CODE_ROWS = 65_536


def seconds_to_list(factory: Factory, sample: np.ndarray, rows: int) -> float:
    """Seconds to fit an inverted file to a sample, float16 (m, d), and to list `rows` rows.

    Assumes all of FAISS's threads here; other worker processes share the listing. Accurate within a
    factor of about two: small matrix products run at another rate than large ones.
    """
    faiss = import_faiss()
    k = factory.lists
    trial = np.ascontiguousarray(sample[:_TRIAL_ROWS], np.float32)
    with one_thread(faiss):
        flat = flat_index(trial)
        per_product = _seconds_per_product(nearest_centroid(flat), trial)
        per_search = _seconds_per_product(lambda rows: flat.search(rows, 1), trial)
        if factory.links:
            per_row, linking = _seconds_of_graph(faiss, trial, factory)
        else:
            per_row, linking = per_product * comparisons(k), 0.0
    groups = count_groups(k)
    fitting = per_product * len(sample) * (groups + ROUNDS * comparisons(k))
    fitting += per_search * len(sample) * ITERATIONS * k / groups
    if factory.code == "PQ":
        fitting += per_search * min(len(sample), _CODE_ROWS) * CODE_WORDS * ITERATIONS
    listing = rows * (per_row + per_search * (QUERIES + CODE_WORDS * (factory.code == "PQ")))
    return linking + (fitting + listing) / faiss.omp_get_max_threads()


def seconds_to_build(factory: Factory, rows: VectorRows) -> float:
    """Seconds for one thread to build an exact index or a graph of all rows."""
    faiss = import_faiss()
    part = max(rows.source.parts, key=lambda part: part.rows)
    began = time.perf_counter()
    sample = rows.read(part.name, 0, min(part.rows, _TRIAL_ROWS))
    trial = np.ascontiguousarray(sample, np.float32)
    reading = (time.perf_counter() - began) / len(trial) * rows.source.rows
    if factory.shape == "exact":
        return reading
    with one_thread(faiss):
        return reading + _seconds_of_graph(faiss, trial, factory, rows.source.rows)[1]


def _seconds_per_product(search: Callable[[np.ndarray], object], rows: np.ndarray) -> float:
    """Seconds to compare one row with another, measured by searching for all rows among them."""
    began = time.perf_counter()
    search(rows)
    return (time.perf_counter() - began) / len(rows) ** 2


def _seconds_of_graph(
    faiss: Any, rows: np.ndarray, factory: Factory, linked: int = 0
) -> tuple[float, float]:
    """Seconds to search for one row in a graph, and to link the whole graph."""
    graph = faiss.IndexHNSWFlat(rows.shape[1], factory.links, faiss.METRIC_INNER_PRODUCT)
    began = time.perf_counter()
    graph.add(rows)
    added = time.perf_counter()
    graph.search(rows, 1)
    searched = time.perf_counter()
    total = linked or factory.lists
    # Both grow with the logarithm of the number of linked rows.
    growth = math.log(max(total, 2)) / math.log(max(len(rows), 2))
    return (
        (searched - added) / len(rows) * growth,
        (added - began) / len(rows) * total * max(growth, 1.0),
    )
