"""Arguments of benchmarks, time and peak memory of a piece of work, and the machine it runs on."""

import argparse
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def argument_parser(document: str | None) -> argparse.ArgumentParser:
    """A parser whose help begins with the first line of a benchmark's docstring."""
    return argparse.ArgumentParser(description=(document or "").partition("\n")[0])


def parse_arguments(parser: argparse.ArgumentParser, **tiny: Any) -> argparse.Namespace:
    """The arguments of the command line; `--tiny` replaces defaults by those of `tiny`."""
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to see that it runs")
    if parser.parse_known_args()[0].tiny:
        parser.set_defaults(**tiny)
    return parser.parse_args()


def seconds_of(work: Callable[[], Any], *, repeats: int) -> float:
    """Median seconds of a piece of work, after one round to warm up."""
    work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def peak_bytes_of(work: Callable[..., Any], *arguments: Any) -> int:
    """Peak memory of a piece of work in its own process, beyond what its inputs take.

    `work(*arguments)` loads libraries, makes the inputs, and returns the function that is measured.
    `work` must be a function of a module, so that the process can import it.
    """
    return _in_own_process(_measure, work, arguments)


def result_and_peak(work: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """The result of a piece of work in its own process, and the peak memory of that process.

    Imports count too. `work` must be a function of a module.
    """
    return _in_own_process(_run, work, arguments)


def _in_own_process(task: Callable[..., None], *arguments: Any) -> Any:
    # Its server loads nothing, and can be told to load libraries where memory does not matter.
    context = multiprocessing.get_context("forkserver")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=task, args=(send, *arguments))
    process.start()
    send.close()  # else recv would wait forever for a process that died
    result = receive.recv()
    process.join()
    return result


def _measure(send: Any, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
    prepared = work(*arguments)
    _forget_peak()
    before = _status_bytes("VmRSS")
    prepared()
    send.send(max(0, peak_so_far() - before))


def _run(send: Any, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
    _forget_peak()
    result = work(*arguments)
    send.send((result, peak_so_far()))


def peak_so_far() -> int:
    """Peak memory of this process in bytes, since `_forget_peak`."""
    return _status_bytes("VmHWM")


def _forget_peak() -> None:
    """Resets the peak, which a process inherits from its parent."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    kibibytes = next(line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(kibibytes) * 1024


def machine() -> str:
    """The machine in one line: processor, cores, threads, GPU, Python and torch."""
    # Not at the top: processes whose memory is measured import this module.
    import torch

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return (
        f"{processor}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {device}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
