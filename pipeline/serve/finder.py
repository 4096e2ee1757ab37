"""Search for a server: indexes stay open, and the first query loads the model."""

import base64
import binascii
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from ...stages.indexing.vectors import VectorRows
from ...store import Artifact, ConfigError, CppPipeError, QueryError
from ...store.residency import Residency
from ..run import Run
from ..view.answer import Answer, answer, default_recall
from ..view.chance import chance_similarity
from ..view.query import Example, Question, describe_cuts
from ..view.searcher import Searcher
from .damage import reading
from .models import MAX_TEXT, ModelState, QueryVector, Space

if TYPE_CHECKING:
    from ...stages.edits.replay import Edited

MAX_UPLOAD_BYTES = 16 * 2**20
"""Of an image to search with: a photograph of 50 megapixels has less."""

MAX_UPLOAD_PIXELS = 50_000_000
"""Of that image: 150 MB of RGB while it is decoded."""

_CACHED_TEXTS = 256

_READ_ROWS = 2_000
"""Rows read before memory is released: a row that is mapped brings 64 KiB around it."""


class ModelUnavailable(CppPipeError, RuntimeError):
    """The model that made the embeddings cannot be loaded here."""


class Model:
    """The model and the heads of a run, loaded on first use; one query at a time."""

    def __init__(self, run: Run, join: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        self._run, self._join = run, join
        self._lock = threading.Lock()
        self._texts: OrderedDict[str, np.ndarray] = OrderedDict()
        self._state: Literal["not loaded", "loading", "ready", "failed"] = "not loaded"
        self._detail = ""

    @property
    def state(self) -> ModelState:
        """Whether the model is in memory; returns at once."""
        return ModelState(state=self._state, detail=self._detail)

    def embed_text(self, text: str) -> np.ndarray:
        """The embedding (1, d) of a text."""
        with self._lock:
            embedding = self._texts.pop(text, None)
            if embedding is None:
                embedding = self._encoder().texts([text])
            self._texts[text] = embedding
            while len(self._texts) > _CACHED_TEXTS:
                self._texts.popitem(last=False)
            return embedding

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """The embeddings (n, d) of texts; they are not kept."""
        with self._lock:
            return self._encoder().texts(list(texts))

    def describe_cuts(self, texts: Sequence[str]) -> list[str]:
        """A sentence for each text that is too long for the model, which reads its beginning."""
        examples = tuple(Example(kind="text", value=text) for text in texts)
        if not examples:
            return []  # and the model is not loaded
        with self._lock:
            return describe_cuts(self._encoder(), Question(like=examples))

    def embed_image(self, data: bytes, space: Space) -> np.ndarray:
        """The embedding (1, d) of an encoded image, or its features as `VectorRows` joins them."""
        from ...stages.sources.images.pixels import UndecodableImage, decode
        from ..view.query import embed_image

        with self._lock:
            encoder = self._encoder()
            try:
                pixels = decode(
                    data,
                    max_pixels=MAX_UPLOAD_PIXELS,
                    at_least=encoder.at_least,
                    upright=encoder.is_upright,
                ).rgb
            except UndecodableImage as error:
                raise QueryError(
                    f"the image cannot be decoded ({error.reason}: {error.detail}): it must be a "
                    "JPEG, PNG, WebP, GIF, BMP, TIFF or another image that Pillow reads"
                ) from error
            embedding = embed_image(encoder, pixels)
            if space == "embeddings":
                return embedding
            return self._join(*self._run.refiner.refine(pixels, embedding))

    def describe_query(
        self, data: bytes, kind: Literal["image", "text"], space: Space
    ) -> QueryVector:
        """An encoded image, or a text in UTF-8, as a vector; QueryError if it is neither."""
        notes: list[str] = []
        if kind == "image":
            vector = self.embed_image(data, space)
        else:
            try:
                text = data.decode()
            except UnicodeDecodeError as error:
                raise QueryError("a text must be UTF-8") from error
            if len(text) > MAX_TEXT:
                raise QueryError(f"a text has at most {MAX_TEXT} characters")
            text = Example(kind="text", value=text).value
            vector, notes = self.embed_text(text), self.describe_cuts([text])
        numbers = np.asarray(vector[0], "<f4").tobytes()
        return QueryVector(vector=base64.b64encode(numbers).decode(), notes=notes)

    def _encoder(self) -> Any:
        if self._state != "ready":
            self._state, self._detail = "loading", ""
            try:
                encoder = self._run.encoder
            except BaseException as error:
                self._state, self._detail = "failed", str(error)
                if isinstance(error, ConfigError):
                    raise ModelUnavailable(str(error)) from error
                raise
            self._state, self._detail = "ready", str(encoder.identity["model"])
        return self._run.encoder


class Finder:
    """Answers questions about a run whose files stay open. Safe to call from any thread."""

    def __init__(self, run: Run, residency: Residency) -> None:
        self._run = run
        self._residency = residency
        self.model = Model(run, self._join)
        self._lock = threading.Lock()
        self._chance: float | None = None
        self._chance_lock = threading.Lock()
        self._vectors: dict[str, VectorRows] = {}
        self._searchers: dict[str, Searcher] = {}
        self._indexes: dict[str, Artifact] = {}
        spaces: tuple[Space, ...] = ("features", "embeddings")
        self._sources: dict[Space, Artifact] = {}
        for space in spaces:
            source = run.current(space)
            if source is not None:
                self._sources[space] = source
        self.spaces: list[Space] = list(self._sources)
        """The spaces that can be searched."""

    def read(self, rows: np.ndarray, space: Space) -> np.ndarray:
        """Vectors (m, d) of rows, float16, in any order."""
        vectors = self._open_vectors(space)
        # Neighbouring rows together: each block maps a part of the files.
        order = np.argsort(rows, kind="stable")
        found = np.empty((len(rows), vectors.width), np.float16)
        with reading(vectors.source):
            for first in range(0, len(order), _READ_ROWS):
                block = order[first : first + _READ_ROWS]
                found[block] = vectors.take(rows[block])
                self._residency.trim()
        return found

    def decode_vector(self, token: str, space: Space) -> np.ndarray:
        """The vector (d,) that `encode_vector` wrote; QueryError for any other text.

        It may be of another width that `VectorRows.as_row` takes: addresses are shared.
        """
        rows = self._open_searcher(space).rows
        width = rows.width
        try:
            data = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise QueryError("vector is not valid base64") from error
        if len(data) not in [2 * size for size in rows.query_widths]:
            raise QueryError(
                f"vector must have {2 * width} bytes in {space} ({width} numbers of float16), got "
                f"{len(data)}"
            )
        return np.frombuffer(data, "<f2").astype(np.float32)

    def answer(self, question: Question, edited: "Edited | None" = None) -> Answer:
        """The rows that answer a question, as `Run.search` finds them.

        `edited` are the decisions that the question names.
        """
        space = cast(Space, question.where)
        question = replace(question, target_recall=question.target_recall or self._default_recall)
        searcher, index = self._open_searcher(space), self._indexes.get(space)
        with reading(searcher.rows.source), reading(index or searcher.rows.source):
            hits = answer(self._run, question, searcher, edited)
        self._residency.trim()
        return hits

    @cached_property
    def _default_recall(self) -> float:
        return default_recall(self._run)

    def chance(self) -> float | None:
        """The similarity to texts that says nothing (`chance_similarity`); computed once.

        None where texts cannot be compared.
        """
        if "embeddings" not in self._sources or self.model.state.state != "ready":
            return None
        with self._chance_lock:
            if self._chance is None:
                searcher = self._open_searcher("embeddings")
                with reading(searcher.rows.source):
                    self._chance = chance_similarity(self.model.embed_texts, searcher)
            return self._chance

    def _join(self, z: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Features and cluster features (1, p) as the searched rows have them."""
        return self._open_searcher("features").rows.join(z, c)

    def _open_vectors(self, space: Space) -> VectorRows:
        """The vectors of a space, opened once; they need no index."""
        if space not in self._sources:
            self._run.require_current(space)
        with self._lock:
            if space not in self._vectors:
                source = self._sources[space]
                with reading(source):
                    self._vectors[space] = VectorRows(source)
            return self._vectors[space]

    def _open_searcher(self, space: Space) -> Searcher:
        """The searcher of a space, opened once with its index mapped."""
        vectors = self._open_vectors(space)
        with self._lock, reading(vectors.source):
            if space not in self._searchers:
                searcher = self._run.searcher(space)
                index = self._run.current(f"index/{space}")
                if index is not None:
                    self._indexes[space] = index
                self._searchers[space] = searcher
            return self._searchers[space]


def encode_vector(vector: np.ndarray) -> str:
    """A vector (1, d) as text for an address: base64 of float16 numbers."""
    return base64.b64encode(vector[0].astype("<f2").tobytes(), altchars=b"-_").decode()
