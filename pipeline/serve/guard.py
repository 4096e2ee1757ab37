"""Access control: who may send requests, and what a browser may do with the answers."""

import hashlib
import secrets
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "cpp_pipe_token"

MAP_PAGE = "/map"
"""The only page with a looser policy: its drawing library compiles functions and sets styles."""

_POLICY = (
    "default-src 'none'; script-src 'self'{script}; style-src 'self'{style}; "
    "img-src 'self' blob: data:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_STRICT = _POLICY.format(script="", style="")
_FOR_MAP = _POLICY.format(script=" 'unsafe-eval'", style=" 'unsafe-inline'")

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


class Guard:
    """Rejects requests without the token, or, where none is set, with a foreign host name.

    Without a token only the names of this machine are accepted: otherwise a page on any site could
    resolve its own name to this address and read what is served (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: Collection[str]) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request or rejects it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = _FOR_MAP if scope["path"] == MAP_PAGE else _STRICT
                extra = [*_HEADERS, (b"content-security-policy", policy.encode())]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        other = self._intercept(scope, headers)
        await (other or self._app)(scope, receive, send_guarded)

    def _intercept(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        """A response that replaces the application's, if the request needs one."""
        if self._token is None:
            if host_name(headers.get("host", "")) in self._hosts:
                return None
            return PlainTextResponse(
                "this server answers only to the names of its own machine: start it with --token "
                "to let others in\n",
                status_code=403,
            )
        if self._is_authorized(headers):
            return None
        parameters = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if "token" in parameters and _equal(parameters["token"], self._token):
            return self._trade_for_cookie(scope, parameters)
        return PlainTextResponse(
            "a token is required: open the address that `cpp-pipe serve` printed, or send "
            "`Authorization: Bearer TOKEN`\n",
            status_code=401,
            headers={"www-authenticate": "Bearer"},
        )

    def _is_authorized(self, headers: Headers) -> bool:
        assert self._token is not None, "called only with a token set"
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(token.strip(), self._token):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and _equal(cookie.value, _digest(self._token))

    def _trade_for_cookie(self, scope: Scope, parameters: dict[str, str]) -> ASGIApp:
        """A redirect to the same address without the token, with a cookie in its place."""
        assert self._token is not None, "called only with a token set"
        rest = urlencode({name: value for name, value in parameters.items() if name != "token"})
        # A path that begins with two slashes would be the address of another server.
        path = "/" + scope["path"].lstrip("/\\")
        response = RedirectResponse(f"{path}?{rest}" if rest else path, status_code=303)
        response.set_cookie(COOKIE, _digest(self._token), httponly=True, samesite="strict")
        return response


def host_name(host: str) -> str:
    """The name in a Host header, without its port: `[::1]:80` gives `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _equal(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _digest(token: str) -> str:
    return hashlib.sha256(b"cpp-pipe serve " + token.encode()).hexdigest()
