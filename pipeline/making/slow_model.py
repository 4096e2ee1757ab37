"""Progress that says early that a large model needs long on a CPU, and which one does not."""

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
"""What lies ahead is said where it takes longer than this."""

_FROM_SECONDS, _TO_SECONDS = 5.0, 120.0
"""When the rate is looked at, counted from the first image: before, the model warms up."""


def watch(stage: Stage, device: str, runtime: Runtime) -> Progress:
    """A runtime's progress; it speaks up where a stage embeds with a large model on a CPU."""
    if not isinstance(stage, Embed) or device != "cpu":
        return runtime.progress
    cheaper = cheaper_model(stage.model)
    if cheaper is None:
        return runtime.progress
    return SlowModelProgress(runtime.progress, stage.model, cheaper, sharers=runtime.worker[1])


class SlowModelProgress:
    """Passes progress on, and reports once what lies ahead, as soon as the rate is known."""

    def __init__(
        self,
        progress: Progress,
        model: str,
        cheaper: CheaperModel,
        *,
        sharers: int = 1,
        cores: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sharers` machines share the work; `cores` of this one embed a batch at a time each."""
        self._progress = progress
        self._model, self._cheaper, self._sharers = model, cheaper, sharers
        self._least = BATCH_OF_A_CORE * (cores or threads.processors())
        """Images after which each core has ended a batch."""
        self._clock = clock
        self._count: Count | None = None
        self._lock = threading.Lock()

    def start(self, what: str, total: int, unit: str) -> None:
        """Begins a count; only one of images is watched."""
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
        """Adds to the count; speaks up where long work lies ahead."""
        self._progress.advance(done, skipped=skipped, note=note, spent=spent)
        for line in self._look(done):
            self._progress.report(line)

    def _look(self, done: int) -> tuple[str, ...]:
        with self._lock:
            if self._count is None:
                return ()
            now = self._clock()
            self._count.add(done, 0, "", None, now)
            seconds = now - self._count.began
            if seconds < _FROM_SECONDS or self._count.done < self._least:
                return ()
            snapshot = self._count.snapshot(now)
            left = (snapshot.seconds_left or 0.0) / self._sharers
            if left > LONG_SECONDS or seconds > _TO_SECONDS:
                self._count = None
        if left <= LONG_SECONDS:
            return ()
        return describe_wait(self._model, left, snapshot.per_second, self._cheaper)

    def parts(self, done: int, total: int) -> None:
        """Passed on."""
        self._progress.parts(done, total)

    def end(self) -> None:
        """Ends the count."""
        with self._lock:
            self._count = None
        self._progress.end()

    def report(self, line: str) -> None:
        """Passed on."""
        self._progress.report(line)


def describe_wait(
    model: str, seconds: float, per_second: float, cheaper: CheaperModel
) -> tuple[str, ...]:
    """Two lines: how long it takes, and what takes less."""
    return (
        f"embed: about {roughly(seconds)} left, at {per_second:,.1f} a second: {model} is slow on "
        "a CPU",
        f"embed: {cheaper.flags} takes about {fraction(cheaper.share)} of that; Ctrl-C stops this",
    )
