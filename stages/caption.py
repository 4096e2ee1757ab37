"""Embeddings and assignments in, words for every cluster out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..store import Artifact, ConfigError, Product, Scratch
from ..store.kinds import CAPTIONS, Kind, Table
from .contract import Inputs, Part, Runtime, Stage
from .embedding_rows import write_table
from .encoder import load_encoder_of
from .gather import iterate
from .vocabulary import embed_vocabulary, read_vocabulary

if TYPE_CHECKING:
    import numpy as np

_RANKS = 5
"""Captions that are kept for each cluster."""


@dataclass(frozen=True, kw_only=True)
class Caption(Stage):
    """Names clusters by the votes of their images (arXiv 2306.05272).

    Each image gives its `top` best names its softmax of 100 times the cosine; the names with most
    votes caption the cluster. The data set's own class names are candidates only where the user's
    vocabulary holds them.
    """

    name: ClassVar[str] = "caption"
    kind: ClassVar[Kind] = CAPTIONS
    revision: ClassVar[int] = 1

    vocabulary: str
    vocabulary_sha256: str = ""
    """Of a vocabulary that is a file."""
    templates: tuple[str, ...] = ()
    top: int = 5

    @property
    def needs(self) -> tuple[str, ...]:
        """Text lives in the space of the raw embeddings."""
        return ("embeddings", "assignments")

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Lets every image vote."""
        import torch

        from .algorithms.voting import caption_votes

        embeddings, assignments = inputs["embeddings"], inputs["assignments"]
        names, t = self._words(embeddings, runtime)
        k = int(assignments.facts["k"])
        votes = torch.zeros(k, len(names))
        text = torch.from_numpy(t).to(runtime.device)
        runtime.progress.start("caption: votes", embeddings.rows, "images")
        for name, x in iterate(embeddings):
            clusters = assignments.table(name, columns=["cluster"]).column(0).to_numpy()
            votes += caption_votes(
                torch.tensor(x, device=runtime.device).float(),
                text,
                torch.tensor(clusters, device=runtime.device).long(),
                k,
                top=min(self.top, len(names)),
            ).cpu()
            runtime.progress.advance(len(x))
        rows = _ranked(votes, names)
        spec = CAPTIONS.files["rows"]
        assert isinstance(spec, Table)
        import pyarrow as pa

        write_table(scratch, "rows", pa.Table.from_pylist(rows, schema=spec.schema()))
        return Product(rows=len(rows), facts={"names": len(names)}, shared={"k": k})

    def _words(
        self, embeddings: Artifact, runtime: Runtime
    ) -> "tuple[tuple[str, ...], np.ndarray]":
        vocabulary = read_vocabulary(self.vocabulary, runtime.files.get("vocabulary"))
        size = embeddings.facts["model"]["embedding_size"]
        t = vocabulary.embeddings
        if t is None:
            encoder = load_encoder_of(embeddings, runtime.files, runtime.device)
            t = embed_vocabulary(vocabulary.names, self.templates, encoder, runtime.progress)
        if t.shape[1] != size:
            raise ConfigError(
                f"the vocabulary {self.vocabulary} has embeddings of size {t.shape[1]}, the "
                f"images' have {size}: they are of another model"
            )
        return vocabulary.names, t


def _ranked(votes: Any, names: tuple[str, ...]) -> list[dict[str, Any]]:
    import torch

    rows = []
    for cluster, row in enumerate(votes):
        # A stable sort gives equal votes to the word that stands first in the vocabulary.
        order = torch.argsort(row, descending=True, stable=True)[:_RANKS].tolist()
        total = max(float(row.sum()), 1e-12)
        for rank, index in enumerate(order, start=1):
            rows.append(
                {
                    "cluster": cluster,
                    "rank": rank,
                    "caption": names[index],
                    "score": float(row[index]) / total,
                    "votes": float(row[index]),
                }
            )
    return rows
