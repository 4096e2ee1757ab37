"""Routes of a run and its clusters."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import FastAPI, Path, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from ...store import MissingError
from .cluster_facts import TREE, describe_cluster, describe_spectra, list_cluster
from .decided_clusters import DECIDED
from .evaluation import Evaluation
from .facts import describe_run, list_skipped
from .image_sets import describe_set, find_set
from .images import SIZES
from .models import (
    MAX_ROWS,
    Cards,
    ClusterFacts,
    ClusterSpectra,
    EvaluationState,
    Items,
    ModelState,
    RunFacts,
    SkippedRows,
    State,
    TreeCards,
)
from .open_run import CurrentRun, OpenRun
from .responses import ERROR_RESPONSES, CachedAnswer, json_response, to_json
from .set_models import SetQuery
from .workers import Workers

_FIRST_IMAGES, _FIRST_CLUSTERS = 120, 24
"""Images of the grid and clusters of the list that a large screen shows at first, and more."""
_FIRST_UNREADABLE = 10
"""With more unreadable images than that, all are taken to be gone."""

GroupingFlag = Annotated[
    str | None,
    Query(
        max_length=40,
        description="A grouping such as `k-100`; /api/run lists them. By default the first.",
    ),
]
ClusterGroupingFlag = Annotated[
    str | None,
    Query(
        max_length=40,
        description="A grouping of /api/run, or `tree` for nodes of the hierarchy.",
    ),
]
ClusterPath = Annotated[int, Path(ge=0, lt=2**31)]
OffsetFlag = Annotated[int, Query(ge=0, lt=2**31)]
LimitFlag = Annotated[int, Query(ge=1, le=MAX_ROWS)]


def add_routes(app: FastAPI, current: CurrentRun, workers: Workers) -> None:
    """Adds the routes to the application."""
    scores = workers.also_close(Evaluation())

    async def cached(
        name: str, grouping: str, make: Callable[[OpenRun], BaseModel], request: Request
    ) -> Response:
        """An answer about a grouping that is made once for each state of the run."""
        opened = current.opened
        answer = opened.answers(grouping).find(name)
        if answer is None:
            answer = await workers.run(_cache, opened, name, grouping, make)
        return answer.response(request)

    async def of_cluster(
        what: str,
        describe: Callable[[OpenRun, str, int], BaseModel],
        cluster: int,
        grouping: str | None,
        request: Request,
    ) -> Response:
        """`cached` for an answer about one cluster."""
        name = _grouping_name(current.opened, grouping)
        return await cached(
            f"{what} {name} {cluster}", name, lambda run: describe(run, name, cluster), request
        )

    @app.get("/api/run", response_model=RunFacts, responses=ERROR_RESPONSES, tags=["run"])
    async def run(request: Request) -> Response:
        """The run: counts, curve, hierarchy, versions, and what it lacks."""
        # It follows the log: the run lists the grouping `decided` only if there are decisions.
        return await cached("run", DECIDED, describe_run, request)

    @app.get("/api/state", response_model=State, responses=ERROR_RESPONSES, tags=["run"])
    async def state() -> Response:
        """Whether the run has changed and whether the model is loaded; answers at once."""
        opened = current.opened
        trouble, model = current.trouble, opened.finder.model.state
        answer = State(
            generation=opened.generation,
            trouble=trouble and opened.publish(trouble),
            model=ModelState(state=model.state, detail=opened.publish(model.detail)),
            edits=opened.decided.length,
        )
        return json_response(to_json(answer))

    @app.get("/api/skipped", response_model=SkippedRows, responses=ERROR_RESPONSES, tags=["run"])
    async def skipped(
        reason: Annotated[str | None, Query(max_length=100)] = None,
        offset: OffsetFlag = 0,
        limit: LimitFlag = 50,
    ) -> Response:
        """Samples that were skipped, with reasons."""
        opened = current.opened
        answer = await workers.run(list_skipped, opened, reason, offset, limit)
        return json_response(to_json(answer))

    @app.get(
        "/api/evaluation", response_model=EvaluationState, responses=ERROR_RESPONSES, tags=["run"]
    )
    async def evaluation() -> Response:
        """Scores against labels, beside chance and k-means; computed on the first request."""
        answer = await workers.run(scores.state, current.opened)
        return json_response(to_json(answer))

    @app.get("/api/clusters", response_model=Cards, responses=ERROR_RESPONSES, tags=["clusters"])
    async def clusters(request: Request, grouping: GroupingFlag = None) -> Response:
        """All clusters of a grouping."""
        groupings = current.opened.clusters.groupings
        name = groupings[0].name if grouping is None else grouping
        return await cached(f"clusters {name}", name, lambda opened: _cards(opened, name), request)

    @app.get("/api/tree", response_model=TreeCards, responses=ERROR_RESPONSES, tags=["clusters"])
    async def tree(request: Request) -> Response:
        """All clusters of all levels of the hierarchy."""
        return await cached("tree", TREE, _tree, request)

    @app.get(
        "/api/clusters/{cluster}",
        response_model=ClusterFacts,
        responses=ERROR_RESPONSES,
        tags=["clusters"],
    )
    async def cluster(
        cluster: ClusterPath, request: Request, grouping: ClusterGroupingFlag = None
    ) -> Response:
        """A cluster in full: captions, similar clusters, what it merges with and splits into."""
        return await of_cluster("cluster", describe_cluster, cluster, grouping, request)

    @app.get(
        "/api/clusters/{cluster}/spectra",
        response_model=ClusterSpectra,
        responses=ERROR_RESPONSES,
        tags=["clusters"],
    )
    async def spectra(
        cluster: ClusterPath, request: Request, grouping: ClusterGroupingFlag = None
    ) -> Response:
        """The singular values of a cluster in both spaces, which take longer than all else."""
        return await of_cluster("spectra", describe_spectra, cluster, grouping, request)

    @app.get(
        "/api/clusters/{cluster}/rows",
        response_model=Items,
        responses=ERROR_RESPONSES,
        tags=["clusters"],
    )
    async def rows(
        cluster: ClusterPath,
        grouping: ClusterGroupingFlag = None,
        order: Annotated[
            Literal["sure", "doubtful"],
            Query(description="The most or the least confident rows first."),
        ] = "sure",
        offset: OffsetFlag = 0,
        limit: LimitFlag = 60,
    ) -> Response:
        """Rows of a cluster by confidence."""
        opened = current.opened
        name = _grouping_name(opened, grouping)

        def work() -> bytes:
            is_doubtful = order == "doubtful"
            return to_json(
                list_cluster(opened, name, cluster, offset, limit, doubtful_first=is_doubtful)
            )

        return json_response(await workers.run(work))


def prepare_answers(opened: OpenRun) -> None:
    """Makes what the first visitor would wait for: answers that read all rows, and images."""
    own, *decided = groupings = _first_groupings(opened)
    _cache(opened, f"clusters {own}", own, lambda opened: _cards(opened, own))
    if opened.clusters.tree is not None:
        _cache(opened, "tree", TREE, _tree)
    for name in decided:
        _cache(opened, f"clusters {name}", name, lambda opened, name=name: _cards(opened, name))
    _cache(opened, "run", DECIDED, describe_run)
    for grouping in groupings:
        describe_set(opened, find_set(opened, SetQuery(grouping=grouping)))
    _draw_images(opened, groupings[-1])


def prepare_labels(opened: OpenRun) -> None:
    """Reads the labels of all rows: `prepare_answers` needs them last."""
    _ = opened.labels


def prepare_comparisons(opened: OpenRun) -> None:
    """Reads what clusters are compared by, for visitors who open one: the first page needs none."""
    for grouping in _first_groupings(opened):
        opened.sampled(grouping)


def _first_groupings(opened: OpenRun) -> list[str]:
    own = opened.clusters.groupings[0].name
    return [own, DECIDED] if opened.decided.holds else [own]


def _draw_images(opened: OpenRun, grouping: str) -> None:
    """Draws the small images that the page shows first; stops if too many cannot be read."""
    images = find_set(opened, SetQuery(grouping=grouping))
    cards = {card.id: card for card in opened.clusters.cards(grouping)}
    beside = [
        member.row
        for section in images.sections[:_FIRST_CLUSTERS]
        for member in cards[section.cluster].typical
    ]
    unreadable = 0
    for row in [*images.rows[:_FIRST_IMAGES].tolist(), *beside]:
        try:
            opened.images.get(row, SIZES[0])
        except MissingError:
            unreadable += 1
            if unreadable > _FIRST_UNREADABLE:
                return


def _cache(
    opened: OpenRun, name: str, grouping: str, make: Callable[[OpenRun], BaseModel]
) -> CachedAnswer:
    return opened.answers(grouping).get(name, lambda: CachedAnswer(to_json(make(opened))))


def _cards(opened: OpenRun, name: str) -> Cards:
    cards = opened.clusters.cards(name)
    if name == DECIDED:  # clusters that were merged into others have no images any more
        cards = [card for card in cards if card.size or card.excluded]
    return Cards(grouping=name, cards=cards)


def _tree(opened: OpenRun) -> TreeCards:
    return TreeCards(nodes=opened.clusters.node_cards)


def _grouping_name(opened: OpenRun, grouping: str | None) -> str:
    if grouping == TREE:
        return TREE
    groupings = opened.clusters.groupings
    return groupings[0].name if grouping is None else opened.clusters.grouping(grouping).name
