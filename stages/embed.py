"""Samples in, embeddings out: one part a source, every one embedded or skipped with a reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, cast, get_args

from ..store import ConfigError, PartRecord, Product, Scratch, ShardError
from ..store.kinds import EMBEDDINGS, Kind
from .contract import Inputs, Part, Runtime, Stage
from .embedder import Embedder
from .encoder import Encoder, Precision, load_encoder
from .part_tables import EmbeddingRows
from .sources.source import Samples, SampleSource


@dataclass(frozen=True, kw_only=True)
class Embed(Stage):
    """Embeds every sample of every source with a frozen model of open_clip.

    Pixels go through open_clip's own preprocessing, after they were made RGB as in its training:
    the first frame of an animation, and EXIF orientation not applied.
    """

    name: ClassVar[str] = "embed"
    kind: ClassVar[Kind] = EMBEDDINGS
    revision: ClassVar[int] = 3

    model: str
    pretrained: str
    """A tag of open_clip, or the base name of a local file."""
    weights_sha256: str = ""
    """Of a local file of weights."""
    model_config_sha256: str = ""
    """Of a local file that describes the model."""
    precision: Precision = "fp32"
    """What the network's products are computed in; `bf16` is for GPUs that have it."""
    scaled_jpeg: bool = False
    """Whether large JPEGs are decoded at a fraction of their size: faster, and pixels differ a
    little."""

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise ConfigError(
                f"embed.precision is {self.precision!r}; allowed: {', '.join(get_args(Precision))}"
            )

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each source, made from what the source is, wherever it lies."""
        return tuple(
            Part(name=source.part_name, sources={"shard": source.identity})
            for source in runtime.sources.values()
        )

    def prepare(self, inputs: Inputs, runtime: Runtime) -> "_Prepared":
        """The model."""
        encoder = load_encoder(
            self.model,
            self.pretrained,
            files=runtime.files,
            device=runtime.device,
            precision=self.precision,
            scaled_jpeg=self.scaled_jpeg,
        )
        runtime.progress.start("embed", 0, "images")
        sizes = [cast(SampleSource, one).size for one in runtime.sources.values()]
        embedder = Embedder(encoder, runtime.batch_size)
        return _Prepared(encoder=encoder, embedder=embedder, bytes_in_all=sum(sizes))

    def make(
        self, part: Part, prepared: "_Prepared", inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Embeds one source."""
        source = cast(SampleSource, runtime.sources[part.name])
        encoder = prepared.encoder
        rows = EmbeddingRows(shard=source.name, size=encoder.size)
        with source.open(scratch.folder) as opened:
            runtime.progress.revise(prepared.expect(opened, source.size))
            for fault in opened.faults:
                rows.skip(fault.key, fault.reason, fault.detail, fault.offset)
            runtime.progress.advance(len(opened.faults), skipped=len(opened.faults))
            for batch in prepared.embedder.embed(opened.samples):
                rows.embeddings.append(batch.embeddings)
                for entry, fate in zip(batch.entries, batch.fates, strict=True):
                    if fate.reason:
                        rows.skip(entry.key, fate.reason, fate.detail, entry.offset)
                        continue
                    rows.rows.append(
                        {
                            "key": entry.key,
                            "offset": entry.offset,
                            "size": entry.size,
                            "width": fate.width,
                            "height": fate.height,
                            **asdict(entry.fields()),
                        }
                    )
                done = len(batch.entries)
                runtime.progress.advance(done, skipped=batch.skipped, spent=batch.spent)
            facts = _facts(opened)
        return rows.write(scratch, facts, encoder.identity)

    def review(self, records: Sequence[PartRecord], runtime: Runtime) -> None:
        """ShardError when there is no picture at all, a shard is cut, or too much was skipped."""
        seen = sum(record.facts["seen"] for record in records)
        embedded = sum(record.facts["embedded"] for record in records)
        if embedded == 0:
            raise ShardError(_nothing_embedded(records))
        cut = [record.facts for record in records if record.facts["is_partial"]]
        if cut and not runtime.allow_partial:
            raise ShardError(
                f"{len(cut)} of {len(records)} shards are partial ({_cuts(cut)}): their good "
                "samples are kept; put whole shards in their place and run the same command "
                "again, or accept them with --allow-partial"
            )
        share = 1 - embedded / seen
        if share > runtime.max_skipped:
            reasons: Counter[str] = Counter()
            for record in records:
                reasons.update(record.facts["skipped"])
            raise ShardError(
                f"{seen - embedded} of {seen} samples ({share:.1%}) were skipped, more than "
                f"--max-skipped {runtime.max_skipped:g} allows ({_counts(reasons)}): all work is "
                f"kept, and a higher --max-skipped accepts it{_hint(reasons)}"
            )


@dataclass(kw_only=True)
class _Prepared:
    """The model, and what is known so far of how many samples there are."""

    encoder: Encoder
    embedder: Embedder
    bytes_in_all: int
    bytes_listed: int = 0
    samples_listed: int = 0

    def expect(self, opened: Samples, size: int) -> int:
        """How many samples there may be in all, now that one more source is listed."""
        self.bytes_listed += size
        self.samples_listed += len(opened.samples) + len(opened.faults)
        share = self.bytes_listed / self.bytes_in_all if self.bytes_in_all else 1.0
        return round(self.samples_listed / share) if share else self.samples_listed


def _facts(opened: Samples) -> dict[str, object]:
    return {
        "sha256": opened.sha256(),
        "is_partial": not opened.complete,
        "why_partial": opened.why_cut or "",
        "suffixes": dict(opened.suffixes.most_common(20)),
        **opened.facts,
    }


def _cuts(facts: Sequence[Mapping[str, Any]]) -> str:
    named = [f"{one['shard']}: {one['why_partial']}, {one['embedded']} embedded" for one in facts]
    return "; ".join(named[:5]) + ("; ..." if len(named) > 5 else "")


def _nothing_embedded(records: Sequence[PartRecord]) -> str:
    suffixes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for record in records:
        suffixes.update(record.facts["suffixes"])
        reasons.update(record.facts["skipped"])
    shards = ", ".join(record.facts["shard"] for record in records[:3])
    if not suffixes and not reasons:
        return f"there are no samples at all ({shards}): name what holds pictures"
    holds = f"it holds what ends in {_counts(suffixes)} and " if suffixes else ""
    return (
        f"no picture was found ({shards}): {holds}skipped were {_counts(reasons) or 'none'}; "
        f"pictures are .jpg, .jpeg, .png, .webp, .gif, .bmp or .tif{_hint(reasons)}"
    )


def _hint(reasons: "Counter[str]") -> str:
    if not reasons["remote"]:
        return ""
    return ", and addresses of pictures are not downloaded: img2dataset makes tar shards of them"


def _counts(counts: "Counter[str]") -> str:
    return ", ".join(f"{name} ({n})" for name, n in counts.most_common(8))
