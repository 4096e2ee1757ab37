"""Runs commands in this process, as a person would type them."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from cpp_pipe import Run
from cpp_pipe.pipeline.commands.app import app
from cpp_pipe.store import Artifact, Store
from cpp_pipe.store.kinds import KINDS
from cpp_pipe.store.upkeep import verify

SMALL = (
    "--set", "train.hidden=32", "--set", "train.features=16",
    "--set", "train.batch=64", "--set", "train.epochs=2",
)  # fmt: skip
"""Settings that make a training short."""

DIGITS = ("--model", "digits-clip", "--pretrained", "shipped")


@dataclass(frozen=True)
class Outcome:
    """The output of a command and its exit code."""

    code: int
    out: str
    err: str


def call(store: Path | str | None, *arguments: str | Path) -> Outcome:
    """Runs one command, on a store unless that is None; raises bugs.

    Unless COLUMNS is set, it prints lines so wide that no sentence is broken.
    """
    words = [str(argument) for argument in arguments]
    flags = [] if store is None else ["--store", str(store)]
    columns = os.environ.get("COLUMNS", "1000")
    result = CliRunner(env={"COLUMNS": columns}).invoke(app, [*words, *flags])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def succeed(store: Path | str, *arguments: str | Path) -> Outcome:
    """Runs a command that must work."""
    done = call(store, *arguments)
    assert done.code == 0, f"{arguments}: {done.err or done.out}"
    return done


def fail(store: Path | str, *arguments: str | Path) -> str:
    """Runs a command that must fail with exit code 2; returns its one line of error."""
    done = call(store, *arguments)
    assert done.code == 2, f"{arguments} ended with {done.code}: {done.out} {done.err}"
    lines = [line for line in done.err.splitlines() if line.startswith("cpp-pipe: ")]
    assert len(lines) == 1, done.err
    return lines[0]


def open_whole(store: Path, slot: str = "embeddings") -> Artifact:
    """The artifact in a slot of the default run, verified byte by byte."""
    opened = Store(store)
    artifact = opened.open(KINDS[slot], opened.runs.read("default").versions[slot])
    assert list(verify(artifact)) == []
    return artifact


def body(out: str) -> list[str]:
    """The lines that a command prints before its result and the next command."""
    lines = out.splitlines()
    ends = (number for number, line in enumerate(lines) if line.startswith(("result: ", "next: ")))
    return lines[: next(ends, len(lines))]


def embed(store: Path | str, *shards: str | Path, more: Sequence[str] = ()) -> Outcome:
    """Embeds shards with the small CLIP."""
    named = [word for shard in shards for word in ("--shards", str(shard))]
    return succeed(store, "embed", *named, *DIGITS, *more)


def hits_of(store: Path, *words: str | Path) -> list[dict]:
    """The hits of a search."""
    return json.loads(succeed(store, "search", *words, "--json").out)


def contents(store: Path | str) -> dict[str, str]:
    """The content digest in each slot of the default run."""
    run = Run.open(store)
    return {slot: run.artifact(slot).content for slot in run.record.versions}
