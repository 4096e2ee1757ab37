"""Images per second of `cpp-pipe embed`, against the limit of the machine and a plain loop.

    python -m benchmarks.embed                                    # 20 shards of 256 px, mnv2-clip
    python -m benchmarks.embed --images 64 --shards 1,3 --workers 1      # a minute
    python -m benchmarks.embed --model ViT-B-32 --sizes 256,512
    python -m benchmarks.embed --sizes 2000 --images 60 --scaled-jpeg
    python -m benchmarks.embed --clip-retrieval rival/bin/python
    python -m benchmarks.embed --model ViT-B-32 --precision bf16      # a GPU, or a CPU with AMX
    python -m benchmarks.embed --model ViT-L-14 --precision bf16 --batch 256     # wants a GPU

Shards hold made photographs: gradients, shapes and noise, with the file size of photographs. Every
way runs in its own process and is timed after the model is loaded, with files in the page cache.
The limit on a CPU: the seconds in which one thread alone reads, decodes and encodes an image,
divided by the cores; on a GPU: the slower of the encoder alone and of all cores decoding. The busy
limit is measured with one thread per core at once, which share caches and memory bandwidth. The
loop is what people write: webdataset, a DataLoader, open_clip. With `--clip-retrieval PYTHON`, the
interpreter of an environment with that package, its own inference runs beside them. CPU seconds
leave out the time of other programs, for a machine that is not quiet.
"""

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .embed_ways import Bench, clip_retrieval, command, loop, random_weights
from .made_photographs import write_shards
from .measure import argument_parser, machine, parse_arguments, result_and_peak

MOBILE = Path(__file__).resolve().parents[2] / "shared" / "models" / "mnv2-clip"
"""A small real model, if it is there."""
PIECES = 64
"""Images on which single steps are timed."""
SPENT = ("read", "decode", "encode", "write")
IN_FLIGHT = 4
"""Batches queued on a GPU, so that it never waits for the next."""


def steps(bench: Bench, path: Path, at_once: int) -> dict[str, float]:
    """CPU seconds per image and thread of each step, with `at_once` threads working at once.

    Decoding is also timed for whole JPEGs, because the command may decode them at a fraction;
    encoding is also timed by the batches of the command, because a core takes smaller ones. On a
    GPU, encoding is in seconds.
    """
    import torch

    from cpp_pipe.pipeline.making.memory import keep_freed_memory
    from cpp_pipe.stages.encoding.embedder import BATCH_OF_A_CORE
    from cpp_pipe.stages.sources.images.pixels import decode
    from cpp_pipe.stages.sources.tar.shards import open_tar

    keep_freed_memory()
    torch.set_num_threads(1)
    encoder, is_cpu = bench.load(), bench.device == "cpu"
    with open_tar(path, None) as opened:
        encoded = [sample.read_image() for sample in opened.samples][:PIECES]

    def read() -> int:
        with open_tar(path, None) as opened:
            for sample in opened.samples:
                sample.read_image()
                sample.fields()
            opened.sha256()
            return len(opened.samples)

    def decode_all(at_least: int | None) -> int:
        for image in encoded:
            encoder.preprocess(decode(image, at_least=at_least).rgb)
        return len(encoded)

    seconds = {
        "read": thread_seconds(read, at_once),
        "decode": thread_seconds(partial(decode_all, encoder.at_least), at_once),
        "decode_whole": thread_seconds(partial(decode_all, None), at_once),
    }
    images = [decode(image, at_least=encoder.at_least).rgb for image in encoded]
    pixels = torch.stack([encoder.preprocess(image) for image in images])
    # Like in the command: channels last.
    ready = pixels.to(encoder.device).permute(0, 3, 1, 2).float().div_(255)

    def encode(size: int) -> float:
        batch = ready.repeat(-(-size // len(ready)), 1, 1, 1)[:size]
        if not is_cpu:
            return seconds_on_device(encoder, batch, bench.encoding_seconds)
        return thread_seconds(lambda: len(encoder.images(batch)), at_once, bench.encoding_seconds)

    sizes = {bench.batch, BATCH_OF_A_CORE} if is_cpu else {bench.batch}
    by_size = {f"encode by {size}": encode(size) for size in sorted(sizes)}
    return {**seconds, **by_size, "encode": min(by_size.values())}


def thread_seconds(step: Callable[[], int], at_once: int, at_least: float = 0.5) -> float:
    """CPU seconds per image of a step that `at_once` threads repeat at the same time.

    `step` returns its number of images. The first step of each thread does not count.
    """
    start = threading.Barrier(at_once)

    def repeat(_: int) -> float:
        step()
        start.wait()
        images, began, cpu_began = 0, time.perf_counter(), time.thread_time()
        while time.perf_counter() - began < at_least:
            images += step()
        return (time.thread_time() - cpu_began) / images

    with ThreadPoolExecutor(at_once) as pool:
        return sum(pool.map(repeat, range(at_once))) / at_once


def seconds_on_device(encoder: Any, ready: Any, at_least: float) -> float:
    """Seconds per image of the encoder alone on a GPU, on ready tensors."""
    encoder.images(ready)
    batches, began = 0, time.perf_counter()
    while (seconds := time.perf_counter() - began) < at_least:
        for wait in [encoder.launch(ready) for _ in range(IN_FLIGHT)]:
            wait()
        batches += IN_FLIGHT
    return seconds / batches / len(ready)


HEADER = f"{'way':>24} {'images/s':>9} {'of limit':>9} {'MiB':>6} {'CPU ms':>7} {'bare/CPU':>8}"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What the machine can do at most."""

    per_second: float
    cpu_seconds: float
    """CPU seconds that an image needs."""

    def row(self, way: str, measured: dict[str, Any], peak: int) -> str:
        """A line under the header, with shares of time by step if they are known."""
        rate, used = measured["per_second"], measured["cpu_seconds"]
        spent = {name: measured.get("spent", {}).get(name, 0.0) for name in SPENT}
        total = sum(spent.values())
        shares = [f"{name} {seconds / total:.1%}" for name, seconds in spent.items() if total]
        return (
            f"{way:>24} {rate:>9.1f} {rate / self.per_second:>9.3f} {peak >> 20:>6}"
            f" {used * 1e3:>7.2f} {self.cpu_seconds / used:>8.3f}  {', '.join(shares)}"
        )


def limit_of(bench: Bench, seconds: Mapping[str, float], cores: int) -> Limit:
    """The limit by the seconds of single steps."""
    cpu = seconds["read"] + seconds["decode"]
    if bench.device == "cpu":
        cpu += seconds["encode"]
        return Limit(per_second=cores / cpu, cpu_seconds=cpu)
    rate = min(1 / seconds["encode"], cores / seconds["decode"])
    return Limit(per_second=rate, cpu_seconds=cpu)


def measure(bench: Bench, side: int, flags: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All ways on photographs of one size."""
    import torch

    counts = [int(count) for count in flags.shards.split(",")]
    paths = write_shards(folder / str(side), side, max(counts), flags.images)
    size, cores = paths[0].stat().st_size, torch.get_num_threads()
    print(f"\n{side} px, {len(paths)} shards of {flags.images}, {size / 2**20:.1f} MiB each")
    alone, _ = result_and_peak(steps, bench, paths[0], 1)
    busy, _ = result_and_peak(steps, bench, paths[0], cores)
    for name, seconds in alone.items():
        also = f", {busy[name] * 1e3:.2f} with all cores busy"
        print(f"{name:>24} {seconds * 1e3:>9.2f} ms per image by one thread alone{also}")
    limit, of_busy = limit_of(bench, alone, cores), limit_of(bench, busy, cores)
    print(f"{'limit':>24} {limit.per_second:>9.1f} images/s, {cores} core(s)")
    print(f"{'busy limit':>24} {of_busy.per_second:>9.1f} images/s\n{HEADER}", flush=True)
    ours: dict[tuple[int, int], dict[str, Any]] = {}
    for workers in map(int, flags.workers.split(",")):
        for count in counts:
            measured, _ = result_and_peak(command, bench, paths[:count], workers)
            ours[workers, count] = measured
            row = limit.row(f"embed, {workers} by {count}", measured, measured["peak_bytes"])
            print(row, flush=True)
    loops = []
    for workers in map(int, flags.loop_workers.split(",")):
        measured, peak = result_and_peak(loop, bench, paths, workers)
        loops.append(measured["per_second"])
        print(limit.row(f"loop, {workers}", measured, peak), flush=True)
    beside = {}
    if flags.clip_retrieval is not None:
        rival, _ = result_and_peak(clip_retrieval, bench, paths, flags.clip_retrieval)
        print(limit.row("clip-retrieval", rival, rival["peak_bytes"]), flush=True)
        beside = {"clip_retrieval_per_second": round(rival["per_second"], 2)}
    on_all = [measured for (_, count), measured in ours.items() if count == max(counts)]
    best = max(on_all, key=lambda measured: measured["per_second"])
    return {
        "side": side,
        "limit_per_second": round(limit.per_second, 2),
        "busy_limit_per_second": round(of_busy.per_second, 2),
        "per_second": round(best["per_second"], 2),
        "loop_per_second": round(max(loops), 2),
        "efficiency": round(best["per_second"] / limit.per_second, 3),
        "of_busy_limit": round(best["per_second"] / of_busy.per_second, 3),
        "vs_loop": round(best["per_second"] / max(loops), 3),
        **beside,
        "rss_mib": {f"{w} by {n}": way["peak_bytes"] >> 20 for (w, n), way in ours.items()},
        "alone_ms": {name: round(seconds * 1e3, 3) for name, seconds in alone.items()},
        "busy_ms": {name: round(seconds * 1e3, 3) for name, seconds in busy.items()},
    }


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    import torch

    parser = argument_parser(__doc__)
    parser.add_argument("--model", help="of open_clip; by default mnv2-clip if it is there")
    parser.add_argument("--model-config", type=Path, help="of a local model, with --pretrained")
    parser.add_argument("--pretrained", type=Path, help="a local file; by default random weights")
    parser.add_argument("--sizes", default="256", help="longer sides in pixels, such as 256,512")
    parser.add_argument("--images", type=int, default=250, help="in each shard")
    parser.add_argument("--shards", default="1,20", help="numbers of shards: is memory flat?")
    parser.add_argument("--workers", default="1,2", help="of the command")
    parser.add_argument("--loop-workers", default="0,2", help="of the DataLoader")
    parser.add_argument("--clip-retrieval", type=Path, help="the Python of its environment")
    parser.add_argument("--batch", type=int, default=64)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=device)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--scaled-jpeg", action="store_true")
    tiny = {"images": 8, "shards": "1", "workers": "1", "loop_workers": "0", "batch": 8}
    return parse_arguments(parser, **tiny)


def main() -> None:
    """Prints the tables and the JSON line."""
    flags = arguments()
    with tempfile.TemporaryDirectory(prefix="cpp-pipe-embed-") as name:
        folder = Path(name)
        config, weights = flags.model_config, flags.pretrained
        if flags.model is None and config is None and MOBILE.is_dir():
            config = MOBILE / f"{MOBILE.name}.json"
            weights = weights or config.with_suffix(".safetensors")
        model = config.stem if config else flags.model or "ViT-B-32"
        files = {"weights": weights or random_weights(model, folder)}
        settings: dict[str, Any] = {"scaled_jpeg": True} if flags.scaled_jpeg else {}
        bench = Bench(
            model=model,
            files={**files, "model_config": config} if config else files,
            device=flags.device,
            batch=flags.batch,
            encoding_seconds=0.1 if flags.tiny else 3.0,
            settings={**settings, "precision": "bf16"} if flags.precision != "fp32" else settings,
        )
        print(f"{model}, {flags.precision}, batches of {flags.batch}, {flags.device}\n{machine()}")
        runs = [measure(bench, int(side), flags, folder) for side in flags.sizes.split(",")]
    line = {
        "efficiency": min(run["efficiency"] for run in runs),
        "of_busy_limit": min(run["of_busy_limit"] for run in runs),
        "vs_loop": min(run["vs_loop"] for run in runs),
        "rss_mib": max(max(run["rss_mib"].values()) for run in runs),
        "model": model,
        "runs": runs,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
