"""Progress that warns early if a large model takes long on a CPU, and names a faster one."""

import threading
import time
from collections.abc import Callable

from ...stages.contract import Progress, Runtime, Spent, Stage
from ...stages.embed import Embed
from ...stages.encoding.embedder import BATCH_OF_A_CORE
from ...stages.encoding.models.costs import CheaperModel, cheaper_model
from .. import threads
from ..wording import fraction, roughly
from .counts import Count

LONG_SECONDS = 30 * 60.0
"""Work that takes longer than this is announced."""

_FROM_SECONDS, _TO_SECONDS = 5.0, 120.0
"""The rate is checked between these times after the first image: before, the model warms up."""


def watch(stage: Stage, device: str, runtime: Runtime) -> Progress:
    """The progress of a runtime; it warns if the stage embeds with a large model on a CPU."""
    if not isinstance(stage, Embed) or device != "cpu":
        return runtime.progress
    cheaper = cheaper_model(stage.model)
    if cheaper is None:
        return runtime.progress
    return SlowModelProgress(runtime.progress, stage.model, cheaper, machines=runtime.worker[1])


class SlowModelProgress:
    """Passes progress on; warns once, as soon as the rate is known, if the work takes long."""

    def __init__(
        self,
        progress: Progress,
        model: str,
        cheaper: CheaperModel,
        *,
        machines: int = 1,
        cores: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`machines` share the work; each of the `cores` of this one embeds a batch at a time."""
        self._progress = progress
        self._model, self._cheaper, self._machines = model, cheaper, machines
        self._least = BATCH_OF_A_CORE * (cores or threads.processors())
        """Images after which each core has finished a batch."""
        self._clock = clock
        self._count: Count | None = None
        self._lock = threading.Lock()

    def start(self, what: str, total: int, unit: str) -> None:
        """Starts a count; only counts of images are watched."""
        with self._lock:
            is_watched = unit == "images"
            self._count = Count(what, total, unit, self._clock()) if is_watched else None
        self._progress.start(what, total, unit)

    def revise(self, total: int) -> None:
        """Replaces the total."""
        with self._lock:
            if self._count is not None:
                self._count.revise(total)
        self._progress.revise(total)

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Adds to the count; warns if the rest takes long."""
        self._progress.advance(done, skipped=skipped, note=note, spent=spent)
        for line in self._check_rate(done):
            self._progress.report(line)

    def _check_rate(self, done: int) -> tuple[str, ...]:
        """The lines of the warning, if it is due; checks no more once the rate is known."""
        with self._lock:
            if self._count is None:
                return ()
            now = self._clock()
            self._count.add(done, 0, "", None, now)
            seconds = now - self._count.began
            if seconds < _FROM_SECONDS or self._count.done < self._least:
                return ()
            snapshot = self._count.snapshot(now)
            seconds_left = (snapshot.seconds_left or 0.0) / self._machines
            if seconds_left > LONG_SECONDS or seconds > _TO_SECONDS:
                self._count = None
        if seconds_left <= LONG_SECONDS:
            return ()
        return _describe_wait(self._model, seconds_left, snapshot.per_second, self._cheaper)

    def parts(self, done: int, total: int) -> None:
        """Passes this on."""
        self._progress.parts(done, total)

    def end(self) -> None:
        """Ends the count."""
        with self._lock:
            self._count = None
        self._progress.end()

    def report(self, line: str) -> None:
        """Passes this on."""
        self._progress.report(line)


def _describe_wait(
    model: str, seconds: float, per_second: float, cheaper: CheaperModel
) -> tuple[str, ...]:
    """Two lines: the time left, and a model that takes less."""
    return (
        f"embed: about {roughly(seconds)} left, at {per_second:,.1f} a second: {model} is slow on "
        "a CPU",
        f"embed: {cheaper.flags} takes about {fraction(cheaper.share)} of that; Ctrl-C stops this",
    )
