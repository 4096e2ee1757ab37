"""Search in an index against FAISS and usearch: time, recall and memory.

    python -m benchmarks.search                              # 1,000,000 x 128, about ten minutes
    python -m benchmarks.search --rows 100000
    python -m benchmarks.search --factory IVF4096,PQ32       # another index of ours
    python -m benchmarks.search --rivals 'FAISS IVF,Flat'    # separated by ;, may be ''

Rows lie around a thousand directions, each cloud in its own twelve dimensions with noise in all.
Features with these rows are written to a store in eight parts and indexed by the stages of
`cpp-pipe index`. Queries are other rows; half of them tune the rivals. Every rival holds its index
in memory and searches with the smallest parameter of a ladder at which its recall is at least ours
at the default target. Everyone answers single queries by one thread, and batches by all. `vs_rival`
is our median time over that of the best rival.
"""

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
from cpp_pipe.pipeline.making.index_stages import make_index
from cpp_pipe.pipeline.view.searcher import TARGET_RECALL, Searcher
from cpp_pipe.stages.contract import Runtime, Silent
from cpp_pipe.stages.indexing.vectors import VectorRows
from cpp_pipe.store import Artifact, Product, Recipe, Scratch, Store

from .measure import argument_parser, machine, parse_arguments, result_and_peak

ROWS, WIDTH, PARTS = 1_000_000, 128, 8
GROUPS, OWN_WIDTH, NOISE = 1000, 12, 0.03
QUERIES = 1000
MODEL = {"model": "planted", "pretrained": "none", "embedding_size": WIDTH}
NEIGHBOURS = 10
ROUNDS = 3

MOST_MS, LEAST_SPEEDUP, MOST_OPEN_S, MOST_OPEN_MIB, MOST_VS_RIVAL = 5.0, 20.0, 0.5, 200.0, 1.2


def clustered_rows(count: int) -> np.ndarray:
    """Shuffled unit rows of all clouds, float16."""
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
    """Writes features to a store, and queries next to it; z and c are the halves of each row."""
    x = clustered_rows(rows + QUERIES)
    np.save(folder / "queries.npy", x[rows:])
    parts = dict(enumerate(np.array_split(x[:rows], PARTS)))
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
            return Product(rows=len(x), shared={"feature_size": WIDTH // 2, "model": MODEL})

        return write

    for number, x in parts.items():
        draft.make_part(f"part-{number}", writer(x))
    draft.publish({}, {})


class _Messages(Silent):
    """Progress that keeps messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, line: str) -> None:
        self.lines.append(line)


def build(folder: Path, factory: str) -> tuple[float, list[str]]:
    """Builds the index like `cpp-pipe index`; seconds, and its messages."""
    store, messages = Store(folder / "store"), _Messages()
    (features,) = store.artifacts()
    began = time.perf_counter()
    make_index(
        features,
        store=store,
        run="benchmark",
        settings=IndexSettings(factory=factory),
        runtime=Runtime(progress=messages),
        say=messages.report,
    )
    return time.perf_counter() - began, messages.lines


def artifacts(folder: Path) -> tuple[Artifact, Artifact]:
    """The features and their index."""
    made = {artifact.kind.name: artifact for artifact in Store(folder / "store").artifacts()}
    return made["features"], made["index"]


def open_once(folder: Path) -> tuple[float, int, int]:
    """Seconds to open the index; resident bytes of the process then, and after all queries."""
    features, index = artifacts(folder)
    began = time.perf_counter()
    searcher = Searcher(features, index)
    seconds, held = time.perf_counter() - began, rss_now()
    for query in np.load(folder / "queries.npy"):
        searcher.nearest(query[None], NEIGHBOURS)
    return seconds, held, rss_now()


def rss_now() -> int:
    """Resident bytes of this process."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Rival(NamedTuple):
    """An index in memory."""

    seconds: float
    """Time to build it."""
    bytes: int
    ladder: list[int]
    """Search parameters, the fastest first."""
    prepare: Callable[[int], None]
    """Sets the search parameter."""
    search: Callable[[np.ndarray, int], np.ndarray]
    """The nearest rows (q, 10) to queries, by a number of threads."""


def faiss_rival(x: np.ndarray, factory: str, parameter: str, ladder: list[int]) -> Rival:
    """An index of FAISS by its factory string."""
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
    """A graph of usearch over float16, which is faster than float32; other settings are default."""
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
"""Threads that answer a batch."""

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
    hits = [len(set(rows) & set(true_rows)) for rows, true_rows in pairs]
    return sum(hits) / truth.size


class Timed(NamedTuple):
    """Time of single queries and of a batch, and recall."""

    p50_ms: float
    p99_ms: float
    batch_qps: float
    recall: float


def timed(
    search_one: Callable[[np.ndarray], np.ndarray],
    search_all: Callable[[np.ndarray], np.ndarray],
    queries: np.ndarray,
    truth: np.ndarray,
    rounds: int = ROUNDS,
) -> Timed:
    """Medians over rounds, after one to warm up; recall of single queries."""
    found = np.vstack([search_one(query[None]) for query in queries])
    singles, batches = [], []
    for _ in range(rounds):
        taken = []
        for query in queries:
            began = time.perf_counter()
            search_one(query[None])
            taken.append(time.perf_counter() - began)
        singles.append(np.percentile(taken, [50, 99]))
        began = time.perf_counter()
        search_all(queries)
        batches.append(len(queries) / (time.perf_counter() - began))
    p50, p99 = 1000 * np.median(singles, axis=0)
    return Timed(float(p50), float(p99), float(np.median(batches)), recall(found, truth))


def true_neighbours(x: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The nearest rows, found by comparing all."""
    return faiss.knn(queries, x, NEIGHBOURS, metric=faiss.METRIC_INNER_PRODUCT)[1]


def compare(folder: Path, rivals: list[str]) -> Iterator[tuple[str, float, int, int, Timed]]:
    """Name, seconds to build, bytes, parameter and times: ours, exact search, then rivals."""
    features, index = artifacts(folder)
    searcher = Searcher(features, index)
    x = VectorRows(features).take(range(features.rows)).astype(np.float32)
    queries = np.load(folder / "queries.npy").astype(np.float32)
    truth = true_neighbours(x, queries)
    tuning, timing = slice(0, QUERIES // 2), slice(QUERIES // 2, QUERIES)
    ours = timed(
        lambda query: searcher.nearest(query, NEIGHBOURS)[1][None],
        lambda batch: searcher.nearest_to_each(batch, NEIGHBOURS)[1],
        queries[timing],
        truth[timing],
    )
    size = index.manifest.bytes
    yield f"cpp-pipe {index.facts['factory']}", 0.0, size, 0, ours
    flat = faiss_rival(x, "Flat", "", [0])
    few = queries[timing][:50]
    exact = timed(
        lambda query: flat.search(query, 1),
        lambda batch: flat.search(batch, _THREADS),
        few,
        truth[timing][:50],
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
            lambda batch, rival=rival: rival.search(batch, _THREADS),
            queries[timing],
            truth[timing],
        )
        yield name, rival.seconds, rival.bytes, setting, times
        del rival


def main() -> None:
    """Prints the table, the bars and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--factory", default="auto", help="factory string of our index")
    parser.add_argument("--rivals", default=";".join(RIVALS), help="names, separated by ;")
    arguments = parse_arguments(parser, rows=4000, factory="IVF64,SQfp16")
    rivals = [name for name in arguments.rivals.split(";") if name]
    print(f"{arguments.rows:,} x {WIDTH} in {PARTS} parts, {QUERIES:,} queries\n{machine()}\n")
    with tempfile.TemporaryDirectory(prefix="cpp-pipe-search-") as name:
        folder = Path(name)
        result_and_peak(make_store, folder, arguments.rows)
        (seconds, messages), peak = result_and_peak(build, folder, arguments.factory)
        print("\n".join(messages))
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
        for label, built, size, setting, times in compare(folder, rivals):
            rows[label] = times
            print(
                f"{label:<24}{built or seconds:>9.1f}{size / 2**20:>8,.0f}{setting or '':>9}"
                f"{times.recall:>11.4f}{times.p50_ms:>9.3f}{times.p99_ms:>9.3f}"
                f"{times.batch_qps:>11,.0f}",
                flush=True,
            )
    ours, exact, *others = rows.values()
    best = min((times.p50_ms for times in others), default=None)
    figures = {
        "recall_at_10": round(ours.recall, 4),
        "p50_ms": round(ours.p50_ms, 4),
        "speedup_vs_exact": round(exact.p50_ms / ours.p50_ms, 1),
        "open_s": round(open_s, 4),
        "open_rss_mib": round(open_bytes / 2**20, 1),
        "vs_rival": None if best is None else round(ours.p50_ms / best, 3),
    }
    print()
    _print_bars(figures)
    print(json.dumps(figures))


def _print_bars(figures: dict[str, float | None]) -> None:
    bars = [
        ("recall_at_10", "at least", TARGET_RECALL),
        ("p50_ms", "at most", MOST_MS),
        ("speedup_vs_exact", "at least", LEAST_SPEEDUP),
        ("open_s", "at most", MOST_OPEN_S),
        ("open_rss_mib", "at most", MOST_OPEN_MIB),
        ("vs_rival", "at most", MOST_VS_RIVAL),
    ]
    for name, side, bar in bars:
        value = figures[name]
        if value is None:
            continue
        is_met = value >= bar if side == "at least" else value <= bar
        print(f"{name} {value:g} ({side} {bar:g}): {'met' if is_met else 'MISSED'}")


if __name__ == "__main__":
    main()
