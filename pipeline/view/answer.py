"""Answers to questions about a run: the one path of a query from command, page and Python."""

from typing import TYPE_CHECKING, NamedTuple

from ...store import MissingError, QueryError
from .filters import allowed_rows
from .keys import row_of_key
from .opened_run import OpenedRun
from .query import Example, Question, check_vector, combine, embed_image, read_image
from .searcher import TARGET_RECALL, Hit, Searcher, describe_rows, has_faiss

if TYPE_CHECKING:
    import numpy as np


class Answer(NamedTuple):
    """The rows that answer a question, best first."""

    similarities: "np.ndarray"
    """(n,) cosines with the query, at most 1."""
    rows: "np.ndarray"
    """(n,) numbers over all parts."""
    query: "np.ndarray"
    """(1, d): what they were compared with."""


def open_searcher(run: OpenedRun, space: str) -> Searcher:
    """The searcher of a space.

    Without an index, or without FAISS, it compares every row. MissingError if the features are out
    of date, QueryError if the index is.
    """
    source = run.current(space)
    if source is None:
        run.artifact(space)
        raise MissingError(
            f"the {space} of run {run.record.name!r} are out of date: run `cpp-pipe project`"
        )
    return Searcher(source, run.find(f"index/{space}") if has_faiss() else None)


def answer(run: OpenedRun, question: Question, searcher: Searcher | None = None) -> Answer:
    """The rows that answer a question; QueryError if it cannot be answered."""
    import numpy as np

    space = question.where
    searcher = searcher or open_searcher(run, space)
    like, unlike = (
        [_vector(run, example, space, searcher) for example in examples]
        for examples in (question.like, question.unlike)
    )
    width = searcher.rows.width
    query = combine(np.concatenate(like), np.concatenate([np.empty((0, width)), *unlike]))
    allowed = None
    if question.is_filtered:
        assignments = run.current("assignments")
        allowed = allowed_rows(
            searcher.rows.source, assignments, question.clusters, question.min_confidence
        )
    similarities, rows = searcher.nearest(
        query,
        question.n,
        target_recall=question.target_recall or _default_recall(run),
        allowed=allowed,
    )
    # Rows are rounded to float16, so the cosine of a row with itself can exceed 1.
    return Answer(np.minimum(similarities, 1), rows, query)


def search_run(run: OpenedRun, question: Question, searcher: Searcher | None = None) -> list[Hit]:
    """The hits that answer a question, best first."""
    result = answer(run, question, searcher)
    return describe_rows(
        result.rows.tolist(),
        result.similarities.tolist(),
        run.artifact("embeddings"),
        run.current("assignments"),
        run.current("captions"),
        run.image,
    )


def _default_recall(run: OpenedRun) -> float:
    """The recall in the run's settings; older runs without it have the default."""
    return float(run.record.settings.get("index", {}).get("target_recall", TARGET_RECALL))


def _vector(run: OpenedRun, example: Example, space: str, searcher: Searcher) -> "np.ndarray":
    """The vector (1, d) of one example in a space."""
    if example.kind == "text":
        return run.encoder.texts([example.value])
    if example.kind in ("key", "row"):
        rows, row = searcher.rows.source.rows, example.value
        if example.kind == "key":
            row = row_of_key(run.artifact("embeddings"), row)
        elif not 0 <= row < rows:
            raise QueryError(f"row must be from 0 to {rows - 1}, got {row}")
        return searcher.rows.take([row])
    if example.kind == "vector":
        return check_vector(example.value, searcher.rows.width, space)
    image = read_image(
        example.value,
        example.name,
        at_least=run.encoder.at_least,
        upright=run.encoder.is_upright,
    )
    embedding = embed_image(run.encoder, image)
    return embedding if space == "embeddings" else run.refiner.refine(image, embedding)
