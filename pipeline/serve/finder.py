"""Search as a server needs it: indexes stay open, and the model is loaded by the first query."""

import base64
import binascii
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Literal

from ...stages.indexing.vectors import VectorRows
from ...store import ConfigError, CppPipeError, MissingError, QueryError
from ..run import Run
from ..view.answer import Answer, answer
from ..view.query import Question
from ..view.searcher import Searcher
from .damage import reading
from .models import ModelState, Space
from .resident import Resident

if TYPE_CHECKING:
    import numpy as np

MOST_UPLOAD = 16 * 2**20
"""Bytes of a picture that is looked for: a photograph of 50 megapixels has less."""

MOST_PIXELS = 50_000_000
"""Pixels of it: 150 MB of RGB while it is decoded."""

_KEPT_TEXTS = 256

_ROLES: dict[str, str] = {"features": "z", "embeddings": "rows"}
"""The file of a part that holds the vectors of a space."""


class ModelTrouble(CppPipeError, RuntimeError):
    """The model that made the embeddings cannot be loaded here."""


class Model:
    """The model and the heads of a run, loaded when first needed; one query at a time."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._texts: OrderedDict[str, np.ndarray] = OrderedDict()
        self._state: Literal["not loaded", "loading", "ready", "failed"] = "not loaded"
        self._detail = ""

    @property
    def state(self) -> ModelState:
        """Whether it is in memory; answers at once."""
        return ModelState(state=self._state, detail=self._detail)

    def text(self, text: str) -> "np.ndarray":
        """The embedding (1, d) of a text."""
        with self._lock:
            found = self._texts.pop(text, None)
            if found is None:
                found = self._encoder().texts([text])
            self._texts[text] = found
            while len(self._texts) > _KEPT_TEXTS:
                self._texts.popitem(last=False)
            return found

    def picture(self, data: bytes, space: Space) -> "np.ndarray":
        """The embedding (1, d) of an encoded picture, or its features (1, 2p)."""
        from ...stages.sources.images.pixels import UndecodableImage, decode
        from ..view.query import embed_picture

        with self._lock:
            encoder = self._encoder()
            try:
                picture = decode(data, max_pixels=MOST_PIXELS, at_least=encoder.at_least).rgb
            except UndecodableImage as error:
                raise QueryError(
                    f"what was sent is no picture that can be decoded ({error.reason}: "
                    f"{error.detail}): JPEG, PNG, WebP, GIF, BMP and TIFF are"
                ) from error
            embedding = embed_picture(encoder, picture)
            if space == "embeddings":
                return embedding
            return self._run.refiner.refine(picture, embedding)

    def _encoder(self) -> Any:
        if self._state != "ready":
            self._state, self._detail = "loading", ""
            try:
                encoder = self._run.encoder
            except BaseException as error:
                self._state, self._detail = "failed", str(error)
                if isinstance(error, ConfigError):
                    raise ModelTrouble(str(error)) from error
                raise
            self._state, self._detail = "ready", str(encoder.identity["model"])
        return self._run.encoder


class Finder:
    """Answers to questions about a run whose files stay open. Any thread may ask."""

    def __init__(self, run: Run, resident: Resident) -> None:
        self._run = run
        self._resident = resident
        self.model = Model(run)
        self._lock = threading.Lock()
        self._vectors: dict[str, VectorRows] = {}
        self._searchers: dict[str, Searcher] = {}
        spaces: tuple[Space, ...] = ("features", "embeddings")
        self.spaces: list[Space] = [one for one in spaces if run.current(one) is not None]
        """Where can be searched."""

    def read(self, rows: "np.ndarray", space: Space) -> "np.ndarray":
        """Vectors (m, d) of rows, float16, in any order."""
        vectors = self._rows(space)
        with reading(vectors.source):
            return vectors.take(rows)

    def of_token(self, token: str, space: Space) -> "np.ndarray":
        """The vector (d,) that `to_token` wrote; QueryError for any other text."""
        import numpy as np

        size = self._rows(space).width
        try:
            data = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise QueryError("vector is not the base64 of anything") from error
        if len(data) != 2 * size:
            raise QueryError(
                f"vector holds {len(data)} bytes, those of {space} have {size} numbers of two bytes"
            )
        return np.frombuffer(data, "<f2").astype(np.float32)

    def answer(self, question: Question) -> Answer:
        """The rows that answer a question, as `Run.search` finds them."""
        searcher = self._searcher(question.where)
        with reading(searcher.rows.source):
            found = answer(self._run, question, searcher)
        self._resident.bound()
        return found

    def _rows(self, space: str) -> VectorRows:
        """The vectors of a space: opened once, whether or not its index can be used."""
        if space not in self.spaces:
            raise MissingError(f"the {space} of the run are out of date: run `cpp-pipe project`")
        with self._lock:
            if space not in self._vectors:
                source = self._run.current(space)
                assert source is not None, "it is one of the spaces"
                with reading(source):
                    self._resident.add(source.path(source.parts[0].name, _ROLES[space]).parent)
                    self._vectors[space] = VectorRows(source)
            return self._vectors[space]

    def _searcher(self, space: str) -> Searcher:
        """What finds rows of a space: opened once, with its index mapped."""
        vectors = self._rows(space)
        with self._lock, reading(vectors.source):
            if space not in self._searchers:
                searcher = self._run.searcher(space)
                index = self._run.find(f"index/{space}")
                if index is not None:
                    self._resident.add(index.path(index.parts[0].name, "index").parent)
                self._searchers[space] = searcher
            return self._searchers[space]


def to_token(vector: "np.ndarray") -> str:
    """A vector (1, d) as text for an address: base64 of its float16 numbers."""
    return base64.b64encode(vector[0].astype("<f2").tobytes(), altchars=b"-_").decode()
