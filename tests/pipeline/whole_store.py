"""A store with an artifact of nearly every kind, for tests that damage it or ask it odd things."""

import os
import shutil
from pathlib import Path

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
    """A store with the same files, which are links, in another folder."""
    return shutil.copytree(store, folder / "artifacts", copy_function=os.link, symlinks=True)
