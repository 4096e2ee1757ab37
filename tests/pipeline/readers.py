"""Commands and requests that read a whole store, for tests that forge or damage its files."""

import traceback
from collections.abc import Mapping
from pathlib import Path

from .cli import call
from .serve.server import serve

READERS: Mapping[str, tuple[str, ...]] = {
    "status": ("status",),
    "search": ("search", "--key", "KEY", "--json"),
    "report": ("report", "--no-pictures", "--out", "OUT.html"),
    "export": ("export", "parquet", "--out", "OUT.parquet"),
    "clusters": ("clusters", "--json"),
    "lineage": ("lineage", "captions"),
    "skipped": ("skipped",),
    "verify": ("verify",),
}
"""Commands that read a store; KEY and OUT stand for a key and a new file."""

FIRST_ANSWERS = (
    "/api/run", "/api/state", "/api/clusters", "/api/clusters/0", "/api/images/0", "/api/map",
    "/api/map/points", "/api/tree", "/api/edits",
)  # fmt: skip
"""Paths of the server."""


def read_by(
    reader: str,
    store: Path,
    key: str,
    readers: Mapping[str, tuple[str, ...]] = READERS,
    *,
    must_work: bool = False,
) -> str:
    """The error of a reader of a store; empty if the reader answers or refuses in one line."""
    out = str(store.parent / "out")
    words = [word.replace("KEY", key).replace("OUT", out) for word in readers[reader]]
    try:
        done = call(store, *words)
    except Exception as error:  # noqa: BLE001
        return "".join(traceback.format_exception(error)[-3:])
    lines = [line for line in done.err.splitlines() if line.startswith("cpp-pipe: ")]
    is_named = done.code == 2 and len(lines) == 1 and "Traceback" not in done.err
    if must_work:
        return "" if done.code == 0 else done.err
    return "" if done.code == 0 or is_named or (reader, done.code) == ("verify", 1) else done.err


def answers_of(store: Path) -> str:
    """The errors of a server's first answers; empty if there are none."""
    try:
        with serve(store) as server:
            answers = {path: server.get(path) for path in FIRST_ANSWERS}
    except Exception as error:  # noqa: BLE001
        is_named = type(error).__module__.startswith("cpp_pipe.")
        return "" if is_named else "".join(traceback.format_exception(error)[-3:])
    wrong = {path: answer.text for path, answer in answers.items() if answer.status_code == 500}
    return str(wrong) if wrong else ""
