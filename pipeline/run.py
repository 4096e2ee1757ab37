"""A run, as Python sees it: its artifacts, and search over them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..store import Artifact, ConfigError, MissingError, QueryError, RunRecord, Store
from ..store.kinds import KINDS
from . import local_files
from .config import Settings
from .device import find_device
from .search import Hit, describe_rows, has_faiss, nearest

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from ..stages.encoder import Encoder


class Run:
    """A named run of a store, opened for reading."""

    def __init__(self, store: Store, record: RunRecord, device: str = "auto") -> None:
        self.store = store
        self.record = record
        self.device = device
        self._encoder: Encoder | None = None

    @classmethod
    def open(cls, store: Store | str | Path, name: str = "default", device: str = "auto") -> Self:
        """Opens a run by its name; MissingError when the store has none of that name."""
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
        kind = KINDS[slot.partition("/")[0]]
        return self.store.find(kind, version) if version else None

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
        """What a slot holds, if it was made from what the run's other slots hold now."""
        found = self.find(slot)
        if found is None:
            return None
        now = self.record.versions
        inputs = found.manifest.inputs
        return found if all(now.get(kind) == inputs[kind].version for kind in inputs) else None

    @property
    def encoder(self) -> "Encoder":
        """The model that made the run's embeddings, loaded on first use."""
        from ..stages.encoder import load_encoder_of

        if self._encoder is None:
            settings = Settings.from_tables(self.record.settings, f"run {self.record.name}")
            files = local_files.model_files(settings.embed)
            device = find_device(self.device)
            self._encoder = load_encoder_of(self.artifact("embeddings"), files, device)
        return self._encoder

    def search(
        self,
        *,
        image: "str | Path | Image.Image | None" = None,
        text: str | None = None,
        key: str | None = None,
        vector: "Sequence[float] | np.ndarray | None" = None,
        space: str | None = None,
        n: int = 10,
    ) -> list[Hit]:
        """The n rows that are nearest to one query, best first.

        `space` is `features` (refined; the default, but for texts) or `embeddings` (raw, where
        texts are). A vector must have the size of the space. Raises QueryError for a query that
        cannot be answered.
        """
        given = [one for one in (image, text, key, vector) if one is not None]
        if len(given) != 1:
            raise QueryError(f"one query is needed, {len(given)} were given")
        if n < 1:
            raise ConfigError(f"n = {n} is not allowed: 1 or more is")
        space = space or ("embeddings" if text is not None else "features")
        if text is not None and space != "embeddings":
            raise QueryError("a text has no refined features: it is looked for in `embeddings`")
        source = self.current(space)
        if source is None:
            self.artifact(space)
            raise MissingError(
                f"the {space} of run {self.record.name!r} are older than the embeddings or heads "
                "that it has now: `cpp-pipe project` makes them anew"
            )
        query = self._vector(image, text, key, vector, space)
        index = self.current(f"index/{space}") if has_faiss() else None
        role = "z" if space == "features" else "embedding"
        similarities, rows = nearest(query, source, role, index, n)
        return describe_rows(
            rows.tolist(),
            similarities.tolist(),
            self.artifact("embeddings"),
            self.current("assignments"),
            self.current("captions"),
        )

    def _vector(
        self, image: Any, text: str | None, key: str | None, vector: Any, space: str
    ) -> "np.ndarray":
        import numpy as np

        from ..stages.gather import EMBEDDING, gather_rows
        from . import query

        embeddings = self.artifact("embeddings")
        if text is not None:
            return self.encoder.texts([text])
        if key is not None:
            row = query.row_of_key(embeddings, key)
            role = "z" if space == "features" else EMBEDDING
            return gather_rows(self.artifact(space), role, [row])
        if vector is not None:
            return _check_vector(np.asarray(vector, np.float32), self.artifact(space), space)
        picture = query.read_picture(image, self.encoder.at_least)
        embedding = query.embed_picture(self.encoder, picture)
        if space == "embeddings":
            return embedding
        return query.refine_query(self.artifact("heads"), embedding, find_device(self.device))

    def picture(self, row: int) -> "Image.Image":
        """The picture of a row, read out of its shard."""
        from .pictures import open_row

        return open_row(self.artifact("embeddings"), self.record.sources, row)


def _check_vector(vector: "np.ndarray", source: Artifact, space: str) -> "np.ndarray":
    import numpy as np

    facts = source.facts
    size = facts["feature_size"] if space == "features" else facts["model"]["embedding_size"]
    length = float(np.linalg.norm(vector))
    if vector.shape != (size,) or not np.isfinite(length) or length == 0:
        raise QueryError(
            f"a vector of shape {vector.shape} and length {length:g} is no query: ({size},) is "
            f"the shape of {space}, and its length must be finite and not 0"
        )
    return (vector / length)[None]


def search(
    *, store: Store | str | Path = "artifacts", run: str = "default", **query: Any
) -> list[Hit]:
    """Searches a run: `search(text="a red car", n=5)`; see `Run.search` for the queries."""
    return Run.open(store, run).search(**query)
