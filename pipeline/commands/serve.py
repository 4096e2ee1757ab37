"""The command that shows a run in a browser: serve."""

import importlib.util
import secrets
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from ...store import ConfigError, MissingError, Store
from ..run import Run
from .app import subcommands
from .options import LONG, READING, Common, find_run, open_plan, say, takes
from .output import print_line
from .search import open_run

if TYPE_CHECKING:
    from ..making.plan import Plan

_LIBRARIES = ("fastapi", "uvicorn", "plotly")

_MIB = 2**20

app = subcommands()


@app.command()
@takes("device", *LONG, *READING)
def serve(
    common: Common,
    host: Annotated[
        str,
        typer.Option("--host", help="The address to serve at; any but this machine needs --token."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes any that is free.")
    ] = 8117,
    token: Annotated[
        str | None, typer.Option("--token", help="Require this token; `new` generates one.")
    ] = None,
    make: Annotated[
        bool, typer.Option("--make/--no-make", help="First make what the run lacks for the page.")
    ] = True,
    with_map: Annotated[
        bool, typer.Option("--map", help="First make the map, where the run has none.")
    ] = False,
    thumbnails: Annotated[
        int, typer.Option("--thumbnails", min=1, metavar="MIB", help="Memory for small images.")
    ] = 64,
) -> None:
    """Show a run in a browser: clusters, images, search and a map.

    The page changes nothing, and loads nothing from another host. What the run lacks for it is made
    first: clusters, indexes, a hierarchy. The command prints the address and runs until Ctrl-C.

    \b
      cpp-pipe serve
      cpp-pipe serve --run pets --port 0
      cpp-pipe serve --map
      cpp-pipe serve --host 0.0.0.0 --token new
    """
    _require_server()
    from ..serve.app import make_app
    from ..serve.open_run import CurrentRun, make_opener
    from ..serve.server import LOCAL, address_of, bind, find_address, is_local, serve_until_signal

    find_address(host, port)
    if token is not None and not token.strip():
        raise ConfigError("--token must not be empty: give `new`, or leave it out on this machine")
    if token == "new":
        token = secrets.token_urlsafe(24)
    if not is_local(host) and not token:
        raise ConfigError(
            f"--host {host} lets other machines see every image: give --token new, or a token of "
            "your own"
        )
    store = Store(common.store)
    run = find_run(store, common.run)
    if make or with_map:
        _prepare(open_plan(common), make=make, with_map=with_map)
    opened = Run.open(store, run).store
    with bind(host, port) as listening:
        current = CurrentRun(make_opener(opened, run, common.device), max_bytes=thumbnails * _MIB)
        address = address_of(listening, host)
        if not is_local(host):
            say(
                f"serve: {host} can be reached from other machines, and what is sent is not "
                "encrypted: use a proxy with TLS where you do not trust the network"
            )
        print_line(f"{address}?token={quote(token, safe='')}" if token else address)
        say("next: open this address in a browser; Ctrl-C stops the server")
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
