"""Collects images of several sources into batches of one size, and returns each its results."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from ..contract import Spent
from ..sources.source import Entry

_PATIENCE_SECONDS = 0.25
"""How long a smaller batch waits for images of the next source: about as long as a core takes for
a batch, so waiting never costs more than a second batch would."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Size of an image, or why it has no embedding."""

    width: int = 0
    height: int = 0
    """Pixels of the image as stored in its file."""
    reason: str = ""
    """Why it has no embedding; empty if it has one."""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Consecutive samples of one source, with the embeddings of those that have one."""

    entries: Sequence[Entry]
    outcomes: Sequence[Outcome]
    """One for each entry."""
    embeddings: np.ndarray
    """Unit rows (b, d), float32, of the entries whose outcome has no reason."""
    spent: Spent

    @property
    def skipped(self) -> int:
        """How many entries have no embedding."""
        return len(self.entries) - len(self.embeddings)


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The result of embedding a whole batch."""

    outcomes: Sequence[Outcome]
    """One for each image."""
    embeddings: np.ndarray
    """Unit rows (b, d), float32, of the images whose outcome has no reason."""
    spent: Spent


@dataclass(kw_only=True)
class PendingBatch:
    """Images that are embedded together, of one source or several."""

    images: list[bytes | Outcome] = field(default_factory=list)
    """The encoded images, or why one cannot be read."""
    read_seconds: float = 0.0
    embedded: "Future[Embedded]" = field(default_factory=Future)


@dataclass(kw_only=True)
class _Share:
    """The part of a batch that belongs to one source."""

    batch: PendingBatch
    start: int
    """Index of its first image in the batch."""
    entries: list[Entry]

    def result(self) -> Batch:
        """Waits for the batch."""
        whole = self.batch.embedded.result()
        stop = self.start + len(self.entries)
        outcomes = whole.outcomes[self.start : stop]
        first = sum(not outcome.reason for outcome in whole.outcomes[: self.start])
        rows = sum(not outcome.reason for outcome in outcomes)
        share = len(self.entries) / len(whole.outcomes)
        return Batch(
            entries=self.entries,
            outcomes=outcomes,
            embeddings=whole.embeddings[first : first + rows],
            spent={activity: share * seconds for activity, seconds in whole.spent.items()},
        )


class BatchQueue:
    """Collects images into batches, which any number of threads take.

    One source at a time adds images, in order. Batches are full, except if no source has more
    images for now.
    """

    def __init__(self, size: int, most: int) -> None:
        """`size` images in a batch; adding waits while `most` batches wait."""
        self._size = size
        self._most = most
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._full: deque[PendingBatch] = deque()
        self._open = PendingBatch()
        self._is_fed = False
        """Whether a source is adding images."""
        self._wait_until = 0.0
        """Time on the monotonic clock until which a smaller batch waits for the next source."""
        self._is_closed = False

    def embedded(
        self,
        pieces: Iterator[tuple[Sequence[Entry], Sequence[bytes | Outcome], float]],
        begin_next: Callable[[], bool],
    ) -> Generator[Batch]:
        """The batches of one source, in order; other threads may do the same with their sources.

        `pieces` are entries, their images, and the seconds that reading took. Calls `begin_next`
        before the first, which returns whether another source follows.
        """
        shares: deque[_Share] = deque()
        with self._feeding(begin_next):
            for entries, images, seconds in pieces:
                self._add(entries, images, seconds, shares)
                while shares and shares[0].batch.embedded.done():
                    yield shares.popleft().result()
        while shares:
            yield shares.popleft().result()

    def take(self, *, wait: bool = True) -> PendingBatch | None:
        """The next batch; None if the queue is closed, or without `wait` if none is due."""
        with self._changed:
            while not self._is_closed:
                if self._full:
                    batch = self._full.popleft()
                    self._changed.notify_all()
                    return batch
                patience = self._wait_until - time.monotonic()
                is_due = bool(self._open.images) and not self._is_fed
                if is_due and patience <= 0:
                    batch, self._open = self._open, PendingBatch()
                    return batch
                if not wait:
                    return None
                self._changed.wait(patience if is_due else None)
            return None

    def close(self) -> None:
        """Cancels waiting batches, and makes every `take` return None."""
        with self._changed:
            self._is_closed = True
            for batch in [*self._full, self._open]:
                batch.embedded.cancel()
            self._changed.notify_all()

    @contextlib.contextmanager
    def _feeding(self, begin_next: Callable[[], bool]) -> Iterator[None]:
        with self._turn:
            follows = begin_next()
            self._is_fed = True
            try:
                yield
            finally:
                with self._changed:
                    self._is_fed = False
                    self._wait_until = time.monotonic() + (_PATIENCE_SECONDS if follows else 0)
                    self._changed.notify_all()

    def _add(
        self,
        entries: Sequence[Entry],
        images: Sequence[bytes | Outcome],
        seconds: float,
        shares: deque[_Share],
    ) -> None:
        """Adds images of a source to batches, and their places in these to its shares."""
        with self._changed:
            self._open.read_seconds += seconds
            for entry, image in zip(entries, images, strict=True):
                if not shares or shares[-1].batch is not self._open:
                    start = len(self._open.images)
                    shares.append(_Share(batch=self._open, start=start, entries=[]))
                shares[-1].entries.append(entry)
                self._open.images.append(image)
                if len(self._open.images) == self._size:
                    self._full.append(self._open)
                    self._open = PendingBatch()
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._full) < self._most or self._is_closed)
