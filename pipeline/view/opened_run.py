"""A run that is opened for reading: what it refers to, and the models that made it."""

import reprlib
from functools import cached_property
from typing import TYPE_CHECKING, Self

from ...stages.encoder import load_encoder_of
from ...store import Artifact, MissingError, RunRecord, Store
from ...store.manifest import MANIFEST, Input
from ...store.paths import StorePath
from ...store.runs import kind_of
from ..config import Settings
from ..device import find_device
from ..making.sources import model_files
from .images import open_row
from .refiner import Refiner

if TYPE_CHECKING:
    from PIL import Image

    from ...stages.encoder import Encoder


class OpenedRun:
    """A named run of a store, opened for reading: its artifacts, its model and its heads."""

    def __init__(self, store: Store, record: RunRecord, device: str = "auto") -> None:
        self.store = store
        self.record = record
        self.device = device
        self._encoder: Encoder | None = None

    @classmethod
    def open(
        cls, store: "Store | str | StorePath", name: str = "default", device: str = "auto"
    ) -> Self:
        """Opens a run by its name; MissingError when the store has none of that name.

        `store` may be a path, or an address such as s3://bucket/path.
        """
        store = store if isinstance(store, Store) else Store(store)
        if not isinstance(name, str) or name not in store.runs.names():
            there = ", ".join(store.runs.names()) or "none"
            raise MissingError(
                f"the store {store.root} has no run {reprlib.repr(name)}, its runs are: {there}; "
                "`cpp-pipe embed` begins one"
            )
        return cls(store, store.runs.read(name), device)

    def find(self, slot: str) -> Artifact | None:
        """What the run refers to in a slot (`embeddings`, `index/features`), or None."""
        kind, version = kind_of(slot), self.record.versions.get(slot)
        return self.store.find(kind, version) if version else None

    def artifact(self, slot: str) -> Artifact:
        """What the run refers to in a slot; MissingError where there is nothing yet."""
        artifact = self._find_kept(slot)
        if artifact is None:
            raise MissingError(
                f"run {self.record.name!r} of the store {self.store.root} has no {slot} yet: "
                "`cpp-pipe status` shows what there is"
            )
        return artifact

    def current(self, slot: str) -> Artifact | None:
        """What a slot holds, if it was made from what the run's other slots hold now; else None.

        MissingError where the run refers to something that the store has lost.

        Contents count, and not versions: the same bytes may have been made in two ways.
        """
        artifact = self._find_kept(slot)
        if artifact is None:
            return None
        inputs = artifact.manifest.inputs
        return artifact if all(self._holds(kind, inputs[kind]) for kind in inputs) else None

    def _find_kept(self, slot: str) -> Artifact | None:
        """What `find` finds; MissingError where the store has lost what the run refers to."""
        artifact, version = self.find(slot), self.record.versions.get(slot)
        if artifact is None and version:
            folder = self.store.folder(kind_of(slot), version)
            raise MissingError(
                f"run {self.record.name!r} refers to {folder}, whose {MANIFEST} is missing: "
                f"restore it, or make {slot} again with the command that made it"
            )
        return artifact

    def _holds(self, slot: str, used: Input) -> bool:
        # Views follow from other slots alone, and are out of date when these hold something else.
        if slot == "views" and self.current(slot) is None:
            return False
        if self.record.versions.get(slot) == used.version:
            return True
        held = self.find(slot)
        return held is not None and held.content == used.content

    @property
    def encoder(self) -> "Encoder":
        """The model that made the run's embeddings, loaded on first use."""
        if self._encoder is None:
            settings = Settings.from_tables(self.record.settings, f"run {self.record.name}")
            files = model_files(settings.embed)
            device = find_device(self.device)
            self._encoder = load_encoder_of(self.artifact("embeddings"), files, device)
        return self._encoder

    @cached_property
    def refiner(self) -> "Refiner":
        """The heads of the run, loaded on first use."""
        return Refiner(self.store, self.artifact("heads"), find_device(self.device))

    def image(self, row: int) -> "Image.Image":
        """The image of a row, read from its shard, folder or table; RowError if there is none."""
        return open_row(self.artifact("embeddings"), self.record.sources, row)
