"""Sets of images: those of some clusters that pass some filters, in the order they are shown in."""

import numpy as np

from ...store import MissingError, QueryError
from ..view.conditions import match_where
from ..view.facts import FAR
from .cluster_facts import count_confidences, most_frequent_labels, of_rows
from .copies import spare_copies
from .decided_clusters import DECIDED
from .groups import Groups, ImageSet
from .image_facts import list_items
from .models import Item
from .open_run import OpenRun
from .partition import Partition
from .set_models import ClusterOrder, Section, SetFacts, SetQuery

_MAX_LABELS = 100


def find_set(opened: OpenRun, query: SetQuery) -> ImageSet:
    """The set of a query; MissingError for a grouping, level or cluster that does not exist."""
    set_query = SetQuery(**query.model_dump(include=set(SetQuery.model_fields)))
    if set_query.level is None and set_query.grouping is None:
        set_query.grouping = opened.clusters.groupings[0].name
    name = f"{opened.decided.length} {set_query.model_dump_json()}"
    return opened.sets.get(name, lambda: select(opened, set_query))


def select(opened: OpenRun, query: SetQuery) -> ImageSet:
    """The rows that a query asks for."""
    groups = find_groups(opened, query)
    partition = groups.partition
    chosen = _choose_clusters(groups, query)
    # Excluded rows have the number k, one past the last cluster.
    mask = np.append(chosen, False)[partition.cluster] & _filter_rows(opened, groups, query)
    if query.order == "clusters":
        return _in_sections(groups, chosen, mask, query.sort)
    rows = mask.nonzero()[0].astype(np.int32)
    if query.order == "doubtful":
        rows = rows[np.lexsort((rows, partition.confidence[rows]))]
    else:
        rows = rows[np.lexsort((rows, -opened.clusters.novelty[rows]))]
    sizes = np.bincount(partition.cluster[rows], minlength=partition.k)
    clusters = [
        (int(groups.numbers[place]), int(sizes[place]))
        for place in _sorted_clusters(groups, query.sort)
        if sizes[place]
    ]
    return ImageSet(groups=groups, rows=rows, sections=[], clusters=clusters)


def find_groups(opened: OpenRun, query: SetQuery) -> Groups:
    """The clusters that a query is about."""
    clusters = opened.clusters
    if query.level is not None:
        return clusters.groups_at(query.level)
    name = query.grouping
    assert name is not None, "the default was filled in"
    cards = clusters.cards(name)
    partition = clusters.partition(name)
    if name == DECIDED and query.excluded:
        partition = opened.decided.with_excluded
    return Groups(numbers=np.arange(len(cards)), partition=partition, cards=list(cards))


def _choose_clusters(groups: Groups, query: SetQuery) -> np.ndarray:
    """(k,) bool: the clusters that are asked for, by number and by caption."""
    chosen = np.ones(len(groups.numbers), bool)
    if query.cluster:
        chosen = np.isin(groups.numbers, query.cluster)
        if len(set(query.cluster)) > chosen.sum():
            absent = sorted(set(query.cluster) - set(groups.numbers.tolist()))
            raise MissingError(f"there is no cluster {absent[0]} here")
    words = query.words.strip().lower()
    if words:
        chosen &= np.array(
            [
                words == str(card.id) or any(words in name.caption.lower() for name in card.names)
                for card in groups.cards
            ],
            bool,
        )
    return chosen


def _filter_rows(opened: OpenRun, groups: Groups, query: SetQuery) -> np.ndarray:
    """(n,) bool: the rows that pass the filters."""
    confidence = groups.partition.confidence
    mask = np.ones(len(confidence), bool)
    if query.min_confidence is not None:
        mask &= confidence >= query.min_confidence
    if query.max_confidence is not None:
        mask &= confidence <= query.max_confidence
    if query.novelty_above is not None:
        mask &= opened.clusters.novelty > query.novelty_above
    if query.label is not None:
        codes, names = opened.labels
        if query.label not in names:
            raise QueryError(f"no image has the label {query.label[:40]!r}")
        mask &= codes == names.index(query.label)
    if query.where:
        mask &= match_where(opened.run, query.where)
    edited = opened.decided.edited
    if query.tag is not None:
        tags = {} if edited is None else edited.tags
        if query.tag not in tags:
            raise QueryError(f"no image has the tag {query.tag[:40]!r}")
        mask &= tags[query.tag]
    if query.excluded == "only":
        mask &= False if edited is None else edited.excluded
    if query.only == "against-labels":
        mask &= _against_labels(opened, groups.partition)
    elif query.only is not None:
        mask[~_in_rows(spare_copies(opened, query.only), len(mask))] = False
    return mask


def _against_labels(opened: OpenRun, partition: Partition) -> np.ndarray:
    """(n,) bool: the rows whose label is not the most frequent of their cluster."""
    codes, names = opened.labels
    width = len(names) + 1
    counts = np.bincount(
        partition.cluster.astype(np.int64) * width + codes + 1, minlength=(partition.k + 1) * width
    ).reshape(partition.k + 1, width)[:, 1:]
    if not counts.size:
        return np.zeros(len(codes), bool)
    return (codes >= 0) & (codes != counts.argmax(1)[partition.cluster])


def _in_rows(rows: np.ndarray, n: int) -> np.ndarray:
    mask = np.zeros(n, bool)
    mask[rows] = True
    return mask


def _in_sections(
    groups: Groups, chosen: np.ndarray, mask: np.ndarray, sort: ClusterOrder
) -> ImageSet:
    """The masked rows by cluster, each cluster's by falling confidence."""
    partition, pieces, sections, start = groups.partition, [], [], 0
    for place in _sorted_clusters(groups, sort):
        if not chosen[place]:
            continue
        rows = partition.rows([place])
        rows = rows[mask[rows]]
        if len(rows):
            number = int(groups.numbers[place])
            sections.append(Section(cluster=number, start=start, size=len(rows)))
            pieces.append(rows)
            start += len(rows)
    rows = np.concatenate([np.empty(0, np.int32), *pieces])
    clusters = [(section.cluster, section.size) for section in sections]
    return ImageSet(groups=groups, rows=rows, sections=sections, clusters=clusters)


def _sorted_clusters(groups: Groups, sort: ClusterOrder) -> list[int]:
    def key(place: int) -> tuple[float | str, int]:
        card = groups.cards[place]
        first: dict[str, float | str] = {
            "size": -card.size,
            "sure": -(card.confidence or 0.0),
            "doubt": card.confidence or 0.0,
            "far": -card.far / max(1, card.size),
            "name": card.names[0].caption.lower() if card.names else "\U0010ffff",
        }
        return first[sort], card.id

    return sorted(range(len(groups.cards)), key=key)


def describe_set(opened: OpenRun, images: ImageSet) -> SetFacts:
    """A set in brief."""
    return SetFacts(
        total=len(images.rows),
        sections=images.sections,
        clusters=images.clusters,
        labels=most_frequent_labels(opened, images.rows, _MAX_LABELS),
        confidences=count_confidences(of_rows(images.groups.partition.confidence, images.rows)),
        novel=int((of_rows(opened.clusters.novelty, images.rows) > FAR).sum()),
    )


def list_images(opened: OpenRun, images: ImageSet, offset: int, limit: int) -> list[Item]:
    """The items of a grid for a part of a set."""
    rows = images.rows[offset : offset + limit]
    return list_items(opened, rows, images.groups.partition, images.groups.numbers)
