"""The application: the JSON API, images, the page's files, and access control."""

import asyncio
import contextlib
import importlib.metadata
import json
import logging
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ...store import CppPipeError
from .delivery import Delivery
from .guard import Guard
from .hosts import LOCAL_HOSTS, Hosts
from .open_run import CurrentRun
from .request_body import Bodies
from .responses import CachedAnswer, add_error_handlers
from .routes import add_routes, prepare_answers, prepare_comparisons, prepare_labels
from .routes_edits import add_edit_routes
from .routes_knn import add_knn_routes
from .routes_map import add_map_routes
from .routes_page import add_page_routes
from .routes_search import add_search_routes
from .routes_sets import add_set_routes
from .workers import Workers

log = logging.getLogger(__name__)

REFRESH_SECONDS = 3.0
"""Seconds between two checks whether the run has changed, by default."""

_TRIM_SECONDS = 0.5
"""Seconds between two checks of how much of the mapped files is in memory."""

_FIRST_PAGE_SECONDS = 2.0
"""Seconds that the first page gets before work starts that would only slow it."""

_DESCRIPTION = (
    "Clusters, images and search of one run of cpp-pipe. Read-only, but for decisions where the "
    "server was started with --edit. Rows are numbered over all "
    "parts of the embeddings, as everywhere in cpp-pipe."
)


def make_app(
    current: CurrentRun,
    *,
    token: str | None = None,
    hosts: Hosts = LOCAL_HOSTS,
    is_editable: bool = False,
    refresh_seconds: float = REFRESH_SECONDS,
) -> ASGIApp:
    """The application over an open run, for requests to the given hosts.

    If there is a token, every request must send it. Decisions can be made only if `is_editable`. A
    run that has changed is opened again after at most `refresh_seconds`.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs = (
            _warm_up(current, workers),
            _refresh(current, workers, refresh_seconds),
            _trim_memory(current, workers),
        )
        tasks = [asyncio.create_task(job) for job in jobs]
        yield
        workers.close()
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    app = FastAPI(
        title="cpp-pipe serve",
        description=_DESCRIPTION,
        version=importlib.metadata.version("cpp-pipe"),
        # FastAPI's own pages load scripts from other servers: /docs is our own page.
        docs_url=None,
        redoc_url=None,
        # FastAPI would write the description again for every client.
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    workers, bodies = Workers(), Bodies()
    add_error_handlers(
        app,
        shorten=lambda message: current.opened.places.shorten(message),
        publish=lambda message: current.opened.publish(message),
    )
    for add in (add_routes, add_set_routes, add_map_routes, add_page_routes):
        add(app, current, workers)
    for add in (add_search_routes, add_knn_routes):
        add(app, current, workers, bodies)
    add_edit_routes(app, current, workers, bodies, is_editable=is_editable)
    _add_description(app)
    return Guard(Delivery(app), token, hosts)


def _add_description(app: FastAPI) -> None:
    """Adds the OpenAPI description, which is the same for every client."""
    answer = CachedAnswer(json.dumps(app.openapi()).encode())

    async def description(request: Request) -> Response:
        return answer.response(request)

    app.add_api_route("/openapi.json", description, methods=["GET"], include_in_schema=False)


async def _warm_up(current: CurrentRun, workers: Workers) -> None:
    """Computes what the first visitor would wait for; requests report the errors, if they recur."""
    opened, attempt = current.opened, _Attempts(workers)
    await asyncio.gather(*(attempt(work, opened) for work in (prepare_labels, prepare_answers)))
    # A visitor who waited for the server requests the rest of the first page now.
    await asyncio.sleep(_FIRST_PAGE_SECONDS)
    await attempt(prepare_comparisons, current.opened)


async def _trim_memory(current: CurrentRun, workers: Workers) -> None:
    """Keeps the memory of the run's mapped files within a limit."""
    attempt = _Attempts(workers, kind="small")
    while True:
        await asyncio.sleep(_TRIM_SECONDS)
        await attempt(current.opened.residency.trim)


async def _refresh(current: CurrentRun, workers: Workers, every_seconds: float) -> None:
    """Opens the run again whenever it has changed."""
    attempt = _Attempts(workers)
    while True:
        await asyncio.sleep(every_seconds)
        await attempt(current.refresh)


class _Attempts:
    """Work in the background that may fail: what comes after it is done all the same."""

    def __init__(self, workers: Workers, kind: str = "quick") -> None:
        self._workers, self._kind = workers, kind
        self._logged = ""

    async def __call__(self, work: Callable[..., object], *args: object) -> None:
        """Does it in a thread; an error that is no message for users is logged once, as a bug."""
        try:
            await self._workers.run(work, *args, kind=self._kind)
        except (CppPipeError, OSError):
            pass  # temporary, or a request meets it too
        except Exception as error:
            if repr(error) != self._logged:
                self._logged = repr(error)
                log.error("%s failed", work.__name__, exc_info=error)
