"""Makes parts that several processes share: each part is claimed, and made once."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from ....stages.contract import Inputs, Part, Runtime, Stage
from ....store import Draft, PartRecord
from ...wording import counted
from .overlap import make_overlapping

_POLL_SECONDS = 0.5
"""Between two checks of parts that other processes are making, which takes longer."""

_MOST_AT_ONCE = 16
"""Overlapping parts that a worker process takes at once."""


class PartMaker:
    """Makes parts of a draft in this process; calls the stage's `prepare` before the first."""

    def __init__(self, stage: Stage, draft: Draft, inputs: Inputs, runtime: Runtime) -> None:
        self._stage = stage
        self._draft = draft
        self._inputs = inputs
        self._runtime = runtime
        self._done = 0
        """Parts that this process found or made."""

    @property
    def kind_name(self) -> str:
        """The name of the kind whose parts it makes."""
        return self._draft.kind.name

    @property
    def most_at_once(self) -> int:
        """The most parts that a worker process takes at once."""
        return _MOST_AT_ONCE if self._stage.overlaps else 1

    def on(self, device: str) -> "PartMaker":
        """A maker of the same parts on another device."""
        runtime = replace(self._runtime, device=device)
        return PartMaker(self._stage, self._draft, self._inputs, runtime)

    @cached_property
    def _prepared(self) -> Any:
        return self._stage.prepare(self._inputs, self._runtime)

    def attempt(self, part: Part, runtime: Runtime | None = None) -> PartRecord | None:
        """The part, made if it is missing; None if another process is making it."""
        runtime = runtime or self._runtime
        # Look before claiming, so that a mere look keeps no other process from the part.
        record = self._draft.find_part(part.name)
        if record is not None:
            return record
        with self._draft.claim(part.name, wait=False) as is_held:
            if not is_held:
                return None
            return self._draft.find_part(part.name) or self._draft.make_part(
                part.name,
                lambda scratch: self._stage.make(
                    part, self._prepared, self._inputs, runtime, scratch
                ),
            )

    def attempt_all(self, parts: Sequence[Part]) -> list[Part]:
        """Makes the missing parts; returns those that other processes are making."""
        held_by_others: list[Part] = []
        for count, (part, record) in enumerate(self._attempts(parts), start=1):
            if record is None:
                held_by_others.append(part)
            else:
                self._done += 1
                left = len(held_by_others) + len(parts) - count
                self._runtime.progress.parts(self._done, self._done + left)
        return held_by_others

    def _attempts(self, parts: Sequence[Part]) -> Iterator[tuple[Part, PartRecord | None]]:
        if not self._stage.overlaps:
            return ((part, self.attempt(part)) for part in parts)
        return make_overlapping(parts, self.attempt, self._runtime)


def order_for_worker(parts: Sequence[Part], worker: tuple[int, int]) -> list[Part]:
    """The parts in the order in which worker i of n makes them: its own share, then the others.

    It begins at the end of the others, because their own workers begin at the front.
    """
    number, count = worker
    other_parts = [part for index, part in enumerate(parts) if index % count != number]
    return [*parts[number::count], *reversed(other_parts)]


def make_until_complete(
    todo: Sequence[Part], attempt_all: Callable[[Sequence[Part]], list[Part]], runtime: Runtime
) -> list[Part]:
    """Attempts parts until all exist; `attempt_all` returns those that others are making.

    If the runtime does not wait, it returns these after a round in which it could make none. The
    process that finishes the last part makes one more round, so at least one process sees that all
    parts exist.
    """
    is_reported = False
    while todo:
        held_by_others = attempt_all(todo)
        if len(held_by_others) == len(todo):
            if not runtime.wait:
                return held_by_others
            if not is_reported:
                parts = counted(len(held_by_others), "part")
                runtime.progress.report(f"waiting for {parts} that other workers are making")
                is_reported = True
            time.sleep(_POLL_SECONDS)
        todo = held_by_others
    return []


def split_into_chunks(parts: Sequence[Part], workers: int, *, most: int) -> list[Sequence[Part]]:
    """Chunks of consecutive parts: of up to `most` parts at first, smaller towards the end.

    So all workers end at about the same time.
    """
    chunks, start = [], 0
    while start < len(parts):
        size = min(most, max(1, (len(parts) - start) // (2 * workers)))
        chunks.append(parts[start : start + size])
        start += size
    return chunks
