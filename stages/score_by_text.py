"""Embeddings and a text in, a score of each image's similarity to the text out."""

import reprlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..store import ConfigError, Product, Scratch
from ..store.kinds import SCORES, Kind
from ..store.names import is_text
from .contract import Inputs, Part, Runtime, Stage, parts_like
from .encoding.random_words import random_words
from .encoding.text_model import TextModel, identify_text_model
from .rows.score_columns import require_name, write_scores
from .rows.unit_rows import score_unit_rows


@dataclass(frozen=True, kw_only=True)
class ScoreByText(Stage):
    """Compares each image with a text, beside random words or another text.

    The score is in standard deviations of random words: `algorithms.row_scores`.
    """

    name: ClassVar[str] = "score-by-text"
    kind: ClassVar[Kind] = SCORES
    revision: ClassVar[int] = 1

    score: str
    """Name of the score and of its column."""
    text: str
    unlike: str | None = None
    """A text that describes images without the property."""

    def __post_init__(self) -> None:
        require_name(self.score)
        for flag, text in (("--text", self.text), ("--not", self.unlike)):
            if text is not None and not (is_text(text) and text.strip()):
                raise ConfigError(f"{flag} must be a text, got {reprlib.repr(text)}")
        if self.text == self.unlike:
            raise ConfigError("--not must be another text than --text")

    @property
    def needs(self) -> tuple[str, ...]:
        """The embeddings."""
        return ("embeddings",)

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each part of the embeddings; the model that embeds the texts is a source too."""
        embeddings = inputs["embeddings"]
        model = identify_text_model(embeddings.facts["model"], runtime)
        return parts_like(embeddings, {"model": model})

    def prepare(self, inputs: Inputs, runtime: Runtime) -> np.ndarray:
        """Embeddings of the text, of `unlike`, and of m random words, float32 (2 + m, d)."""
        texts = [self.text, self.unlike or "", *random_words()]
        rows = TextModel(inputs["embeddings"], runtime).encoder.texts(texts)
        runtime.progress.start("score", inputs["embeddings"].rows, "images")
        return rows

    def make(
        self, part: Part, prepared: np.ndarray, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Scores the rows of one part."""
        from .algorithms.row_scores import text_scores

        unlike = None if self.unlike is None else prepared[1]
        values = score_unit_rows(
            inputs["embeddings"],
            part.name,
            lambda x: text_scores(x, prepared[0], prepared[2:], unlike),
            runtime.progress.advance,
        )
        write_scores(scratch, [self.score], values[:, None])
        return Product(rows=len(values))
