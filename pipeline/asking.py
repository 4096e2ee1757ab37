"""Questions to a run: examples become a vector, which is looked for among the rows that may be."""

from typing import TYPE_CHECKING

from ..store import MissingError
from .filters import allowed_rows
from .query import (
    Example,
    Question,
    check_vector,
    combine,
    embed_picture,
    read_picture,
    row_of_key,
)
from .search import TARGET_RECALL, Hit, Searcher, describe_rows, has_faiss

if TYPE_CHECKING:
    import numpy as np

    from .run import Run


def open_searcher(run: "Run", space: str) -> Searcher:
    """What finds rows of a space; MissingError where the run has none of its heads of now.

    Without an index, or without FAISS, every row is compared. QueryError where the index was made
    of other rows.
    """
    source = run.current(space)
    if source is None:
        run.artifact(space)
        raise MissingError(
            f"the {space} of run {run.record.name!r} are older than the embeddings or heads "
            "that it has now: `cpp-pipe project` makes them anew"
        )
    return Searcher(source, run.find(f"index/{space}") if has_faiss() else None)


def search_run(run: "Run", question: Question, searcher: Searcher | None = None) -> list[Hit]:
    """The rows that answer a question, best first; QueryError where it cannot be answered."""
    import numpy as np

    space = question.where
    searcher = searcher or open_searcher(run, space)
    like, unlike = (
        [_vector(run, one, space, searcher) for one in some]
        for some in (question.like, question.unlike)
    )
    width = searcher.rows.width
    query = combine(np.concatenate(like), np.concatenate([np.empty((0, width)), *unlike]))
    assignments = run.current("assignments")
    allowed = allowed_rows(
        searcher.rows.source, assignments, question.clusters, question.min_confidence
    )
    similarities, rows = searcher.nearest(
        query,
        question.n,
        target_recall=question.target_recall or _usual_recall(run),
        allowed=allowed,
    )
    return describe_rows(
        rows.tolist(),
        similarities.tolist(),
        run.artifact("embeddings"),
        assignments,
        run.current("captions"),
        run.picture,
    )


def _usual_recall(run: "Run") -> float:
    """That of the run's settings; runs that were begun before there was one have the default."""
    return float(run.record.settings.get("index", {}).get("target_recall", TARGET_RECALL))


def _vector(run: "Run", example: Example, space: str, searcher: Searcher) -> "np.ndarray":
    """The vector (1, d) of one example in a space."""
    if example.kind == "text":
        return run.encoder.texts([example.value])
    if example.kind == "key":
        row = row_of_key(run.artifact("embeddings"), example.value)
        return searcher.rows.take([row])
    if example.kind == "vector":
        return check_vector(example.value, searcher.rows.width, space)
    picture = read_picture(example.value, run.encoder.at_least, example.name)
    embedding = embed_picture(run.encoder, picture)
    return embedding if space == "embeddings" else run.refiner.refine(picture, embedding)
