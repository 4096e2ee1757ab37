"""Scores of clusters against labels, with those of chance and of k-means."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...stages.edits.replay import Edited
from ...stages.rows.artifact_rows import gather
from ...store import Artifact, ConfigError, MissingError
from .columns import read_column
from .labels import (
    Scope,
    explain_no_labels,
    first_rows,
    fitted_rows,
    name_classes,
    read_labels,
)

_EVERYTHING = Scope()

MOST_KMEANS_ROWS = 100_000
"""More rows are clustered by mini-batches, which is another method: `name_kmeans` says which."""

_CHANCE_REPEATS = 10


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Accuracy (best matching of clusters to classes) and NMI, both 0 to 1, and ARI, at most 1."""

    acc: float
    nmi: float
    ari: float


@dataclass(frozen=True, kw_only=True)
class ClusterRow:
    """The scored rows of one cluster."""

    cluster: int
    size: int
    purity: float
    """Share of its rows that are of its most frequent class."""
    majority: str
    """Its most frequent class."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Rows of one class in a cluster that is matched with another class."""

    label: str
    """Their class."""
    cluster: int
    matched: str | None
    """The class that the cluster is matched with, if any."""
    rows: int
    share: float
    """Of the rows of the class."""


@dataclass(frozen=True, kw_only=True)
class Decile:
    """A tenth of the rows, by confidence."""

    confidence: float
    """The mean."""
    accuracy: float
    purity: float
    """Share of rows that are of the most frequent class of their cluster."""
    rows: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores over the labelled rows of a part."""

    part: str
    where: str | None
    n: int
    unlabelled: int
    """Rows of the part without a label, which are not scored."""
    k: int
    """The number of clusters; fewer than were asked for if pieces were joined."""
    classes: int
    clusters: Scores
    chance: Scores
    """Clusters of the same sizes drawn at random, mean of several draws."""
    kmeans: Scores
    """k-means with the same k on the centred raw embeddings."""
    kmeans_method: str
    """`k-means`, or `mini-batch k-means`, by which many rows are clustered."""
    per_cluster: tuple[ClusterRow, ...]
    """Clusters with rows, by number."""
    mistakes: tuple[Mistake, ...]
    """Largest first."""
    deciles: tuple[Decile, ...]
    """By rising confidence; of fewer than ten rows each is a decile."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def evaluate(
    embeddings: Artifact,
    assignments: Artifact,
    label: str,
    table: Path | None,
    seed: int = 0,
    *,
    k: int | None = None,
    scope: Scope = _EVERYTHING,
    fitted: Collection[str] | None = None,
    edited: Edited | None = None,
) -> Evaluation:
    """Scores the assignments against the labels of the shards, or of a table of the user.

    `fitted` is the parts that clusters were fitted on, from `fitted_parts`: k-means is fitted on
    the same rows, and if it is None, on all rows of the scope, with a label or without. With
    decisions, `edited`, the decided clusters are scored, and excluded rows are not. MissingError if
    no row has a label, ConfigError if there is no column for `k`.
    """

    k, cluster, confidence = _columns(assignments, k)
    within = scope.rows(embeddings, fitted)
    labels = np.array(read_labels(embeddings, label, table), dtype=object)
    scored = within & np.array([value is not None for value in labels])
    if not scored.any():
        raise MissingError(explain_no_labels(embeddings, label, table, int(within.sum())))
    unlabelled = int((within & ~scored).sum())
    if edited is not None:
        scored &= ~edited.excluded
        if not scored.any():
            raise MissingError("every image with a label is excluded: none is left to score")
    names = sorted(set(labels[scored]))
    number = {name: i for i, name in enumerate(names)}
    y = np.array([number[name] for name in labels[scored]])
    if label == "cls" and table is None:
        names = name_classes(embeddings, names, np.flatnonzero(scored)[first_rows(y, len(names))])
    column = read_column(assignments, cluster) if edited is None else edited.cluster
    pred = column[scored].astype(np.int64)
    k = k if edited is None else len(np.unique(pred))
    sure = read_column(assignments, confidence)
    x = gather(embeddings)
    fit = within if fitted is None else fitted_rows(embeddings, fitted)
    return Evaluation(
        part=scope.part,
        where=scope.where,
        n=len(y),
        unlabelled=unlabelled,
        k=k,
        classes=len(names),
        clusters=score_clusters(y, pred),
        chance=score_chance(y, pred, seed),
        kmeans=score_clusters(y, cluster_by_kmeans(x[fit], x[scored], k, seed)),
        kmeans_method=name_kmeans(int(fit.sum())),
        per_cluster=_per_cluster(y, pred, names),
        mistakes=_mistakes(y, pred, names),
        deciles=_deciles(y, pred, sure[scored].astype(np.float64)),
    )


def _columns(assignments: Artifact, k: int | None) -> tuple[int, str, str]:
    """The number of clusters for a k, and its two columns; None is the first k."""
    counts = {int(number): count for number, count in assignments.facts["clusters"].items()}
    first = next(iter(counts))
    if k is None or k == first:
        return counts[first], "cluster", "confidence"
    if k not in counts:
        raise ConfigError(
            f"--k {k}: the assignments {assignments.version} have columns for "
            f"k = {', '.join(map(str, counts))}; `cpp-pipe assign` with several k makes more"
        )
    return counts[k], f"cluster_{k}", f"confidence_{k}"


def score_clusters(y: np.ndarray, pred: np.ndarray) -> Scores:
    """The scores of clusters `pred` (n,) against classes `y` (n,), both whole numbers."""
    from ...stages.algorithms import metrics

    return Scores(acc=metrics.accuracy(y, pred), nmi=metrics.nmi(y, pred), ari=metrics.ari(y, pred))


def score_chance(y: np.ndarray, pred: np.ndarray, seed: int) -> Scores:
    """The mean scores of clusters of the same sizes that are drawn at random."""
    from ...stages.algorithms import metrics

    return Scores(**metrics.chance(y, pred, seed=seed, repeats=_CHANCE_REPEATS))


def _per_cluster(y: np.ndarray, pred: np.ndarray, names: list[str]) -> tuple[ClusterRow, ...]:
    from ...stages.algorithms import metrics

    clusters = metrics.by_cluster(y, pred)
    return tuple(
        ClusterRow(cluster=cluster, size=size, purity=purity, majority=names[majority])
        for cluster, size, purity, majority in _rows(
            clusters.cluster, clusters.size, clusters.purity, clusters.majority
        )
    )


def _mistakes(y: np.ndarray, pred: np.ndarray, names: list[str]) -> tuple[Mistake, ...]:
    from ...stages.algorithms import metrics

    mistakes = metrics.mistakes(y, pred)
    matched = {cluster: names[i] for cluster, i in metrics.matching(y, pred).items()}
    return tuple(
        Mistake(label=names[i], cluster=j, matched=matched.get(j), rows=count, share=share)
        for i, j, count, share in _rows(
            mistakes.label, mistakes.cluster, mistakes.count, mistakes.share
        )
    )


def _deciles(y: np.ndarray, pred: np.ndarray, confidence: np.ndarray) -> tuple[Decile, ...]:
    from ...stages.algorithms import metrics

    deciles = metrics.by_confidence(y, pred, confidence)
    return tuple(
        Decile(confidence=mean, accuracy=accuracy, purity=purity, rows=count)
        for mean, accuracy, purity, count in _rows(
            deciles.confidence, deciles.accuracy, deciles.purity, deciles.count
        )
    )


def _rows(*columns: np.ndarray) -> Iterator[tuple[Any, ...]]:
    """Columns as rows of plain values."""
    return zip(*(column.tolist() for column in columns), strict=True)


def name_kmeans(rows: int) -> str:
    """The method by which `cluster_by_kmeans` fits so many rows."""
    return "mini-batch k-means" if rows > MOST_KMEANS_ROWS else "k-means"


def cluster_by_kmeans(fit: np.ndarray, x: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Clusters of the rows of x by k-means, or mini-batch k-means, fitted on the rows of `fit`."""
    from sklearn.cluster import KMeans, MiniBatchKMeans

    from ...stages.algorithms.clustering.convergence import ignoring_convergence

    mean = fit.mean(axis=0, dtype=np.float32)
    k = min(k, len(fit))
    if len(fit) > MOST_KMEANS_ROWS:
        kmeans = MiniBatchKMeans(k, n_init=3, random_state=seed)
    else:
        kmeans = KMeans(k, n_init=10, random_state=seed)
    with ignoring_convergence():  # of fewer distinct rows than clusters
        kmeans.fit(centred_unit_rows(fit, mean))
    return kmeans.predict(centred_unit_rows(x, mean))


def centred_unit_rows(rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Rows (n, d) minus a mean (d,), float32 of length one; a row equal to the mean becomes zero.

    That of the algorithms would load torch.
    """
    centred = rows.astype(np.float32) - mean
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
