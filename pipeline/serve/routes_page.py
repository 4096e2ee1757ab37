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
from .responses import FOREVER
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
    version = _version(files)
    files["index.html"] = (_name_files(files, version), _TYPES[".html"])

    async def view(request: Request) -> Response:
        return _file(request, *files["index.html"])

    # All views are one file, whose script reads its own address.
    for address in VIEWS:
        app.add_api_route(address, view, methods=["GET"], include_in_schema=False)

    @app.get("/static/{name:path}", include_in_schema=False)
    async def static(name: str, request: Request) -> Response:
        folder, _, rest = name.partition("/")
        is_fixed = folder == version
        file = files.get(rest if is_fixed else name)
        if file is None:
            return Response(f"{name[:40]!r} does not exist\n", 404, media_type="text/plain")
        return _file(request, *file, is_fixed=is_fixed)

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


def _version(files: dict[str, tuple[bytes, str]]) -> str:
    """A digest of all files: their folder in an address, so that browsers keep them for good."""
    digest = hashlib.sha256()
    for name, (data, _) in sorted(files.items()):
        digest.update(f"{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()[:16]


def _name_files(files: dict[str, tuple[bytes, str]], version: str) -> bytes:
    """The page with addresses of this version, and all scripts named in its head.

    A browser else learns of a script from those that import it, level by level.
    """
    scripts = "".join(
        f'<link rel="modulepreload" href="static/{name}">\n'
        for name in sorted(files)
        if name.endswith(".js")
    )
    text = files["index.html"][0].decode().replace("</head>", f"{scripts}</head>")
    return text.replace('="static/', f'="static/{version}/').encode()


@cache
def _tag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:16]}"'


def _file(request: Request, data: bytes, media_type: str, *, is_fixed: bool = False) -> Response:
    tag = _tag(data)
    headers = {"etag": tag, "cache-control": FOREVER if is_fixed else "no-cache"}
    cached_tags = re.split(r",\s*", request.headers.get("if-none-match", ""))
    if tag in cached_tags:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)
