"""Query images, refined as the rows of a run were."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...stages.encoding.encoder import Encoder, load_encoder_of
from ...stages.project import load_heads, refine
from ...stages.views import GUIDE, encoders_needed, join_views, read_guide
from ...store import Artifact, MissingError, Store
from ...store.kinds import EMBEDDINGS, VIEWS, WORDS
from ..config import settings_of
from ..making.sources import model_files
from .query import embed_image

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ...stages.algorithms.heads import Heads


class Refiner:
    """The heads of a run, and the models whose views of an image they take."""

    def __init__(self, store: Store, heads: Artifact, device: str) -> None:
        self._store, self._artifact, self._device = store, heads, device

    def refine(self, image: "Image.Image", embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features and cluster features (1, p) of an image; `embedding` is its embedding (1, d).

        ConfigError or MissingError if the model of another run is needed and cannot be loaded.
        """
        if self._views is not None:
            others = [embed_image(encoder, image) for encoder in self._encoders]
            embedding = join_views(embedding, others, self._guide, self._device)
        return refine(self._heads, embedding, self._device)

    @cached_property
    def _heads(self) -> "Heads":
        return load_heads(self._artifact, self._device)

    @cached_property
    def _views(self) -> Artifact | None:
        used = self._artifact.manifest.inputs.get("views")
        return self._store.open(VIEWS, used.version) if used else None

    @cached_property
    def _guide(self) -> "torch.Tensor | None":
        assert self._views is not None
        used = self._views.manifest.inputs.get(GUIDE)
        words = self._store.open(WORDS, used.version) if used else None
        return read_guide(words, self._device)

    @cached_property
    def _encoders(self) -> list[Encoder]:
        """The models of the other runs, in the order of their views."""
        assert self._views is not None
        return [
            self._encoder(run, version) for run, version in encoders_needed(self._views).items()
        ]

    def _encoder(self, run: str, version: str) -> Encoder:
        """The model that made the embeddings of a run; the run's settings name its local files."""
        if run not in self._store.runs.names():
            raise MissingError(
                f"the heads need the model of run {run!r}, which the store {self._store.root} no "
                "longer holds: search by --key or in embeddings"
            )
        settings = settings_of(self._store, self._store.runs.read(run))
        files = model_files(settings.embed)
        return load_encoder_of(self._store.open(EMBEDDINGS, version), files, self._device)
