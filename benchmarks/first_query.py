"""The first query by an image from the shell: seconds until its hits are printed.

    python -m benchmarks.first_query               # 1,000 rows, mnv2-clip if it is there
    python -m benchmarks.first_query --repeats 3

A store of digits is embedded, refined, clustered and indexed; then `cpp-pipe search --query` runs
again and again in new processes with a warm cache of files: alone, then beside a `cpp-pipe serve`
of the same run, whose model it uses. Beside stands `import torch`, which a search that works alone
cannot avoid. Medians; both searches must print the same hits.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .embed import MOBILE
from .measure import argument_parser, machine, parse_arguments

MODEL = MOBILE / MOBILE.name
MOST_SECONDS = 2.5


def cpp_pipe(*words: str | Path) -> list[str]:
    """A command line of cpp-pipe in a new process."""
    return [sys.executable, "-m", "cpp_pipe", *map(str, words)]


def make_store(folder: Path, rows: int) -> Path:
    """A store of digits with features, clusters and an index; beside it lies an image."""
    from cpp_pipe.stages.sources.digits import digit_halves, digit_image

    numbers = [int(number) for half in digit_halves() for number in half]
    images = folder / "images"
    images.mkdir()
    for number in numbers[:rows]:
        digit_image(number).save(images / f"{number:04d}.png")
    digit_image(numbers[-1]).save(folder / "query.png")
    model: Sequence[str | Path] = ("--model", "digits-clip", "--pretrained", "shipped")
    if MODEL.with_suffix(".json").is_file():
        weights = ("--pretrained", MODEL.with_suffix(".safetensors"))
        model = ("--model", MODEL.name, "--model-config", MODEL.with_suffix(".json"), *weights)
    store = folder / "store"
    steps: Sequence[Sequence[str | Path]] = (
        ("embed", "--images", images, *model),
        ("train",),
        ("assign", "--k", "10"),
        ("index",),
    )
    for step in steps:
        subprocess.run(cpp_pipe(*step, "--store", store), check=True, capture_output=True)
    return store


def seconds_of_runs(
    command: Sequence[str], repeats: int, env: Mapping[str, str]
) -> tuple[float, str]:
    """Median seconds of a command, after one run to warm up, and what it prints."""
    seconds, printed = [], ""
    for _ in range(repeats + 1):
        began = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
        if done.returncode:
            raise SystemExit(done.stderr)
        seconds.append(time.perf_counter() - began)
        printed = done.stdout
    return statistics.median(seconds[1:]), printed


def loads_torch(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a command of Python loads torch, as one without a server's model has to."""
    watched = [command[0], "-X", "importtime", *command[1:]]
    done = subprocess.run(watched, check=True, capture_output=True, text=True, env=env)
    return any(line.rpartition("|")[2].strip() == "torch" for line in done.stderr.splitlines())


@contextlib.contextmanager
def serving(store: Path, env: Mapping[str, str]) -> Iterator[None]:
    """A server over a store, once it answers, until the end of the block."""
    command = cpp_pipe("serve", "--port", "0", "--no-make", "--store", store)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    )
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise SystemExit("the server did not start")
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


def main() -> None:
    """Prints a table, and one JSON line last."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parse_arguments(parser, rows=40, repeats=1)
    with tempfile.TemporaryDirectory(prefix="first-") as folder:
        env = {**os.environ, "XDG_RUNTIME_DIR": folder}
        store = make_store(Path(folder), arguments.rows)
        search = cpp_pipe("search", "--query", Path(folder) / "query.png", "--json")
        search = [*search, "--store", str(store)]
        torch, _ = seconds_of_runs([sys.executable, "-c", "import torch"], arguments.repeats, env)
        alone, hits = seconds_of_runs([*search, "--no-server"], arguments.repeats, env)
        with serving(store, env):
            beside, same_hits = seconds_of_runs(search, arguments.repeats, env)
            if loads_torch(search, env):
                raise SystemExit("the search did not use the server")
    if hits != same_hits:
        raise SystemExit("the hits differ")
    print(machine())
    rows = (("import torch", torch), ("search alone", alone), ("search beside serve", beside))
    print(f"\n{'':<22}{'seconds':>8}")
    for name, seconds in rows:
        print(f"{name:<22}{seconds:>8.2f}")
    report: dict[str, Any] = {
        "alone_s": round(alone, 3),
        "beside_serve_s": round(beside, 3),
        "torch_s": round(torch, 3),
        "bar_s": MOST_SECONDS,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
