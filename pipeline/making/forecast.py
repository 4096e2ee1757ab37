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
from .engines.local import count_workers
from .memory import keep_freed_memory, release_freed_memory
from .plan import Plan
from .slow_model import LONG_SECONDS


@dataclass(frozen=True, kw_only=True)
class SourceTotals:
    """How many sources, parts, bytes and samples there are."""

    sources: Mapping[str, int]
    """The number of sources of each type, such as `shard`."""
    parts: int
    """The parts that the sources become: a folder may become several."""
    bytes: int
    samples: int
    is_estimate: bool
    """Whether `samples` is estimated from the sources that were listed."""

    def describe(self) -> str:
        """The totals in words, such as `600 images in 2 shards, 66.3 MB`."""
        images = counted(self.samples, "image")
        sources = " and ".join(counted(count, noun) for noun, count in self.sources.items())
        about = "about " if self.is_estimate else ""
        return f"{about}{images} in {sources}, {size_of(self.bytes)}"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A timed sample, and the machine that it was measured on."""

    sample: TimedSample
    load_seconds: float
    """Seconds to load the model."""
    size: int
    """d, the length of an embedding."""
    device: str
    threads: int
    workers: int
    """Processes that would work on this machine."""
    speedup: float
    """How many times faster all workers together are than the sample."""
    machines: int
    """Machines that would share the work."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What `embed` would do."""

    done: int
    """Parts that are embedded already."""
    todo: SourceTotals
    """The sources that are still to be embedded."""
    model: str
    pretrained: str
    measurement: Measurement | None
    """None if nothing is left to embed."""

    @property
    def seconds(self) -> float:
        """The time that the rest takes on this machine."""
        measurement = self.measurement
        if measurement is None or not measurement.sample.per_second:
            return 0.0
        rate = measurement.sample.per_second * measurement.speedup
        return measurement.load_seconds + self.todo.samples / rate

    @property
    def store_bytes(self) -> float:
        """The bytes by which the store would grow."""
        if self.measurement is None:
            return 0.0
        sample, todo = self.measurement.sample, self.todo
        return todo.samples * sample.bytes_for_image + todo.parts * sample.bytes_for_part

    @property
    def cheaper(self) -> CheaperModel | None:
        """A cheaper model to advise, if embedding takes long on a CPU."""
        is_slow = self.seconds > LONG_SECONDS
        on_cpu = self.measurement is not None and self.measurement.device == "cpu"
        return cheaper_model(self.model) if is_slow and on_cpu else None

    def lines(self) -> Iterator[str]:
        """The forecast in words."""
        parts = counted(self.done + self.todo.parts, "part")
        if self.measurement is None:
            yield f"to embed: nothing, because {parts} {agreeing(self.done, 'is', 'are')} there"
            return
        if self.done:
            yield f"embedded already: {self.done:,} of {parts}"
        yield f"to embed: {self.todo.describe()}"
        yield from _describe_sample(self.measurement, self.model, self.pretrained)
        image_bytes = self.measurement.sample.bytes_for_image
        yield f"store: about {size_of(self.store_bytes)}, {image_bytes:,.0f} bytes for an image"
        yield from self._describe_times(self.measurement)

    def _describe_times(self, measurement: Measurement) -> Iterator[str]:
        where = "on this machine"
        if measurement.workers > 1:
            where += f" with {measurement.workers} workers"
            if measurement.speedup == 1:
                shared = "its cores" if measurement.device == "cpu" else "one device"
                where += f": they share {shared}, so one is as fast"
        yield f"time: about {roughly(self.seconds)} {where}"
        if measurement.machines > 1:
            working = self.seconds - measurement.load_seconds
            seconds = measurement.load_seconds + working / measurement.machines
            yield f"time: about {roughly(seconds)} on {measurement.machines} such machines"
        if self.cheaper is not None:
            share = self.cheaper.share
            yield (
                f"{self.model} is slow on a CPU: {self.cheaper.flags} takes about "
                f"{fraction(share)} of that, {roughly(self.seconds * share)}"
            )


def _describe_sample(measurement: Measurement, model: str, pretrained: str) -> Iterator[str]:
    sample = measurement.sample
    yield (
        f"model: {model} ({pretrained}), {measurement.size} dimensions, loaded in "
        f"{measurement.load_seconds:.1f} s"
    )
    where = measurement.device
    if where == "cpu":
        where += f" ({counted(measurement.threads, 'core')})"
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
    """What `plan.make("embeddings")` would take; times a sample of the missing images."""
    with temporary_folder() as folder:
        job = replace(plan, shard_folder=folder).job("embeddings")
        stage = cast(Embed, job.stage)
        recipe = stage.recipe(stage.parts(job.inputs, job.runtime))
        done = plan.store.made_parts(recipe)
        todo = {
            part: cast(SampleSource, source)
            for part, source in job.runtime.sources.items()
            if part not in done
        }
        measurement = _measure(stage, job.runtime, todo) if todo else None
        listed = measurement.sample.listed if measurement else {}
        return Forecast(
            done=len(done),
            todo=_count_sources(todo, listed),
            model=stage.model,
            pretrained=stage.pretrained,
            measurement=measurement,
        )


def _measure(stage: Embed, runtime: Runtime, sources: Mapping[str, SampleSource]) -> Measurement:
    """Loads the model and times a sample in this process."""
    device = devices.fitting_device(stage, devices.find_device(runtime.device))
    runtime = replace(runtime, device=device)
    gpus = devices.count_gpus(device)
    workers = count_workers(runtime, gpus, len(sources))
    keep_freed_memory()
    try:
        with threads.limited_to(threads.processors()):
            started = time.perf_counter()
            encoder = stage.load(runtime)
            load_seconds = time.perf_counter() - started
            sample = time_sample(encoder, sources, runtime)
    finally:
        release_freed_memory()
    return Measurement(
        sample=sample,
        load_seconds=load_seconds,
        size=encoder.size,
        device=device,
        threads=threads.processors(),
        workers=workers,
        speedup=min(workers, gpus) if gpus else 1,
        machines=runtime.worker[1],
    )


def _count_sources(sources: Mapping[str, SampleSource], listed: Mapping[str, int]) -> SourceTotals:
    """Totals of sources, which are given by part; `listed` has the samples of listed sources.

    Samples of sources that have no count are estimated from their bytes.
    """
    counts = {
        part: listed[part] if part in listed else source.count_samples()
        for part, source in sources.items()
    }
    known = {part: count for part, count in counts.items() if count is not None}
    # Only tar shards may have no count, so the rate comes from shards if any were listed.
    compared = [part for part in listed if _noun(sources[part]) == "shard"] or list(known)
    compared_bytes = sum(sources[part].size for part in compared)
    samples_per_byte = (
        sum(known[part] for part in compared) / compared_bytes if compared_bytes else 0.0
    )
    unknown_bytes = sum(source.size for part, source in sources.items() if part not in known)
    nouns = Counter(_noun(source) for source in sources.values())
    folders = {
        (source.path, source.folder)
        for source in sources.values()
        if isinstance(source, FolderChunk)
    }
    if folders:
        nouns["folder"] = len(folders)
    return SourceTotals(
        sources=dict(nouns),
        parts=len(sources),
        bytes=sum(source.size for source in sources.values()),
        samples=sum(known.values()) + round(unknown_bytes * samples_per_byte),
        is_estimate=len(known) < len(counts),
    )


def _noun(source: SampleSource) -> str:
    if isinstance(source, FolderChunk):
        return "folder"
    return "table" if isinstance(source, TableFile) else "shard"
