"""The server under load: fifty clients at once, each on a connection of its own, for a minute.

    python -m benchmarks.serve                          # 100,000 rows: 0.5 GB of disk
    python -m benchmarks.serve --rows 1000000 --seconds 30 --store /tmp/served   # kept for later

`cpp-pipe serve` runs in a process of its own, on this machine alone, over planted rows of 128
numbers with pictures in tars. Clients are coroutines of this process. Each asks for one thing after
another and thinks in between for a while that is drawn evenly around --think; what it asks for is
drawn too: small pictures (most of them of few rows, as people look at the same), rows that are
nearest to a row in both spaces, cards of all clusters, the whole hierarchy, rows of a cluster, and
facts of an image. No text is encoded, and no model loaded. All latencies count, from the first
byte sent to the last received; an answer other than 200 is an error.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .measure import machine
from .serve_store import CLUSTERS, LEAVES, RUN, make_store

CLIENTS = 50
THINK = 0.05
"""Seconds: of somebody who scrolls, and whose browser asks for picture after picture."""
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


class Asked(NamedTuple):
    """One request."""

    kind: str
    seconds: float
    status: int


def address(kind: str, rows: int, draw: random.Random) -> str:
    """What a client asks for."""
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


async def client(port: int, rows: int, end: float, think: float, seed: int) -> list[Asked]:
    """Asks until the time is over."""
    draw = random.Random(seed)
    asked = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while time.perf_counter() < end:
            (kind,) = draw.choices(list(MIX), list(MIX.values()))
            path = address(kind, rows, draw)
            began = time.perf_counter()
            writer.write(
                f"GET {path} HTTP/1.1\r\nhost: localhost\r\naccept-encoding: gzip\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            assert length is not None, head
            await reader.readexactly(int(length[1]))
            asked.append(Asked(kind, time.perf_counter() - began, int(head[9:12])))
            await asyncio.sleep(draw.uniform(0, 2 * think))
    finally:
        writer.close()
    return asked


async def load(port: int, rows: int, clients: int, seconds: float, think: float) -> list[Asked]:
    """What all clients asked."""
    end = time.perf_counter() + seconds
    found = await asyncio.gather(*(client(port, rows, end, think, seed) for seed in range(clients)))
    return [one for asked in found for one in asked]


@contextlib.contextmanager
def served(store: Path) -> Iterator[tuple[int, int]]:
    """The port and the process of a server over the store."""
    command = [sys.executable, "-m", "cpp_pipe", "serve", "--no-make", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--run", RUN, "--store", str(store)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None, "it is piped"
        said = process.stdout.readline()
        found = re.search(r":(\d+)/", said)
        assert found is not None, f"the server said {said!r}"
        yield int(found[1]), process.pid
    finally:
        process.terminate()
        process.wait()


async def _watched(pid: int, work: Awaitable[list[Asked]]) -> tuple[list[Asked], float]:
    """What was asked, and the most memory that was seen meanwhile, ten times a second."""
    doing, most = asyncio.ensure_future(work), 0.0
    while not doing.done():
        most = max(most, status_mib(pid, "VmRSS"))
        await asyncio.wait([doing], timeout=0.1)
    return await doing, most


def status_mib(pid: int, name: str) -> float:
    """A figure of a process's memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found is not None, f"/proc says {name}"
    return int(found[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """Of a process, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(store: Path, rows: int, clients: int, seconds: float, think: float) -> dict[str, Any]:
    """Loads a server, and prints what each kind of request took."""
    with served(store) as (port, pid):
        before = status_mib(pid, "VmRSS")
        # What is worked out once, as the server begins, is not what many wait for.
        for path in ("/api/clusters", "/api/tree"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").read()
        asyncio.run(load(port, rows, 1, 5, 0))
        cpu, began = cpu_seconds(pid), time.perf_counter()
        asked, peak = asyncio.run(_watched(pid, load(port, rows, clients, seconds, think)))
        wall = time.perf_counter() - began
        cpu = cpu_seconds(pid) - cpu
        after, file = status_mib(pid, "VmRSS"), status_mib(pid, "RssFile")
    print(f"{'':<10}{'asked':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
    for kind in (*MIX, "all"):
        taken = sorted(one.seconds for one in asked if kind in (one.kind, "all"))
        print(f"{kind:<10}{len(taken):>8}" + "".join(f"{ms(taken, p):>9.1f}" for p in (50, 95, 99)))
    taken = sorted(one.seconds for one in asked)
    errors = Counter(one.status for one in asked if one.status != 200)
    print(
        f"MiB of memory before {before:.0f}, after {after:.0f}, of them {file:.0f} mapped files; "
        f"at most {peak:.0f}"
    )
    print(f"errors: {dict(errors) or 'none'}; CPU {1000 * cpu / len(asked):.2f} ms a request")
    return {
        "p50_ms": round(ms(taken, 50), 1),
        "p95_ms": round(ms(taken, 95), 1),
        "p99_ms": round(ms(taken, 99), 1),
        "requests_per_s": round(len(asked) / wall, 1),
        "errors": sum(errors.values()),
        "rss_before_mib": round(before),
        "rss_mib": round(after),
        "rss_peak_mib": round(peak),
        "cpu_ms_a_request": round(1000 * cpu / len(asked), 2),
    }


def ms(taken: list[float], percentile: float) -> float:
    """A percentile of sorted seconds, in milliseconds."""
    return 1000 * taken[min(len(taken) - 1, int(len(taken) * percentile / 100))]


def main() -> None:
    """Measures, and says whether the bars are met."""
    parser = argparse.ArgumentParser(description="The server under load.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--think", type=float, default=THINK, help="mean seconds between requests")
    parser.add_argument("--store", type=Path, help="a folder to make the store in, and keep it")
    given = parser.parse_args()
    with contextlib.ExitStack() as held:
        temporary = tempfile.TemporaryDirectory(prefix="cpp-pipe-serve-")
        folder = given.store or Path(held.enter_context(temporary))
        if not (folder / "store" / "runs" / RUN / "run.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            make_store(folder, given.rows)
        told = measure(folder / "store", given.rows, given.clients, given.seconds, given.think)
    p95, mib = told["p95_ms"], told["rss_peak_mib"]
    print(f"p95 {p95} ms (at most {MOST_P95_MS}): {_verdict(p95, MOST_P95_MS)}")
    print(f"RSS {mib} MiB (at most {MOST_MIB}): {_verdict(mib, MOST_MIB)}")
    settings = {"rows": given.rows, "clients": given.clients, "seconds": given.seconds}
    print(json.dumps({**told, **settings, "think_s": given.think, "machine": machine()}))


def _verdict(value: float, most: float) -> str:
    return "met" if value <= most else "MISSED"


if __name__ == "__main__":
    main()
