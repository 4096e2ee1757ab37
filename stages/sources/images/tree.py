"""The images below a folder, each with the text files beside it, and counts of other files."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ....store.errors import ShardError
from ....store.kinds import KINDS
from ....store.manifest import STORE_FILE
from ..ignored_files import hint_at_extra, list_suffixes
from ..image_formats import FIRST_SUFFIXES, is_image_suffix
from ..input_kinds import is_visible, require_kind
from ..patterns import natural_key
from .pixels import holds_image

_TEXT_SUFFIXES = frozenset({".txt", ".json", ".cls"})


@dataclass(frozen=True, slots=True)
class FolderImage:
    """An image in a folder."""

    name: str
    texts: Mapping[str, str]
    """The names of the text files with the same stem, by suffix without the dot."""


def find_images(
    root: Path, left_out: Counter[str] | None = None
) -> list[tuple[str, list[FolderImage]]]:
    """All that `walk` finds; if that is nothing, an error says what the folder holds."""
    others: Counter[str] = Counter()
    if not root.exists():
        existing = next(parent for parent in root.absolute().parents if parent.exists())
        raise ShardError(f"there is no folder {root} (the path exists as far as {existing})")
    folders = list(walk(root, others)) if root.is_dir() else []
    if not folders:
        require_kind(root, "images")
        if not root.is_dir():
            raise ShardError(f"{root} is not a folder: name the folder that holds the images")
        contents = f"no image, but {list_suffixes(others)}" if others else "no image"
        known = ", ".join(f".{suffix}" for suffix in FIRST_SUFFIXES)
        raise ShardError(
            f"{root} and the folders below it hold {contents}: name a folder of files that end in "
            f"{known} or another suffix of images{hint_at_extra(others)}"
        )
    if left_out is not None:
        left_out.update(others)
    return folders


def walk(
    root: Path, left_out: Counter[str] | None = None
) -> Iterator[tuple[str, list[FolderImage]]]:
    """Every folder from `root` down that holds images, with its images, all in natural order.

    A file without a suffix is an image if it begins like one. Adds other files to `left_out`, by
    suffix. Skips hidden files and folders, those of operating systems, and the artifacts of a
    store. Follows each linked folder once, but no link to a folder that contains `root` or lies
    inside it.
    """
    real_root = os.path.realpath(root)
    seen = {real_root}
    pending = [""]
    while pending:
        folder = pending.pop()
        images, subfolders = _scan(root / folder, left_out)
        if images:
            yield folder, images
        entered = []
        for name in subfolders:
            path = os.path.join(root, folder, name)
            real = os.path.realpath(path)
            if real in seen or (os.path.islink(path) and _overlap(real, real_root)):
                continue
            seen.add(real)
            entered.append(f"{folder}/{name}" if folder else name)
        pending += reversed(entered)


def _scan(folder: Path, left_out: Counter[str] | None) -> tuple[list[FolderImage], list[str]]:
    """The images in a folder, and its subfolders; counts other files by suffix."""
    try:
        with os.scandir(folder) as entries:
            is_folder = {entry.name: entry.is_dir() for entry in entries if is_visible(entry.name)}
    except OSError as error:
        raise ShardError(f"the folder {folder} cannot be read: {error.strerror}") from error
    if STORE_FILE in is_folder and "runs" in is_folder:
        # Figures and small images that a store made of the images beside it are none of them.
        is_folder = {name: is_folder[name] for name in is_folder.keys() - KINDS.keys() - {"runs"}}
    names = sorted(is_folder, key=natural_key)
    texts: dict[str, dict[str, str]] = {}
    image_names = []
    others: Counter[str] = Counter()
    for name in names:
        stem, suffix = os.path.splitext(name)
        if is_folder[name]:
            continue
        if suffix.lower() in _TEXT_SUFFIXES:
            first = texts.setdefault(stem, {}).setdefault(suffix.lower()[1:], name)
            others[suffix.lower()[1:]] += first != name
        elif is_image_suffix(suffix) or (not suffix and holds_image(os.path.join(folder, name))):
            image_names.append(name)
        else:
            others[suffix.lower()[1:]] += 1
    images = [FolderImage(name, texts.get(os.path.splitext(name)[0], {})) for name in image_names]
    if left_out is not None:
        stems = {os.path.splitext(name)[0] for name in image_names}
        others.update(
            suffix for stem, suffixes in texts.items() if stem not in stems for suffix in suffixes
        )
        left_out.update(+others)
    return images, [name for name in names if is_folder[name]]


def _overlap(path: str, other: str) -> bool:
    pairs = (path, other), (other, path)
    return path == other or any(inner.startswith(os.path.join(outer, "")) for inner, outer in pairs)
