"""Digests of files by their bytes, and of values by their canonical JSON."""

import hashlib
import json
from pathlib import Path
from typing import Any

from .files import naming


def digest_json(value: Any) -> str:
    """SHA-256, in hex, of a JSON value; ignores the order of keys, refuses NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256, in hex, of a file's bytes."""
    with naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
