"""The command that shows a run in a browser: serve."""

import importlib.util
import secrets
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from ...store import ConfigError, MissingError
from ..run import Run
from .app import subcommands
from .options import (
    DEFAULT_RUN,
    DEFAULT_STORE,
    DeviceFlag,
    RunFlag,
    StoreFlag,
    open_plan,
    say,
)
from .search import open_run

if TYPE_CHECKING:
    from ..making.plan import Plan

_LIBRARIES = ("fastapi", "uvicorn", "plotly")

_MIB = 2**20

app = subcommands()


@app.command()
def serve(
    host: Annotated[
        str,
        typer.Option(
            "--host", help="The address to answer at; any but this machine's own wants --token."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes any that is free.")
    ] = 8117,
    token: Annotated[
        str | None,
        typer.Option("--token", help="Asked of everyone; `new` makes one up."),
    ] = None,
    make: Annotated[
        bool, typer.Option("--make/--no-make", help="What the run lacks, before it is served.")
    ] = True,
    with_map: Annotated[
        bool, typer.Option("--map", help="Make the map first, where the run has none.")
    ] = False,
    thumbnails: Annotated[
        int, typer.Option("--thumbnails", min=1, metavar="MIB", help="Memory for small pictures.")
    ] = 64,
    device: DeviceFlag = "auto",
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Show a run in a browser: clusters, pictures, search and a map.

    Nothing is changed by looking, and nothing comes from elsewhere. What the run lacks for it is
    made first: clusters, indexes, a hierarchy.

    \b
      cpp-pipe serve
      cpp-pipe serve --run pets --port 0
      cpp-pipe serve --map
      cpp-pipe serve --host 0.0.0.0 --token new
    """
    _require_server()
    from ..serve.app import make_app
    from ..serve.open_run import CurrentRun, make_opener
    from ..serve.server import LOCAL, address_of, bind, is_local, serve_until_signal

    if token == "new":
        token = secrets.token_urlsafe(24)
    if not is_local(host) and not token:
        raise ConfigError(
            f"--host {host} lets other machines in, and they could see every picture: give --token "
            "new, or a token of your own"
        )
    if make or with_map:
        _prepare(open_plan(store, run, device=device), make=make, with_map=with_map)
    opened = Run.open(store, run, device).store
    with bind(host, port) as listening:
        current = CurrentRun(make_opener(opened, run, device), max_bytes=thumbnails * _MIB)
        address = address_of(listening, host)
        if not is_local(host):
            say(
                f"serve: {host} can be reached from other machines, and what is sent can be read "
                "on its way: serve it through a proxy with TLS where you do not trust the network"
            )
        typer.echo(f"{address}?token={quote(token, safe='')}" if token else address)
        try:
            serve_until_signal(make_app(current, token=token, hosts=(*LOCAL, host)), listening)
        finally:
            current.close()


def _require_server() -> None:
    absent = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if absent:
        raise MissingError(
            f"{' and '.join(absent)} are not installed: pip install 'cpp-pipe[serve]'"
        )


def _prepare(plan: "Plan", *, make: bool, with_map: bool) -> None:
    from ...stages.map import Map
    from ..serve.preparation import make_map, prepare

    if make:
        prepare(plan)
    if with_map and open_run(plan).current("projection") is None:
        make_map(plan, Map(), asked_by="serve")
