"""Routes of the page's files, all of which come with the package."""

import hashlib
import re
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from ..report.theme import DARK, LIGHT, variables
from .guard import VIEWS
from .open_run import CurrentRun
from .workers import Workers

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def add_page_routes(app: FastAPI, current: CurrentRun, workers: Workers) -> None:
    """Adds the routes to the application."""
    files = _read_files()

    async def view(request: Request) -> Response:
        return _file(request, *files["index.html"])

    # All views are one file, whose script reads its own address.
    for address in VIEWS:
        app.add_api_route(address, view, methods=["GET"], include_in_schema=False)

    @app.get("/static/{name:path}", include_in_schema=False)
    async def static(name: str, request: Request) -> Response:
        if name not in files:
            return Response(f"{name[:40]!r} does not exist\n", 404, media_type="text/plain")
        return _file(request, *files[name])

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon(request: Request) -> Response:
        return _file(request, *files["icon.svg"])


def _read_files() -> dict[str, tuple[bytes, str]]:
    """The page's files by name, with their media types; few enough to keep in memory."""
    folder = Path(__file__).parent / "page"
    files = {
        path.relative_to(folder).as_posix(): (path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(folder.rglob("*"))
        if path.suffix in _TYPES
    }
    theme = (
        f":root {{ color-scheme: light; {variables(LIGHT)} }}\n"
        f":root[data-theme=dark] {{ color-scheme: dark; {variables(DARK)} }}\n"
        "@media (prefers-color-scheme: dark) {\n"
        f"  :root:not([data-theme=light]) {{ color-scheme: dark; {variables(DARK)} }}\n}}\n"
    )
    files["theme.css"] = (theme.encode(), _TYPES[".css"])
    return files


@cache
def _tag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:16]}"'


def _file(request: Request, data: bytes, media_type: str) -> Response:
    tag = _tag(data)
    headers = {"etag": tag, "cache-control": "no-cache"}
    cached_tags = re.split(r",\s*", request.headers.get("if-none-match", ""))
    if tag in cached_tags:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)
