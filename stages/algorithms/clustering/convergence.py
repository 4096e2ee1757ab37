"""Ignores scikit-learn's warning that k-means did not converge, for intended early stops.

`warnings.catch_warnings` is not safe in threads: of two that overlap, the first to leave lets the
other warn, and the last one leaves the filters of the first behind.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from sklearn.exceptions import ConvergenceWarning

_lock = threading.Lock()
_inside = 0
_outside = warnings.catch_warnings()


@contextmanager
def ignoring_convergence() -> Iterator[None]:
    """Ignores the warning until the last thread has left the block."""
    global _inside, _outside
    with _lock:
        if not _inside:
            _outside = warnings.catch_warnings()
            _outside.__enter__()
            warnings.simplefilter("ignore", ConvergenceWarning)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _outside.__exit__(None, None, None)
