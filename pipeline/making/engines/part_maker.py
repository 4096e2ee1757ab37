"""What engines share: parts are claimed, and each is made once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from ....stages.contract import Inputs, Part, Runtime, Stage
from ....store import Draft, PartRecord

_POLL_SECONDS = 0.5
"""Between two looks at parts that other processes hold: short beside making one."""


class PartMaker:
    """Makes parts of a draft in this process; what they share is prepared with the first."""

    def __init__(self, stage: Stage, draft: Draft, inputs: Inputs, runtime: Runtime) -> None:
        self._stage = stage
        self._draft = draft
        self._inputs = inputs
        self._runtime = runtime
        self._there = 0
        """Parts that this process has found or made."""

    @property
    def what(self) -> str:
        """The kind of artifact whose parts it makes."""
        return self._draft.kind.name

    def on(self, device: str) -> "PartMaker":
        """One that makes the same parts on a device."""
        runtime = replace(self._runtime, device=device)
        return PartMaker(self._stage, self._draft, self._inputs, runtime)

    @cached_property
    def _prepared(self) -> Any:
        return self._stage.prepare(self._inputs, self._runtime)

    def attempt(self, part: Part) -> PartRecord | None:
        """The part, made where it is not there; None while another process is making it."""
        # Looked for before it is claimed: a look must not make it seem held to others.
        found = self._draft.find_part(part.name)
        if found is not None:
            return found
        with self._draft.claim(part.name, wait=False) as is_held:
            if not is_held:
                return None
            return self._draft.find_part(part.name) or self._draft.make_part(
                part.name,
                lambda scratch: self._stage.make(
                    part, self._prepared, self._inputs, self._runtime, scratch
                ),
            )

    def attempt_all(self, parts: Sequence[Part]) -> list[Part]:
        """Those of the parts that other processes hold; all others are there."""
        held: list[Part] = []
        for left, part in zip(reversed(range(len(parts))), parts, strict=True):
            if self.attempt(part) is None:
                held.append(part)
            else:
                self._there += 1
                self._runtime.progress.parts(self._there, self._there + len(held) + left)
        return held


def in_turn(parts: Sequence[Part], worker: tuple[int, int]) -> list[Part]:
    """The parts in the order in which worker i of n takes them: its own share, then the others'.

    Those from the end, as their owners begin at the front.
    """
    number, count = worker
    others = [part for place, part in enumerate(parts) if place % count != number]
    return [*parts[number::count], *reversed(others)]


def until_there(
    todo: Sequence[Part], attempt_all: Callable[[Sequence[Part]], list[Part]], runtime: Runtime
) -> list[Part]:
    """Attempts parts until all are there; `attempt_all` returns those that others hold.

    Without waiting it returns what is held once a whole round found nothing else. Whoever finishes
    the last part of all makes one more round, and so it is seen by one that all are there.
    """
    is_told = False
    while todo:
        held = attempt_all(todo)
        if len(held) == len(todo):
            if not runtime.wait:
                return held
            if not is_told:
                runtime.progress.tell(f"waiting for {len(held)} part(s) that others are making")
                is_told = True
            time.sleep(_POLL_SECONDS)
        todo = held
    return []
