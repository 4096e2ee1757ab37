"""A folder of pictures as tar shards in the WebDataset format, byte for byte."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ....store.errors import ConfigError
from ....store.files import sync, temporary_sibling
from ..faults import FaultReason
from ..images.files import read_picture
from ..images.folders import Picture, find_pictures, text_of
from ..images.pixels import UndecodableImage
from .listing import split_name


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What came of packing a folder."""

    shards: tuple[Path, ...]
    pictures: int
    renamed: tuple[tuple[str, str], ...]
    """Pictures whose keys were taken already, and the keys that they have instead."""
    skipped: tuple[tuple[str, FaultReason, str], ...]
    """Pictures that could not be read: where they lie, the reason and its detail."""


def pack(
    root: Path, out: Path, *, shard_size: int, prefix: str, tell: Callable[[int, int], None]
) -> Packed:
    """Writes the pictures below `root` into shards in a new folder `out`, whole or not at all.

    A key is the path from `root` without its suffix, with every dot and blank in it an underscore;
    see `key_of`. What stands beside a picture as .txt, .json or .cls comes along. Nothing of clocks
    or users enters: the same pictures give the same bytes. Raises ConfigError where `out` holds
    anything, or cannot be written. `tell` hears how many of how many are done.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already: name a new folder, nothing is overwritten")
    found = find_pictures(root)
    temporary = temporary_sibling(out)
    try:
        temporary.mkdir(parents=True)
        packed = _write(root, found, temporary, shard_size, prefix, tell)
        if not packed.shards:
            why = ", ".join(f"{path} ({reason})" for path, reason, _ in packed.skipped[:3])
            raise ConfigError(f"no picture of {root} could be read: {why}")
        sync(temporary)
        temporary.rename(out)
        sync(out.parent)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Packed(
        shards=tuple(out / one.name for one in packed.shards),
        pictures=packed.pictures,
        renamed=packed.renamed,
        skipped=packed.skipped,
    )


def key_of(path: str) -> str:
    """The key of a picture by its path from the folder, without its suffix.

    A key ends at the first dot of the base name, and some tools end it at a blank: both become
    underscores. A folder like `__this__`, which WebDataset keeps for itself, loses the first two.
    """
    key = re.sub(r"[.\s]", "_", text_of(path))
    return key if split_name(f"{key}.jpg") is not None else key[2:]


def _write(
    root: Path,
    found: list[tuple[str, list[Picture]]],
    out: Path,
    shard_size: int,
    prefix: str,
    tell: Callable[[int, int], None],
) -> Packed:
    from webdataset.writer import TarWriter

    total = sum(len(pictures) for _, pictures in found)
    skipped: list[tuple[str, FaultReason, str]] = []
    renamed: list[tuple[str, str]] = []
    samples = _samples(root, found, skipped, renamed)
    shards: list[Path] = []
    sample = next(samples, None)
    written = 0
    while sample is not None:
        shards.append(out / f"{prefix}{len(shards):05d}.tar")
        with (
            shards[-1].open("xb") as file,
            TarWriter(file, user="", group="", mtime=0, encoder=False) as tar,
        ):
            for _ in range(shard_size):
                if sample is None:
                    break
                tar.write(dict(sample))
                written += 1
                tell(written + len(skipped), total)
                sample = next(samples, None)
        sync(shards[-1])
    return Packed(
        shards=tuple(shards), pictures=written, renamed=tuple(renamed), skipped=tuple(skipped)
    )


def _samples(
    root: Path,
    found: list[tuple[str, list[Picture]]],
    skipped: list[tuple[str, FaultReason, str]],
    renamed: list[tuple[str, str]],
) -> Iterator[Mapping[str, str | bytes]]:
    """Sample by sample as WebDataset writes them."""
    taken: set[str] = set()
    for folder, pictures in found:
        for picture in pictures:
            path = f"{folder}/{picture.name}" if folder else picture.name
            stem, _, suffix = path.rpartition(".")
            try:
                members = {
                    one: read_picture(root / folder / name) for one, name in picture.beside.items()
                }
                members[suffix.lower()] = read_picture(root / path)
            except UndecodableImage as error:
                skipped.append((text_of(path), error.reason, error.detail))
                continue
            key = first = key_of(stem)
            number = 1
            while key in taken:
                number += 1
                key = f"{first}-{number}"
            if key != first:
                renamed.append((text_of(path), key))
            taken.add(key)
            yield {"__key__": key, **members}
