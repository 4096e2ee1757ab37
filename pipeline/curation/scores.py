"""Makes the scores of images that flags ask for, and summarises them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...stages.contract import Stage
from ...stages.rows.score_columns import IMAGE_SCORES, MEASURED, require_name
from ...stages.score_by_head import HEAD, ScoreByHead
from ...stages.score_by_text import ScoreByText
from ...stages.sources.linear_head import digest_head, read_head
from ...store import Artifact, ConfigError
from ...store.kinds import SCORES
from ..making.plan import Plan
from ..view.columns import read_column, read_rows

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)

_ENDS = 3
"""Images in a summary at each end of a score."""


def make_scores(
    plan: Plan,
    *,
    name: str | None = None,
    text: str | None = None,
    unlike: str | None = None,
    head: Path | None = None,
) -> Artifact:
    """Scores by a text, by a head or by pixels; ConfigError for flags that exclude each other."""
    if text is None and head is None:
        for flag, value in (("--not", unlike), ("--name", name)):
            if value is not None:
                raise ConfigError(f"{flag} goes with --text or --head, which say what to score by")
        return plan.make(IMAGE_SCORES)
    if text is not None and head is not None:
        raise ConfigError("give --text or --head, not both: each is a score of its own")
    if name is None:
        raise ConfigError("give --name, by which filters call the score, such as --name screenshot")
    require_name(name)
    if head is None:
        assert text is not None
        stage: Stage = ScoreByText(score=name, text=text, unlike=unlike)
    else:
        if unlike is not None:
            raise ConfigError("--not goes with --text, not with --head")
        stage = ScoreByHead(score=name, head_sha256=digest_head(head))
        embeddings = plan.make("embeddings", asked_by="score")
        size = int(embeddings.facts["model"]["embedding_size"])
        read_head(head, stage.head_sha256, size)  # raises for a wrong head before any work
        files = {**plan.runtime.files, HEAD: head.absolute()}
        plan = replace(plan, runtime=replace(plan.runtime, files=files))
    return plan.make(f"{SCORES.name}/{name}", stage=stage)


@dataclass(frozen=True, kw_only=True)
class ScoreSummary:
    """The spread of a score, and the images at its ends."""

    name: str
    quantiles: dict[float, float]
    """Values by the share of images below; empty if no image has the score."""
    lowest: list[dict[str, Any]]
    """`key`, `shard`, `row` and `score` of the images that score lowest, lowest first."""
    highest: list[dict[str, Any]]
    missing: int
    """The number of images without the score."""

    def to_json(self) -> dict[str, Any]:
        """The summary as plain values."""
        shares = {f"{share:g}": value for share, value in self.quantiles.items()}
        return {**vars(self), "quantiles": shares}


def summarise(scores: Artifact, embeddings: Artifact) -> list[ScoreSummary]:
    """A summary of each score in an artifact."""
    names = (
        [str(scores.manifest.config["score"])] if "score" in scores.manifest.config else MEASURED
    )
    return [_summarise(name, read_column(scores, name), embeddings) for name in names]


def _summarise(name: str, values: np.ndarray, embeddings: Artifact) -> ScoreSummary:
    order = np.argsort(values, kind="stable")  # NaN last
    order = order[: int(np.isfinite(values).sum())]
    ends = (order[:_ENDS], order[::-1][:_ENDS])
    lowest, highest = (
        [
            {**row, "row": number, "score": float(values[number])}
            for number, row in zip(
                rows.tolist(), read_rows(embeddings, rows, ("key", "shard")), strict=True
            )
        ]
        for rows in ends
    )
    shares = np.quantile(values[order], QUANTILES).tolist() if len(order) else []
    return ScoreSummary(
        name=name,
        quantiles=dict(zip(QUANTILES, shares, strict=False)),
        lowest=lowest,
        highest=highest,
        missing=len(values) - len(order),
    )
