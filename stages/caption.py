"""Embeddings, assignments and words in, captions for every cluster out."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..store import Artifact, ConfigError, Product, Scratch
from ..store.kinds import CAPTIONS, Kind
from .contract import Inputs, Part, Runtime, Stage
from .encoding.vocabulary import Candidates, read_words
from .rows.artifact_rows import blocks_of
from .rows.merges import read_merges
from .rows.other_runs import OTHER, rows_beside

if TYPE_CHECKING:
    from .algorithms.votes import ClusterVotes

_RANKS = 5
"""Captions kept for each cluster."""

_ROWS = 32_768
"""Rows read at once: bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class Caption(Stage):
    """Names clusters with the words that fit their images.

    `vote` is the rule of arXiv 2306.05272: each image votes for its `top` best words with its
    softmax of 100 times the cosine, and the words with the most votes win. `contrast` takes the
    words that fit a cluster better than they fit other clusters: `algorithms.word_ranking`. Under
    either rule, clusters that share their first word get a second word that tells them apart, or a
    number if their images support none.
    """

    name: ClassVar[str] = "caption"
    kind: ClassVar[Kind] = CAPTIONS
    revision: ClassVar[int] = 4

    rule: Literal["contrast", "vote"] = "contrast"
    top: int = 5
    """Words that each image votes for."""
    levels: bool = False
    """Whether the clusters are cut from a hierarchy, whose coarser levels then get captions too."""
    beside: str = ""
    """Another run, whose embeddings of the same images are compared with the words."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ConfigError(f"caption.top must be at least 1, got {self.top}")

    @property
    def needs(self) -> tuple[str, ...]:
        """Texts are compared with raw embeddings, whose space they share."""
        other = (f"{OTHER}{self.beside}",) if self.beside else ()
        levels = ("hierarchy",) if self.levels else ()
        return ("embeddings", *other, "assignments", "words", *levels)

    def config(self) -> dict[str, Any]:
        """The settings; `beside` only if it is set, as older versions lack it."""
        config = super().config()
        if not self.beside:
            del config["beside"]
        return config

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Counts the votes of every image once, then names the clusters of each level."""
        words = read_words(inputs["words"], runtime.device)
        assignments = inputs["assignments"]
        k = int(assignments.facts["k"])
        finest, column = _finest(assignments) if self.levels else (k, "cluster")
        votes = self._count(inputs, (assignments, column), finest, words, runtime)
        levels: list[dict[str, Any]] = []
        if self.levels:
            for level, group in _coarser(inputs["hierarchy"], finest):
                captions = self._captions(votes.merged(group, level), words)
                levels += [{"level": level, **row} for row in captions]
            rows = [row for row in levels if row["level"] == k]
        else:
            rows = self._captions(votes, words)
        scratch.write_table("rows", rows)
        scratch.write_table("levels", levels)
        facts = {"words": len(words.names), "images": int(votes.counts.sum())}
        return Product(rows=len(rows), facts=facts, shared={"k": k, "rule": self.rule})

    def _count(
        self,
        inputs: Inputs,
        clusters: tuple[Artifact, str],
        k: int,
        words: Candidates,
        runtime: Runtime,
    ) -> "ClusterVotes":
        import torch

        from .algorithms.votes import count_votes, no_votes

        embeddings = inputs["embeddings"]
        runtime.progress.start("caption", embeddings.rows, "images")
        votes = no_votes(k, words.t.shape[1], len(words.names))
        rows_of = _rows(embeddings, *clusters)
        if self.beside:
            other = inputs[f"{OTHER}{self.beside}"]
            rows_of = _rows_of_other(embeddings, other, self.beside, *clusters)
        for x, cluster in rows_of:
            rows = torch.from_numpy(x).to(runtime.device).float()
            votes = votes.plus(count_votes(rows, words.t, cluster, k, top=self.top))
            runtime.progress.advance(len(x))
        return votes

    def _captions(self, votes: "ClusterVotes", words: Candidates) -> list[dict[str, Any]]:
        """Captions of each cluster that has an image, best first, as rows of the table."""
        from .algorithms.word_ranking import (
            NONE,
            drop_unsupported,
            rank_by_contrast,
            rank_by_votes,
            second_words,
        )

        by_votes = self.rule == "vote"
        ranking = rank_by_votes(votes) if by_votes else rank_by_contrast(votes, words.t)
        second = drop_unsupported(second_words(ranking, votes, words.t), votes, words.t)
        names = _first_names(ranking.words[:, 0], second, words)
        rows = []
        for cluster, best in enumerate(ranking.words[:, :_RANKS]):
            for position, word in enumerate(best[best != NONE]):
                caption = names[cluster] if position == 0 else words.names[word]
                rows.append(
                    {
                        "cluster": cluster,
                        "rank": position + 1,
                        "caption": caption,
                        "score": float(ranking.shares[cluster, position]),
                        "votes": float(ranking.votes[cluster, position]),
                    }
                )
        return rows


def _first_names(first: np.ndarray, second: np.ndarray, words: Candidates) -> list[str]:
    """The caption of each cluster: "airplane, jet", or "airplane" and "airplane (2)"."""
    from .algorithms.word_ranking import NONE

    names, numbers = [], Counter[int]()
    for word, other in zip(first.tolist(), second.tolist(), strict=True):
        if word == NONE:
            names.append("")
            continue
        name = words.names[word]
        if other != NONE:
            name = f"{name}, {words.names[other]}"
        else:
            numbers[word] += 1
            name = f"{name} ({numbers[word]})" if numbers[word] > 1 else name
        names.append(name)
    return names


def _finest(assignments: Artifact) -> tuple[int, str]:
    """The largest k that a hierarchy was cut at, and the column that holds these clusters."""
    k, requested = int(assignments.facts["k"]), assignments.manifest.config["k"]
    finest = max(requested) if isinstance(requested, list) else k
    return finest, "cluster" if finest == k else f"cluster_{finest}"


def _coarser(hierarchy: Artifact, finest: int) -> Iterator[tuple[int, np.ndarray]]:
    """Each level from `finest` down to 1, with the cluster that each finest cluster is part of."""
    from .algorithms.clustering.hierarchy import cut

    left, right = read_merges(hierarchy)
    leaf = np.unique(cut(left, right, finest), return_index=True)[1]  # one leaf of each cluster
    for level in range(finest, 0, -1):
        yield level, cut(left, right, level)[leaf]


def _rows(
    embeddings: Artifact, assignments: Artifact, column: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The embeddings and clusters of all rows, block by block."""
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


def _rows_of_other(
    embeddings: Artifact, other: Artifact, run: str, assignments: Artifact, column: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The other run's embeddings of the images that it has, and their clusters, part by part."""
    missing = 0
    for part in embeddings.parts:
        x, is_found = rows_beside(embeddings, part.name, other, run)
        cluster = assignments.table(part.name, columns=[column]).column(0).to_numpy()
        missing += int((~is_found).sum())
        yield x[is_found], cluster[is_found]
    if missing == embeddings.rows:
        raise ConfigError(
            f"run {run!r} has no embedding for any of the images (matched by key): embed them with "
            f"--run {run} too, or name another run with --beside"
        )
