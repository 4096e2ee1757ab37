"""Engines, which make the parts of a draft, and how one is found by its name."""

from collections.abc import Sequence
from typing import Protocol

from ....stages.contract import Inputs, Part, Runtime, Stage
from ....store import ConfigError, Draft
from . import local, ray

ENGINES = ("local", "ray")


class Engine(Protocol):
    """Where the parts of a draft are made; a module of this package is one."""

    def find_device(self, runtime: Runtime) -> str:
        """The torch device that makes the parts; ConfigError where the one wanted is not there."""
        ...

    def make_parts(
        self, stage: Stage, draft: Draft, parts: Sequence[Part], inputs: Inputs, runtime: Runtime
    ) -> list[Part]:
        """Makes the parts that are not there; any number of engines may work on a draft at once.

        Returns those that others are still making, none where the runtime waits for them.
        """
        ...


def find_engine(name: str) -> Engine:
    """The engine of a name; ConfigError for one that is not known, or not installed."""
    if name == "local":
        return local
    if name == "ray":
        ray.require()
        return ray
    raise ConfigError(f"--engine {name!r} is not allowed: {' or '.join(ENGINES)} is")
