"""What every stage is: a configuration that turns input artifacts into the parts of a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ..store import Artifact, PartRecord, Product, Recipe, Scratch
from ..store.kinds import Kind

Inputs = Mapping[str, Artifact]
"""The artifacts that a stage needs, by kind."""


class Place(Protocol):
    """Where something lies: a path, or an address in a bucket or on the web; `str` names it."""

    @property
    def name(self) -> str:
        """The last piece of it."""
        ...

    def resolve(self) -> "Place":
        """The same place, named so that it means the same in whatever folder one is."""
        ...


class Source(Protocol):
    """A file or a folder of the user's that becomes one part."""

    @property
    def path(self) -> Place:
        """Where it lies now."""
        ...

    @property
    def identity(self) -> str:
        """What it is, wherever it lies: a digest of its name, its size and its edges."""
        ...

    @property
    def part_name(self) -> str:
        """The name of the part that it becomes."""
        ...


Spent = Mapping[str, float]
"""Seconds by what they went to: `read`, `decode`, `encode`, `write`; where several work side by
side, divided by how many. `waited` counts again those in which the encoder had no pixels."""


class Progress(Protocol):
    """Where a stage tells how far it is; from any thread."""

    def start(self, what: str, total: int, unit: str) -> None:
        """Begins a count of `total` units."""
        ...

    def revise(self, total: int) -> None:
        """Replaces a total that was not known well at the start."""
        ...

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Adds to the count, and to what the time went to; `note` is shown beside it."""
        ...

    def parts(self, done: int, total: int) -> None:
        """Says how many parts are there, of how many."""
        ...

    def tell(self, line: str) -> None:
        """Says something that is no count."""
        ...


class Silent:
    """Progress that nobody looks at."""

    def start(self, what: str, total: int, unit: str) -> None:
        """Ignored."""

    def revise(self, total: int) -> None:
        """Ignored."""

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Ignored."""

    def parts(self, done: int, total: int) -> None:
        """Ignored."""

    def tell(self, line: str) -> None:
        """Ignored."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How the work is done. Nothing here changes a result or a version."""

    device: str = "cpu"
    """A torch device that is there."""
    workers: int | None = None
    """Processes that make parts side by side; None is one a GPU, and one where there is none."""
    worker: tuple[int, int] = (0, 1)
    """Which of how many, counted from 0, that make the parts together: each begins elsewhere."""
    wait: bool = True
    """Whether parts that others are making are waited for, or left to them to publish."""
    engine: str = "local"
    """Where parts are made: in processes of this machine, or on a Ray cluster."""
    address: str | None = None
    """Of the Ray cluster; None is the one that this machine belongs to, or one of its own."""
    batch_size: int = 64
    """Images or rows that a frozen model sees at once on a GPU; cores take their own."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Where shards and tables lie, by the name of the part that each becomes."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Where local files lie: `weights`, `model_config`, `vocabulary`."""
    max_skipped: float = 0.1
    """The share of samples over which losing them is a failure."""
    allow_partial: bool = False
    """Whether shards may be missing, or cut short."""
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part to be made, and the digests of all that it is made from."""

    name: str
    sources: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage is its configuration: its fields are exactly what changes its numbers.

    Raise `revision` when the code would give other numbers for the same configuration.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]
    revision: ClassVar[int]
    is_fit: ClassVar[bool] = False
    """Whether it learns from all rows; then it is not redone because rows were added."""
    refit: ClassVar[str] = ""
    """The command that fits it anew, where it is not named after the stage."""
    is_collective: ClassVar[bool] = False
    """Whether the processes of torchrun make its part together: the first makes, others follow."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The kinds that it reads."""
        return ()

    def serves(self, now: Artifact, old: Artifact) -> bool:
        """Whether what was fitted to `old` serves an input as it is now: no row of it went."""
        there = {part.content for part in now.parts}
        return all(part.content in there for part in old.parts)

    def config(self) -> dict[str, Any]:
        """The configuration as JSON values."""
        return {one.name: _json(getattr(self, one.name)) for one in fields(self)}

    def recipe(self, parts: Sequence[Part]) -> Recipe:
        """What decides the numbers of the artifact that these parts make up."""
        return Recipe(
            kind=self.kind.name,
            format=self.kind.format,
            stage=self.name,
            revision=self.revision,
            config=self.config(),
            parts={part.name: dict(part.sources) for part in parts},
        )

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """The parts to be made; by default one, from all of every input."""
        return (
            Part(
                name=self.kind.name,
                sources={kind: inputs[kind].content for kind in self.needs},
            ),
        )

    def prepare(self, inputs: Inputs, runtime: Runtime) -> Any:
        """What all parts share, made once in each process: a loaded model, a fit."""
        return None

    def make(
        self, part: Part, prepared: Any, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Writes the files of one part into `scratch`."""
        raise TypeError(f"{type(self).__name__} does not say how its parts are made")

    def follow(self, inputs: Inputs, runtime: Runtime, checkpoints: Path) -> None:
        """Takes part in what the first process of torchrun makes, and writes nothing."""
        raise TypeError(f"{type(self).__name__} is not made by several processes together")

    def review(self, records: Sequence[PartRecord], runtime: Runtime) -> None:
        """Looks at all parts before they are published; raises where they must not be."""


def parts_like(source: Artifact, others: Mapping[str, str]) -> tuple[Part, ...]:
    """One part for each part of `source`, made from it and from `others` (digests by name)."""
    return tuple(
        Part(name=part.name, sources={source.kind.name: part.content, **others})
        for part in source.parts
    )


def _json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
