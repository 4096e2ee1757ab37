"""The files that describe a folder of shards, complete or unfinished."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...store import ConfigError
from ...store.files import TEMPORARY_PREFIX, write_whole

CLASSES = "classes.json"
SKIPPED = "skipped.json"
CONTENTS = "dataset.json"
"""Written last: a folder with this file is complete."""
BEGUN = ".begun.json"
"""Written first: describes the shards in an unfinished folder."""
LOCK = ".lock"

FORMAT = 1


def read_contents(folder: Path) -> dict[str, Any] | None:
    """The description of a complete folder of shards; None for any other folder."""
    contents = _read(folder / CONTENTS)
    return contents if contents is not None and "name" in contents else None


def write_plain(path: Path, value: Any) -> None:
    """Writes JSON for other programs, whole or not at all; it has no digest, unlike the store's."""
    write_whole(path, f"{json.dumps(value, indent=1)}\n".encode())


def require_own(folder: Path, otherwise: str = "name another folder for the shards") -> None:
    """ConfigError if an unfinished folder holds a file that `fetch` did not write.

    `otherwise` is what the user can do instead of moving the file.
    """
    if not folder.exists():
        return
    begun = _read(folder / BEGUN)
    own = set(_written(folder, begun))
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in own)
    if foreign:
        raise ConfigError(
            f"{folder}, where shards are written first, holds {foreign[0]}, which this command did "
            f"not write: move it away, or {otherwise}"
        )


def begin(folder: Path, begun: Mapping[str, Any]) -> None:
    """Records which shards a folder will hold, and removes all others.

    An interrupted call may have written shards of another data set or of another size, with the
    same keys.
    """
    there = _read(folder / BEGUN)
    if there != begun:
        for name in set(_written(folder, there)) - {LOCK, BEGUN}:
            (folder / name).unlink()
        write_plain(folder / BEGUN, begun)


def remove_others(folder: Path, names: set[str]) -> None:
    """Removes shards that are not in `names`: an earlier call may have skipped fewer images."""
    for name in set(_written(folder, _read(folder / BEGUN))) - names - {LOCK, BEGUN}:
        (folder / name).unlink()


def _written(folder: Path, begun: Mapping[str, Any] | None) -> Iterator[str]:
    """The files of a folder with names that `fetch` gives; without a record, no shards."""
    own = [LOCK, BEGUN] if begun is None else [LOCK, BEGUN, CLASSES, SKIPPED, CONTENTS]
    names = [re.escape(name) for name in own]
    if begun is not None:
        splits = "|".join(map(re.escape, begun.get("splits", ())))
        names.append(rf"(?:(?:{splits})-)?\d{{5,}}\.tar")
    final = "|".join(names)
    # The second form is the temporary file of a process that was killed.
    written = re.compile(
        rf"(?:{final})|{re.escape(TEMPORARY_PREFIX)}(?:{final})-[0-9a-f]{{8}}-\d+-[0-9a-f]{{8}}"
    )
    for path in folder.iterdir():
        if written.fullmatch(path.name) and path.is_file():
            yield path.name


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
