"""A run, as Python sees it: its artifacts, and search over them."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from ..store import Artifact, MissingError, RunRecord, Store
from ..store.manifest import Input
from ..store.paths import StorePath
from ..store.runs import kind_of
from .config import Settings
from .device import find_device
from .making.sources import model_files
from .view.answer import open_searcher, search_run
from .view.query import Question, examples
from .view.searcher import Hit, Searcher

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from ..stages.encoder import Encoder
    from .view.refiner import Refiner

Picture: TypeAlias = "str | Path | bytes | Image.Image"
"""A path, a file:// URL, `-` for standard input, encoded bytes, or what Pillow opened."""


class Run:
    """A named run of a store, opened for reading."""

    def __init__(self, store: Store, record: RunRecord, device: str = "auto") -> None:
        self.store = store
        self.record = record
        self.device = device
        self._encoder: Encoder | None = None
        self._searchers: dict[str, Searcher] = {}

    @classmethod
    def open(
        cls, store: "Store | str | StorePath", name: str = "default", device: str = "auto"
    ) -> Self:
        """Opens a run by its name; MissingError when the store has none of that name.

        `store` may be a path, or an address such as s3://bucket/path.
        """
        store = store if isinstance(store, Store) else Store(store)
        if name not in store.runs.names():
            there = ", ".join(store.runs.names()) or "none"
            raise MissingError(
                f"the store {store.root} has no run {name!r}, its runs are: {there}; "
                "`cpp-pipe embed` begins one"
            )
        return cls(store, store.runs.read(name), device)

    def find(self, slot: str) -> Artifact | None:
        """What the run refers to in a slot (`embeddings`, `index/features`), or None."""
        version = self.record.versions.get(slot)
        return self.store.find(kind_of(slot), version) if version else None

    def artifact(self, slot: str) -> Artifact:
        """What the run refers to in a slot; MissingError where there is nothing yet."""
        found = self.find(slot)
        if found is None:
            raise MissingError(
                f"run {self.record.name!r} of the store {self.store.root} has no {slot} yet: "
                "`cpp-pipe status` shows what there is"
            )
        return found

    def current(self, slot: str) -> Artifact | None:
        """What a slot holds, if it was made from what the run's other slots hold now.

        Contents count, and not versions: the same bytes may have been made in two ways.
        """
        found = self.find(slot)
        if found is None:
            return None
        inputs = found.manifest.inputs
        return found if all(self._holds(kind, inputs[kind]) for kind in inputs) else None

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
        from ..stages.encoder import load_encoder_of

        if self._encoder is None:
            settings = Settings.from_tables(self.record.settings, f"run {self.record.name}")
            files = model_files(settings.embed)
            device = find_device(self.device)
            self._encoder = load_encoder_of(self.artifact("embeddings"), files, device)
        return self._encoder

    @cached_property
    def refiner(self) -> "Refiner":
        """The heads of the run, loaded on first use."""
        from .view.refiner import Refiner

        return Refiner(self.store, self.artifact("heads"), find_device(self.device))

    def search(
        self,
        *,
        image: "Picture | Sequence[Picture] | None" = None,
        text: str | Sequence[str] | None = None,
        key: str | Sequence[str] | None = None,
        vector: "Sequence[float] | np.ndarray | None" = None,
        unlike: Mapping[str, Any] | None = None,
        space: str | None = None,
        n: int = 10,
        cluster: int | Sequence[int] = (),
        min_confidence: float | None = None,
        target_recall: float | None = None,
    ) -> list[Hit]:
        """The n rows that are nearest to what is given, best first.

        Each of image, text, key and vector is one, or several in a list. `unlike` holds examples by
        the same names that hits are kept away from: `unlike={"text": "a drawing"}`. `space` is
        `features` (refined: z and c side by side; the default, but for texts) or `embeddings` (raw,
        where texts are), whose size a vector has. `cluster` and `min_confidence` say which rows may
        be found. An index stays open from one search to the next. Raises QueryError for a query
        that cannot be answered.
        """
        question = Question(
            like=examples({"image": image, "text": text, "key": key, "vector": vector}),
            unlike=examples(unlike or {}),
            space=space,
            n=n,
            clusters=(cluster,) if isinstance(cluster, int) else tuple(cluster),
            min_confidence=min_confidence,
            target_recall=target_recall,
        )
        return search_run(self, question, self.searcher(question.where))

    def searcher(self, space: str) -> Searcher:
        """What finds rows of a space, opened once; raises what `open_searcher` does."""
        if space not in self._searchers:
            self._searchers[space] = open_searcher(self, space)
        return self._searchers[space]

    def picture(self, row: int) -> "Image.Image":
        """The picture of a row, read out of its shard."""
        from .view.images import open_row

        return open_row(self.artifact("embeddings"), self.record.sources, row)


def search(
    *, store: "Store | str | StorePath" = "artifacts", run: str = "default", **query: Any
) -> list[Hit]:
    """Searches a run: `search(text="a red car", n=5)`; see `Run.search` for the queries."""
    return Run.open(store, run).search(**query)
