"""`embed` under `kill -9` at random moments, run again each time: same content, nothing lost.

    python -m benchmarks.chaos                       # 50 rounds over 20 shards
    python -m benchmarks.chaos --rounds 5 --seed 1

A round starts with an empty store, kills one to three runs at random moments within the time of a
whole run, and then runs to the end. Commands are forked from a process that has loaded torch: else
they would load libraries for seconds, and few kills would interrupt any work.
"""

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

from .measure import argument_parser, machine, parse_arguments

PRELOADED = ("torch", "open_clip", "pyarrow.parquet", "cpp_pipe.pipeline.making.plan")
"""Libraries that commands need not load."""

_UNDISTURBED = 3
_MOST_KILLS = 3
_PATIENCE_SECONDS = 300


def start(words: Sequence[str | Path], log: Path) -> ForkServerProcess:
    """Starts a command in its own process, with libraries loaded; its output goes to `log`."""
    process = get_context("forkserver").Process(
        target=_command, args=([str(word) for word in words], log)
    )
    process.start()
    return process


def _command(words: Sequence[str], log: Path) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from cpp_pipe.pipeline.commands.app import app

    app(words)


def finish(process: ForkServerProcess) -> int:
    """Waits for a command to end; its exit code."""
    process.join(_PATIENCE_SECONDS)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"a command did not end within {_PATIENCE_SECONDS} seconds")
    return process.exitcode


@dataclass(frozen=True, kw_only=True)
class Round:
    """The outcome of one round."""

    kills: tuple[float, ...]
    """Seconds before each kill; kills of commands that had ended are left out."""
    parts_found: int
    """Parts that the last, undisturbed run found."""
    is_equal: bool
    """Whether the content equals that of an undisturbed run, and the files match their digests."""
    lost: int
    """Samples that are neither embedded nor skipped."""


@dataclass(frozen=True, kw_only=True)
class Chaos:
    """Shards, and content and seconds of an undisturbed run over them."""

    folder: Path
    content: str
    seconds: float
    samples: frozenset[tuple[str, str]]
    """Shard and key of every sample in the shards."""

    @classmethod
    def prepare(cls, folder: Path, shards: int) -> "Chaos":
        """Writes shards with one broken image each, and runs undisturbed."""
        get_context("forkserver").set_forkserver_preload(list(PRELOADED))
        samples = set()
        for path in write_digit_shards(folder / "shards", shards):
            with tarfile.open(path, "a") as tar:
                tar.addfile(tarfile.TarInfo("broken.png"))
                names = tar.getnames()
            samples |= {(path.name, name.partition(".")[0]) for name in names}
        seconds = []
        for number in range(_UNDISTURBED):
            began = time.monotonic()
            code = finish(_embed(folder, f"whole-{number}"))
            seconds.append(time.monotonic() - began)
            assert code == 0, (folder / f"whole-{number}.txt").read_text()
        contents = {_artifact(folder, f"whole-{number}").content for number in range(_UNDISTURBED)}
        assert len(contents) == 1, "undisturbed runs differ from one another"
        return cls(
            folder=folder,
            content=contents.pop(),
            seconds=statistics.median(seconds),
            samples=frozenset(samples),
        )

    def rounds(self, count: int, seed: int) -> Iterator[Round]:
        """Rounds with random moments."""
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
    """Shard and key of every embedded and every skipped sample."""
    return {
        pair
        for role in ("rows", "skipped")
        for pair in zip(made.column("shard", role), made.column("key", role), strict=True)
    }


def _uncounted(made: Artifact) -> int:
    """The difference of seen and embedded + skipped, summed over shards."""
    facts = [part.facts for part in made.parts]
    return sum(
        abs(part["seen"] - part["embedded"] - sum(part["skipped"].values())) for part in facts
    )


def main() -> None:
    """Prints a line for each round, and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    flags = parse_arguments(parser, rounds=1, shards=3)
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
        for number, outcome in enumerate(chaos.rounds(flags.rounds, flags.seed), 1):
            moments = ", ".join(f"{moment:.2f}" for moment in outcome.kills)
            is_equal = "yes" if outcome.is_equal else "NO"
            print(
                f"{number:>5} {outcome.parts_found:>11} {is_equal:>6} {outcome.lost:>5}  {moments}"
            )
            mismatches += not outcome.is_equal
            lost += outcome.lost
            kills += len(outcome.kills)
    print(f"\n{kills} kills in {time.monotonic() - began:.0f} s")
    print(json.dumps({"rounds": flags.rounds, "mismatches": mismatches, "lost": lost}))


if __name__ == "__main__":
    main()
