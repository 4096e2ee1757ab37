"""Samples in, embeddings out: a part for each source, every sample embedded or skipped."""

import contextlib
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast, get_args

from ..store import ConfigError, PartRecord, Product, Scratch, ShardError
from ..store.counting import agreeing, counted
from ..store.kinds import EMBEDDINGS, Kind
from .contract import Inputs, Part, Runtime, Stage
from .encoding.embedder import Embedder
from .encoding.encoder import Encoder, Exif, Precision, load_encoder
from .encoding.part_tables import (
    EmbeddingRows,
    describe_reasons,
    hint_at_remote,
    require_few_skipped,
)
from .encoding.precision_notes import describe_difference, describe_gain, require_bf16
from .sources.ignored_files import hint_at_extra
from .sources.source import Samples, SampleSource


@dataclass(frozen=True, kw_only=True)
class Embed(Stage):
    """Embeds every sample of every source with a frozen open_clip model.

    Pixels go through open_clip's own preprocessing. Before that, images become RGB as in its
    training: only the first frame of an animation, and by default without the EXIF orientation.
    """

    name: ClassVar[str] = "embed"
    kind: ClassVar[Kind] = EMBEDDINGS
    revision: ClassVar[int] = 3
    overlaps: ClassVar[bool] = True
    runs_on_mps: ClassVar[bool] = True

    model: str
    pretrained: str
    """A tag of open_clip, or the name of a local file without its folder."""
    weights_sha256: str = ""
    """Digest of a local weights file."""
    model_config_sha256: str = ""
    """Digest of a local model config."""
    precision: Precision = "fp32"
    """Precision of the network's matrix products; `bf16` needs a GPU or a CPU that has it."""
    scaled_jpeg: bool = False
    """Whether large JPEGs are decoded at a fraction of their size: faster, with slightly different
    pixels."""
    exif: Exif = "ignore"
    """Whether images are turned as their EXIF orientation says."""

    def __post_init__(self) -> None:
        for name, allowed in (("precision", Precision), ("exif", Exif)):
            if getattr(self, name) not in get_args(allowed):
                raise ConfigError(
                    f"embed.{name} must be {' or '.join(get_args(allowed))}, "
                    f"got {getattr(self, name)!r}"
                )

    def config(self) -> dict[str, Any]:
        """The settings; `exif` only if it is not the default, as older versions lack it."""
        config = super().config()
        if self.exif == "ignore":
            del config["exif"]
        return config

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each source, identified by its content, wherever it lies."""
        return tuple(
            Part(name=name, sources={"shard": source.identity})
            for name, source in runtime.sources.items()
        )

    def prepare(self, inputs: Inputs, runtime: Runtime) -> "_Prepared":
        """Loads the model."""
        encoder = self.load(runtime)
        encoder.require_vectors()
        by_part = cast(Mapping[str, SampleSource], runtime.sources)
        sources = list(by_part.values())
        for line in describe_gain(self.model, encoder):
            runtime.progress.report(line)
        if runtime.worker[0] == 0:
            for line in describe_difference(encoder, sources):
                runtime.progress.report(line)
        counts = _SampleCounts.of(by_part)
        runtime.progress.start("embed", counts.total, "images")
        embedder = Embedder(encoder, runtime.batch_size)
        return _Prepared(encoder=encoder, embedder=embedder, counts=counts)

    def load(self, runtime: Runtime) -> Encoder:
        """The model, on the device of a runtime; ConfigError if that lacks the precision."""
        require_bf16(self.precision, runtime.device)
        return load_encoder(
            self.model,
            self.pretrained,
            files=runtime.files,
            device=runtime.device,
            precision=self.precision,
            scaled_jpeg=self.scaled_jpeg,
            exif=self.exif,
        )

    def make(
        self, part: Part, prepared: "_Prepared", inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Embeds one source."""
        source = cast(SampleSource, runtime.sources[part.name])
        encoder = prepared.encoder
        rows = EmbeddingRows(shard=source.name, size=encoder.size)
        with source.open(scratch.folder) as opened:
            listed = len(opened.samples) + len(opened.faults)
            if prepared.counts.revise(part.name, source.size, listed):
                runtime.progress.revise(prepared.counts.total)
            for fault in opened.faults:
                rows.skip(fault.key, fault.reason, fault.detail, fault.offset)
            runtime.progress.advance(len(opened.faults), skipped=len(opened.faults))
            batches = prepared.embedder.embed(opened.samples, runtime.begin_next)
            with contextlib.closing(batches):
                for batch in batches:
                    rows.add(batch)
                    done = len(batch.entries)
                    runtime.progress.advance(done, skipped=batch.skipped, spent=batch.spent)
            facts = _facts(opened)
        return rows.write(scratch, facts, encoder.identity)

    def review(self, records: Sequence[PartRecord], runtime: Runtime) -> None:
        """ShardError if there is no image, a shard is truncated, or too much was skipped."""
        embedded = sum(record.facts["embedded"] for record in records)
        if embedded == 0:
            raise ShardError(_nothing_embedded(records))
        cut = [record.facts for record in records if record.facts.get("is_partial")]
        if cut and not runtime.allow_partial:
            raise ShardError(
                f"{len(cut)} of {counted(len(records), 'shard')} {agreeing(len(cut), 'is', 'are')} "
                f"partial ({_cuts(cut)}): replace {agreeing(len(cut), 'it', 'them')} with whole "
                "shards and run the same command again, or accept that with --allow-partial; the "
                "samples embedded so far are kept"
            )
        require_few_skipped(records, runtime.max_skipped)


@dataclass(kw_only=True)
class _SampleCounts:
    """How many samples the sources have: known in advance, or estimated by their bytes."""

    expected: dict[str, int] | None
    """By the name of a part; None unless it is known of every source."""
    total_bytes: int
    total: int = 0
    """The number of samples in all sources, as far as is known."""
    bytes_listed: int = 0
    samples_listed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, sources: Mapping[str, SampleSource]) -> "_SampleCounts":
        """What sources say before they are listed."""
        expected: dict[str, int] | None = {}
        for part, source in sources.items():
            count = source.count_samples()
            if count is None:
                expected = None
                break
            expected[part] = count
        return cls(
            expected=expected,
            total_bytes=sum(source.size for source in sources.values()),
            total=sum(expected.values()) if expected else 0,
        )

    def revise(self, part: str, size: int, samples: int) -> bool:
        """Takes the bytes and samples of a listed source; returns whether the total changes."""
        with self.lock:
            before = self.total
            if self.expected is not None:
                self.total += samples - self.expected[part]
                return self.total != before
            self.bytes_listed += size
            self.samples_listed += samples
            share = self.bytes_listed / self.total_bytes if self.total_bytes else 1.0
            self.total = round(self.samples_listed / share) if share else self.samples_listed
            return True


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """What all parts share: the model, and how many samples there are."""

    encoder: Encoder
    embedder: Embedder
    counts: _SampleCounts


def _facts(opened: Samples) -> dict[str, object]:
    return {
        "sha256": opened.sha256(),
        "is_partial": not opened.complete,
        "why_partial": opened.why_cut or "",
        "suffixes": dict(opened.suffixes.most_common(20)),
        **opened.facts,
    }


def _cuts(facts: Sequence[Mapping[str, Any]]) -> str:
    descriptions = [
        f"{part['shard']}: {part['why_partial']}, {part['embedded']} embedded" for part in facts
    ]
    return "; ".join(descriptions[:5]) + ("; ..." if len(descriptions) > 5 else "")


def _nothing_embedded(records: Sequence[PartRecord]) -> str:
    suffixes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for record in records:
        suffixes.update(record.facts["suffixes"])
        reasons.update(record.facts["skipped"])
    shards = ", ".join(record.facts["shard"] for record in records[:3])
    if not suffixes and not reasons:
        return f"no samples found ({shards}): give shards, folders or tables that hold images"
    holds = f"file endings: {describe_reasons(suffixes)}; " if suffixes else ""
    return (
        f"no image could be embedded ({shards}): {holds}skipped: "
        f"{describe_reasons(reasons) or 'none'}; "
        f"images must be .jpg, .png, .webp, .gif, .bmp, .tif or another format that is read"
        f"{hint_at_extra(suffixes)}{hint_at_remote(reasons)}"
    )
