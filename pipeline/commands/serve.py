"""The command that shows a run in a browser: serve."""

import importlib.util
import math
import secrets
from contextlib import nullcontext
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

_LIBRARIES = ("fastapi", "uvicorn")

_MIB = 2**20

TOKEN_VARIABLE = "CPP_PIPE_TOKEN"
"""Holds a token that other users must not see: they can see the flags of processes."""

app = subcommands()


@app.command()
@takes("device", *LONG, *READING)
def serve(
    common: Common,
    host: Annotated[
        str, typer.Option("--host", help="Listen at this address; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, help="Listen at this port; 0 takes any free one."),
    ] = 8117,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar=TOKEN_VARIABLE,
            metavar="TEXT",
            help="Require this token instead of one generated at each start.",
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option(
            "--no-token", help="Let in every user of this machine; only for local addresses."
        ),
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", metavar="NAME", help="Also answer to this host name, e.g. a proxy's."
        ),
    ] = None,
    make: Annotated[
        bool, typer.Option("--make/--no-make", help="First make what the page needs.")
    ] = True,
    with_map: Annotated[
        bool, typer.Option("--map", help="First make the map, if the run has none.")
    ] = False,
    edit: Annotated[
        bool, typer.Option("--edit", help="Let users of the page name, merge, tag and exclude.")
    ] = False,
    thumbnails: Annotated[
        int,
        typer.Option("--thumbnails", min=1, metavar="MIB", help="Memory for small images, in MiB."),
    ] = 64,
    refresh: Annotated[
        float | None,
        typer.Option(
            "--refresh",
            min=0.1,
            max=3600,
            metavar="SECONDS",
            help="Check whether the run has changed every SECONDS; a few if absent.",
        ),
    ] = None,
) -> None:
    """Show a run in a browser: clusters, images, search and a map.

    The page changes nothing, and loads nothing from other hosts. With --edit it records what you
    decide about clusters and images, as `cpp-pipe edit` does. Missing clusters, indexes and the
    hierarchy are made first. The command prints an address with a token, which keeps other users of
    the machine out. It runs until Ctrl-C, and then ends with exit code 0.

    \b
      cpp-pipe serve
      cpp-pipe serve --run pets --port 0
      cpp-pipe serve --map
      cpp-pipe serve --edit
      cpp-pipe serve --host 0.0.0.0
    """
    _require_server()
    from ..serve.announcement import announce
    from ..serve.app import REFRESH_SECONDS, make_app
    from ..serve.hosts import Hosts
    from ..serve.open_run import CurrentRun, make_opener
    from ..serve.server import serve_until_signal
    from ..serve.server_socket import address_of, bind, is_local

    token = _choose_token(token, no_token=no_token)
    if refresh is not None and math.isnan(refresh):
        raise ConfigError("--refresh must be a number of seconds, got nan")
    store = Store(common.store)
    run = find_run(store, common.run)
    with bind(host, port) as listening:
        is_own = is_local(listening)
        if not is_own and token is None:
            raise ConfigError(
                f"--no-token with --host {host} lets other machines see every image: leave one out"
            )
        hosts = Hosts.of(host, is_local=is_own, allowed=allow_host or ())
        if make or with_map:
            _prepare(open_plan(common), make=make, with_map=with_map)
        opened = Run.open(store, run).store
        current = CurrentRun(make_opener(opened, run, common.device), max_bytes=thumbnails * _MIB)
        try:
            address = address_of(listening, host)
            if not is_own:
                say(
                    f"serve: {host} can be reached from other machines, and what is sent is not "
                    "encrypted: use a proxy with TLS where you do not trust the network"
                )
            print_line(address if token is None else f"{address}?token={quote(token, safe='')}")
            say("next: open this address in a browser; Ctrl-C stops the server")
            application = make_app(
                current,
                token=token,
                hosts=hosts,
                is_editable=edit,
                refresh_seconds=refresh or REFRESH_SECONDS,
            )
            # Answers on another device differ in their last digits.
            is_asked = common.device in (None, "auto")
            with announce(opened, run, token) if is_asked else nullcontext() as own:
                serve_until_signal(
                    application, *((listening,) if own is None else (listening, own))
                )
        finally:
            current.close()


def _choose_token(given: str | None, *, no_token: bool) -> str | None:
    """The token that requests need, if any; ConfigError for one that cannot be sent."""
    if no_token:
        if given is not None:
            raise ConfigError(
                f"--token, or {TOKEN_VARIABLE}, and --no-token exclude each other: leave one out"
            )
        return None
    # `new` asked for a generated token before that was the default.
    if given is None or given == "new":
        return secrets.token_urlsafe(24)
    token = given.strip()
    if not token:
        raise ConfigError("--token must not be empty: leave it out, and one is generated")
    if not token.isprintable():
        raise ConfigError("--token must have only printable characters: leave it out, or change it")
    return token


def _require_server() -> None:
    absent = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if absent:
        raise MissingError(
            f"{' and '.join(absent)} are not installed: pip install 'cpp-pipe[serve]'"
        )


def _prepare(plan: "Plan", *, make: bool, with_map: bool) -> None:
    from ...stages.map import Map
    from ..serve.preparation import make_map, make_sprites, prepare

    if make:
        prepare(plan)
    if with_map:
        if open_run(plan).current("projection") is None:
            make_map(plan, Map(), asked_by="serve")
        make_sprites(plan, asked_by="serve")
