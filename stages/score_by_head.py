"""Embeddings and a linear head in, the head's score of each image out."""

from dataclasses import dataclass
from typing import ClassVar

from ..store import Product, Scratch
from ..store.kinds import SCORES, Kind
from .contract import Inputs, Part, Runtime, Stage, parts_like
from .rows.score_columns import require_name, write_scores
from .rows.unit_rows import score_unit_rows
from .sources.linear_head import LinearHead, read_head

HEAD = "head"
"""The name of the head's file in `Runtime.files`."""


@dataclass(frozen=True, kw_only=True)
class ScoreByHead(Stage):
    """Applies a linear head to each embedding, e.g. one that predicts how much people like it."""

    name: ClassVar[str] = "score-by-head"
    kind: ClassVar[Kind] = SCORES
    revision: ClassVar[int] = 1

    score: str
    """Name of the score and of its column."""
    head_sha256: str
    """The digest of the head's file."""

    def __post_init__(self) -> None:
        require_name(self.score)

    @property
    def needs(self) -> tuple[str, ...]:
        """The embeddings."""
        return ("embeddings",)

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each part of the embeddings."""
        return parts_like(inputs["embeddings"], {})

    def prepare(self, inputs: Inputs, runtime: Runtime) -> LinearHead:
        """The head; ConfigError if it does not fit the embeddings."""
        embeddings = inputs["embeddings"]
        size = int(embeddings.facts["model"]["embedding_size"])
        head = read_head(runtime.files[HEAD], self.head_sha256, size)
        runtime.progress.start("score", embeddings.rows, "images")
        return head

    def make(
        self, part: Part, prepared: LinearHead, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Scores the rows of one part."""
        from .algorithms.row_scores import linear_scores

        values = score_unit_rows(
            inputs["embeddings"],
            part.name,
            lambda x: linear_scores(x, prepared.weight, prepared.bias),
            runtime.progress.advance,
        )
        write_scores(scratch, [self.score], values[:, None])
        return Product(rows=len(values), facts={"head": runtime.files[HEAD].name})
