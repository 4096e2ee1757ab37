"""Features or embeddings in, a quantizer out: the fitted part of an index, without rows."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..store import Artifact, Product, Scratch
from ..store.counting import counted
from ..store.kinds import QUANTIZER, Kind
from .contract import Inputs, Part, Runtime, Stage
from .indexing.factory import CODE_WORDS, HELD_OUT_SHARE, Factory
from .indexing.faiss_library import has_gpu, import_faiss
from .indexing.footprint import Footprint, require_memory
from .indexing.vectors import VectorRows


@dataclass(frozen=True, kw_only=True)
class FitQuantizer(Stage):
    """Fits the centroids of inverted lists, and the codebooks of codes, to a sample of rows.

    Rows added later go into the same lists, and removed rows leave them as they are.
    """

    name: ClassVar[str] = "fit-quantizer"
    kind: ClassVar[Kind] = QUANTIZER
    revision: ClassVar[int] = 4
    is_thread_invariant: ClassVar[bool] = True
    refit: ClassVar[str] = "index --refit"

    space: Literal["features", "embeddings"]
    factory: str
    """A FAISS factory string with inverted lists."""
    seed: int = 0

    @property
    def needs(self) -> tuple[str, ...]:
        """The space that is indexed."""
        return (self.space,)

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One; ConfigError where the factory does not suit the rows."""
        rows = VectorRows(inputs[self.space])
        Factory.parse(self.factory).check(rows.source.rows, rows.width)
        return super().parts(inputs, runtime)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Draws the sample and the held-out rows, and fits to the sample."""
        from safetensors.numpy import save_file

        from .indexing.durations import seconds_to_list
        from .indexing.lists import trained_bytes
        from .indexing.quantizer import train

        source, factory = inputs[self.space], Factory.parse(self.factory)
        rows = VectorRows(source, runtime.draw)
        wanted = require_memory(factory, source.rows, rows.width)
        held_out, sampled = self._draw(source.rows, factory)
        sample = rows.take(sampled)
        _report(runtime, wanted, source, rows.width, seconds_to_list(factory, sample, source.rows))
        runtime.progress.start(f"fit {self.factory}", 1, "quantizer")
        trained = train(factory, sample, self.seed, runtime.device)
        scratch.path("index").write_bytes(trained_bytes(trained))
        located = [source.locate(row) for row in held_out.tolist()]
        digests = [bytes.fromhex(source.part_names[name].content) for name, _ in located]
        save_file(
            {
                "vectors": rows.take(held_out),
                "rows": np.array([row for _, row in located], np.int64),
                "part_digests": np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32),
            },
            scratch.path("held_out"),
        )
        runtime.progress.advance(1)
        facts = {
            "space": self.space,
            "factory": self.factory,
            "width": rows.width,
            "model": dict(source.facts["model"]),
        }
        return Product(rows=len(sampled), shared=facts)

    def _draw(self, total: int, factory: Factory) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of the held-out rows, sorted, and of the sample, shuffled; both spread."""
        from .indexing.quantizer import ROWS_A_LIST
        from .indexing.recall import QUERIES

        queries = min(QUERIES, total // HELD_OUT_SHARE)
        least = CODE_WORDS if factory.code == "PQ" else 0  # FAISS fits no more words than rows
        count = min(total, queries + max(least, factory.lists * ROWS_A_LIST))
        generator = np.random.default_rng(self.seed)
        # One row of each stretch: sorted, without duplicates, and without a list of all rows.
        edges = np.arange(count + 1, dtype=np.int64) * total // count
        drawn = generator.integers(edges[:-1], edges[1:])
        generator.shuffle(drawn)
        return np.sort(drawn[:queries]), drawn[queries:]


def _report(
    runtime: Runtime, wanted: Footprint, source: Artifact, width: int, seconds: float
) -> None:
    faiss = import_faiss()
    threads = faiss.omp_get_max_threads()
    runtime.progress.report(
        f"{wanted.line(f'index/{source.kind.name}', source.rows, width)}, {seconds:.0f} s with "
        f"{counted(threads, 'thread')}"
    )
    if runtime.device.startswith("cuda") and not has_gpu(faiss):
        runtime.progress.report(
            "the installed FAISS has no GPU support, so the index is built on the CPU: for a "
            "GPU, pip install 'cpp-pipe[gpu]' in a new environment"
        )
