"""Waiting for what other threads and processes do."""

import time
from collections.abc import Callable


def wait_until(is_true: Callable[[], object], claim: str = "", seconds: float = 120) -> None:
    """Waits until a function returns true."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, f"not so after {seconds:g} seconds: {claim}"
        time.sleep(0.01)
