"""`kill -9` at random moments of an embedding, each time run again: the same content, nothing lost.

    python -m benchmarks.chaos                       # 50 rounds over 20 shards
    python -m benchmarks.chaos --rounds 5 --seed 1

A round is an empty store, one to three kills at moments drawn evenly over the time that a whole run
takes, and then a run to the end. Commands are forked from a process that has loaded torch already:
of one that starts from nothing the first seconds load libraries, and hardly a kill met any work.
"""

import argparse
import json
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np

from cpp_pipe.stages.sources.digits import write_digit_shards
from cpp_pipe.store import Artifact, Store
from cpp_pipe.store.kinds import EMBEDDINGS
from cpp_pipe.store.upkeep import verify

from .measure import machine

_PRELOADED = ("torch", "open_clip", "pyarrow.parquet", "cpp_pipe.pipeline.making.plan")
_UNDISTURBED = 3
_MOST_KILLS = 3
_PATIENCE_SECONDS = 300


def start(words: Sequence[str | Path], told: Path) -> ForkServerProcess:
    """A command in a process of its own, its libraries loaded; `told` gets what it prints."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    process = context.Process(target=_command, args=([str(word) for word in words], told))
    process.start()
    return process


def _command(words: Sequence[str], told: Path) -> None:
    with told.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from cpp_pipe.pipeline.commands.app import app

    app(words)


def finish(process: ForkServerProcess) -> int:
    """Waits for a command to end by itself; its exit code."""
    process.join(_PATIENCE_SECONDS)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"a command did not end within {_PATIENCE_SECONDS} seconds")
    return process.exitcode


@dataclass(frozen=True, kw_only=True)
class Round:
    """What came of one round."""

    kills: tuple[float, ...]
    """The seconds after which a command was killed; those that had ended before are left out."""
    parts_found: int
    """By the last run, which no one killed."""
    is_equal: bool
    """Whether the content is that of the undisturbed run, byte by byte on the disk too."""
    lost: int
    """Samples that are neither a row nor skipped."""


@dataclass(frozen=True, kw_only=True)
class Chaos:
    """Shards, what an undisturbed run makes of them, and how long it takes."""

    folder: Path
    content: str
    seconds: float
    samples: frozenset[tuple[str, str]]
    """Shard and key of all that is in the shards."""

    @classmethod
    def prepare(cls, folder: Path, shards: int) -> "Chaos":
        """Writes the shards, each with one picture that is broken, and runs undisturbed."""
        samples = set()
        for path in write_digit_shards(folder / "shards", shards):
            with tarfile.open(path, "a") as tar:
                tar.addfile(tarfile.TarInfo("broken.png"))
                names = tar.getnames()
            samples |= {(path.name, name.partition(".")[0]) for name in names}
        taken = []
        for number in range(_UNDISTURBED):
            began = time.monotonic()
            code = finish(_embed(folder, f"whole-{number}"))
            taken.append(time.monotonic() - began)
            assert code == 0, (folder / f"whole-{number}.txt").read_text()
        contents = {_artifact(folder, f"whole-{number}").content for number in range(_UNDISTURBED)}
        assert len(contents) == 1, "undisturbed runs differ from one another"
        return cls(
            folder=folder,
            content=contents.pop(),
            seconds=statistics.median(taken),
            samples=frozenset(samples),
        )

    def rounds(self, count: int, seed: int) -> Iterator[Round]:
        """Some rounds, each with moments of its own."""
        rng = np.random.default_rng(seed)
        for number in range(count):
            moments = rng.uniform(0, self.seconds, size=rng.integers(1, _MOST_KILLS + 1))
            yield self._round(f"round-{number}", moments.tolist())

    def _round(self, name: str, moments: Sequence[float]) -> Round:
        kills = []
        for moment in moments:
            process = _embed(self.folder, name)
            process.join(moment)
            process.kill()
            process.join()
            if process.exitcode:
                kills.append(moment)
        parts = len(list((self.folder / name).rglob("*.part.json")))
        if finish(_embed(self.folder, name)):
            return Round(kills=tuple(kills), parts_found=parts, is_equal=False, lost=0)
        made = _artifact(self.folder, name)
        return Round(
            kills=tuple(kills),
            parts_found=parts,
            is_equal=made.content == self.content and not list(verify(made)),
            lost=len(self.samples - _accounted(made)) + _uncounted(made),
        )


def _embed(folder: Path, name: str) -> ForkServerProcess:
    words = ["embed", "--model", "digits-clip", "--pretrained", "shipped", "--device", "cpu"]
    where = ["--shards", folder / "shards", "--store", folder / name]
    return start([*words, *where], folder / f"{name}.txt")


def _artifact(folder: Path, name: str) -> Artifact:
    store = Store(folder / name)
    return store.open(EMBEDDINGS, store.runs.read("default").versions["embeddings"])


def _accounted(made: Artifact) -> set[tuple[str, str]]:
    """Shard and key of every row and of everything that was skipped."""
    return {
        pair
        for role in ("rows", "skipped")
        for pair in zip(made.column("shard", role), made.column("key", role), strict=True)
    }


def _uncounted(made: Artifact) -> int:
    """By how much seen differs from embedded and skipped together, over all shards."""
    facts = [part.facts for part in made.parts]
    return sum(abs(one["seen"] - one["embedded"] - sum(one["skipped"].values())) for one in facts)


def main() -> None:
    """Prints a line a round and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    began = time.monotonic()
    mismatches = lost = kills = 0
    with tempfile.TemporaryDirectory(prefix="cpp-pipe-chaos-") as folder:
        chaos = Chaos.prepare(Path(folder), flags.shards)
        print(
            f"{len(chaos.samples)} samples in {flags.shards} shards, {chaos.seconds:.2f} s "
            f"undisturbed\n{machine()}\n\n{'round':>5} {'parts found':>11} {'equal':>6} "
            f"{'lost':>5}  killed after seconds",
            flush=True,
        )
        for number, one in enumerate(chaos.rounds(flags.rounds, flags.seed), 1):
            moments = ", ".join(f"{moment:.2f}" for moment in one.kills)
            is_equal = "yes" if one.is_equal else "NO"
            print(f"{number:>5} {one.parts_found:>11} {is_equal:>6} {one.lost:>5}  {moments}")
            mismatches += not one.is_equal
            lost += one.lost
            kills += len(one.kills)
    print(f"\n{kills} kills in {time.monotonic() - began:.0f} s")
    print(json.dumps({"rounds": flags.rounds, "mismatches": mismatches, "lost": lost}))


if __name__ == "__main__":
    main()
