"""The contract of a stage: a configuration that turns input artifacts into parts of a new one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..store import Artifact, ConfigError, PartRecord, Product, Recipe, Scratch
from ..store.kinds import Kind
from .algorithms.training_config import LARGEST, least_distortion

if TYPE_CHECKING:
    import numpy as np

Inputs = Mapping[str, Artifact]
"""The artifacts that a stage needs, by slot."""


class Place(Protocol):
    """A path, or an address in a bucket or on the web; `str` gives it in full."""

    @property
    def name(self) -> str:
        """The last component of its path."""
        ...

    def resolve(self) -> "Place":
        """The same place in absolute form."""
        ...


class Source(Protocol):
    """A user's file or folder that becomes one part."""

    @property
    def path(self) -> Place:
        """Its current location."""
        ...

    @property
    def identity(self) -> str:
        """A digest of its name, its size and its first and last bytes; the same in any place."""
        ...

    @property
    def part_name(self) -> str:
        """The name of the part that it becomes."""
        ...

    @property
    def stamp(self) -> str:
        """A text that changes once one of its files is written to; empty if nothing shows that.

        Begins with the newest time of a change, in nanoseconds, and a colon."""
        ...


Spent = Mapping[str, float]
"""Seconds spent on each activity: `read`, `decode`, `encode`, `write`. Where several threads or
processes share an activity, their seconds are divided by their number. `waited` counts the seconds
in which the encoder had no pixels; they are part of the other activities too."""


class Progress(Protocol):
    """Receives a stage's progress, from any thread."""

    def start(self, what: str, total: int, unit: str) -> None:
        """Begins a count of `total` units."""
        ...

    def revise(self, total: int) -> None:
        """Replaces a total that was an estimate."""
        ...

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Adds to the count and to the seconds spent; `note` is shown beside the count."""
        ...

    def parts(self, done: int, total: int) -> None:
        """Reports how many of all parts are done."""
        ...

    def end(self) -> None:
        """Ends the count: all of its work is done."""
        ...

    def report(self, line: str) -> None:
        """Reports a line of text."""
        ...


class Silent:
    """Progress that is not shown."""

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

    def end(self) -> None:
        """Ignored."""

    def report(self, line: str) -> None:
        """Ignored."""


class DrawRows(Protocol):
    """Reads some rows of an artifact's vectors, on the machines that read its parts best."""

    def __call__(self, artifact: Artifact, role: str, rows: "np.ndarray") -> "np.ndarray":
        """The float16 rows of a role, by their ascending numbers over all parts."""
        ...


def _nothing_follows() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How the work is done. Nothing here changes a result or a version."""

    device: str = "cpu"
    """An available torch device."""
    workers: int | None = None
    """Processes that make parts in parallel; None is one per GPU, or one without a GPU."""
    worker: tuple[int, int] = (0, 1)
    """The number of this worker, from 0, and how many workers share the parts. Each starts with
    a different part."""
    wait: bool = True
    """Whether to wait for parts that other workers are making; else the last worker publishes."""
    engine: str = "local"
    """Where parts are made: in processes on this machine, or on a Ray cluster."""
    address: str | None = None
    """Address of the Ray cluster; None is the cluster of this machine, or a new local one."""
    batch_size: int = 64
    """Images or rows in a batch of a frozen model on a GPU; a CPU core uses its own size."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Shards and tables, by the name of the part that each becomes."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Local files: `weights`, `model_config`, and vocabularies by the name of their part."""
    max_skipped: float = 0.1
    """Largest share of samples that may be skipped."""
    allow_partial: bool = False
    """Whether shards may be missing or truncated."""
    progress: Progress = field(default_factory=Silent)
    draw: DrawRows | None = None
    """Reads the rows that a fit samples, on the machines of a cluster; None reads them here."""
    begin_next: Callable[[], bool] = _nothing_follows
    """Called by the `make` of a stage that overlaps its parts, once another thread may begin the
    next part. Returns whether there is a next part."""

    def __post_init__(self) -> None:
        share = self.max_skipped
        if not isinstance(share, Real) or not 0 <= share <= 1:  # nor NaN
            raise ConfigError(
                f"--max-skipped (from Python max_skipped=) must be from 0 to 1, got {share!r}"
            )
        counts = {"workers": self.workers, "batch_size": self.batch_size}
        for name, count in counts.items():
            is_default = name == "workers" and count is None
            if not is_default and (not isinstance(count, Integral) or count < 1):
                raise ConfigError(
                    f"--{name.replace('_', '-')} (from Python {name}=) must be a whole number of "
                    f"at least 1, got {count!r}"
                )


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part to be made, and the digests of everything that it is made from."""

    name: str
    sources: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage is its configuration: its fields are exactly the settings that change its numbers.

    Raise `revision` when the code gives other numbers for the same configuration.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]
    revision: ClassVar[int]
    refit: ClassVar[str] = ""
    """The words of the command that fits it again, if that is not named after the stage."""
    overlaps: ClassVar[bool] = False
    """Whether a process makes several parts at once, each in a thread, as far as `make` allows it
    by `runtime.begin_next`."""
    is_collective: ClassVar[bool] = False
    """Whether the processes of torchrun make its part together: the first calls `make`, the others
    `follow`."""

    runs_on_mps: ClassVar[bool] = False
    """Whether it needs no float64 on its device, which Apple's GPUs lack."""
    reads_images: ClassVar[bool] = False
    """Whether it reads the images that were embedded again, and so needs their sources."""
    is_thread_invariant: ClassVar[bool] = False
    """Whether its threads wait for one another, and any number of them gives the same bytes. Only
    then may the load of the machine decide how many there are."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The slots that it reads."""
        return ()

    @property
    def is_fit(self) -> bool:
        """Whether it is fitted to all rows; added rows alone do not make it fit again."""
        return self.kind.is_fitted

    def require_at_least(self, **least: int) -> None:
        """ConfigError where one of these settings is below its least value."""
        for key, value in least.items():
            if getattr(self, key) < value:
                raise ConfigError(
                    f"{self._table}.{key} must be at least {value}, got {getattr(self, key)}"
                )

    def require_between(self, key: str, least: float, most: float) -> None:
        """ConfigError where a setting is below `least`, above `most`, or NaN."""
        value = getattr(self, key)
        if not least <= value <= most:
            raise ConfigError(
                f"{self._table}.{key} must be from {least:g} to {most:g}, got {value:g}"
            )

    def require_distortion(self, p: int = 1) -> None:
        """ConfigError where `eps_sq` is too small, or too large, for rows of p features.

        The settings alone are checked for one feature, the least that rows can have.
        """
        self.require_between("eps_sq", least_distortion(p), LARGEST)

    @property
    def _table(self) -> str:
        """The table of its settings."""
        return self.name.replace("-", "_")

    def config(self) -> dict[str, Any]:
        """The configuration as JSON values."""
        return {field.name: _json(getattr(self, field.name)) for field in fields(self)}

    def recipe(self, parts: Sequence[Part]) -> Recipe:
        """All that decides the numbers of the artifact made of these parts."""
        return Recipe(
            kind=self.kind.name,
            format=self.kind.format,
            stage=self.name,
            revision=self.revision,
            config=self.config(),
            parts={part.name: dict(part.sources) for part in parts},
        )

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """The parts to be made; by default one, made from every input as a whole."""
        return (
            Part(
                name=self.kind.name,
                sources={kind: inputs[kind].content for kind in self.needs},
            ),
        )

    def prepare(self, inputs: Inputs, runtime: Runtime) -> Any:
        """What all parts share, made once per process, e.g. a loaded model or a fit."""
        return None

    def make(
        self, part: Part, prepared: Any, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Writes the files of one part into `scratch`."""
        raise TypeError(f"{type(self).__name__} defines no make")

    def follow(self, inputs: Inputs, runtime: Runtime, checkpoints: Path) -> None:
        """Joins the first process of torchrun in making its part, and writes nothing."""
        raise TypeError(f"{type(self).__name__} defines no follow")

    def review(self, records: Sequence[PartRecord], runtime: Runtime) -> None:
        """Checks all parts before they are published; raises an error if they must not be."""


def parts_like(source: Artifact, others: Mapping[str, str]) -> tuple[Part, ...]:
    """One part for each part of `source`, made from it and from `others` (digests by name)."""
    return tuple(
        Part(name=part.name, sources={source.kind.name: part.content, **others})
        for part in source.parts
    )


def _json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
