"""Time and peak memory of a piece of work, and what machine it ran on."""

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def seconds_of(work: Callable[[], Any], *, repeats: int) -> float:
    """Median of the seconds that a piece of work takes, after one round to warm up."""
    work()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def peak_bytes_of(work: Callable[..., Any], *arguments: Any) -> int:
    """Bytes that a process of its own holds at most while it does a piece of work.

    What it holds after the work's imports, before the work itself, does not count. `work` is a
    function of a module, so that the process can find it; its first call is `work(*arguments)`.
    """
    return _in_own_process(_measure, work, arguments)


def result_and_peak(work: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """What a piece of work returns in a process of its own, and the bytes that it holds at most.

    What it holds after the work's imports counts too. `work` is a function of a module.
    """
    return _in_own_process(_run, work, arguments)


def _in_own_process(task: Callable[..., None], *arguments: Any) -> Any:
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=task, args=(send, *arguments))
    process.start()
    send.close()  # else a process that dies would be waited for
    told = receive.recv()
    process.join()
    return told


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
    """Bytes that this process has held at most, since it was last made to forget its peak."""
    return _status_bytes("VmHWM")


def _forget_peak() -> None:
    """A process otherwise begins with the peak of the one that made it."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    kibibytes = next(line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(kibibytes) * 1024


def machine() -> str:
    """The machine in one line: processor, cores, Python and torch."""
    import torch

    name = platform.processor() or platform.machine()
    told = Path("/proc/cpuinfo")
    if told.is_file():
        lines = told.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return (
        f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {device}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
