"""What embedding would take: counts, a rate from a timed sample, hours and bytes."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from ...stages.contract import Runtime
from ...stages.embed import Embed
from ...stages.encoding.models.costs import CheaperModel, cheaper_model
from ...stages.encoding.timed_sample import TimedSample, time_sample
from ...stages.sources.images.folders import FolderChunk
from ...stages.sources.source import SampleSource
from ...stages.sources.tables.files import TableFile
from ...store.temporary import temporary_folder
from .. import device as devices
from .. import threads
from ..wording import agreeing, counted, fraction, roughly, size_of
from .memory import give_back_freed_memory, keep_freed_memory
from .plan import Plan
from .slow_model import LONG_SECONDS


@dataclass(frozen=True, kw_only=True)
class Pile:
    """Some sources."""

    sources: Mapping[str, int]
    """How many there are, by what they are, such as `shard`."""
    parts: int
    """That they become: a folder may become several."""
    bytes: int
    samples: int
    is_estimate: bool
    """Whether the number of samples is estimated, from those sources that were listed."""

    def describe(self) -> str:
        """In words, such as `600 images in 2 shards, 66.3 MB`."""
        images = counted(self.samples, "image")
        places = " and ".join(counted(count, noun) for noun, count in self.sources.items())
        about = "about " if self.is_estimate else ""
        return f"{about}{images} in {places}, {size_of(self.bytes)}"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A timed sample, and what it was measured with."""

    sample: TimedSample
    load_seconds: float
    """To load the model."""
    size: int
    """d, the length of an embedding."""
    device: str
    threads: int
    workers: int
    """Processes that would work on this machine."""
    speedup: float
    """How many times faster than the sample they are together."""
    machines: int
    """That would share the work."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What `embed` would do."""

    done: int
    """Parts that are embedded already."""
    todo: Pile
    model: str
    pretrained: str
    measured: Measured | None
    """None where nothing is to be done."""

    @property
    def seconds(self) -> float:
        """The time that it takes on this machine."""
        measured = self.measured
        if measured is None or not measured.sample.per_second:
            return 0.0
        rate = measured.sample.per_second * measured.speedup
        return measured.load_seconds + self.todo.samples / rate

    @property
    def store_bytes(self) -> float:
        """What the store would grow by."""
        if self.measured is None:
            return 0.0
        sample, todo = self.measured.sample, self.todo
        return todo.samples * sample.bytes_for_image + todo.parts * sample.bytes_for_part

    @property
    def cheaper(self) -> CheaperModel | None:
        """What to advise where it takes long on a CPU."""
        is_slow = self.seconds > LONG_SECONDS
        on_cpu = self.measured is not None and self.measured.device == "cpu"
        return cheaper_model(self.model) if is_slow and on_cpu else None

    def lines(self) -> Iterator[str]:
        """The forecast in words."""
        parts = counted(self.done + self.todo.parts, "part")
        if self.measured is None:
            yield f"to embed: nothing, because {parts} {agreeing(self.done, 'is', 'are')} there"
            return
        if self.done:
            yield f"embedded already: {self.done:,} of {parts}"
        yield f"to embed: {self.todo.describe()}"
        yield from _of_sample(self.measured, self.model, self.pretrained)
        each = self.measured.sample.bytes_for_image
        yield f"store: about {size_of(self.store_bytes)}, {each:,.0f} bytes for an image"
        yield from self._times(self.measured)

    def _times(self, measured: Measured) -> Iterator[str]:
        among = "on this machine"
        if measured.workers > 1:
            among += f" with {measured.workers} workers"
            if measured.speedup == 1:
                shared = "its cores" if measured.device == "cpu" else "one device"
                among += f": they share {shared}, so one is as fast"
        yield f"time: about {roughly(self.seconds)} {among}"
        if measured.machines > 1:
            working = self.seconds - measured.load_seconds
            seconds = measured.load_seconds + working / measured.machines
            yield f"time: about {roughly(seconds)} on {measured.machines} such machines"
        if self.cheaper is not None:
            share = self.cheaper.share
            yield (
                f"{self.model} is slow on a CPU: {self.cheaper.flags} takes about "
                f"{fraction(share)} of that, {roughly(self.seconds * share)}"
            )


def _of_sample(measured: Measured, model: str, pretrained: str) -> Iterator[str]:
    sample = measured.sample
    yield (
        f"model: {model} ({pretrained}), {measured.size} dimensions, loaded in "
        f"{measured.load_seconds:.1f} s"
    )
    where = measured.device
    if where == "cpu":
        where += f" ({counted(measured.threads, 'core')})"
    yield (
        f"sample: {counted(sample.images, 'image')} in {sample.seconds:.1f} s on {where}, "
        f"{sample.per_second:,.1f} a second"
    )
    if sample.skipped:
        yield (
            f"skipped: {sample.skipped:,} of {counted(sample.seen, 'image')} of the sample "
            f"{agreeing(sample.skipped, 'is', 'are')} not readable"
        )


def forecast(plan: Plan) -> Forecast:
    """What `plan.make("embeddings")` would take; times a sample of the images that are missing."""
    with temporary_folder() as folder:
        job = replace(plan, shard_folder=folder).job("embeddings")
        stage = cast(Embed, job.stage)
        recipe = stage.recipe(stage.parts(job.inputs, job.runtime))
        made = plan.store.made_parts(recipe)
        todo = {
            part: cast(SampleSource, source)
            for part, source in job.runtime.sources.items()
            if part not in made
        }
        measured = None
        if todo:
            measured = _measure(stage, job.runtime, todo)
        listed = measured.sample.listed if measured else {}
        return Forecast(
            done=len(made),
            todo=pile_up(todo, listed),
            model=stage.model,
            pretrained=stage.pretrained,
            measured=measured,
        )


def _measure(stage: Embed, runtime: Runtime, sources: Mapping[str, SampleSource]) -> Measured:
    """Loads the model, and times it as one process would use it."""
    device = devices.fitting_device(stage, devices.find_device(runtime.device))
    runtime = replace(runtime, device=device)
    gpus = devices.count_gpus(device)
    workers = min(runtime.workers or gpus or 1, len(sources))
    keep_freed_memory()
    try:
        with threads.limited_to(threads.processors()):
            began = time.perf_counter()
            encoder = stage.load(runtime)
            load_seconds = time.perf_counter() - began
            sample = time_sample(encoder, sources, runtime)
    finally:
        give_back_freed_memory()
    return Measured(
        sample=sample,
        load_seconds=load_seconds,
        size=encoder.size,
        device=device,
        threads=threads.processors(),
        workers=workers,
        speedup=min(workers, gpus) if gpus else 1,
        machines=runtime.worker[1],
    )


def pile_up(sources: Mapping[str, SampleSource], listed: Mapping[str, int]) -> Pile:
    """Counts sources, by the part that each becomes; `listed` holds counts that are known.

    Where a source does not say how many samples it has, they are estimated by its bytes.
    """
    counts = {
        part: listed[part] if part in listed else source.count_samples()
        for part, source in sources.items()
    }
    known = {part: count for part, count in counts.items() if count is not None}
    # Only tar shards cannot say it, so they are compared with one another.
    alike = [part for part in listed if _noun(sources[part]) == "shard"] or list(known)
    bytes_listed = sum(sources[part].size for part in alike)
    for_byte = sum(known[part] for part in alike) / bytes_listed if bytes_listed else 0.0
    unknown = sum(source.size for part, source in sources.items() if part not in known)
    nouns = Counter(_noun(source) for source in sources.values())
    folders = {
        (source.path, source.folder)
        for source in sources.values()
        if isinstance(source, FolderChunk)
    }
    if folders:
        nouns["folder"] = len(folders)
    return Pile(
        sources=dict(nouns),
        parts=len(sources),
        bytes=sum(source.size for source in sources.values()),
        samples=sum(known.values()) + round(unknown * for_byte),
        is_estimate=len(known) < len(counts),
    )


def _noun(source: SampleSource) -> str:
    if isinstance(source, FolderChunk):
        return "folder"
    return "table" if isinstance(source, TableFile) else "shard"
