"""Shards in, embeddings out: one part a shard, every sample embedded or skipped with a reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..store import PartRecord, Product, Scratch, ShardError
from ..store.kinds import EMBEDDINGS, Kind
from .contract import Inputs, Part, Runtime, Stage
from .decoding import decode_batches, embed_batch
from .embedding_rows import EmbeddingRows
from .encoder import Encoder, load_encoder
from .sources.tar import ShardListing, scan


@dataclass(frozen=True, kw_only=True)
class Embed(Stage):
    """Embeds every sample of every shard with a frozen model of open_clip.

    Pixels go through open_clip's own preprocessing, after they were made RGB as in its training:
    the first frame of an animation, and EXIF orientation not applied.
    """

    name: ClassVar[str] = "embed"
    kind: ClassVar[Kind] = EMBEDDINGS
    revision: ClassVar[int] = 1

    model: str
    pretrained: str
    """A tag of open_clip, or the base name of a local file."""
    weights_sha256: str = ""
    """Of a local file of weights."""
    model_config_sha256: str = ""
    """Of a local file that describes the model."""

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each shard, made from what the shard is, wherever it lies."""
        return tuple(
            Part(name=source.part_name, sources={"shard": source.identity})
            for source in runtime.sources.values()
        )

    def prepare(self, inputs: Inputs, runtime: Runtime) -> "_Prepared":
        """The model."""
        encoder = load_encoder(
            self.model, self.pretrained, files=runtime.files, device=runtime.device
        )
        runtime.progress.start("embed", 0, "images")
        return _Prepared(
            encoder=encoder,
            bytes_in_all=sum(one.path.stat().st_size for one in runtime.sources.values()),
        )

    def make(
        self, part: Part, prepared: "_Prepared", inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Embeds one shard."""
        from .sources.samples import fields as read_fields
        from .sources.samples import open_shard

        path = runtime.sources[part.name].path
        listing = scan(path)
        encoder = prepared.encoder
        runtime.progress.revise(prepared.expect(listing, path.stat().st_size))
        rows = EmbeddingRows(shard=path.name, size=encoder.size)
        for fault in listing.faults:
            rows.skip(fault.key, fault.reason, fault.detail, fault.offset)
        runtime.progress.advance(len(listing.faults), skipped=len(listing.faults))
        with open_shard(path) as data:
            sha256 = data.sha256()
            for batch in decode_batches(listing.samples, data, encoder, runtime.batch_size):
                good = [one for one in batch if one.pixels is not None]
                if good:
                    rows.embeddings.append(embed_batch(encoder, good))
                for one in batch:
                    span = one.entry.image
                    if one.pixels is None:
                        rows.skip(one.entry.key, one.reason, one.detail, span.offset)
                        continue
                    fields = read_fields(one.entry, data)
                    rows.rows.append(
                        {
                            "key": one.entry.key,
                            "offset": span.offset,
                            "size": span.size,
                            "width": one.width,
                            "height": one.height,
                            "caption": fields.caption,
                            "label": fields.label,
                            "url": fields.url,
                            "extra": fields.extra,
                        }
                    )
                runtime.progress.advance(len(batch), skipped=len(batch) - len(good))
        return rows.write(scratch, _facts(listing, sha256), encoder.identity)

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
                "kept, and a higher --max-skipped accepts it"
            )


@dataclass(kw_only=True)
class _Prepared:
    """The model, and what is known so far of how many samples there are."""

    encoder: Encoder
    bytes_in_all: int
    bytes_listed: int = 0
    samples_listed: int = 0

    def expect(self, listing: ShardListing, size: int) -> int:
        """How many samples there may be in all, now that one more shard is listed."""
        self.bytes_listed += size
        self.samples_listed += listing.seen
        share = self.bytes_listed / self.bytes_in_all if self.bytes_in_all else 1.0
        return round(self.samples_listed / share) if share else self.samples_listed


def _facts(listing: ShardListing, sha256: str) -> dict[str, object]:
    return {
        "sha256": sha256,
        "is_partial": not listing.complete,
        "why_partial": listing.why_cut or "",
        "suffixes": dict(listing.suffixes.most_common(20)),
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
    if not suffixes:
        return f"the shards hold no samples at all ({shards}): name shards that hold pictures"
    return (
        f"no picture was found in the shards ({shards}): they hold members that end in "
        f"{_counts(suffixes)} and skipped were {_counts(reasons) or 'none'}; pictures are "
        "members .jpg, .jpeg, .png, .webp, .gif, .bmp or .tif"
    )


def _counts(counts: "Counter[str]") -> str:
    return ", ".join(f"{name} ({n})" for name, n in counts.most_common(8))
