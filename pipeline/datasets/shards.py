"""Writes the images of a data set as tar shards: whole, the same each time, and resumable."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ...stages.sources.faults import FaultReason
from ...stages.sources.images.pixels import UndecodableImage
from ...stages.sources.tar.listing import scan
from ...stages.sources.tar.writer import distinct, key_of, write_shard
from ...store import ConfigError, ShardError
from ...store.files import is_about, replace, sync, temporary_sibling
from ...store.leftovers import remove_leftovers
from ...store.locks import lock
from ...store.paths import resolved
from .catalog import DataSet
from .contents import (
    BEGUN,
    CLASSES,
    CONTENTS,
    FORMAT,
    LOCK,
    SKIPPED,
    begin,
    remove_others,
    require_own,
    write_plain,
)
from .example import Example, Listing, Split

WHOLE = "all"
"""The name that stands for a split in a data set without splits."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An image that could not be read."""

    key: str
    reason: FaultReason
    detail: str


@dataclass(kw_only=True)
class SplitCounts:
    """Counts of one split."""

    images: int = 0
    skipped: int = 0
    shards: int = 0
    kept: int = 0
    """Number of shards that an interrupted command had written."""


@dataclass(kw_only=True)
class Fetched:
    """Counts of all splits, and the images that were skipped."""

    classes: int
    splits: dict[str, SplitCounts] = field(default_factory=dict)
    """The counts of each split, by its name."""
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def images(self) -> int:
        """Images in all shards."""
        return sum(counts.images for counts in self.splits.values())

    @property
    def shards(self) -> int:
        """Shards of all splits."""
        return sum(counts.shards for counts in self.splits.values())


def write_shards(
    listing: Listing,
    data_set: DataSet,
    root: Path,
    out: Path,
    *,
    shard_size: int,
    report: Callable[[int, int], None],
) -> Fetched:
    """Writes all images of a listing into shards in the folder `out`, which must not exist.

    The folder is filled under the name `OUT.partial`, and renamed when it is complete. Shards of an
    interrupted call are kept if it read the same splits of the same data set from the same folder
    `root`. A shard holds images of one split. Shards hold no times or names of users, so the same
    files give the same bytes. `report` gets the number of images that were read or kept, and of
    those that were skipped. ConfigError if no image can be read, if `out` cannot be written, or if
    `OUT.partial` holds other files.
    """
    out = resolved(out)  # `.` has no name of its own
    partial = partial_of(out)
    try:
        require_own(partial)
        partial.mkdir(parents=True, exist_ok=True)
        with lock(partial / LOCK, wait=False) as is_ours:
            if not is_ours:
                raise ConfigError(f"another command is writing {partial}: wait for it to end")
            begin(partial, _begun(listing, data_set, root, shard_size))
            fetched = _fill(listing, partial, shard_size, report)
            _describe(fetched, listing, data_set, shard_size, partial)
        (partial / LOCK).unlink(missing_ok=True)
        sync(partial)
        if out.is_dir():
            out.rmdir()  # it is empty; Windows cannot rename onto a folder
        replace(partial, out)
        (out / BEGUN).unlink()
        sync(out.absolute().parent)
    except OSError as error:
        if not is_about(error, out, partial):
            raise
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}") from error
    return fetched


def partial_of(out: Path) -> Path:
    """The folder in which the shards of a folder are written."""
    return out.with_name(f"{out.name}.partial")


def _begun(listing: Listing, data_set: DataSet, root: Path, shard_size: int) -> dict[str, Any]:
    """Everything that decides the shards, except the contents of the files."""
    return {
        "format": FORMAT,
        "name": data_set.name,
        "splits": {split.name or WHOLE: split.count for split in listing.splits},
        "shard_size": shard_size,
        "root": str(root.resolve()),
    }


def _fill(
    listing: Listing, folder: Path, shard_size: int, report: Callable[[int, int], None]
) -> Fetched:
    fetched = Fetched(classes=len(listing.classes))
    names: set[str] = set()
    taken: dict[str, int] = {}
    for split in listing.splits:
        counts = fetched.splits.setdefault(split.name or WHOLE, SplitCounts())
        examples = _with_keys(split, taken)
        for number in range(-(-split.count // shard_size)):
            chunk = list(islice(examples, shard_size))
            path = folder / f"{f'{split.name}-' if split.name else ''}{number:05d}.tar"
            skipped: list[Skipped] = []
            if _holds(path, [key for key, _ in chunk]):
                counts.kept += 1
            else:
                _write(path, chunk, split, listing.classes, skipped)
            fetched.skipped += skipped
            counts.skipped += len(skipped)
            counts.images += len(chunk) - len(skipped)
            if len(skipped) < len(chunk):
                names.add(path.name)
                counts.shards += 1
            report(len(chunk), len(skipped))
    if not fetched.images:
        why = ", ".join(f"{one.key} ({one.reason})" for one in fetched.skipped[:3])
        raise ConfigError(f"no image could be read: {why or 'there is none'}")
    remove_others(folder, names)
    return fetched


def _with_keys(split: Split, taken: dict[str, int]) -> Iterator[tuple[str, Example]]:
    for example in split:
        yield distinct(key_of(example.key), taken), example


def _holds(path: Path, keys: list[str]) -> bool:
    """Whether a shard is complete and holds exactly these samples."""
    try:
        listing = scan(path)
    except ShardError:
        return False
    return listing.complete and [sample.key for sample in listing.samples] == keys


def _write(
    path: Path,
    chunk: list[tuple[str, Example]],
    split: Split,
    classes: tuple[str, ...],
    skipped: list[Skipped],
) -> None:
    """Writes one shard, whole or not at all; none where no image can be read."""
    remove_leftovers(path)
    temporary = temporary_sibling(path)
    try:
        samples = _samples(chunk, split, classes, skipped)
        if write_shard(temporary, samples):
            os.replace(temporary, path)
        else:
            path.unlink(missing_ok=True)
    finally:
        temporary.unlink(missing_ok=True)


def _samples(
    chunk: list[tuple[str, Example]],
    split: Split,
    classes: tuple[str, ...],
    skipped: list[Skipped],
) -> Iterator[Mapping[str, str | bytes]]:
    """Samples in the format of WebDataset; adds unreadable images to `skipped`."""
    for key, example in chunk:
        try:
            suffix, content = example.read()
        except UndecodableImage as error:
            skipped.append(Skipped(key=key, reason=error.reason, detail=error.detail))
            continue
        fields = dict(example.fields)
        sample: dict[str, str | bytes] = {"__key__": key, suffix: content}
        if split.name is not None:
            fields["split"] = split.name
        if example.label is not None:
            sample["cls"] = str(example.label).encode()
            fields["class_name"] = classes[example.label]
        if example.caption is not None:
            sample["txt"] = example.caption.encode()
        sample["json"] = json.dumps(fields, ensure_ascii=False, sort_keys=True).encode()
        yield sample


def _describe(
    fetched: Fetched, listing: Listing, data_set: DataSet, shard_size: int, folder: Path
) -> None:
    """Writes the class names, the skipped images, and last the description of the folder."""
    write_plain(folder / CLASSES, list(listing.classes))
    write_plain(folder / SKIPPED, [asdict(image) for image in fetched.skipped])
    splits = {
        name: {key: value for key, value in asdict(counts).items() if key != "kept"}
        for name, counts in fetched.splits.items()
    }
    contents = {
        "format": FORMAT,
        "name": data_set.name,
        "title": data_set.title,
        "source": data_set.source,
        "images": fetched.images,
        "classes": fetched.classes,
        "shard_size": shard_size,
        "splits": splits,
    }
    write_plain(folder / CONTENTS, contents)
