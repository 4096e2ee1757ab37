"""A run as Python sees it: its artifacts, and search over them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..store import ConfigError, RunRecord, Store
from ..store.paths import StorePath
from .view.answer import open_searcher, search_run
from .view.opened_run import OpenedRun
from .view.query import Question, describe_cuts, examples
from .view.scores import read_score
from .view.searcher import Hit, Searcher

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from .edits.editor import Editor
log = logging.getLogger(__name__)

AnyImage: TypeAlias = "str | Path | bytes | Image.Image"
"""A path, a file:// URL, `-` for standard input, encoded bytes, or an image that Pillow opened."""


class Run(OpenedRun):
    """A named run of a store, opened for reading and searching."""

    def __init__(self, store: Store, record: RunRecord, device: str = "auto") -> None:
        super().__init__(store, record, device)
        self._searchers: dict[str, Searcher] = {}

    def search(
        self,
        *,
        image: "AnyImage | Sequence[AnyImage] | None" = None,
        text: str | Sequence[str] | None = None,
        key: str | Sequence[str] | None = None,
        vector: "Sequence[float] | np.ndarray | None" = None,
        unlike: Mapping[str, Any] | None = None,
        space: str | None = None,
        n: int = 10,
        cluster: int | Sequence[int] = (),
        min_confidence: float | None = None,
        target_recall: float | None = None,
        edits: str | None = None,
        where: str | Sequence[str] = (),
    ) -> list[Hit]:
        """The n rows that are nearest to what is given, best first.

        Each of image, text, key and vector is one, or several in a list. `unlike` holds examples by
        the same names that hits are kept away from: `unlike={"text": "a drawing"}`. `space` is
        `features` (refined: z and c side by side; the default, but for texts) or `embeddings` (raw,
        where texts are), whose size a vector has. `cluster` and `min_confidence` say which rows may
        be found; `edits` applies decisions (sealed under a name, or `open`): clusters and captions
        are the decided ones, and excluded rows are not found. `where` is a condition on scores,
        columns or fields, such as `"sharpness > 2"`, or several. An index stays open from one
        search to the next. Raises QueryError for a query that cannot be answered.
        """
        question = Question(
            like=examples({"image": image, "text": text, "key": key, "vector": vector}),
            unlike=examples({} if unlike is None else unlike),
            space=space,
            n=n,
            clusters=tuple(cluster) if isinstance(cluster, Iterable) else (cluster,),
            min_confidence=min_confidence,
            target_recall=target_recall,
            edits=edits,
            conditions=(where,) if isinstance(where, str) else tuple(where),
        )
        hits = search_run(self, question, self.searcher(question.where))
        for line in describe_cuts(self.encoder, question) if question.has_text else ():
            log.warning("%s", line)
        return hits

    def scores(self, name: str) -> "np.ndarray":
        """A score of each image, float32 (n,), in row order; NaN where an image was unreadable.

        `sharpness` and others that `cpp-pipe score` measures, or the name of a score of its own.
        ConfigError for an unknown one, MissingError for one that is not made, or out of date.
        """
        return read_score(self, name)

    @property
    def edits(self) -> "Editor":
        """Decisions about the run: `run.edits.name(12, "steam engines")`."""
        from .edits.editor import Editor

        return Editor(self)

    def searcher(self, space: str) -> Searcher:
        """What finds rows of a space, opened once; raises what `open_searcher` does."""
        if not isinstance(space, str) or space not in ("features", "embeddings"):
            raise ConfigError(f"space must be 'features' or 'embeddings', got {space!r}")
        if space not in self._searchers:
            self._searchers[space] = open_searcher(self, space)
        return self._searchers[space]


def search(
    *, store: "Store | str | StorePath" = "artifacts", run: str = "default", **query: Any
) -> list[Hit]:
    """Searches a run: `search(text="a red car", n=5)`; see `Run.search` for the queries."""
    return Run.open(store, run).search(**query)
