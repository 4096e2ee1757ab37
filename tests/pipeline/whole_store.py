"""A store with an artifact of nearly every kind, and copies that a test damages or forges."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from cpp_pipe.store.digest import digest_file, digest_json

from ..store.stores import rewrite
from .cli import DIGITS, succeed

MODEL = {"model": [DIGITS[1]], "pretrained": [DIGITS[3]]}


def make_whole_store(folder: Path, shards: Path) -> Path:
    """Runs every step over shards of digits, as the run `default`."""
    words = ("--shards", shards, *DIGITS, "--run", "default", "--vocabulary", "digits-words.txt")
    succeed(folder, "run", *words)
    for words in (("hierarchy",), ("duplicates", "--above", "0.9"), ("map", "--method", "pca"),
                  ("index",), ("index", "--space", "embeddings")):  # fmt: skip
        succeed(folder, *words)
    return folder


def copy_of(store: Path, folder: Path) -> Path:
    """A copy of a store in another folder, whose files are hard links: see `unlinked`."""
    return shutil.copytree(store, folder / "artifacts", copy_function=os.link, symlinks=True)


def unlinked(path: Path) -> Path:
    """The same file, no longer a hard link, so that it can be changed."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    return path


def update_digests(
    store: Path, folder: Path, part: str, role: str, path: Path, before: str
) -> None:
    """Makes all manifests and records of parts fit a changed file."""

    def change(manifest: dict[str, Any]) -> None:
        (record,) = (entry for entry in manifest["parts"] if entry["name"] == part)
        file = record["files"][role]
        file |= {"sha256": digest_file(path), "bytes": path.stat().st_size}
        digests = {name: file["sha256"] for name, file in record["files"].items()}
        record["content"] = digest_json(digests)
        parts = {entry["name"]: entry["content"] for entry in manifest["parts"]}
        manifest["content"] = digest_json(parts)

    rewrite(unlinked(folder / "manifest.json"), change)
    manifest = json.loads((folder / "manifest.json").read_text())
    small = folder / "parts" / f"{part}.part.json"
    (record,) = (entry for entry in manifest["parts"] if entry["name"] == part)
    unlinked(small).write_text(json.dumps(record))
    for other in store.glob("*/*/manifest.json"):
        text = other.read_text()
        if before in text:
            unlinked(other).write_text(text.replace(before, manifest["content"]))
            rewrite(other, lambda value: None)
