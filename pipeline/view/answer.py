"""Answers to questions about a run: the one path of a query from command, page and Python."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ...store import QueryError
from ..config import settings_of
from .applied_edits import open_edited
from .conditions import match_where
from .filters import allowed_rows
from .images import open_row
from .keys import row_of_key
from .opened_run import OpenedRun
from .query import Example, Question, check_vector, combine, embed_image, read_image
from .searcher import Hit, Searcher, describe_rows, has_faiss

if TYPE_CHECKING:
    import numpy as np

    from ...stages.edits.replay import Edited


Embed: TypeAlias = "Callable[[Example, str], np.ndarray | None]"
"""Gives the vector (1, d) of an image or a text in a space; None leaves it to the run's model."""


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
    source, slot = run.require_current(space), f"index/{space}"
    index = run.find(slot) if has_faiss() else None
    if index is not None and run.current(slot) is None:
        raise QueryError(run.explain_stale(slot))
    return Searcher(source, index)


def answer(
    run: OpenedRun,
    question: Question,
    searcher: Searcher | None = None,
    edited: "Edited | None" = None,
    embed: "Embed | None" = None,
) -> Answer:
    """The rows that answer a question; QueryError if it cannot be answered.

    `edited` are the decisions that the question names, where they are opened already; `embed` is
    asked for vectors before the run's own model is loaded.
    """
    import numpy as np

    space = question.where
    searcher = searcher or open_searcher(run, space)
    like, unlike = (
        [_vector(run, example, space, searcher, embed) for example in examples]
        for examples in (question.like, question.unlike)
    )
    width = searcher.rows.width
    query = combine(np.concatenate(like), np.concatenate([np.empty((0, width)), *unlike]))
    allowed = None
    if question.edits is not None and edited is None:
        edited = open_edited(run, question.edits)
    if question.needs_clusters:
        assignments = run.current("assignments")
        if assignments is None:
            is_old = run.find("assignments") is not None
            raise QueryError(
                run.explain_stale("assignments")
                if is_old
                else f"the run has no current clusters to filter by: run `{run.command('assign')}`"
            )
        allowed = allowed_rows(
            searcher.rows.source,
            assignments,
            question.clusters,
            question.min_confidence,
            edited,
        )
    if question.conditions:
        matches = match_where(run, question.conditions)
        allowed = matches if allowed is None else allowed & matches
    similarities, rows = searcher.nearest(
        query,
        question.n,
        target_recall=question.target_recall or default_recall(run),
        allowed=allowed,
    )
    # Rows are rounded to float16, so the cosine of a row with itself can exceed 1.
    return Answer(np.minimum(similarities, 1), rows, query)


def search_run(
    run: OpenedRun,
    question: Question,
    searcher: Searcher | None = None,
    embed: "Embed | None" = None,
) -> list[Hit]:
    """The hits that answer a question, best first."""
    edited = None if question.edits is None else open_edited(run, question.edits)
    result = answer(run, question, searcher, edited, embed)
    embeddings = run.artifact("embeddings")
    return describe_rows(
        result.rows.tolist(),
        result.similarities.tolist(),
        embeddings,
        run.show("assignments"),
        run.show("captions"),
        # Not `run.image`: once images are added, the row is that of another image.
        partial(open_row, embeddings, run.record.sources),
        edited,
    )


def default_recall(run: OpenedRun) -> float:
    """The recall in the run's settings; older runs without it have the default."""
    return settings_of(run.store, run.record).index.target_recall


def _vector(
    run: OpenedRun, example: Example, space: str, searcher: Searcher, embed: "Embed | None"
) -> "np.ndarray":
    """The vector (1, d) of one example in a space."""
    import numpy as np

    vector = None if embed is None else embed(example, space)
    if vector is not None and vector.shape == (1, searcher.rows.width):
        return vector
    if example.kind == "text":
        return run.encoder.texts([example.value])
    if example.kind in ("key", "row"):
        rows, row = searcher.rows.source.rows, example.value
        if example.kind == "key":
            row = row_of_key(run.artifact("embeddings"), row, example.flag)
        elif not 0 <= row < rows:
            raise QueryError(f"row must be from 0 to {rows - 1}, got {row}")
        return searcher.rows.take([row])
    if example.kind == "vector":
        vector = searcher.rows.as_row(np.asarray(example.value))
        return check_vector(vector, searcher.rows.width, space)
    image = read_image(
        example.value,
        example.name,
        flag=example.flag or "image",
        at_least=run.encoder.at_least,
        upright=run.encoder.is_upright,
    )
    embedding = embed_image(run.encoder, image)
    if space == "embeddings":
        return embedding
    return searcher.rows.join(*run.refiner.refine(image, embedding))
