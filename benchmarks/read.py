"""Reads all embeddings of a store, and one shuffled epoch, against np.load of the same bytes.

    python -m benchmarks.read                    # 1,000,000 x 768: 3 GB of disk and of memory
    python -m benchmarks.read --rows 100000

The artifact and the .npy file are made in a temporary folder, by the writer of `embed` and
`import`. All ways run in turn in one process, with files in the page cache. Times are medians after
one round to warm up.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cpp_pipe.stages.rows.artifact_rows import gather
from cpp_pipe.stages.rows.streamed_rows import shuffled_batches
from cpp_pipe.store import Artifact, Product, Recipe, Scratch, Store
from cpp_pipe.store.kinds import EMBEDDINGS

from .measure import argument_parser, machine, parse_arguments

THREADS = 2
BATCH = 1024
BUFFER_ROWS = 65_536
ROUNDS = 3


def unit_rows(rows: int, width: int, seed: int) -> np.ndarray:
    """Rows of random directions, float16."""
    x = np.random.default_rng(seed).standard_normal((rows, width), np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float16)


def make_part(scratch: Scratch, x: np.ndarray, part: str) -> Product:
    """Writes a part whose samples have a key and nothing else."""
    columns = {
        "key": [f"{part}-{row}" for row in range(len(x))],
        "shard": [part] * len(x),
        "extra": ["{}"] * len(x),
        "embedding": x,
    }
    scratch.write_table("rows", columns)
    scratch.write_table("skipped", [])
    facts = {"shard": part, "seen": len(x), "embedded": len(x), "skipped": {}}
    model = {"model": "planted", "pretrained": "none", "embedding_size": x.shape[1]}
    return Product(rows=len(x), facts=facts, shared={"model": model})


def make_files(folder: Path, rows: int, width: int, parts: int) -> tuple[Artifact, Path]:
    """An artifact of embeddings, and an .npy file of the same rows."""
    names = [f"part-{number:03d}" for number in range(parts)]
    recipe = Recipe(
        kind=EMBEDDINGS.name,
        format=EMBEDDINGS.format,
        stage="benchmark",
        revision=1,
        config={},
        parts={name: {"shard": name} for name in names},
    )
    draft = Store(folder / "store").draft(recipe)
    path = folder / "embeddings.npy"
    whole = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(rows, width))
    for number, name in enumerate(names):
        first, last = rows * number // parts, rows * (number + 1) // parts
        x = unit_rows(last - first, width, seed=number)
        whole[first:last] = x
        draft.make_part(name, lambda scratch, x=x, name=name: make_part(scratch, x, name))
    whole.flush()
    return draft.publish({}, {}), path


def epoch(artifact: Artifact) -> int:
    """Reads one shuffled epoch; its number of rows."""
    batches = shuffled_batches(
        artifact,
        batch=min(BATCH, artifact.rows),
        buffer_rows=max(BATCH, min(BUFFER_ROWS, artifact.rows // 4)),
        seed=0,
        epoch=0,
    )
    return sum(len(batch) for batch in batches)


def seconds_in_turn(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each way. Every round runs all ways, so that a slow minute hits all."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(ROUNDS + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if round_number:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(rounds) for name, rounds in seconds.items()}


def main() -> None:
    """Prints the table and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--parts", type=int, default=8)
    flags = parse_arguments(parser, rows=2000, width=32, parts=2)
    size = 2 * flags.rows * flags.width
    print(
        f"{flags.rows} x {flags.width} float16 in {flags.parts} parts, {size / 1e9:.2f} GB, "
        f"all files in the page cache\n{machine()}\n",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="cpp-pipe-read-") as folder:
        artifact, path = make_files(Path(folder), flags.rows, flags.width, flags.parts)
        if not np.array_equal(gather(artifact).view(np.uint16), np.load(path).view(np.uint16)):
            raise SystemExit("gather and np.load read different bytes")
        seconds = seconds_in_turn(
            {
                "np.load": lambda: np.load(path),
                f"gather, {THREADS} threads": lambda: gather(artifact, threads=THREADS),
                "shuffled epoch": lambda: epoch(artifact),
            }
        )
    print(f"{'way':>20} {'seconds':>9} {'GB/s':>7} {'share of np.load':>17}")
    load, gathered, shuffled = seconds.values()
    for way, taken in seconds.items():
        print(f"{way:>20} {taken:>9.3f} {size / taken / 1e9:>7.2f} {load / taken:>17.2f}")
    result = {
        "rows": flags.rows,
        "width": flags.width,
        "parts": flags.parts,
        "threads": THREADS,
        "np_load_seconds": round(load, 4),
        "gather_seconds": round(gathered, 4),
        "epoch_seconds": round(shuffled, 4),
        "gather_share_of_np_load": round(load / gathered, 3),
        "epoch_share_of_np_load": round(load / shuffled, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
