"""Routes of a run and its clusters."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import FastAPI, Path, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from .answers import TROUBLES, Packed, Workers, answer, json_response
from .detail import TREE, describe_cluster, list_cluster
from .evaluating import Evaluating
from .facts import describe_run, list_skipped
from .models import (
    MOST_ROWS,
    Cards,
    ClusterFacts,
    EvaluationState,
    Items,
    RunFacts,
    SkippedRows,
    State,
    TreeCards,
)
from .opened import Current, Opened

GroupingFlag = Annotated[
    str | None,
    Query(
        max_length=40,
        description="`k-100` and the like, as /api/run lists them; the first of them if absent.",
    ),
]
ClusterGroupingFlag = Annotated[
    str | None,
    Query(
        max_length=40,
        description="As /api/run lists them, or `tree`, whose clusters are nodes of the hierarchy.",
    ),
]
ClusterPath = Annotated[int, Path(ge=0, lt=2**31)]
OffsetFlag = Annotated[int, Query(ge=0, lt=2**31)]
LimitFlag = Annotated[int, Query(ge=1, le=MOST_ROWS)]


def add_routes(app: FastAPI, current: Current, workers: Workers) -> None:
    """Adds them to the application."""
    evaluating = workers.also_close(Evaluating())

    async def packed(name: str, make: Callable[[Opened], BaseModel], request: Request) -> Response:
        """An answer that is made once for each state of the run."""
        opened = current.opened
        found = opened.packed.get(name)
        if found is None:
            found = await workers.run(_pack, opened, name, make)
        return found.response(request)

    @app.get("/api/run", response_model=RunFacts, responses=TROUBLES, tags=["run"])
    async def run(request: Request) -> Response:
        """What the server serves: counts, curve, hierarchy, versions, and what the run lacks."""
        return await packed("run", describe_run, request)

    @app.get("/api/state", response_model=State, responses=TROUBLES, tags=["run"])
    async def state() -> Response:
        """Whether the run has changed, and whether the model is loaded; answers at once."""
        opened = current.opened
        found = State(
            generation=opened.generation,
            trouble=current.trouble,
            model=opened.finder.model.state,
        )
        return json_response(answer(found))

    @app.get("/api/skipped", response_model=SkippedRows, responses=TROUBLES, tags=["run"])
    async def skipped(
        reason: Annotated[str | None, Query(max_length=100)] = None,
        offset: OffsetFlag = 0,
        limit: LimitFlag = 50,
    ) -> Response:
        """Samples that were not embedded, with reasons."""
        opened = current.opened
        found = await workers.run(list_skipped, opened, reason, offset, limit)
        return json_response(answer(found))

    @app.get("/api/evaluation", response_model=EvaluationState, responses=TROUBLES, tags=["run"])
    async def evaluation() -> Response:
        """Scores against labels, beside chance and k-means; worked out by the first who asks."""
        found = await workers.run(evaluating.look, current.opened)
        return json_response(answer(found))

    @app.get("/api/clusters", response_model=Cards, responses=TROUBLES, tags=["clusters"])
    async def clusters(request: Request, grouping: GroupingFlag = None) -> Response:
        """All clusters of a grouping."""
        groupings = current.opened.clusters.groupings
        name = groupings[0].name if grouping is None else grouping

        return await packed(f"clusters {name}", lambda opened: _cards(opened, name), request)

    @app.get("/api/tree", response_model=TreeCards, responses=TROUBLES, tags=["clusters"])
    async def tree(request: Request) -> Response:
        """All clusters of all levels of the hierarchy."""
        return await packed("tree", _tree, request)

    @app.get(
        "/api/clusters/{cluster}",
        response_model=ClusterFacts,
        responses=TROUBLES,
        tags=["clusters"],
    )
    async def cluster(
        cluster: ClusterPath, request: Request, grouping: ClusterGroupingFlag = None
    ) -> Response:
        """A cluster in full: captions, what is near, what it merges with and splits into."""
        name = _name(current.opened, grouping)
        return await packed(
            f"cluster {name} {cluster}", lambda one: describe_cluster(one, name, cluster), request
        )

    @app.get(
        "/api/clusters/{cluster}/rows",
        response_model=Items,
        responses=TROUBLES,
        tags=["clusters"],
    )
    async def rows(
        cluster: ClusterPath,
        grouping: ClusterGroupingFlag = None,
        order: Annotated[
            Literal["sure", "doubtful"], Query(description="Which rows come first.")
        ] = "sure",
        offset: OffsetFlag = 0,
        limit: LimitFlag = 60,
    ) -> Response:
        """Rows of a cluster by confidence."""
        opened = current.opened
        name = _name(opened, grouping)

        def work() -> bytes:
            is_doubtful = order == "doubtful"
            found = list_cluster(opened, name, cluster, offset, limit, doubtful_first=is_doubtful)
            return answer(found)

        return json_response(await workers.run(work))


def prepare_answers(opened: Opened) -> None:
    """Makes the answers that take a look at all rows, so that nobody waits for them."""
    own = opened.clusters.groupings[0].name
    _pack(opened, f"clusters {own}", lambda one: _cards(one, own))
    if opened.clusters.tree is not None:
        _pack(opened, "tree", _tree)


def _pack(opened: Opened, name: str, make: Callable[[Opened], BaseModel]) -> Packed:
    found = opened.packed.get(name)
    if found is None:
        found = opened.packed[name] = Packed(answer(make(opened)))
    return found


def _cards(opened: Opened, name: str) -> Cards:
    return Cards(grouping=name, cards=opened.clusters.cards(name))


def _tree(opened: Opened) -> TreeCards:
    return TreeCards(nodes=opened.clusters.node_cards)


def _name(opened: Opened, grouping: str | None) -> str:
    if grouping == TREE:
        return TREE
    groupings = opened.clusters.groupings
    return groupings[0].name if grouping is None else opened.clusters.grouping(grouping).name
