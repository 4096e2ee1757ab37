"""Vocabularies in, their words with text embeddings out: one part per vocabulary."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..store import ConfigError, Product, Scratch
from ..store.kinds import WORDS, Kind
from .contract import Inputs, Part, Runtime, Stage
from .encoding.text_model import TextModel, identify_text_model
from .encoding.vocabulary import Vocabulary, check_templates, embed_phrases
from .rows.other_runs import OTHER


@dataclass(frozen=True, kw_only=True)
class Words(Stage):
    """Encodes the words of vocabularies with the model that made the images' embeddings.

    A vocabulary is not encoded again for other images, nor when other vocabularies are added, as
    long as the model and the templates are the same.
    """

    name: ClassVar[str] = "words"
    kind: ClassVar[Kind] = WORDS
    revision: ClassVar[int] = 1
    runs_on_mps: ClassVar[bool] = True

    templates: tuple[str, ...] = ()
    vocabularies: tuple[Vocabulary, ...] = ()
    """Each decides only its own part, so it is among that part's sources, not in the config."""
    beside: str = ""
    """Another run, whose embeddings the words are compared with; its model is among the sources."""

    def __post_init__(self) -> None:
        check_templates(self.templates)

    @property
    def needs(self) -> tuple[str, ...]:
        """The embeddings, only for the model that made them."""
        return (self._images,)

    @property
    def _images(self) -> str:
        return f"{OTHER}{self.beside}" if self.beside else "embeddings"

    def config(self) -> dict[str, Any]:
        """The configuration as JSON values, without the vocabularies."""
        return {"templates": list(self.templates)}

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each vocabulary."""
        model = identify_text_model(inputs[self._images].facts["model"], runtime)
        return tuple(
            Part(name=words.part_name, sources={"vocabulary": words.identity, "model": model})
            for words in self.vocabularies
        )

    def prepare(self, inputs: Inputs, runtime: Runtime) -> TextModel:
        """The model, which is loaded when a vocabulary needs it."""
        return TextModel(inputs[self._images], runtime)

    def make(
        self, part: Part, prepared: TextModel, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Encodes the words of one vocabulary, or takes the embeddings that came with them."""
        (vocabulary,) = (words for words in self.vocabularies if words.part_name == part.name)
        phrases = vocabulary.read(runtime.files.get(part.name))
        size, t = inputs[self._images].facts["model"]["embedding_size"], phrases.embeddings
        if t is None:
            checkpoints = scratch.checkpoints / part.name
            t = embed_phrases(
                phrases.names, self.templates, prepared.encoder, runtime.progress, checkpoints
            )
        if t.shape[1] != size:
            raise ConfigError(
                f"the vocabulary {vocabulary.name} has embeddings of size {t.shape[1]}, the images "
                f"of size {size}: use embeddings of the images' model"
            )
        _write(scratch, vocabulary.name, phrases.names, t)
        return Product(rows=len(t), facts={"vocabulary": vocabulary.name}, shared={"size": size})


def _write(scratch: Scratch, name: str, names: tuple[str, ...], t: np.ndarray) -> None:
    columns = {"name": names, "vocabulary": [name] * len(names), "embedding": t}
    scratch.write_table("rows", columns)
