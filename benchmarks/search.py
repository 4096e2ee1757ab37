"""Search in an index: how fast, how much of the truth, how much memory; beside FAISS and usearch.

    python -m benchmarks.search                              # 1,000,000 x 128, some ten minutes
    python -m benchmarks.search --rows 100000
    python -m benchmarks.search --factory IVF4096,PQ32       # another index of ours
    python -m benchmarks.search --rivals 'FAISS IVF,Flat'    # names with semicolons; none is ''

Rows lie around a thousand directions, each cloud in twelve dimensions of its own with noise in all.
Features with these rows are put into a store, in eight parts, and indexed by the stages that
`cpp-pipe index` runs; queries are other rows, half of which tune the rivals. Every rival holds its
index in memory and gets the least search parameter of a ladder at which it finds as much as ours
does at its usual target. A single query is answered by one thread, whoever answers it; a batch by
all. `vs_rival` is our median over the best rival's.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np

from cpp_pipe.pipeline.config import IndexSettings
from cpp_pipe.pipeline.making.indexing import make_index
from cpp_pipe.pipeline.view.searcher import TARGET_RECALL, Searcher
from cpp_pipe.stages.contract import Runtime, Silent
from cpp_pipe.store import Artifact, Product, Recipe, Scratch, Store

from .measure import machine, result_and_peak

ROWS, WIDTH, PARTS = 1_000_000, 128, 8
GROUPS, OWN_WIDTH, NOISE = 1000, 12, 0.03
QUERIES = 1000
NEIGHBOURS = 10
ROUNDS = 3

MOST_MS, LEAST_SPEEDUP, MOST_OPEN_S, MOST_OPEN_MIB, MOST_VS_RIVAL = 5.0, 20.0, 0.5, 200.0, 1.2


def clustered_rows(count: int) -> np.ndarray:
    """Unit rows of the clouds in no order, float16."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((GROUPS, WIDTH), np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    bases = rng.standard_normal((GROUPS, OWN_WIDTH, WIDTH), np.float32) / np.sqrt(WIDTH)
    sizes = rng.multinomial(count, np.full(GROUPS, 1 / GROUPS))
    order, x, first = rng.permutation(count), np.empty((count, WIDTH), np.float16), 0
    for centre, basis, size in zip(centres, bases, sizes.tolist(), strict=True):
        inside = 0.35 * rng.standard_normal((size, OWN_WIDTH), np.float32)
        rows = centre + inside @ basis + NOISE * rng.standard_normal((size, WIDTH), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        x[order[first : first + size]] = rows
        first += size
    return x


def make_store(folder: Path, rows: int) -> None:
    """Puts features into a store, and queries beside it."""
    made = clustered_rows(rows + QUERIES)
    np.save(folder / "queries.npy", made[rows:])
    parts = dict(enumerate(np.array_split(made[:rows], PARTS)))
    recipe = Recipe(
        kind="features",
        format=1,
        stage="project",
        revision=1,
        config={},
        parts={f"part-{number}": {"embeddings": str(number)} for number in parts},
    )
    draft = Store(folder / "store").draft(recipe)

    def writer(x: np.ndarray) -> Callable[[Scratch], Product]:
        def write(scratch: Scratch) -> Product:
            for role, half in zip(("z", "c"), np.split(x, 2, axis=1), strict=True):
                np.save(scratch.path(role), np.float16(2**0.5) * half)
            return Product(rows=len(x), shared={"feature_size": WIDTH // 2, "model": {}})

        return write

    for number, x in parts.items():
        draft.make_part(f"part-{number}", writer(x))
    draft.publish({}, {})


class _Told(Silent):
    """Keeps what a stage tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        self.lines.append(line)


def build(folder: Path, factory: str) -> tuple[float, list[str]]:
    """Builds the index as `cpp-pipe index` does; seconds, and what was told beforehand."""
    store, told = Store(folder / "store"), _Told()
    (features,) = store.artifacts()
    began = time.perf_counter()
    make_index(
        features,
        store=store,
        run="benchmark",
        settings=IndexSettings(factory=factory),
        runtime=Runtime(progress=told),
        say=told.tell,
    )
    return time.perf_counter() - began, told.lines


def artifacts(folder: Path) -> tuple[Artifact, Artifact]:
    """The features and their index."""
    made = {one.kind.name: one for one in Store(folder / "store").artifacts()}
    return made["features"], made["index"]


def open_once(folder: Path) -> tuple[float, int, int]:
    """Seconds to open the index; bytes that the process holds then, and after all queries."""
    features, index = artifacts(folder)
    began = time.perf_counter()
    searcher = Searcher(features, index)
    seconds, held = time.perf_counter() - began, rss_now()
    for query in np.load(folder / "queries.npy"):
        searcher.nearest(query[None], NEIGHBOURS)
    return seconds, held, rss_now()


def rss_now() -> int:
    """Bytes of memory that this process holds."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Rival(NamedTuple):
    """An index in memory."""

    seconds: float
    """To build it."""
    bytes: int
    ladder: list[int]
    """Search parameters, from the fastest on."""
    prepare: Callable[[int], None]
    """Sets the search parameter."""
    search: Callable[[np.ndarray, int], np.ndarray]
    """Rows (q, 10) that are nearest to queries, by some threads."""


def faiss_rival(x: np.ndarray, factory: str, parameter: str, ladder: list[int]) -> Rival:
    """An index of FAISS as its factory makes it."""
    index = faiss.index_factory(WIDTH, factory, faiss.METRIC_INNER_PRODUCT)
    began = time.perf_counter()
    index.train(x[np.random.default_rng(0).choice(len(x), min(len(x), 1 << 18), replace=False)])
    index.add(x)
    seconds = time.perf_counter() - began

    def prepare(setting: int) -> None:
        if parameter:
            faiss.ParameterSpace().set_index_parameter(index, parameter, setting)

    def search(queries: np.ndarray, threads: int) -> np.ndarray:
        faiss.omp_set_num_threads(threads)
        return index.search(queries, NEIGHBOURS)[1]

    return Rival(seconds, len(faiss.serialize_index(index)), ladder, prepare, search)


def usearch_rival(x: np.ndarray, ladder: list[int]) -> Rival:
    """A graph of usearch over float16, faster than over float32; other settings as they come."""
    from usearch.index import Index

    index = Index(ndim=WIDTH, metric="ip", dtype="f16")
    began = time.perf_counter()
    index.add(np.arange(len(x)), x, threads=_THREADS)
    seconds = time.perf_counter() - began

    def prepare(setting: int) -> None:
        index.expansion_search = setting

    def search(queries: np.ndarray, threads: int) -> np.ndarray:
        if len(queries) == 1:
            return index.search(queries[0], NEIGHBOURS).keys[None]
        return index.search(queries, NEIGHBOURS, threads=threads).keys

    return Rival(seconds, index.serialized_length, ladder, prepare, search)


_THREADS = faiss.omp_get_max_threads()
"""That answer a batch."""

WIDTHS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024]

RIVALS: dict[str, Callable[[np.ndarray], Rival]] = {
    "FAISS IVF,Flat": lambda x: faiss_rival(x, f"IVF{_lists(x)},Flat", "nprobe", WIDTHS),
    "FAISS IVF,SQ8": lambda x: faiss_rival(x, f"IVF{_lists(x)},SQ8", "nprobe", WIDTHS),
    "FAISS HNSW32": lambda x: faiss_rival(x, "HNSW32,Flat", "efSearch", WIDTHS[6:]),
    "usearch f16": lambda x: usearch_rival(x, WIDTHS[6:]),
}


def _lists(x: np.ndarray) -> int:
    return 1 << round(np.log2(4 * len(x) ** 0.5))


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """The share of true neighbours that were found."""
    pairs = zip(found.tolist(), truth.tolist(), strict=True)
    hits = [len(set(one) & set(right)) for one, right in pairs]
    return sum(hits) / truth.size


class Timed(NamedTuple):
    """How one answers."""

    p50_ms: float
    p99_ms: float
    batch_qps: float
    recall: float


def timed(
    one: Callable[[np.ndarray], np.ndarray],
    many: Callable[[np.ndarray], np.ndarray],
    queries: np.ndarray,
    truth: np.ndarray,
    rounds: int = ROUNDS,
) -> Timed:
    """Medians over rounds, after one to warm up; recall of the single answers."""
    found = np.vstack([one(query[None]) for query in queries])
    singles, batches = [], []
    for _ in range(rounds):
        taken = []
        for query in queries:
            began = time.perf_counter()
            one(query[None])
            taken.append(time.perf_counter() - began)
        singles.append(np.percentile(taken, [50, 99]))
        began = time.perf_counter()
        many(queries)
        batches.append(len(queries) / (time.perf_counter() - began))
    p50, p99 = 1000 * np.median(singles, axis=0)
    return Timed(float(p50), float(p99), float(np.median(batches)), recall(found, truth))


def true_neighbours(x: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The nearest rows by comparing all."""
    return faiss.knn(queries, x, NEIGHBOURS, metric=faiss.METRIC_INNER_PRODUCT)[1]


def compare(folder: Path, rivals: list[str]) -> Iterator[tuple[str, float, int, int, Timed]]:
    """Name, seconds to build, bytes, search parameter and times: of ours, of exact, of rivals."""
    features, index = artifacts(folder)
    searcher = Searcher(features, index)
    x = np.vstack([features.array(part.name, "z") for part in features.parts]).astype(np.float32)
    queries = np.load(folder / "queries.npy").astype(np.float32)
    truth = true_neighbours(x, queries)
    tuning, asked = slice(0, QUERIES // 2), slice(QUERIES // 2, QUERIES)
    ours = timed(
        lambda query: searcher.nearest(query, NEIGHBOURS)[1][None],
        lambda some: searcher.nearest_to_each(some, NEIGHBOURS)[1],
        queries[asked],
        truth[asked],
    )
    size = index.manifest.bytes
    yield f"cpp-pipe {index.facts['factory']}", 0.0, size, 0, ours
    flat = faiss_rival(x, "Flat", "", [0])
    few = queries[asked][:50]
    exact = timed(
        lambda query: flat.search(query, 1),
        lambda some: flat.search(some, _THREADS),
        few,
        truth[asked][:50],
        rounds=1,
    )
    yield "FAISS exact", flat.seconds, flat.bytes, 0, exact
    for name in rivals:
        rival = RIVALS[name](x)
        setting = 0
        for setting in rival.ladder:
            rival.prepare(setting)
            found = rival.search(queries[tuning], _THREADS)
            if recall(found, truth[tuning]) >= ours.recall:
                break
        times = timed(
            lambda query, rival=rival: rival.search(query, 1),
            lambda some, rival=rival: rival.search(some, _THREADS),
            queries[asked],
            truth[asked],
        )
        yield name, rival.seconds, rival.bytes, setting, times
        del rival


def main() -> None:
    """Prints the table, the bars and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--factory", default="auto", help="of our index")
    parser.add_argument("--rivals", default=";".join(RIVALS), help="names with semicolons")
    asked = parser.parse_args()
    rivals = [one for one in asked.rivals.split(";") if one]
    print(f"{asked.rows:,} x {WIDTH} in {PARTS} parts, {QUERIES:,} queries\n{machine()}\n")
    with tempfile.TemporaryDirectory(prefix="cpp-pipe-search-") as name:
        folder = Path(name)
        result_and_peak(make_store, folder, asked.rows)
        (seconds, told), peak = result_and_peak(build, folder, asked.factory)
        print("\n".join(told))
        print(f"built in {seconds:.1f} s, {peak / 2**20:,.0f} MiB at most\n", flush=True)
        opened = min(result_and_peak(open_once, folder)[0] for _ in range(ROUNDS))
        open_s, open_bytes, later_bytes = opened
        print(
            f"opened in {open_s:.3f} s, {open_bytes / 2**20:.0f} MiB held then, "
            f"{later_bytes / 2**20:.0f} MiB after {QUERIES:,} queries\n"
        )
        print(
            f"{'':<24}{'build s':>9}{'MiB':>8}{'setting':>9}{'recall@10':>11}{'p50 ms':>9}"
            f"{'p99 ms':>9}{'queries/s':>11}"
        )
        rows: dict[str, Timed] = {}
        for label, built, size, setting, one in compare(folder, rivals):
            rows[label] = one
            print(
                f"{label:<24}{built or seconds:>9.1f}{size / 2**20:>8,.0f}{setting or '':>9}"
                f"{one.recall:>11.4f}{one.p50_ms:>9.3f}{one.p99_ms:>9.3f}{one.batch_qps:>11,.0f}",
                flush=True,
            )
    ours, exact, *others = rows.values()
    best = min((one.p50_ms for one in others), default=None)
    figures = {
        "recall_at_10": round(ours.recall, 4),
        "p50_ms": round(ours.p50_ms, 4),
        "speedup_vs_exact": round(exact.p50_ms / ours.p50_ms, 1),
        "open_s": round(open_s, 4),
        "open_rss_mib": round(open_bytes / 2**20, 1),
        "vs_rival": None if best is None else round(ours.p50_ms / best, 3),
    }
    print()
    _bars(figures)
    print(json.dumps(figures))


def _bars(figures: dict[str, float | None]) -> None:
    bars = [
        ("recall_at_10", "at least", TARGET_RECALL),
        ("p50_ms", "at most", MOST_MS),
        ("speedup_vs_exact", "at least", LEAST_SPEEDUP),
        ("open_s", "at most", MOST_OPEN_S),
        ("open_rss_mib", "at most", MOST_OPEN_MIB),
        ("vs_rival", "at most", MOST_VS_RIVAL),
    ]
    for name, side, bar in bars:
        found = figures[name]
        if found is None:
            continue
        is_met = found >= bar if side == "at least" else found <= bar
        print(f"{name} {found:g} ({side} {bar:g}): {'met' if is_met else 'MISSED'}")


if __name__ == "__main__":
    main()
