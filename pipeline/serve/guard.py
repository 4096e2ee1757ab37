"""Access control: who may send requests, and what a browser may do with the answers."""

import hashlib
import secrets
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .hosts import Hosts, port_of

COOKIE = "cpp_pipe_token_{port}"
"""Browsers send a cookie to every port of a host, so each server has its own name for it."""

VIEWS = ("/", "/cluster", "/review", "/image", "/search", "/run", "/docs", "/map")
"""Addresses of the page's views, which a person opens; all others are requested by scripts."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)

IS_SCRIPT = "cpp_pipe.is_script"
"""In a request's scope: whether it sends the token itself, as no other site's page can.

True as well if the server has no token."""

_OTHER_SITES = ("cross-site", "same-site")
"""Values of Sec-Fetch-Site; another port of this host is the same site, but another server."""


class Guard:
    """Rejects requests to a foreign host name, without the token, or made by another site's page.

    The token comes in a header, in the address, or as a cookie. A browser that opens a view with
    the token in its address gets the cookie, and is sent to the address without it.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: Hosts) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request or rejects it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_headers_for(message)]
            await send(message)

        scope, parameters = _take_token(scope)
        tokens = [value for name, value in parameters if name == "token"]
        is_script = self._token is None or self._is_named(Headers(scope=scope), tokens)
        scope = {**scope, IS_SCRIPT: is_script}
        replacement = self._intercept(scope, Headers(scope=scope), tokens)
        await (replacement or self._app)(scope, receive, send_guarded)

    def _intercept(self, scope: Scope, headers: Headers, tokens: list[str]) -> ASGIApp | None:
        """A response that replaces the application's, if the request needs one."""
        host, is_view = headers.get("host", ""), scope["path"] in VIEWS
        if not self._hosts.answer(host):
            return _refusal(
                scope,
                403,
                f"this server does not answer to the host name {host[:100]!r}: where it is its "
                "own, start it with `cpp-pipe serve --allow-host NAME`",
            )
        is_named = self._is_named(headers, tokens)
        is_known = self._token is None or self._is_in_cookie(headers, host)
        if tokens and is_view and (is_named or is_known):
            return self._without_token(scope, host)
        is_foreign = headers.get("sec-fetch-site") in _OTHER_SITES
        if is_named or (is_known and (is_view or not is_foreign)):
            return None
        if is_known:
            return _refusal(scope, 403, "requests of other sites' pages are not answered")
        extra = {"www-authenticate": "Bearer"}
        if is_view and is_foreign and headers.get("sec-fetch-mode") == "navigate":
            # If a link on another site leads here, browsers do not send a strict cookie. They do
            # when the page loads itself again.
            extra["refresh"] = "0"
        return _refusal(
            scope,
            401,
            "a token is required: open the address that `cpp-pipe serve` printed, or send "
            "`Authorization: Bearer TOKEN`",
            extra,
        )

    def _is_named(self, headers: Headers, tokens: list[str]) -> bool:
        return self._is_in_header(headers) or any(map(self._is_token, tokens))

    def _is_token(self, text: str) -> bool:
        return self._is_equal(text.encode("utf-8", "replace"))

    def _is_in_header(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._is_equal(token.encode("latin-1").strip())

    def _is_equal(self, token: bytes) -> bool:
        return self._token is not None and secrets.compare_digest(token, self._token)

    def _is_in_cookie(self, headers: Headers, host: str) -> bool:
        name = COOKIE.format(port=port_of(host))
        digest = cookie_parser(headers.get("cookie", "")).get(name, "")
        return secrets.compare_digest(digest.encode("utf-8", "replace"), self._digest())

    def _digest(self) -> bytes:
        """The value of the cookie: it opens this server, and does not reveal the token."""
        assert self._token is not None, "called only with a token set"
        return hashlib.sha256(b"cpp-pipe serve " + self._token).hexdigest().encode()

    def _without_token(self, scope: Scope, host: str) -> ASGIApp:
        """A redirect to the same view without the token, with a cookie in its place."""
        rest = scope["query_string"].decode("latin-1")
        path = scope["path"]
        response = RedirectResponse(f"{path}?{rest}" if rest else path, status_code=303)
        if self._token is not None:
            response.set_cookie(
                COOKIE.format(port=port_of(host)),
                self._digest().decode(),
                httponly=True,
                samesite="strict",
                secure=scope["scheme"] == "https",
            )
        return response


def _take_token(scope: Scope) -> tuple[Scope, list[tuple[str, str]]]:
    """The request without a token in its address, and the parameters that it had."""
    query = scope["query_string"].decode("latin-1")
    if "token" not in query:
        return scope, []
    parameters = parse_qsl(query, keep_blank_values=True)
    rest = [(name, value) for name, value in parameters if name != "token"]
    if len(rest) == len(parameters):
        return scope, parameters
    return {**scope, "query_string": urlencode(rest).encode()}, parameters


def _headers_for(message: Message) -> list[tuple[bytes, bytes]]:
    """The headers that every answer gets; no client stores an answer without `cache-control`."""
    headers = list(_HEADERS)
    if all(name.lower() != b"cache-control" for name, _ in message["headers"]):
        headers.append((b"cache-control", b"no-store"))
    return headers


def _refusal(
    scope: Scope, code: int, detail: str, headers: dict[str, str] | None = None
) -> ASGIApp:
    """A refusal: text for a person who opens a view, JSON for a script, like any other error."""
    if scope["path"] in VIEWS:
        return PlainTextResponse(f"{detail}\n", code, headers)
    return JSONResponse({"detail": detail}, code, headers)
