"""The application: the JSON API, pictures, the page's files, and who may ask for them."""

import asyncio
import contextlib
import importlib.metadata
from collections.abc import AsyncIterator, Collection

from fastapi import FastAPI
from starlette.types import ASGIApp

from ...store import CppPipeError
from .answers import Workers, add_error_handlers
from .guard import Guard
from .opened import Current
from .routes import add_routes, prepare_answers
from .routes_knn import add_knn_routes
from .routes_map import add_map_routes
from .routes_page import add_page_routes
from .routes_search import add_search_routes

_LOOK_SECONDS = 3.0
"""Between two looks whether the run has changed."""

_LET_GO_SECONDS = 0.5
"""Between two looks how much of mapped files is in memory."""

_ABOUT = (
    "Clusters, pictures and search of one run of cpp-pipe. Read-only. Rows are numbered over all "
    "parts of the embeddings, as everywhere in cpp-pipe."
)


def make_app(current: Current, *, token: str | None = None, hosts: Collection[str] = ()) -> ASGIApp:
    """The application over a run that is open; `hosts` are names by which this machine is called.

    A token, where given, is asked of every request.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        works = (_begin, _watch, _keep_small)
        tasks = [asyncio.create_task(one(current, workers)) for one in works]
        yield
        workers.close()
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    app = FastAPI(
        title="cpp-pipe serve",
        description=_ABOUT,
        version=importlib.metadata.version("cpp-pipe"),
        # Those of FastAPI load their scripts from elsewhere: /docs is our own page.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    workers = Workers()
    add_error_handlers(app)
    for add in (
        add_routes,
        add_search_routes,
        add_map_routes,
        add_knn_routes,
        add_page_routes,
    ):
        add(app, current, workers)
    return Guard(app, token, hosts)


async def _begin(current: Current, workers: Workers) -> None:
    """Works out what the first who looks would wait for; what cannot be is told to who asks."""
    with contextlib.suppress(CppPipeError, OSError):
        await workers.run(prepare_answers, current.opened)


async def _keep_small(current: Current, workers: Workers) -> None:
    """Keeps what is mapped of the run's files within a bound."""
    while True:
        await asyncio.sleep(_LET_GO_SECONDS)
        await workers.run(current.opened.resident.bound, kind="small")


async def _watch(current: Current, workers: Workers) -> None:
    """Looks now and then whether the run has changed."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        await workers.run(current.look)
