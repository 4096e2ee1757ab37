"""Embeddings of one or more runs and words of a guide in, several views of each image out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..store import Artifact, ConfigError, PartRecord, Product, Scratch
from ..store.counting import agreeing, counted
from ..store.files import write_array
from ..store.kinds import VIEWS, Kind
from .contract import Inputs, Part, Runtime, Stage, parts_like
from .encoding.vocabulary import read_words
from .rows.other_runs import OTHER, rows_beside

if TYPE_CHECKING:
    import torch

OWN, GUIDE = "embeddings", "words/guide"
"""Input slots: this run's embeddings, and the words of a guide."""


@dataclass(frozen=True, kw_only=True)
class Views(Stage):
    """Concatenates several views of each image into one row for the heads.

    Views are its embedding, its embeddings from other runs (by other models), matched by key, and
    its mean word of a guide (`algorithms.votes.guide_rows`). The initial heads whiten each view by
    itself. The embeddings have equal shares of what the guide's share leaves.
    """

    name: ClassVar[str] = "views"
    kind: ClassVar[Kind] = VIEWS
    revision: ClassVar[int] = 1

    guide_share: float = 0.0
    """The guide's share of the similarity of two images; 0 is without a guide."""
    beside: tuple[str, ...] = ()
    """Other runs of the store whose embeddings are used too."""

    def __post_init__(self) -> None:
        if not 0 <= self.guide_share < 1:
            raise ConfigError(f"guide_share must be at least 0 and below 1, got {self.guide_share}")

    @property
    def needs(self) -> tuple[str, ...]:
        """The slots of all views."""
        guide = (GUIDE,) if self.guide_share else ()
        return (OWN, *self._others, *guide)

    @property
    def _others(self) -> tuple[str, ...]:
        return tuple(f"{OTHER}{run}" for run in self.beside)

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each part of the embeddings."""
        others = {slot: source.content for slot, source in inputs.items() if slot != OWN}
        return parts_like(inputs[OWN], others)

    def prepare(self, inputs: Inputs, runtime: Runtime) -> "torch.Tensor | None":
        """Reads the words of the guide."""
        runtime.progress.start("views", inputs[OWN].rows, "rows")
        return read_guide(inputs.get(GUIDE), runtime.device)

    def make(
        self,
        part: Part,
        prepared: "torch.Tensor | None",
        inputs: Inputs,
        runtime: Runtime,
        scratch: Scratch,
    ) -> Product:
        """Writes the views of one part, and counts the rows that other runs lack."""
        embeddings = inputs[OWN]
        x = embeddings.embeddings(part.name)
        others, missing = [], {}
        for run, slot in zip(self.beside, self._others, strict=True):
            rows, is_found = rows_beside(embeddings, part.name, inputs[slot], run)
            others.append(rows)
            missing[run] = int((~is_found).sum())
        views = join_views(x, others, prepared, runtime.device)
        write_array(scratch.path("x"), views)
        runtime.progress.advance(len(x))
        sizes = [rows.shape[1] for rows in (x, *others)]
        return Product(
            rows=len(x),
            facts={"missing": missing},
            shared={
                "views": [
                    {"slot": slot, "size": size, "share": share}
                    for slot, size, share in self._layout(sizes)
                ],
                "model": dict(embeddings.facts["model"]),
            },
        )

    def _layout(self, sizes: Sequence[int]) -> list[tuple[str, int, float]]:
        share = (1 - self.guide_share) / len(sizes)
        slots = (OWN, *self._others)
        layout = [(slot, size, share) for slot, size in zip(slots, sizes, strict=True)]
        return [*layout, (GUIDE, sizes[0], self.guide_share)] if self.guide_share else layout

    def review(self, records: Sequence[PartRecord], runtime: Runtime) -> None:
        """ConfigError if another run lacks more rows than may be skipped."""
        rows = sum(record.rows for record in records)
        for run in self.beside:
            missing = sum(record.facts["missing"][run] for record in records)
            if missing > runtime.max_skipped * rows:
                raise ConfigError(
                    f"run {run!r} has no embedding for {missing:,} of {counted(rows, 'image')} "
                    f"(matched by key): embed them with --run {run} too, or train with --beside '' "
                    "to leave that run out"
                )
            if missing:
                runtime.progress.report(
                    f"views: run {run!r} has no embedding for {missing:,} of "
                    f"{counted(rows, 'image')}; {agreeing(missing, 'it gets', 'they get')} its "
                    "mean embedding"
                )


def read_guide(words: Artifact | None, device: str) -> "torch.Tensor | None":
    """The words of a guide (m, d); ConfigError for a single word, which has no direction."""
    if words is None:
        return None
    candidates = read_words(words, device)
    if len(candidates.names) < 2:
        raise ConfigError("a guide must hold at least 2 different words, got 1")
    return candidates.t


def join_views(
    x: np.ndarray,
    others: Sequence[np.ndarray],
    guide: "torch.Tensor | None",
    device: str,
) -> np.ndarray:
    """Views of images: their embeddings (n, d), those of other models, and mean guide words."""
    import torch

    from .algorithms.votes import guide_rows

    views = [x, *others]
    if guide is not None:
        rows = torch.from_numpy(np.asarray(x, np.float32)).to(device)
        views.append(guide_rows(rows, guide).cpu().numpy())
    return np.concatenate(views, axis=1).astype(np.float16)


def encoders_needed(views: Artifact) -> Mapping[str, str]:
    """Versions of other runs' embeddings in a row of views, by run, in the order of the row."""
    inputs = views.manifest.inputs
    slots = [view["slot"] for view in views.facts["views"] if view["slot"].startswith(OTHER)]
    return {slot.removeprefix(OTHER): inputs[slot].version for slot in slots}
