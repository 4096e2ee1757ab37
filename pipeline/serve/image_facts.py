"""Facts that the page shows about images: in a grid, as hits of a search, and one in full."""

import numpy as np

from ...store import MissingError
from ..view.columns import SAMPLE_COLUMNS
from ..view.extra_fields import parse_extra
from .decided_clusters import DECIDED
from .json_values import to_json_value
from .models import Found, ImageFacts, Item, Place
from .open_run import OpenRun
from .partition import Partition
from .shortened_paths import split_path


def list_items(
    opened: OpenRun, rows: np.ndarray, partition: Partition, numbers: np.ndarray | None = None
) -> list[Item]:
    """The items of a grid, one for each row.

    `numbers` are the numbers to show for the clusters of the partition, if they differ.
    """
    fields = opened.rows.read(rows.tolist(), ("key", "shard", "width", "height"))
    clusters, confidences = partition.cluster[rows], partition.confidence[rows].tolist()
    if numbers is not None:
        clusters = numbers[clusters]
    return [
        Item(row=row, cluster=cluster, confidence=round(confidence, 4), **sample)
        for row, cluster, confidence, sample in zip(
            rows.tolist(), clusters.tolist(), confidences, fields, strict=True
        )
    ]


def list_hits(
    opened: OpenRun, rows: np.ndarray, similarities: np.ndarray, *, decided: bool = False
) -> list[Found]:
    """The hits of a search, with their clusters in the first grouping, or as decided."""
    clusters = opened.clusters
    first = clusters.groupings[0].name
    partition = clusters.partition(DECIDED if decided else first)
    names = clusters.names
    if decided:
        names = {card.id: card.names for card in clusters.cards(DECIDED)}
    hits = zip(
        rows.tolist(),
        similarities.tolist(),
        partition.cluster[rows].tolist(),
        partition.confidence[rows].tolist(),
        opened.rows.read(rows.tolist(), ("key", "shard")),
        strict=True,
    )
    return [
        Found(
            row=row,
            similarity=round(similarity, 5),
            cluster=cluster,
            confidence=round(confidence, 4),
            name=names[cluster][0].caption if names.get(cluster) else None,
            **fields,
        )
        for row, similarity, cluster, confidence, fields in hits
    ]


def describe_image(opened: OpenRun, row: int) -> ImageFacts:
    """A row in full; MissingError if there is none."""
    need_row(opened, row)
    (fields,) = opened.rows.read([row], SAMPLE_COLUMNS)
    clusters, places = opened.clusters, []
    for number, grouping in enumerate(clusters.groupings):
        partition = clusters.partition(grouping.name)
        cluster = int(partition.cluster[row])
        names = clusters.names.get(cluster) if number == 0 else None
        if grouping.name == DECIDED:
            cluster = opened.decided.cluster_of(row)
            names = clusters.cards(DECIDED)[cluster].names
        places.append(
            Place(
                grouping=grouping.name,
                cluster=cluster,
                confidence=float(partition.confidence[row]),
                name=names[0].caption if names else None,
            )
        )
    part, _ = opened.rows.locate(row)
    codes, labels = opened.labels
    leaf = None
    if clusters.tree is not None:
        leaf = int(clusters.level(clusters.tree.finest).cluster[row])
    return ImageFacts(
        row=row,
        source=split_path(opened.run.record.sources.get(part, ""))[1],
        novelty=float(clusters.novelty[row]),
        places=places,
        node=leaf,
        tags=opened.decided.tags_of(row),
        excluded=opened.decided.is_excluded(row),
        note=opened.decided.note_of(row),
        **{
            **fields,
            "label": labels[codes[row]] if codes[row] >= 0 else None,
            "extra": to_json_value(parse_extra(fields["extra"])),
        },
    )


def need_row(opened: OpenRun, row: int) -> None:
    """Raises MissingError if there is no such row."""
    if row >= len(opened.rows):
        raise MissingError(f"row must be from 0 to {len(opened.rows) - 1}, got {row}")
