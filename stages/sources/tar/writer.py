"""A folder of images copied into tar shards in the WebDataset format."""

import itertools
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ....store.errors import ConfigError
from ....store.files import is_about, sync, temporary_sibling
from ....store.leftovers import remove_leftovers
from ....store.paths import resolved
from ..faults import FaultReason
from ..images.files import read_image_file
from ..images.folders import utf8_name
from ..images.pixels import UndecodableImage, suffix_of
from ..images.tree import FolderImage, find_images
from .listing import split_name


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The result of packing a folder."""

    shards: tuple[Path, ...]
    images: int
    renamed: tuple[tuple[str, str], ...]
    """Images whose keys were already taken, and the keys that they got instead."""
    skipped: tuple[tuple[str, FaultReason, str], ...]
    """Images that could not be read: path, reason and detail."""
    left_out: Counter[str]
    """Files, by suffix, that are neither images nor belong to one."""


def pack_folder(
    root: Path, out: Path, *, shard_size: int, prefix: str, report: Callable[[int, int], None]
) -> Packed:
    """Writes the images below `root` into shards in a new folder `out`, all of them or none.

    A key is the path from `root` without its suffix, see `key_of`. An image's .txt, .json and .cls
    files are copied with it. No time or user is written: the same images give the same bytes.
    ConfigError if `out` holds anything or cannot be written. `report` gets how many images are
    done, and how many there are.
    """
    out = resolved(out)  # `.` has no name of its own
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists already, and nothing is overwritten: name a new folder")
    left_out: Counter[str] = Counter()
    folders = find_images(root, left_out)
    temporary = temporary_sibling(out)
    try:
        remove_leftovers(out)
        temporary.mkdir(parents=True)
        packed = _write(root, folders, temporary, shard_size, prefix, report)
        if not packed.shards:
            why = ", ".join(f"{path} ({reason})" for path, reason, _ in packed.skipped[:3])
            raise ConfigError(f"no image in {root} could be read: {why}")
        sync(temporary)
        if out.exists():
            out.rmdir()  # it is empty; Windows renames onto no folder
        temporary.rename(out)
        sync(out.parent)
    except OSError as error:
        if not is_about(error, out, temporary):
            raise
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return replace(
        packed, shards=tuple(out / path.name for path in packed.shards), left_out=left_out
    )


def key_of(path: str) -> str:
    """The key of an image by its path from the folder, without its suffix, or by a table's key.

    A key ends at the first dot of the base name, and for some tools at whitespace: both become
    underscores, as does a last slash, such as a URL's. A folder such as `__this__`, which
    WebDataset reserves, or `__MACOSX` loses its first two.
    """
    key = re.sub(r"[.\s]|/\Z", "_", utf8_name(path)) or "_"
    key = re.sub(r"(?<![^/])__MACOSX(?=/)", "MACOSX", key)
    while split_name(f"{key}.jpg") is None:
        key = key[2:]
    return key


def distinct(key: str, taken: dict[str, int], fold: Callable[[str], str] = str) -> str:
    """A key that is not `taken`, with a number appended if needed; adds it to `taken`.

    `taken` has the last number of each key: counted again, a million equal keys would take days.
    Keys of which `fold` makes the same are equal.
    """
    name, number = key, taken.get(fold(key), 1)
    while fold(name) in taken:
        number += 1
        name = f"{key}-{number}"
    taken[fold(key)] = number
    taken.setdefault(fold(name), 1)
    return name


def write_shard(path: Path, samples: Iterable[Mapping[str, str | bytes]]) -> int:
    """Writes samples into a new tar in the WebDataset format, and returns how many there are.

    No time, user or umask is written: the same samples give the same bytes.
    """
    from webdataset.writer import TarWriter

    written = 0
    with (
        path.open("xb") as file,
        TarWriter(file, user="", group="", mtime=0, encoder=False) as tar,
    ):
        for sample in samples:
            tar.write(dict(sample))
            written += 1
    sync(path)
    return written


def _write(
    root: Path,
    folders: list[tuple[str, list[FolderImage]]],
    out: Path,
    shard_size: int,
    prefix: str,
    report: Callable[[int, int], None],
) -> Packed:
    total = sum(len(images) for _, images in folders)
    skipped: list[tuple[str, FaultReason, str]] = []
    renamed: list[tuple[str, str]] = []
    samples = _samples(root, folders, skipped, renamed)
    shards: list[Path] = []
    written = 0

    def reported(
        samples: Iterator[Mapping[str, str | bytes]],
    ) -> Iterator[Mapping[str, str | bytes]]:
        nonlocal written
        for sample in samples:
            yield sample
            written += 1
            report(written + len(skipped), total)

    while (sample := next(samples, None)) is not None:
        shards.append(out / f"{prefix}{len(shards):05d}.tar")
        rest = itertools.islice(samples, shard_size - 1)
        write_shard(shards[-1], reported(itertools.chain([sample], rest)))
    return Packed(
        shards=tuple(shards),
        images=written,
        renamed=tuple(renamed),
        skipped=tuple(skipped),
        left_out=Counter(),
    )


def _samples(
    root: Path,
    folders: list[tuple[str, list[FolderImage]]],
    skipped: list[tuple[str, FaultReason, str]],
    renamed: list[tuple[str, str]],
) -> Iterator[Mapping[str, str | bytes]]:
    """The samples as WebDataset writes them; adds to `skipped` and `renamed`."""
    taken: dict[str, int] = {}
    for folder, images in folders:
        for image in images:
            path = f"{folder}/{image.name}" if folder else image.name
            stem, suffix = os.path.splitext(path)
            try:
                members = {
                    text_suffix: read_image_file(root / folder / name)
                    for text_suffix, name in image.texts.items()
                }
                content = read_image_file(root / path)
                members[suffix.lower()[1:] or suffix_of(content)] = content
            except UndecodableImage as error:
                skipped.append((utf8_name(path), error.reason, error.detail))
                continue
            key = distinct(key_of(stem), taken)
            if key != key_of(stem):
                renamed.append((utf8_name(path), key))
            yield {"__key__": key, **members}
