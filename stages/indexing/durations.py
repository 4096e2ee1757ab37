"""How long an index will take, from what this machine does with some of its rows."""

import math
import time
from typing import TYPE_CHECKING, Any

from .factory import CODE_WORDS, Factory
from .faiss_library import import_faiss, one_thread
from .quantizer import ITERATIONS, MOST_MENDED_LISTS, ROUNDS
from .recall import QUERIES
from .vectors import VectorRows

if TYPE_CHECKING:
    import numpy as np

_PROBED_ROWS = 2048
"""A tenth of a second of work, or less."""

_CODE_ROWS = 65_536


def seconds_to_list(factory: Factory, sample: "np.ndarray", rows: int) -> float:
    """Seconds to fit an inverted file to a sample, float16 (m, d), and to list so many rows.

    All threads that FAISS has here are counted on; processes beside this one divide what listing
    takes. Right to a factor of two or so: small products run at another rate than large ones.
    """
    import numpy as np

    faiss = import_faiss()
    k = factory.lists
    probed = np.ascontiguousarray(sample[:_PROBED_ROWS], np.float32)
    with one_thread(faiss):
        seconds = _seconds_of_products(faiss, probed)
        if factory.links:
            a_row, linking = _seconds_of_graph(faiss, probed, factory)
        else:
            a_row, linking = seconds * k, 0.0
    groups = round(k**0.5)
    rounds = ROUNDS if k <= MOST_MENDED_LISTS else 0
    fitting = seconds * len(sample) * (groups + ITERATIONS * k / groups + rounds * k)
    if factory.code == "PQ":
        fitting += seconds * min(len(sample), _CODE_ROWS) * CODE_WORDS * ITERATIONS
    listing = rows * (a_row + seconds * (QUERIES + CODE_WORDS * (factory.code == "PQ")))
    return linking + (fitting + listing) / faiss.omp_get_max_threads()


def seconds_to_build(factory: Factory, rows: VectorRows) -> float:
    """Seconds in which one thread makes an exact index or a graph of all rows."""
    import numpy as np

    faiss = import_faiss()
    part = max(rows.source.parts, key=lambda one: one.rows)
    began = time.perf_counter()
    read = rows.read(part.name, 0, min(part.rows, _PROBED_ROWS))
    probed = np.ascontiguousarray(read, np.float32)
    reading = (time.perf_counter() - began) / len(probed) * rows.source.rows
    if factory.shape == "exact":
        return reading
    with one_thread(faiss):
        return reading + _seconds_of_graph(faiss, probed, factory, rows.source.rows)[1]


def _seconds_of_products(faiss: Any, rows: "np.ndarray") -> float:
    """Seconds in which a row is compared with another."""
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    began = time.perf_counter()
    index.search(rows, 1)
    return (time.perf_counter() - began) / len(rows) ** 2


def _seconds_of_graph(
    faiss: Any, rows: "np.ndarray", factory: Factory, linked: int = 0
) -> tuple[float, float]:
    """Seconds in which a row is looked for in a graph, and in which a whole graph is linked."""
    graph = faiss.IndexHNSWFlat(rows.shape[1], factory.links, faiss.METRIC_INNER_PRODUCT)
    began = time.perf_counter()
    graph.add(rows)
    added = time.perf_counter()
    graph.search(rows, 1)
    searched = time.perf_counter()
    total = linked or factory.lists
    # Both grow with the logarithm of how many are linked.
    growth = math.log(max(total, 2)) / math.log(max(len(rows), 2))
    return (
        (searched - added) / len(rows) * growth,
        (added - began) / len(rows) * total * max(growth, 1.0),
    )
