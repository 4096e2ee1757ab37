"""A small run of digits with clusters and captions, and readers of tars."""

import io
import tarfile
from pathlib import Path

from cpp_pipe.store import Artifact, Store
from cpp_pipe.store.kinds import KINDS

from ..cli import SMALL, embed, succeed


def artifact(store: Path, slot: str, run: str = "default") -> Artifact:
    """The artifact in a slot of a run."""
    opened = Store(store)
    return opened.open(KINDS[slot], opened.runs.read(run).versions[slot])


def make_run(store: Path, shards: Path) -> Path:
    """Embeds, trains, assigns and captions; returns the store."""
    embed(store, shards)
    succeed(store, "train", *SMALL)
    succeed(store, "assign", "--k", "5")
    succeed(store, "caption", "--vocabulary", "digits-words.txt")
    return store


def members(*shards: Path) -> dict[str, bytes]:
    """The members of shards by name; no name may come twice."""
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
    """The fields of the header of every member."""
    found = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                owner = (member.uid, member.gid, member.uname, member.gname)
                fields = (member.size, member.mode, member.mtime, *owner, member.type)
                found[member.name] = (*fields, dict(member.pax_headers))
    return found


def rows_by_key(store: Path, run: str = "default") -> dict[str, dict]:
    """The rows of the embeddings by key, without the columns of their places."""
    embeddings = artifact(store, "embeddings", run)
    rows = {}
    for part in embeddings.parts:
        for row in embeddings.table(part.name).to_pylist():
            rows[row["key"]] = {
                name: value for name, value in row.items() if name not in ("shard", "offset", "key")
            }
    return rows


def plain_tar(path: Path, content: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    """A tar of members, each with a time of its own and an owner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for number, (name, data) in enumerate(content.items()):
            header = tarfile.TarInfo(name)
            header.size, header.mtime, header.uid, header.uname = len(data), 1000 + number, 7, "me"
            header.mode = 0o640
            tar.addfile(header, io.BytesIO(data))
    return path
