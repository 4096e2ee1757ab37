"""The server under load: fifty clients at once, each on its own connection, for a minute.

    python -m benchmarks.serve                          # 100,000 rows: 0.5 GB of disk
    python -m benchmarks.serve --rows 1000000 --seconds 30 --store served   # keeps the store

`cpp-pipe serve` runs in its own process, reachable only from this machine, over planted rows of 128
numbers with images in tars. Clients are coroutines of this process. Each sends one request after
another, with random pauses of --think seconds on average. Requests are random too: thumbnails (most
of them of a few rows, because people look at the same images), rows nearest to a row in both
spaces, cards of all clusters, the whole hierarchy, rows of a cluster, and facts of an image. No
text is encoded and no model loaded. Latency is from the first byte sent to the last received; any
status but 200 is an error.
"""

import asyncio
import contextlib
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .measure import argument_parser, machine, parse_arguments
from .serve_store import CLUSTERS, LEAVES, RUN, make_store

CLIENTS = 50
THINK = 0.05
"""Seconds, for somebody who scrolls: the browser requests image after image."""
MOST_P95_MS = 150
MOST_MIB = 600

MIX = {
    "picture": 0.5,
    "search": 0.2,
    "cards": 0.08,
    "tree": 0.02,
    "rows": 0.12,
    "image": 0.08,
}


class Request(NamedTuple):
    """Kind, latency and status of one request."""

    kind: str
    seconds: float
    status: int


def address(kind: str, rows: int, draw: random.Random) -> str:
    """A random address of a kind."""
    row = draw.randrange(rows)
    if kind == "picture":
        popular = row % min(rows, 2_000)
        return f"/api/pictures/{popular if draw.random() < 0.8 else row}?size=128"
    if kind == "search":
        space = draw.choice(("features", "embeddings"))
        return f"/api/search?row={row}&space={space}&n=24"
    if kind == "cards":
        return "/api/clusters"
    if kind == "tree":
        return "/api/tree"
    if kind == "rows":
        if draw.random() < 0.5:
            node = draw.randrange(2 * LEAVES - 1)
            return f"/api/clusters/{node}/rows?grouping=tree&limit=60"
        return (
            f"/api/clusters/{draw.randrange(CLUSTERS)}/rows?offset={draw.randrange(500)}&limit=60"
        )
    return f"/api/images/{row}"


Ask = Callable[[random.Random], tuple[str, str]]
"""Draws the kind and the address of a request."""


def ask_for(rows: int) -> Ask:
    """Requests of all kinds, as often as `MIX` says."""

    def ask(draw: random.Random) -> tuple[str, str]:
        (kind,) = draw.choices(list(MIX), list(MIX.values()))
        return kind, address(kind, rows, draw)

    return ask


async def client(port: int, ask: Ask, end: float, think: float, seed: int) -> list[Request]:
    """Sends requests until a time; what each took."""
    draw = random.Random(seed)
    requests = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while time.perf_counter() < end:
            kind, path = ask(draw)
            began = time.perf_counter()
            writer.write(
                f"GET {path} HTTP/1.1\r\nhost: localhost\r\naccept-encoding: gzip\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            assert length is not None, head
            await reader.readexactly(int(length[1]))
            requests.append(Request(kind, time.perf_counter() - began, int(head[9:12])))
            await asyncio.sleep(draw.uniform(0, 2 * think))
    finally:
        writer.close()
    return requests


async def load(port: int, ask: Ask, clients: int, seconds: float, think: float) -> list[Request]:
    """The requests of all clients."""
    end = time.perf_counter() + seconds
    running = [client(port, ask, end, think, seed) for seed in range(clients)]
    return [request for requests in await asyncio.gather(*running) for request in requests]


@contextlib.contextmanager
def served(store: Path) -> Iterator[tuple[int, int]]:
    """Port and process number of a server over the store."""
    command = [sys.executable, "-m", "cpp_pipe", "serve", "--no-make", "--no-token", "--port", "0"]
    with subprocess.Popen(
        [*command, "--run", RUN, "--store", str(store)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None, "it is piped"
            line = process.stdout.readline()
            port = re.search(r":(\d+)/", line)
            assert port is not None, f"the server printed {line!r}"
            yield int(port[1]), process.pid
        finally:
            process.terminate()


class Peaks:
    """The most memory of a process in MiB while a block runs, looked at twenty times a second.

    Its own peak, VmHWM, counts pages of mapped files too, which the system can take back.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.whole = self.anonymous = self.mapped = 0.0

    def __enter__(self) -> "Peaks":
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self._look()

    def _look(self) -> None:
        with contextlib.suppress(OSError, AssertionError):  # a process that has ended
            whole, anonymous, mapped = status_mibs(self._pid, "VmRSS", "RssAnon", "RssFile")
            self.whole = max(self.whole, whole)
            self.anonymous = max(self.anonymous, anonymous)
            self.mapped = max(self.mapped, mapped)


def status_mib(pid: int, name: str) -> float:
    """A figure of a process's memory in MiB."""
    (mib,) = status_mibs(pid, name)
    return mib


def status_mibs(pid: int, *names: str) -> list[float]:
    """Figures of a process's memory in MiB, at one time."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = [re.search(rf"{name}:\s+(\d+) kB", text) for name in names]
    kibibytes = [int(figure[1]) for figure in found if figure is not None]
    assert len(kibibytes) == len(names), f"/proc lacks some of {', '.join(names)}"
    return [each / 1024 for each in kibibytes]


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(store: Path, rows: int, clients: int, seconds: float, think: float) -> dict[str, Any]:
    """Loads a server, and prints the latencies of each kind of request."""
    with served(store) as (port, pid):
        before = status_mib(pid, "VmRSS")
        # Work that a server does only once, at its start, does not count.
        for path in ("/api/clusters", "/api/tree"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                answer.read()
        ask = ask_for(rows)
        asyncio.run(load(port, ask, 1, min(5, seconds), 0))
        cpu, began = cpu_seconds(pid), time.perf_counter()
        with Peaks(pid) as peaks:
            requests = asyncio.run(load(port, ask, clients, seconds, think))
        wall = time.perf_counter() - began
        cpu = cpu_seconds(pid) - cpu
        after, file = status_mib(pid, "VmRSS"), status_mib(pid, "RssFile")
    print(f"{'':<10}{'requests':>9}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
    for kind in (*MIX, "all"):
        taken = sorted(request.seconds for request in requests if kind in (request.kind, "all"))
        print(f"{kind:<10}{len(taken):>9}" + "".join(f"{ms(taken, p):>9.1f}" for p in (50, 95, 99)))
    taken = sorted(request.seconds for request in requests)
    errors = Counter(request.status for request in requests if request.status != 200)
    print(
        f"memory in MiB: {before:.0f} before, {after:.0f} after ({file:.0f} of it mapped files), "
        f"peak {peaks.whole:.0f} (anonymous {peaks.anonymous:.0f}, mapped {peaks.mapped:.0f})"
    )
    print(f"errors: {dict(errors) or 'none'}; CPU {1000 * cpu / len(requests):.2f} ms per request")
    return {
        "p50_ms": round(ms(taken, 50), 1),
        "p95_ms": round(ms(taken, 95), 1),
        "p99_ms": round(ms(taken, 99), 1),
        "requests_per_s": round(len(requests) / wall, 1),
        "errors": sum(errors.values()),
        "rss_before_mib": round(before),
        "rss_mib": round(after),
        "rss_peak_mib": round(peaks.whole),
        "anonymous_peak_mib": round(peaks.anonymous),
        "mapped_peak_mib": round(peaks.mapped),
        "cpu_ms_a_request": round(1000 * cpu / len(requests), 2),
    }


def ms(taken: list[float], percentile: float) -> float:
    """A percentile of sorted seconds, in milliseconds."""
    return 1000 * taken[min(len(taken) - 1, int(len(taken) * percentile / 100))]


def main() -> None:
    """Prints the table, the bars and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--think", type=float, default=THINK, help="mean seconds between requests")
    parser.add_argument("--store", type=Path, help="keep the store in this folder")
    flags = parse_arguments(parser, rows=1000, clients=3, seconds=1)
    with contextlib.ExitStack() as held:
        temporary = tempfile.TemporaryDirectory(prefix="cpp-pipe-serve-")
        folder = flags.store or Path(held.enter_context(temporary))
        if not (folder / "store" / "runs" / RUN / "run.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            make_store(folder, flags.rows)
        figures = measure(folder / "store", flags.rows, flags.clients, flags.seconds, flags.think)
    p95, mib = figures["p95_ms"], figures["rss_peak_mib"]
    print(f"p95 {p95} ms (at most {MOST_P95_MS}): {_verdict(p95, MOST_P95_MS)}")
    print(f"RSS {mib} MiB (at most {MOST_MIB}): {_verdict(mib, MOST_MIB)}")
    settings = {"rows": flags.rows, "clients": flags.clients, "seconds": flags.seconds}
    print(json.dumps({**figures, **settings, "think_s": flags.think, "machine": machine()}))


def _verdict(value: float, most: float) -> str:
    return "met" if value <= most else "MISSED"


if __name__ == "__main__":
    main()
