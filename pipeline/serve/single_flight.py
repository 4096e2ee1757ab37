"""Work that is done once, however many threads ask for it at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


class SingleFlight(Generic[_Result]):
    """Calls that share a result while one of them is under way. Safe to call from any thread."""

    def __init__(self) -> None:
        self._running: dict[str, Future[_Result]] = {}
        self._lock = threading.Lock()

    def do(self, name: str, work: Callable[[], _Result]) -> _Result:
        """Returns or raises what `work` does; calls with the same name meanwhile get the same.

        `work` must not ask for its own name.
        """
        with self._lock:
            running = self._running.get(name)
            is_first = running is None
            if running is None:
                running = self._running[name] = Future()
        if not is_first:
            return running.result()
        try:
            result = work()
        except BaseException as error:
            running.set_exception(error)
            raise
        else:
            running.set_result(result)
            return result
        finally:
            with self._lock:
                del self._running[name]
