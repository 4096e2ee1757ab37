"""A small run of digits with clusters and captions, and what reads tars back."""

import io
import tarfile
from pathlib import Path

from cpp_pipe.store import Artifact, Store
from cpp_pipe.store.kinds import KINDS

from ..cli import SMALL, embed, succeed


def artifact(store: Path, slot: str, run: str = "default") -> Artifact:
    """What a run refers to in a slot."""
    opened = Store(store)
    return opened.open(KINDS[slot], opened.runs.read(run).versions[slot])


def walk(store: Path, shards: Path) -> Path:
    """Embeds, trains, assigns and captions."""
    embed(store, shards)
    succeed(store, "train", *SMALL)
    succeed(store, "assign", "--k", "5")
    succeed(store, "caption", "--vocabulary", "digits-words.txt")
    return store


def members(*shards: Path) -> dict[str, bytes]:
    """Every member of some shards by its name; no name stands twice."""
    found: dict[str, bytes] = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for header in tar:
                assert header.name not in found, header.name
                file = tar.extractfile(header)
                assert file is not None
                found[header.name] = file.read()
    return found


def headers(*shards: Path) -> dict[str, tuple]:
    """What stands in the header of every member."""
    found = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for one in tar:
                told = (one.size, one.mode, one.mtime, one.uid, one.gid, one.uname, one.gname)
                found[one.name] = (*told, one.type, dict(one.pax_headers))
    return found


def rows_by_key(store: Path, run: str = "default") -> dict[str, dict]:
    """Every row of the embeddings by its key, but for where it lies."""
    embeddings = artifact(store, "embeddings", run)
    rows = {}
    for part in embeddings.parts:
        for row in embeddings.table(part.name).to_pylist():
            rows[row["key"]] = {
                name: one for name, one in row.items() if name not in ("shard", "offset", "key")
            }
    return rows


def plain_tar(path: Path, content: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    """A tar of some members, with times and owners of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for number, (name, one) in enumerate(content.items()):
            header = tarfile.TarInfo(name)
            header.size, header.mtime, header.uid, header.uname = len(one), 1000 + number, 7, "me"
            header.mode = 0o640
            tar.addfile(header, io.BytesIO(one))
    return path
