"""Vocabularies in, their words with text embeddings out: one part a vocabulary."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..store import Artifact, ConfigError, Product, Scratch
from ..store.digest import digest_file, digest_json
from ..store.kinds import WORDS, Kind, Table
from .contract import Inputs, Part, Runtime, Stage
from .encoder import Encoder, load_encoder_of
from .part_tables import write_table
from .vocabulary import Vocabulary, check_templates, embed_phrases

_OF_TEXT = ("model", "pretrained", "weights_digest", "embedding_size", "precision")
"""What of a model decides the embeddings of texts."""


@dataclass(frozen=True, kw_only=True)
class Words(Stage):
    """Encodes the words of vocabularies once, with the model that made the images' embeddings.

    A vocabulary that another version holds, by the same model and templates, is not encoded again:
    neither for other images nor beside other vocabularies.
    """

    name: ClassVar[str] = "words"
    kind: ClassVar[Kind] = WORDS
    revision: ClassVar[int] = 1

    templates: tuple[str, ...] = ()
    vocabularies: tuple[Vocabulary, ...] = ()
    """Each decides its own part alone, so that it stands among that part's sources."""

    def __post_init__(self) -> None:
        check_templates(self.templates)

    @property
    def needs(self) -> tuple[str, ...]:
        """They say which model; what they hold changes nothing."""
        return ("embeddings",)

    def config(self) -> dict[str, Any]:
        """Without the vocabularies."""
        return {"templates": list(self.templates)}

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each vocabulary."""
        model = _identity(inputs["embeddings"].facts["model"], runtime)
        return tuple(
            Part(name=one.part_name, sources={"vocabulary": one.identity, "model": model})
            for one in self.vocabularies
        )

    def prepare(self, inputs: Inputs, runtime: Runtime) -> "_Model":
        """The model, loaded where a vocabulary needs it."""
        return _Model(inputs["embeddings"], runtime)

    def make(
        self, part: Part, prepared: "_Model", inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Encodes the words of one vocabulary, or takes the embeddings that came with them."""
        (vocabulary,) = (one for one in self.vocabularies if one.part_name == part.name)
        phrases = vocabulary.read(runtime.files.get(part.name))
        size, t = inputs["embeddings"].facts["model"]["embedding_size"], phrases.embeddings
        if t is None:
            kept = scratch.checkpoints / part.name
            t = embed_phrases(
                phrases.names, self.templates, prepared.encoder, runtime.progress, kept
            )
        if t.shape[1] != size:
            raise ConfigError(
                f"the vocabulary {vocabulary.name} has embeddings of size {t.shape[1]}, the "
                f"images' have {size}: they are of another model"
            )
        _write(scratch, vocabulary.name, phrases.names, t)
        return Product(rows=len(t), facts={"vocabulary": vocabulary.name}, shared={"size": size})


@dataclass
class _Model:
    embeddings: Artifact
    runtime: Runtime

    @cached_property
    def encoder(self) -> Encoder:
        """The model that made the images' embeddings."""
        return load_encoder_of(self.embeddings, self.runtime.files, self.runtime.device)


def _identity(model: Mapping[str, Any], runtime: Runtime) -> str:
    told = {name: model.get(name) for name in _OF_TEXT}
    if told["weights_digest"] is None and "weights" in runtime.files:
        # Embeddings made elsewhere do not say which weights made them, but a file does.
        told["weights_digest"] = digest_file(runtime.files["weights"])
    return digest_json(told)


def _write(scratch: Scratch, name: str, names: tuple[str, ...], t: np.ndarray) -> None:
    import pyarrow as pa

    spec = WORDS.files["rows"]
    assert isinstance(spec, Table)
    schema = spec.schema(vector_size=t.shape[1])
    flat = pa.array(t.astype(np.float16).reshape(-1))
    columns = [
        pa.array(names, type=schema.types[0]),
        pa.array([name] * len(names), type=schema.types[1]),
        pa.FixedSizeListArray.from_arrays(flat, type=schema.types[2]),
    ]
    write_table(scratch, "rows", pa.Table.from_arrays(columns, schema=schema))
