"""Pictures that are looked for, refined as the rows of a run were."""

from functools import cached_property
from typing import TYPE_CHECKING

from ...stages.encoder import Encoder, load_encoder_of
from ...stages.indexing.vectors import join_features
from ...stages.project import load_heads, refine
from ...stages.views import GUIDE, encoders_needed, join_views, read_guide
from ...store import Artifact, MissingError, Store
from ...store.kinds import EMBEDDINGS, VIEWS, WORDS
from ..config import Settings
from ..making.sources import model_files
from .query import embed_picture

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

    from ...stages.algorithms.heads import Heads


class Refiner:
    """The heads of a run, with all that they need to see of a picture beside its embedding."""

    def __init__(self, store: Store, heads: Artifact, device: str) -> None:
        self._store, self._artifact, self._device = store, heads, device

    def refine(self, picture: "Image.Image", embedding: "np.ndarray") -> "np.ndarray":
        """What a picture is compared by in `features` (1, 2p); `embedding` is its own (1, d).

        ConfigError or MissingError where the model of another run is needed and not at hand.
        """
        if self._views is not None:
            others = [embed_picture(encoder, picture) for encoder in self._encoders]
            embedding = join_views(embedding, others, self._guide, self._device)
        return join_features(*refine(self._heads, embedding, self._device))

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
        """The model that made some embeddings, whose local files the run that has them names."""
        if run not in self._store.runs.names():
            raise MissingError(
                f"heads see pictures by the model of run {run!r} too, which the store "
                f"{self._store.root} does not hold any more: search by --key or in embeddings"
            )
        record = self._store.runs.read(run)
        settings = Settings.from_tables(record.settings, f"run {run}")
        files = model_files(settings.embed)
        return load_encoder_of(self._store.open(EMBEDDINGS, version), files, self._device)
