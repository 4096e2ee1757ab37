"""k-means that is not meant to converge, in several threads."""

import threading
import warnings

import pytest
from sklearn.exceptions import ConvergenceWarning

from cpp_pipe.stages.algorithms.clustering.convergence import ignoring_convergence


def test_warnings_stay_ignored_while_another_thread_needs_it() -> None:
    before, is_in, has_left = list(warnings.filters), threading.Event(), threading.Event()
    raised: list[Warning] = []

    def stay() -> None:
        with ignoring_convergence():
            is_in.set()
            assert has_left.wait(30)
            try:
                warnings.warn("fewer clusters", ConvergenceWarning, stacklevel=1)
            except ConvergenceWarning as warning:
                raised.append(warning)

    other = threading.Thread(target=stay)
    with ignoring_convergence():
        other.start()
        assert is_in.wait(30)
    has_left.set()
    other.join(30)
    assert not raised
    assert warnings.filters == before


def test_warnings_are_raised_again_afterwards() -> None:
    with ignoring_convergence():
        warnings.warn("fewer clusters", ConvergenceWarning, stacklevel=1)
    with pytest.warns(ConvergenceWarning):
        warnings.warn("fewer clusters", ConvergenceWarning, stacklevel=1)
