"""The interface of engines, and the engine of each name."""

from collections.abc import Sequence
from typing import Protocol

from ....stages.contract import DrawRows, Inputs, Part, Runtime, Stage
from ....store import ConfigError, Draft
from . import local, ray, ray_cluster

ENGINES = ("local", "ray")


class Engine(Protocol):
    """Makes the parts of a draft; `local` and `ray` are modules with these functions."""

    def find_device(self, runtime: Runtime) -> str:
        """The torch device that makes the parts; ConfigError if the requested one is missing."""
        ...

    def make_parts(
        self, stage: Stage, draft: Draft, parts: Sequence[Part], inputs: Inputs, runtime: Runtime
    ) -> list[Part]:
        """Makes the missing parts; any number of engines may work on a draft at once.

        Returns the parts that others are still making; none if the runtime waits for them.
        """
        ...

    def drawer(self, runtime: Runtime) -> DrawRows | None:
        """The function that reads the rows that a fit samples; None if this process reads them."""
        ...


def find_engine(name: str) -> Engine:
    """The engine of a name; ConfigError if the name is unknown or the engine is not installed."""
    if name == "local":
        return local
    if name == "ray":
        ray_cluster.require()
        return ray
    raise ConfigError(f"--engine must be {' or '.join(ENGINES)}, got {name!r}")
