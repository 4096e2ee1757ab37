"""The model that embeds texts for some embeddings: its identity, and the model, loaded on use."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...store import Artifact
from ...store.digest import digest_file, digest_json
from ...store.kinds import OF_TEXT
from ..contract import Runtime
from .encoder import Encoder, load_encoder_of
from .models.loaded_model import require_texts


@dataclass
class TextModel:
    """The model that made some embeddings, on the device of a runtime."""

    embeddings: Artifact
    runtime: Runtime

    @cached_property
    def encoder(self) -> Encoder:
        """The model, loaded on first use."""
        return load_encoder_of(self.embeddings, self.runtime.files, self.runtime.device)


def identify_text_model(model: Mapping[str, Any], runtime: Runtime) -> str:
    """A digest of all that decides the embeddings of texts, from the facts of a model.

    ConfigError if it embeds images alone.
    """
    require_texts(str(model.get("model")))
    identity = {name: model.get(name) for name in OF_TEXT}
    if identity["weights_digest"] is None and "weights" in runtime.files:
        # Imported embeddings do not record which weights made them.
        identity["weights_digest"] = digest_file(runtime.files["weights"])
    return digest_json(identity)
