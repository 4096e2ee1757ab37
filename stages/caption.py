"""Embeddings, assignments and words in, captions for every cluster out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..store import Artifact, ConfigError, Product, Scratch
from ..store.kinds import CAPTIONS, Kind, Table
from .artifact_rows import blocks_of
from .contract import Inputs, Part, Runtime, Stage
from .part_tables import write_table
from .vocabulary import Candidates, read_words

if TYPE_CHECKING:
    from .algorithms.votes import ClusterVotes

_RANKS = 5
"""Captions that are kept for each cluster."""

_ROWS = 32_768
"""Rows that are read at once: bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class Caption(Stage):
    """Names clusters by the words that fit their images.

    `vote` is the rule of arXiv 2306.05272: each image gives its `top` best words its softmax of 100
    times the cosine, and the words with most votes win. `contrast` asks which words fit a cluster
    more than others: `algorithms.word_ranking`. Where clusters share their first word by either rule, a
    second one tells them apart.
    """

    name: ClassVar[str] = "caption"
    kind: ClassVar[Kind] = CAPTIONS
    revision: ClassVar[int] = 3

    rule: Literal["contrast", "vote"] = "contrast"
    top: int = 5
    """Words that an image votes for."""
    levels: bool = False
    """Whether the clusters are a cut of a hierarchy, whose coarser levels are named too."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ConfigError(f"caption.top = {self.top} is not allowed: 1 or more is")

    @property
    def needs(self) -> tuple[str, ...]:
        """Text lives in the space of the raw embeddings."""
        always = ("embeddings", "assignments", "words")
        return (*always, "hierarchy") if self.levels else always

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Hears every image once, and names the clusters of each level."""
        words = read_words(inputs["words"], runtime.device)
        assignments = inputs["assignments"]
        k = int(assignments.facts["k"])
        finest, column = _finest(assignments) if self.levels else (k, "cluster")
        heard = self._hear(inputs["embeddings"], (assignments, column), finest, words, runtime)
        levels: list[dict[str, Any]] = []
        if self.levels:
            for level, group in _coarser(inputs["hierarchy"], finest):
                named = self._captions(heard.merged(group, level), words)
                levels += [{"level": level, **one} for one in named]
            rows = [one for one in levels if one["level"] == k]
        else:
            rows = self._captions(heard, words)
        _write(scratch, "rows", rows)
        _write(scratch, "levels", levels)
        facts = {"words": len(words.names), "images": int(heard.counts.sum())}
        return Product(rows=len(rows), facts=facts, shared={"k": k, "rule": self.rule})

    def _hear(
        self,
        embeddings: Artifact,
        clusters: tuple[Artifact, str],
        k: int,
        words: Candidates,
        runtime: Runtime,
    ) -> "ClusterVotes":
        import torch

        from .algorithms.votes import count_votes, no_votes

        runtime.progress.start("caption", embeddings.rows, "images")
        heard = no_votes(k, words.t.shape[1], len(words.names))
        for x, cluster in _rows(embeddings, *clusters):
            rows = torch.from_numpy(x).to(runtime.device).float()
            heard = heard.plus(count_votes(rows, words.t, cluster, k, top=self.top))
            runtime.progress.advance(len(x))
        return heard

    def _captions(self, heard: "ClusterVotes", words: Candidates) -> list[dict[str, Any]]:
        """Rows of captions, the best first in each cluster that has an image."""
        from .algorithms.word_ranking import NONE, rank_by_contrast, rank_by_votes, second_words

        by_votes = self.rule == "vote"
        ranking = rank_by_votes(heard) if by_votes else rank_by_contrast(heard, words.t)
        second = second_words(ranking, heard, words.t)
        rows = []
        for cluster, found in enumerate(ranking.words[:, :_RANKS]):
            for place, word in enumerate(found[found != NONE]):
                caption = words.names[word]
                if place == 0 and second[cluster] != NONE:
                    caption = f"{caption}, {words.names[second[cluster]]}"
                rows.append(
                    {
                        "cluster": cluster,
                        "rank": place + 1,
                        "caption": caption,
                        "score": float(ranking.shares[cluster, place]),
                        "votes": float(ranking.votes[cluster, place]),
                    }
                )
        return rows


def _finest(assignments: Artifact) -> tuple[int, str]:
    """The most clusters that a hierarchy was cut into, and the column that they stand in."""
    k, asked = int(assignments.facts["k"]), assignments.manifest.config["k"]
    finest = max(asked) if isinstance(asked, list) else k
    return finest, "cluster" if finest == k else f"cluster_{finest}"


def _coarser(hierarchy: Artifact, finest: int) -> Iterator[tuple[int, np.ndarray]]:
    """From that level on, each level and the cluster there of each cluster of the finest one."""
    from .algorithms.clustering.hierarchy import cut

    merged = hierarchy.table(hierarchy.parts[0].name).slice(1)
    left, right = (merged.column(side).to_numpy() for side in ("left", "right"))
    leaf = np.unique(cut(left, right, finest), return_index=True)[1]  # one of each cluster
    for level in range(finest, 0, -1):
        yield level, cut(left, right, level)[leaf]


def _rows(
    embeddings: Artifact, assignments: Artifact, column: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Block by block the embeddings of rows and their clusters."""
    clusters = np.concatenate(
        [
            np.empty(0, np.int32),
            *(
                assignments.table(part.name, columns=[column]).column(0).to_numpy()
                for part in embeddings.parts
            ),
        ]
    )
    width, blocks = blocks_of(embeddings, most_rows=_ROWS)
    for block in blocks:
        x = np.empty((block.rows, width), np.float16)
        block.read(x)
        yield x, clusters[block.start : block.start + block.rows]


def _write(scratch: Scratch, role: str, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa

    spec = CAPTIONS.files[role]
    assert isinstance(spec, Table)
    write_table(scratch, role, pa.Table.from_pylist(rows, schema=spec.schema()))
