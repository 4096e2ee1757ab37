"""What a folder of shards says of itself, when it is complete and while it is written."""

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
"""Written last: a folder that holds it is complete."""
BEGUN = ".begun.json"
"""Written first: whose shards an unfinished folder holds."""
LOCK = ".lock"

FORMAT = 1


def read_contents(folder: Path) -> dict[str, Any] | None:
    """What a complete folder of shards says of itself; None for any other folder."""
    contents = _read(folder / CONTENTS)
    return contents if contents is not None and "name" in contents else None


def write_plain(path: Path, value: Any) -> None:
    """Writes JSON for other programs, whole or not at all: without the digest of the store."""
    write_whole(path, f"{json.dumps(value, indent=1)}\n".encode())


def require_own(folder: Path, otherwise: str = "name another folder for the shards") -> None:
    """ConfigError where an unfinished folder holds what `fetch` did not write.

    `otherwise` is what the user can do besides moving it.
    """
    if not folder.exists():
        return
    begun = _read(folder / BEGUN)
    own = set(_written(folder, begun))
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in own)
    if foreign:
        raise ConfigError(
            f"{folder} is where shards are written first, and holds {foreign[0]}, which this "
            f"command did not write: move it away, or {otherwise}"
        )


def begin(folder: Path, begun: Mapping[str, Any]) -> None:
    """Records whose shards a folder will hold, and removes those of others.

    A call that was interrupted may have written shards of another data set or of another size,
    whose keys can be the same.
    """
    there = _read(folder / BEGUN)
    if there != begun:
        for name in set(_written(folder, there)) - {LOCK, BEGUN}:
            (folder / name).unlink()
        write_plain(folder / BEGUN, begun)


def remove_others(folder: Path, names: set[str]) -> None:
    """Removes shards that are not among `names`, of a call that skipped fewer images."""
    for name in set(_written(folder, _read(folder / BEGUN))) - names - {LOCK, BEGUN}:
        (folder / name).unlink()


def _written(folder: Path, begun: Mapping[str, Any] | None) -> Iterator[str]:
    """The files of a folder that have a name that `fetch` gives; without a record, no shards."""
    own = [LOCK, BEGUN] if begun is None else [LOCK, BEGUN, CLASSES, SKIPPED, CONTENTS]
    names = [re.escape(name) for name in own]
    if begun is not None:
        splits = "|".join(map(re.escape, begun.get("splits", ())))
        names.append(rf"(?:(?:{splits})-)?\d{{5,}}\.tar")
    final = "|".join(names)
    # The second is what a process that was killed calls a file that it writes.
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
